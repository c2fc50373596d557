"""Table ``benchmarks`` of LimRank: BRIGHT, FollowIR and LitSearch as measured, beside what papers print.

A row is a set of a benchmark, or its unweighted mean over the sets: BRIGHT's over its twelve subsets (nDCG@10),
FollowIR's over three (p-MRR, and as ``score`` the mean of each set's own metric). Measured values are means over
training seeds, intervals are over queries and, from two on, over seeds. The depth always stands beside a value: what is
not reranked keeps its place, so values at two depths are not the same measure. Scores are 0 to 1, p-MRR
-100 to 100.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from searchtune.errors import DataError
from searchtune.evaluation.limrank_books import mean_over_seeds
from searchtune.evaluation.significance import interval_of, macro_interval
from searchtune.files import read_tsv

BENCHMARK_COLUMNS = [
    *("benchmark", "dataset", "system", "mode", "depth", "metric", "value", "ci_low", "ci_high", "n"),
    *("source", "note"),
]
# reader of a collection -> benchmark
BENCHMARKS = {"bright": "bright", "followir": "followir", "litsearch": "litsearch", "litsearch_graded": "litsearch"}
# sets that a published mean is over; a mean over others is called by their number
WHOLE = {"bright": 12, "followir": 3}
LONG = "_long"
MEAN_METRICS = {"bright": ("nDCG@10",), "followir": ("p-MRR",)}
P_MRR, AP_DEPTH, SCORE = "p-MRR", 1000, "score"
# metric as published -> as measured here
PUBLISHED_METRICS = {"ndcg@10": "nDCG@10", "p-mrr_x100": P_MRR, "recall@5": "R@5", "map": f"AP@{AP_DEPTH}",
                     "ndcg@5": "nDCG@5"}  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """One system's values on one set: one {query: value} a training seed, the same order of seeds on every set; one
    alone where nothing was trained."""

    collection: str
    system: str
    mode: str
    depth: int
    metric: str
    values: Sequence[Mapping[str, float]]

    def table(self) -> np.ndarray:
        """Return the values (training seeds x queries, in order of id); DataError if seeds have other queries."""
        queries = list(mean_over_seeds(self.values))
        return np.array([[values[query] for query in queries] for values in self.values], dtype=np.float64)


def benchmark_table(
    measured: Sequence[Measured], readers: Mapping[str, str], published: Path | None, params: Mapping[str, Any]
) -> list[Row]:
    """Return the table's rows, benchmark by benchmark; ``readers``: collection -> format that it was read from.

    ``params``: seed, bootstrap_samples, level, imported (collections whose first stage is the user's own run). Only
    published rows of benchmarks that were measured are listed. No measured benchmark: no rows.
    """
    mine = [found for found in measured if readers.get(found.collection) in BENCHMARKS]
    rows = []
    for name in dict.fromkeys(BENCHMARKS.values()):
        its = [found for found in mine if BENCHMARKS[readers[found.collection]] == name]
        if its:
            rows += [_row(name, found, params) for found in its]
            rows += _means(name, its, params)
            rows += published_rows(published, name) if published else []
    return rows


def dataset_of(benchmark: str, collection: str) -> str:
    """Return the name of a set within its benchmark: the collection's id without the benchmark's."""
    return collection.removeprefix(f"{benchmark}_")


def notes_of(found: Measured, benchmark: str, imported: Sequence[str]) -> str:
    """Say what a reader of one value must know: a cut list, or a first stage of the user's own."""
    notes = []
    if found.metric == f"AP@{AP_DEPTH}" and found.depth < AP_DEPTH:
        notes.append(f"WARNING: {found.depth} documents are ranked, so this is AP@{found.depth}, no MAP@{AP_DEPTH}")
    if found.metric == P_MRR and benchmark == "followir" and found.depth < AP_DEPTH:
        notes.append(f"documents below rank {found.depth} can't move")
    if found.collection in imported:
        notes.append("first stage: imported run")
    return "; ".join(notes)


def _row(benchmark: str, found: Measured, params: Mapping[str, Any]) -> Row:
    table = found.table()
    n = table.shape[1]
    interval = interval_of(table.tolist(), params) if n > 1 else (None, None)
    note = notes_of(found, benchmark, params.get("imported", ()))
    place = _place(benchmark, dataset_of(benchmark, found.collection), found)
    return place | _value(float(table.mean()), interval, n, note)


def _place(benchmark: str, dataset: str, found: Measured) -> Row:
    return {
        "benchmark": benchmark,
        "dataset": dataset,
        "system": found.system,
        "mode": found.mode,
        "depth": found.depth,
        "metric": found.metric,
        "source": "measured",
    }


def _value(value: float, interval: tuple[float | None, float | None], n: int, note: str) -> Row:
    return {"value": value, "ci_low": interval[0], "ci_high": interval[1], "n": n, "note": note}


def _means(benchmark: str, its: Sequence[Measured], params: Mapping[str, Any]) -> list[Row]:
    """Return the unweighted means over the sets, a row for each system and metric; FollowIR's ``score`` too.

    BRIGHT's long documents are a benchmark of their own.
    """
    rows = []
    its = [found for found in its if not found.collection.endswith(LONG)]
    for system, mode in dict.fromkeys((found.system, found.mode) for found in its):
        own = [found for found in its if (found.system, found.mode) == (system, mode)]
        groups = {metric: [f for f in own if f.metric == metric] for metric in MEAN_METRICS.get(benchmark, ())}
        if benchmark == "followir":
            groups[SCORE] = [f for f in own if f.metric in (f"AP@{AP_DEPTH}", "nDCG@5")]
        rows += [_mean_row(benchmark, metric, found, params) for metric, found in groups.items() if len(found) > 1]
    return rows


def _mean_row(benchmark: str, metric: str, found: Sequence[Measured], params: Mapping[str, Any]) -> Row:
    """Return the row of an unweighted mean over sets. Seeds are resampled for all sets at once: a seed is one model."""
    tables, depths = [f.table() for f in found], sorted({f.depth for f in found})
    if len({len(table) for table in tables}) > 1:
        told = ", ".join(f"{f.collection} ({len(table)})" for f, table in zip(found, tables, strict=True))
        name = f"{found[0].system} {found[0].mode}".strip()
        raise DataError(
            f"{benchmark}: {name} has other numbers of training seeds on other sets: {told}; rerank every set with "
            "every seed"
        )
    value, low, high = macro_interval(tables, params["seed"], params["bootstrap_samples"], params["level"])
    notes = [f"unweighted mean of {len(found)} sets"]
    if len(found) != WHOLE[benchmark]:
        notes.append(f"the published mean is over {WHOLE[benchmark]}")
    if len(depths) > 1:
        notes.append(f"depths differ: {', '.join(map(str, depths))}")
    if metric == SCORE and depths[0] < AP_DEPTH:
        notes.append(f"WARNING: MAP needs {AP_DEPTH} ranked documents")
    place = _place(benchmark, f"mean{len(found)}", found[0]) | {"metric": metric}
    return place | _value(value, (low, high), sum(table.shape[1] for table in tables), "; ".join(notes))


def published_rows(path: Path, benchmark: str) -> list[Row]:
    """Return the published rows of a benchmark in the table's form and units; depth is ``not stated`` where it is not.

    Points (0 to 100) become 0 to 1, but for p-MRR.
    """
    rows = []
    for row in read_tsv(path):
        name, _, dataset = row["dataset"].partition("/")
        if name == benchmark and row["item"] != "ablation_synthesizer":
            metric = PUBLISHED_METRICS.get(row["metric"], row["metric"])
            rows.append(
                {
                    "benchmark": benchmark,
                    "dataset": dataset or benchmark,
                    "system": row["system"],
                    "mode": "",
                    "depth": row["setting"].removeprefix("depth=") if row["setting"].startswith("depth=") else "",
                    "metric": metric,
                    "value": float(row["value"]) / (1 if metric == P_MRR else 100),
                    "ci_low": None,
                    "ci_high": None,
                    "n": None,
                    "source": f"published: {row['item']}",
                    "note": "; ".join(filter(None, ["" if "=" in row["setting"] else "depth not stated",
                                                    row["trust"], row["note"]])),
                }
            )  # fmt: skip
    return rows
