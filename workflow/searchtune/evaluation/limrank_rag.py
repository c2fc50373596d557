"""LimRank's tables of retrieval-augmented generation, from kept answers: accuracy, paired tests, faults, failures."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searchtune.errors import DataError
from searchtune.evaluation.rag_scoring import ACCURACY, ORIGINAL, Verdicts, scores, unusable
from searchtune.evaluation.significance import interval_of, paired_test, verdict
from searchtune.files import read_jsonl, read_tsv

RAG_COLUMNS = [
    *("collection", "questions", "system", "mode", "k", "metric", "value", "ci_low", "ci_high", "n", "seeds"),
]
TEST_COLUMNS = [
    *("collection", "system", "mode", "k", "against", "metric", "before", "after", "change", "ci_low", "ci_high"),
    *("n", "seeds", "p_holm", "verdict", "note"),
]
PER_QUESTION_COLUMNS = [
    "collection",
    "system",
    "mode",
    "train_seed",
    "k",
    "fault",
    "sample",
    "question",
    "metric",
    "value",
]
CLOSED, BM25, RIGHT = "closed_book", "bm25", "right_passage"
RERANKED, ALL = "reranked", "all"
FAULT = "L7"
WHAT = {
    "": "answers from the retrieved file, which the reranking never changed",
    FAULT: "sorts the documents again, by the unsorted scores written beside them",
}
# collection, system, mode, k, fault; and one answer of a system to every question: training seed, sample
Key = tuple[str, str, str, int, str]
Draw = tuple[int | None, int]
# training seed (None: not trained) -> values of some questions
Grid = dict[int | None, list[float]]


@dataclass
class Answers:
    """Values of every answer: key -> metric -> draw -> {question: 0 or 1}; the questions that rerankers share."""

    values: dict[Key, dict[str, dict[Draw, dict[str, float]]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    )
    shared: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))

    def grid(self, key: Key, metric: str, questions: list[str]) -> Grid:
        """Return training seed -> values of some questions, in their order; seeds in the order of the answers.

        A value is the mean over the samples drawn with one model: they share its training, so that however many there
        are, they are one seed. DataError for a question that was not answered.
        """
        found = self.values[key][metric]
        if lacking := [q for table in found.values() for q in questions if q not in table]:
            raise DataError(f"{key[0]}: {key[1]} {key[2]} has no answer to question {lacking[0]!r}; answer it anew")
        samples: dict[int | None, list[list[float]]] = defaultdict(list)
        for (seed, _), table in found.items():
            samples[seed].append([table[q] for q in questions])
        return {seed: _means(rows) for seed, rows in samples.items()}


def load_answers(folder: Path, judged: Path | None = None) -> Answers:
    """Score the answers of stage ``limrank.answer``; ``judged``: folder of a judge's verdicts, if one was asked."""
    questions = {(row["set"], row["id"]): row for row in read_jsonl(folder / "questions.jsonl")}
    verdicts: Verdicts | None = None
    if judged is not None:
        verdicts = {(r["set"], r["question"], r["text"]): r["right"] for r in read_jsonl(judged / "verdicts.jsonl")}
    book = Answers()
    for question in questions.values():
        if question["reranked"]:
            book.shared[question["set"]].append(question["id"])
    for answer in read_jsonl(folder / "answers.jsonl"):
        question = questions[answer["set"], answer["question"]]
        key = (answer["set"], answer["name"], answer["mode"], answer["k"], answer["fault"])
        for metric, value in scores(question, answer, verdicts).items():
            book.values[key][metric][answer["train_seed"], answer["sample"]][question["id"]] = value
            book.rows.append(_per_question(key, answer, metric, value))
        _count(book, key, question, answer, verdicts)
    return book


def _per_question(key: Key, answer: dict[str, Any], metric: str, value: float) -> dict[str, Any]:
    named = dict(zip(("collection", "system", "mode", "k", "fault"), key, strict=True))
    rest = {name: answer[name] for name in ("train_seed", "sample", "question")}
    return {**named, **rest, "metric": metric, "value": value}


def _count(book: Answers, key: Key, question: dict, answer: dict, verdicts: Verdicts | None) -> None:
    """Count an answer among those that could not be used."""
    kinds = {
        "empty": not answer["text"].strip(),
        "cut off by its budget": answer["finish_reason"] == "length",
        "not parsed": unusable(question, answer, verdicts),
    }
    for kind, failed in kinds.items():
        counted = book.failures[f"answers to {key[0]}", kind]
        counted[0] += 1
        counted[1] += failed


def failure_rows(book: Answers, counts: Path) -> list[dict[str, Any]]:
    """Return how many answers were empty, cut off or not parsed, and how many passages were cut or left out."""
    found = {f"{step}: {kind}": (calls, failed) for (step, kind), (calls, failed) in book.failures.items()}
    passages: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in read_tsv(counts):
        for kind, what in (("cut", "cut to their budget"), ("left_out", "left out, the prompt was full")):
            entry = passages[f"passages for answers to {row['collection']}: {what}"]
            entry[0] += int(row["passages"])
            entry[1] += int(row[kind])
    everything = found | {step: (calls, failed) for step, (calls, failed) in passages.items()}
    return [
        {"step": step, "calls": calls, "failed": failed, "share": failed / calls}
        for step, (calls, failed) in everything.items()
        if calls
    ]


def rag_rows(book: Answers, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Return value and interval of every system without fault: on the questions that all systems answered, and on all
    of a set where the systems without a reranker answered more."""
    rows = []
    for key, metrics in book.values.items():
        if key[4]:
            continue
        everything = sorted(next(iter(metrics[ACCURACY].values())))
        shared = sorted(book.shared[key[0]])
        scopes = {RERANKED: shared} if shared else {}
        if len(everything) > len(shared):
            scopes[ALL] = everything
        for scope, questions in scopes.items():
            for metric, tables in metrics.items():
                told = questions if metric != ORIGINAL else [q for q in questions if _told(tables, q)]
                rows.append(_row(book, key, metric, scope, told, params))
    return sorted([row for row in rows if row["n"]], key=lambda row: (row["collection"], row["questions"] != RERANKED))


def _told(tables: dict[Draw, dict[str, float]], question: str) -> bool:
    """Say whether any answer has a metric of a question: not of every question is the original answer known."""
    return any(question in table for table in tables.values())


def _row(
    book: Answers, key: Key, metric: str, scope: str, questions: list[str], params: dict[str, Any]
) -> dict[str, Any]:
    many = list(book.grid(key, metric, questions).values()) if questions else []
    low, high = interval_of(many, params) if len(questions) > 1 else (None, None)
    return {
        "collection": key[0],
        "questions": scope,
        "system": key[1],
        "mode": key[2],
        "k": key[3],
        "metric": metric,
        "value": sum(map(sum, many)) / (len(many) * len(questions)) if questions else None,
        "ci_low": low,
        "ci_high": high,
        "n": len(questions),
        "seeds": len(many),
    }


def paired_rows(book: Answers, params: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the paired tests: each system against no passages, each reranker against BM25's order of the same depth.

    A question's value is its mean over samples and training seeds; changes are in points. ``seeds`` counts training
    seeds, 1 where neither side was trained. Each row has its ``p_value`` as it is, to be adjusted together with all
    other comparisons of the paper's part (see :func:`adjusted_rows`).
    """
    return [_pair(book, key, other, params) for key in book.values for other in _others(book, key)]


def adjusted_rows(tests: Sequence[dict[str, Any]], adjusted: Sequence[float]) -> list[dict[str, Any]]:
    """Return the rows of the table of paired tests with their adjusted p-values, in order, and verdicts."""
    return [
        {c: row[c] for c in TEST_COLUMNS if c in row}
        | {"p_holm": p, "verdict": verdict(row["change"], p, row["seeds"])}
        for row, p in zip(tests, adjusted, strict=True)
    ]


def _others(book: Answers, key: Key) -> list[Key]:
    """Return what a system is tested against."""
    name, system, _, k, fault = key
    if fault or system == CLOSED:
        return []
    wanted = [(name, CLOSED, "", 0, "")]
    if system not in (BM25, RIGHT):
        wanted.insert(0, (name, BM25, "", k, ""))
    return [other for other in wanted if other in book.values]


def _pair(book: Answers, key: Key, other: Key, params: dict[str, Any]) -> dict[str, Any]:
    tables = (*book.values[key][ACCURACY].values(), *book.values[other][ACCURACY].values())
    questions = sorted(set.intersection(*(set(table) for table in tables)))
    ours, theirs = (book.grid(k, ACCURACY, questions) for k in (key, other))
    after, before = (_means(grid.values()) for grid in (ours, theirs))
    many = _differences(ours, theirs, f"{key[0]}: {key[1]} {key[2]} against {other[1]}")
    low, high = interval_of(many, params) if len(questions) > 1 else (None, None)
    return {
        "collection": key[0],
        "system": key[1],
        "mode": key[2],
        "k": key[3],
        "against": other[1],
        "metric": ACCURACY,
        "before": 100 * sum(before) / len(questions),
        "after": 100 * sum(after) / len(questions),
        "change": 100 * (sum(after) - sum(before)) / len(questions),
        "ci_low": None if low is None else 100 * low,
        "ci_high": None if high is None else 100 * high,
        "n": len(questions),
        "seeds": len(many),
        "p_value": paired_test(after, before, params["seed"], params["permutations"]),
        "note": "",
    }


def _means(rows: Collection[list[float]]) -> list[float]:
    """Return the mean of each question over rows (rows x questions)."""
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def _differences(ours: Grid, theirs: Grid, where: str) -> list[list[float]]:
    """Return differences (training seeds x questions), each between the same seed of both sides.

    A side that was not trained stands for every seed of the other; where neither was, there is one row. DataError for a
    seed that a trained side lacks.
    """
    trained: list[int | None] = [seed for seed in dict.fromkeys([*ours, *theirs]) if seed is not None]
    seeds = trained or [None]
    sides = [[side.get(seed, side.get(None)) for seed in seeds] for side in (ours, theirs)]
    pairs = [(a, b) for a, b in zip(*sides, strict=True) if a is not None and b is not None]
    if len(pairs) < len(seeds):
        raise DataError(f"{where}: the sides have other training seeds; answer with the same seeds of both")
    return [[x - y for x, y in zip(a, b, strict=True)] for a, b in pairs]


def rag_fault_rows(book: Answers) -> list[dict[str, Any]]:
    """Return what fault L7 of the released code is worth: a row for each reranker, depth and reading of the fault.

    The released reranking writes a file that no later step reads, and pairs its sorted documents with unsorted scores.
    Whoever answers from the file before it gets BM25's order; whoever sorts the new one again gets the wrong order.
    """
    rows = []
    for key in book.values:
        if key[4] or key[1] in (CLOSED, BM25, RIGHT):
            continue
        for fault, what in WHAT.items():
            other = (*key[:4], fault) if fault else (key[0], BM25, "", key[3], "")
            if other not in book.values:
                continue
            questions = sorted(book.shared[key[0]])
            # of the first training seed: the table of faults speaks of one model
            corrected, released = (next(iter(book.grid(k, ACCURACY, questions).values())) for k in (key, other))
            rows.append(
                {
                    "fault": FAULT,
                    "what": what,
                    "system": f"{key[1]} {key[2]}, answers from the top {key[3]}",
                    "collection": key[0],
                    "metric": ACCURACY,
                    "corrected": sum(corrected) / len(questions),
                    "released": sum(released) / len(questions),
                }
            )
    return rows


def rag_sign(tests: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the sign of life of each generator: it answers better with the right passage than without any.

    The p-value is not adjusted: this is one planned test, like every other sign.
    """
    return [
        {
            "sign": f"the right passage helps the generator: {row['collection']}",
            "value": row["change"] / 100,
            "threshold": "> 0 and p < 0.05",
            "passed": row["change"] > 0 and row["p_value"] < 0.05,
            "note": f"accuracy {row['after'] / 100:.3f} against {row['before'] / 100:.3f}, p "
            f"{row['p_value']:.4f}, n {row['n']}",
        }
        for row in tests
        if row["system"] == RIGHT and row["against"] == CLOSED
    ]
