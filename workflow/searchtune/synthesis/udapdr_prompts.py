"""Stage ``udapdr.prompts``: Y corpus-adapted prompts of three (passage, good question, bad question) each.

UDAPDR (arXiv 2303.00807), section 3.1 and figure 3. No passage serves in two prompts, so X passages
make at most X / 3 prompts. The released search for pairs never ends where there are too few (fault
U12); here it ends with an error that says why pairs were refused.
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
from searchtune.synthesis.cleaning import grounding, same_question
from searchtune.synthesis.udapdr_filter import SYNTHESIS_COLUMNS
from searchtune.synthesis.udapdr_seed import BAD


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
    ``min_grounding`` of the good question's content words stand in the passage.
    """

    max_overlap: float = 0.7
    min_grounding: float = 0.0


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
        if not same_question(good, bad, checks.max_overlap):
            return Demonstration(source, passage, good, bad, strategy)
    return "good and bad question are the same"


def choose_demonstrations(
    seeds: Sequence[dict], count: int, strategies: Sequence[str], checks: Checks, words: int, seed: int
) -> list[Demonstration]:
    """Return ``count`` demonstrations from distinct passages, in an order drawn by ``seed``.

    Passages are cut to ``words``. Each next demonstration begins at the next strategy, so that all
    are heard. DataError, with the number of passages refused and the reasons, if there are too few.
    """
    questions: dict[str, dict[str, str]] = {}
    passages = {}
    for row in seeds:
        questions.setdefault(row["source"], {})[row["strategy"]] = row["question"]
        passages[row["source"]] = first_words(row["passage"], words)
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
    reasons = ", ".join(f"{reason}: {n}" for reason, n in refused.most_common()) or "none refused"
    raise ShortageError(
        f"udapdr.prompts: {count} demonstrations are needed (Y prompts times the demonstrations of each), "
        f"{len(order)} passages gave {len(found)} ({reasons}); raise udapdr.seed.n_passages (X), lower "
        "udapdr.prompts.count (Y), or use a better strong model"
    )


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Input: seed (folder of stage 1). Output: prompts (JSONL {prompt, demonstrations}), synthesis
    (table).

    Params: count (Y), demonstrations, strategies, max_overlap, min_grounding, passage_words, seed.
    """
    params = job.params
    seeds = read_jsonl(job.inputs["seed"] / "seeds.jsonl")
    size, count = params["demonstrations"], params["count"]
    checks = Checks(params["max_overlap"], params["min_grounding"])
    chosen = choose_demonstrations(
        seeds, count * size, params["strategies"], checks, params["passage_words"], params["seed"]
    )
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
