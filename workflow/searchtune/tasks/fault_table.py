"""What the faults of INTERS' released evaluation are worth on the answers of this run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from searchtune.files import iter_jsonl
from searchtune.prompts.budget import load_tokenizer
from searchtune.stage import Job
from searchtune.tasks import released_code
from searchtune.tasks.answers import FAULTS
from searchtune.tasks.inventory import TASKS
from searchtune.tasks.scoring import Pair, Scores, by_pair
from searchtune.tasks.tabulate import TUNED, UNTUNED
from searchtune.tasks.variants import ZERO_SHOT

if TYPE_CHECKING:
    from searchtune.tasks.evaluate import Evaluation

Row = dict[str, Any]
# which task shows what a scorer fault is worth, and in which metric
METRICS = {
    "B1": ("reading_comprehension", "token F1"),
    "B2": ("query_subtopic_generation", "F1"),
    "B3": ("query_subtopic_generation", "F1"),
    "B12": ("fact_verification", "accuracy"),
}
TEXTS = {
    "B1": "reading comprehension F1 over characters, not tokens",
    "B2": "an answer without numbering becomes a set of characters",
    "B3": "numbered lists read with numbers of one digit only",
    "B4": "answers cut off by the characters of the prompt before truncation",
    "B5": "answers padded with token id 2, whatever the tokenizer",
    "B9": "0 / 0 for queries without a relevant passage",
    "B10": "the query id is looked for in the file's path",
    "B11": "pairwise prompts stacked without padding",
    "B12": "labels by summed log-probability, which favours short ones",
}


def _row(fault: str, system: str, place: tuple[str, str, str], corrected: float, released: float) -> Row:
    task, dataset, metric = place
    return {"fault": fault, "what": TEXTS[fault], "system": system} | {
        "task": TASKS[task].title if task in TASKS else task,
        "dataset": dataset,
        "metric": metric,
        "corrected": corrected,
        "released": released,
    }


def _mean(scores: Scores, pair: Pair, metric: str) -> float:
    return float(np.mean(list(scores.values[pair][metric].values())))


def scorer_rows(evaluation: "Evaluation", name: str, place: int) -> list[Row]:
    """Return what each scorer fault does to the metric that it touches, for one system."""
    rows = []
    for fault in FAULTS:
        task, metric = METRICS[fault]
        right, wrong = (
            evaluation.scores(place, faults=f, tasks=frozenset([task])) for f in (frozenset(), frozenset([fault]))
        )
        rows += [
            _row(fault, name, (*pair, metric), _mean(right, pair, metric), _mean(wrong, pair, metric))
            for pair in right.values
            # a task's data sets may have other metrics: BoolQ has labels among answers
            if metric in right.values[pair]
        ]
    return rows


def answer_rows(evaluation: "Evaluation", name: str, place: int, pad_is_text: bool) -> list[Row]:
    """Return the shares of answers that B4 and B5 damage, and that B10 saves under no query id, for one system."""
    answers = evaluation.answers[place][ZERO_SHOT]
    asked = [row for row in evaluation.prompts[ZERO_SHOT] if row["kind"] == "generate"]
    lengths = [answers[row["id"]]["n_completion"] for row in asked]
    cut = released_code.cut_share([row["n_tokens"] for row in asked])
    stray = released_code.stray_share(lengths, pad_is_text)
    ranked = by_pair(row for row in evaluation.test if row["task"] in evaluation.params["rankings"])
    rows = [
        _row("B4", name, ("all tasks", "", "share of answers cut"), 0.0, cut),
        _row("B5", name, ("all tasks", "", "share of answers with stray tokens"), 0.0, stray),
    ]
    for pair, members in sorted(ranked.items()):
        path = Path(f"{name}/{pair[0]}/{pair[1]}.jsonl")
        keys = [released_code.query_key(path, {"query_id": row["meta"]["group"]}, True) for row in members]
        lost = sum(key is None for key in keys) / len(keys)
        rows.append(_row("B10", name, (*pair, "share of rows saved without their query"), 0.0, lost))
    return rows


def ranking_rows(evaluation: "Evaluation", name: str, place: int) -> list[Row]:
    """Return the mean nDCG@10 with queries of no relevant passage counted 0, and as released (B9), for one system."""
    tasks = frozenset(evaluation.params["rankings"])
    scores = evaluation.scores(place, tasks=tasks)
    rows = []
    for pair, values in scores.values.items():
        found = values["nDCG@10"]
        grades = evaluation.collections[pair[1]].qrels
        ideals = [float(any(grade > 0 for grade in grades[query].values())) for query in found]
        means = [released_code.mean_of(list(found.values()), ideals, released) for released in (False, True)]
        rows.append(_row("B9", name, (*pair, "nDCG@10"), *means))
    return rows


def pairwise_rows(job: Job) -> list[Row]:
    """Return the share of pairwise comparisons whose prompts differ in length (B11), a row a model and collection."""
    rows = []
    for folder in job.inputs.get("strategies", []):
        for path in sorted((folder / "calls").glob("pairwise-*.jsonl.gz")):
            lengths = {record["id"]: record["n_prompt"] for record in iter_jsonl(path)}
            name = path.name.removeprefix("pairwise-").removesuffix(".jsonl.gz")
            place = ("passage_reranking", name, "share of comparisons that raise")
            rows.append(_row("B11", folder.name, place, 0.0, released_code.unequal_share(lengths)))
    return rows


def pad_is_text(model: Path) -> bool:
    """Say whether token id 2 is an ordinary token of a model, which decoding shows (B5)."""
    return bool(load_tokenizer(model).decode([released_code.PAD_ID], skip_special_tokens=True))


def fault_rows(evaluation: "Evaluation", job: Job) -> list[Row]:
    """Return the table of faults: released beside corrected, for the untuned and the full model."""
    places = {UNTUNED: evaluation.index_of(False, 0.0)[0], TUNED: evaluation.index_of(True, 1.0)[0]}
    as_text = pad_is_text(job.inputs["models"][0])
    rows = []
    for name, place in places.items():
        rows += scorer_rows(evaluation, name, place)
        rows += answer_rows(evaluation, name, place, as_text)
        rows += ranking_rows(evaluation, name, place)
    return sorted(rows + pairwise_rows(job), key=lambda row: (int(row["fault"][1:]), row["system"]))
