"""Stage ``udapdr.prompts``: Y corpus-adapted prompts of three (passage, good question, bad question) each.

UDAPDR (arXiv 2303.00807), section 3.1 and figure 3. No passage serves in two prompts, so X passages
make at most X / 3 prompts. The released search for pairs never ends where there are too few; here it ends with
an error that says why pairs were refused. Fault U12: the released test of a pair hardly ever fires, and the good
question of demonstration j comes from column j of the questions, so that two of five strategies are never heard.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from searchtune.errors import ShortageError
from searchtune.files import read_jsonl, write_jsonl, write_tsv
from searchtune.prompts.budget import first_words
from searchtune.stage import Job
from searchtune.synthesis.cleaning import grounding, released_same_question, same_question
from searchtune.synthesis.udapdr_filter import SYNTHESIS_COLUMNS
from searchtune.synthesis.udapdr_seed import BAD

# strategies in the order of the released code's columns: its prompts 0 to 4
COLUMNS = ("write", "guided", "vanilla", "retrieve", "design")


@dataclass(frozen=True)
class Demonstration:
    """One worked example from the corpus; ``strategy`` wrote the good question."""

    source: str
    passage: str
    good: str
    bad: str
    strategy: str


@dataclass(frozen=True)
class Checks:
    """What a pair must pass: word overlap of good and bad question at most ``max_overlap``; at least
    ``min_grounding`` of the good question's content words stand in the passage. ``released``: the overlap as fault
    U12 computes it.
    """

    max_overlap: float = 0.7
    min_grounding: float = 0.0
    released: bool = False

    def same(self, good: str, bad: str) -> bool:
        """Say whether the good and the bad question are too near."""
        return (released_same_question if self.released else same_question)(good, bad, self.max_overlap)


def usable(
    source: str, passage: str, questions: Mapping[str, str], strategies: Sequence[str], checks: Checks
) -> Demonstration | str:
    """Return the demonstration of a passage by the first strategy that gives a sound pair, or why there is none.

    ``questions``: strategy -> question, with the bad one under ``bad``.
    """
    bad = questions.get(BAD, "")
    if not bad:
        return "no bad question"
    written = [(s, questions[s]) for s in strategies if questions.get(s)]
    if not written:
        return "no good question"
    grounded = [(s, good) for s, good in written if grounding(good, passage) >= checks.min_grounding]
    if not grounded:
        return "no good question is about its passage"
    for strategy, good in grounded:
        if not checks.same(good, bad):
            return Demonstration(source, passage, good, bad, strategy)
    return "good and bad question are the same"


def by_passage(seeds: Sequence[dict], words: int) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Return (passage id -> strategy -> question, passage id -> its first ``words`` words) of the rows of stage 1."""
    questions: dict[str, dict[str, str]] = {}
    passages = {}
    for row in seeds:
        questions.setdefault(row["source"], {})[row["strategy"]] = row["question"]
        passages[row["source"]] = first_words(row["passage"], words)
    return questions, passages


def too_few(count: int, tried: int, found: int, refused: Counter[str]) -> ShortageError:
    """Return the error of ``found`` demonstrations where ``count`` are needed, with why others were refused."""
    reasons = ", ".join(f"{reason}: {n}" for reason, n in refused.most_common()) or "none refused"
    return ShortageError(
        f"udapdr.prompts: {count} demonstrations are needed (Y prompts times the demonstrations of each), "
        f"{tried} passages gave {found} ({reasons}); raise udapdr.seed.n_passages (X), lower "
        "udapdr.prompts.count (Y), or use a better strong model"
    )


def choose_demonstrations(
    seeds: Sequence[dict], count: int, strategies: Sequence[str], checks: Checks, words: int, seed: int
) -> list[Demonstration]:
    """Return ``count`` demonstrations from distinct passages, in an order drawn by ``seed``.

    Passages are cut to ``words``. Each next demonstration begins at the next strategy, so that all
    are heard. ShortageError, with the number of passages refused and the reasons, if there are too few.
    """
    questions, passages = by_passage(seeds, words)
    order = random.Random(seed).sample(sorted(questions), len(questions))
    found: list[Demonstration] = []
    refused: Counter[str] = Counter()
    for source in order:
        turn = len(found) % len(strategies)
        result = usable(source, passages[source], questions[source], [*strategies[turn:], *strategies[:turn]], checks)
        if isinstance(result, str):
            refused[result] += 1
        else:
            found.append(result)
        if len(found) == count:
            return found
    raise too_few(count, len(order), len(found), refused)


def released_demonstrations(
    seeds: Sequence[dict],
    count: int,
    strategies: Sequence[str],
    checks: Checks,
    words: int,
    seed: int,
    size: int,
) -> list[Demonstration]:
    """Return ``count`` demonstrations as the released code picks them (fault U12).

    Demonstration j of a prompt of ``size`` takes its good question from column j of the questions, in the order of
    :data:`COLUMNS`, or it is none; a passage that was refused for one column may serve for another. ShortageError as
    for :func:`choose_demonstrations`, where the released search goes on for ever.
    """
    questions, passages = by_passage(seeds, words)
    columns = [strategy for strategy in COLUMNS if strategy in strategies]
    left = random.Random(seed).sample(sorted(questions), len(questions))
    found: list[Demonstration] = []
    for place in range(count):
        column = columns[place % size % len(columns)]
        refused: Counter[str] = Counter()
        for source in left:
            result = usable(source, passages[source], questions[source], [column], checks)
            if isinstance(result, Demonstration):
                found.append(result)
                break
            refused[f"{column}: {result}"] += 1
        else:
            raise too_few(count, len(questions), len(found), refused)
        left.remove(found[-1].source)
    return found


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Input: seed (folder of stage 1). Output: prompts (JSONL {prompt, demonstrations}), synthesis
    (table).

    Params: count (Y), demonstrations, strategies, max_overlap, min_grounding, passage_words, seed, faults (U12).
    """
    params = job.params
    seeds = read_jsonl(job.inputs["seed"] / "seeds.jsonl")
    size, count = params["demonstrations"], params["count"]
    released = "U12" in params["faults"]
    checks = Checks(params["max_overlap"], params["min_grounding"], released)
    wanted = (seeds, count * size, params["strategies"], checks, params["passage_words"], params["seed"])
    chosen = released_demonstrations(*wanted, size) if released else choose_demonstrations(*wanted)
    rows = [
        {"prompt": y, "demonstrations": [asdict(d) for d in chosen[y * size : (y + 1) * size]]} for y in range(count)
    ]
    write_jsonl(job.outputs["prompts"], rows)
    passages = len({row["source"] for row in seeds})
    write_tsv(
        job.outputs["synthesis"],
        SYNTHESIS_COLUMNS,
        [
            {"stage": "prompts", "strategy": s, "in": passages, "out": sum(d.strategy == s for d in chosen)}
            for s in params["strategies"]
        ],
    )
    return {"prompts": count, "demonstrations": len(chosen), "passages": passages}
