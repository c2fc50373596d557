"""Scores of a whole prompt set: one value an example and metric, for every task / data set pair."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Scored, rank_by_score, tie_share
from searchtune.errors import DataError
from searchtune.evaluation.metrics import evaluate
from searchtune.files import iter_jsonl
from searchtune.tasks.answers import best_label, normalise_answer, parse_label, parse_numbered
from searchtune.tasks.example import sentences
from searchtune.tasks.inventory import YES, spec_of
from searchtune.tasks.scorers import NONE, Faults, corpus_bleu, score_text, weighted_f1

Row = dict[str, Any]
Pair = tuple[str, str]
# metric -> example (or query) id -> value
Values = dict[str, dict[str, float]]
# round trip in which a copy of the passage is no query; people's questions repeat at most twelve words in a row
NO_COPIES, COPIED_WORDS = "Success@10 without copies", 12
CORPUS_BLEU = {"corpus BLEU-1": 1, "corpus BLEU-2": 2}


@dataclass
class Scores:
    """What one system got: values an example, totals without values an example, and what could not be parsed."""

    values: dict[Pair, Values] = field(default_factory=dict)
    totals: dict[Pair, dict[str, float]] = field(default_factory=dict)
    # task -> (answers, answers that could not be parsed)
    failures: dict[str, tuple[int, int]] = field(default_factory=dict)

    def count(self, task: str, failed: Iterable[bool]) -> None:
        """Add a task's answers to the count of failures."""
        marks = list(failed)
        calls, bad = self.failures.get(task, (0, 0))
        self.failures[task] = (calls + len(marks), bad + sum(marks))


def read_answers(path: Path) -> dict[str, dict[str, Row]]:
    """Return prompt set -> prompt id -> call record of a predictions file."""
    found: dict[str, dict[str, Row]] = defaultdict(dict)
    for record in iter_jsonl(path):
        prompt_set, _, key = record["id"].partition("/")
        found[prompt_set][key] = record
    return dict(found)


def check_complete(answers: dict[str, Row], prompts: Sequence[Row], where: str) -> None:
    """Raise DataError unless every prompt of a set was answered: a run cut short is never scored."""
    missing = [row["id"] for row in prompts if row["id"] not in answers]
    if missing:
        raise DataError(
            f"{where}: {len(missing)} of {len(prompts)} prompts have no answer, such as {missing[0]!r}; "
            "finish inters.predict"
        )


def by_pair(rows: Iterable[Row]) -> dict[Pair, list[Row]]:
    """Return rows by (task, data set), in order."""
    found: dict[Pair, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["task"], row["dataset"]].append(row)
    return dict(found)


def text_scores(scores: Scores, pair: Pair, rows: list[Row], texts: list[str], faults: Faults) -> None:
    """Add the scores of free and list answers; an empty or unnumbered one is counted as a failure."""
    spec = spec_of(*pair)
    # B1 is a fault of reading comprehension alone
    given = faults if spec.name == "reading_comprehension" else faults - {"B1"}
    found = [score_text(text, row, spec.metrics, given) for row, text in zip(rows, texts, strict=True)]
    scores.values[pair] = {
        name: {row["id"]: got[name] for row, got in zip(rows, found, strict=True)} for name in spec.metrics
    }
    if "BLEU-1" in spec.metrics:
        targets = [row["target"] for row in rows]
        scores.totals[pair] = {name: corpus_bleu(texts, targets, order) for name, order in CORPUS_BLEU.items()}
    unparsed = (
        [not parse_numbered(text, faults)[1] for text in texts]
        if spec.kind == "list"
        else [not text.strip() for text in texts]
    )
    scores.count(spec.name, unparsed)


def label_scores(scores: Scores, pair: Pair, rows: list[Row], labels: Sequence[str | None]) -> None:
    """Add accuracy and weighted F1, or P@1 where an example may have several right labels (target and references).

    An answer without a label is wrong and counted as a failure.
    """
    if "P@1" in spec_of(*pair).metrics:
        hits = [label in (row["target"], *row["references"]) for row, label in zip(rows, labels, strict=True)]
        scores.values[pair] = {"P@1": {row["id"]: float(hit) for row, hit in zip(rows, hits, strict=True)}}
    else:
        scores.values[pair] = {
            "accuracy": {row["id"]: float(label == row["target"]) for row, label in zip(rows, labels, strict=True)}
        }
        scores.totals[pair] = {"weighted F1": weighted_f1(labels, [row["target"] for row in rows])}
    scores.count(pair[0], (label is None for label in labels))


def ranking_scores(scores: Scores, pair: Pair, rows: list[Row], run: dict[str, Scored], qrels: Collection) -> None:
    """Add nDCG@10 and RR@10 of each query; ties are broken by BM25's rank, and their share is noted."""
    before: dict[str, list[str]] = defaultdict(list)
    for row in sorted(rows, key=lambda r: r["meta"]["rank"]):
        before[row["meta"]["group"]].append(row["meta"]["passage_id"])
    ranked = {query: rank_by_score(found, before[query]) for query, found in run.items()}
    judged = {query: qrels.qrels[query] for query in ranked}
    scores.values[pair] = evaluate(judged, ranked, list(spec_of(*pair).metrics))
    scores.totals[pair] = {"tie share": tie_share(run)}


def yes_run(rows: list[Row], records: list[Row]) -> dict[str, dict[str, float]]:
    """Return query -> passage -> log-odds of "yes" against "no", which order as P(yes) does."""
    run: dict[str, dict[str, float]] = defaultdict(dict)
    for row, record in zip(rows, records, strict=True):
        logprob = {item["text"]: item["logprob"] for item in record["scores"]}
        odds = logprob[YES] - max(v for text, v in logprob.items() if text != YES)
        if math.isnan(odds):
            raise DataError(f"score of {row['id']!r} is NaN; the model's log-probabilities are not usable")
        run[row["meta"]["group"]][row["meta"]["passage_id"]] = odds
    return dict(run)


def score_set(
    examples: list[Row],
    answers: dict[str, Row],
    collections: dict[str, Collection],
    labels_by: str = "score",
    faults: Faults = NONE,
    tasks: frozenset[str] | None = None,
    only: str | None = None,
) -> Scores:
    """Score one prompt set of one model. ``labels_by``: "score" (log-probability) or "generate" (parsed text).

    ``tasks`` and ``only`` (a kind of answer) leave the other pairs out.
    """
    scores = Scores()
    for pair, rows in sorted(by_pair(examples).items()):
        kind = spec_of(*pair).kind
        if (tasks is not None and pair[0] not in tasks) or only not in (None, kind):
            continue
        how = {"ranking": "score", "label": labels_by}.get(kind, "generate")
        records = [answers[f"{row['id']}#{how}"] for row in rows]
        if kind == "ranking":
            ranking_scores(scores, pair, rows, dict(yes_run(rows, records)), collections[pair[1]])
        elif kind != "label":
            text_scores(scores, pair, rows, [record["text"] for record in records], faults)
        elif labels_by == "score":
            label_scores(scores, pair, rows, [best_label(record["scores"], faults) for record in records])
        else:
            label_scores(
                scores,
                pair,
                rows,
                [parse_label(record["text"], row["labels"]) for row, record in zip(rows, records, strict=True)],
            )
    return scores


def copied(row: Row) -> str:
    """Return the copy baseline's answer: the input itself, or the first sentence of it."""
    spec = spec_of(row["task"], row["dataset"])
    text = row["fields"][spec.copied]
    if spec.copy_sentence:
        start, end = sentences(text)[0]
        text = text[start:end].strip()
    return f"1. {text}" if spec.kind == "list" else text


def majority(rows: list[Row]) -> str:
    """Return the most frequent target; equal ones by alphabet."""
    counts = Counter(row["target"] for row in rows)
    return min(counts, key=lambda label: (-counts[label], label))


def baseline_scores(
    examples: list[Row], known: list[Row], collections: dict[str, Collection], faults: Faults
) -> dict[str, Scores]:
    """Return the scores of the baselines copy, majority (of ``known`` rows, never of test) and bm25."""
    found = {name: Scores() for name in ("copy", "majority", "bm25")}
    seen = by_pair(known)
    for pair, rows in sorted(by_pair(examples).items()):
        kind = spec_of(*pair).baseline
        if kind == "copy":
            text_scores(found[kind], pair, rows, [copied(row) for row in rows], faults)
        elif kind == "majority":
            label_scores(found[kind], pair, rows, [majority(seen[pair])] * len(rows))
        else:
            run: dict[str, dict[str, float]] = defaultdict(dict)
            for row in rows:
                run[row["meta"]["group"]][row["meta"]["passage_id"]] = -float(row["meta"]["rank"])
            ranking_scores(found[kind], pair, rows, dict(run), collections[pair[1]])
    return found


def is_copy(text: str, passage: str) -> bool:
    """Say whether a text repeats more than ``COPIED_WORDS`` words of a passage in a row (case and signs aside)."""
    mine, theirs = (re.findall(r"\w+", t.lower()) for t in (text, passage))
    n = COPIED_WORDS + 1
    runs = {tuple(theirs[i : i + n]) for i in range(len(theirs) - n + 1)}
    return any(tuple(mine[i : i + n]) in runs for i in range(len(mine) - n + 1))


def round_trips(rows: list[Row], texts: list[str], found_ids: list[list[str]]) -> Values:
    """Return Success@1 and Success@10: is the passage that a query was written for among the ids found with it?

    A model that repeats its passage finds it, too, and has written no query: ``NO_COPIES`` counts that as failed.
    """
    found: Values = {"Success@1": {}, "Success@10": {}, NO_COPIES: {}}
    for row, text, ids in zip(rows, texts, found_ids, strict=True):
        for name, depth in (("Success@1", 1), ("Success@10", 10)):
            found[name][row["id"]] = float(row["meta"]["passage_id"] in ids[:depth])
        wrote = not is_copy(text, row["fields"]["passage"])
        found[NO_COPIES][row["id"]] = found["Success@10"][row["id"]] if wrote else 0.0
    return found


def share_differing(first: dict[str, Row], second: dict[str, Row]) -> float:
    """Return the share of generated answers of two models that differ after normalisation (0 to 1)."""
    keys = [key for key in first if key.endswith("#generate")]
    if not keys:
        raise DataError("no generated answers to compare; give at least one generation task")
    return sum(normalise_answer(first[k]["text"]) != normalise_answer(second[k]["text"]) for k in keys) / len(keys)
