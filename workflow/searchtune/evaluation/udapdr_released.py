"""How the released code scores (faults U9 and U10), beside the standard scores."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking, read_run
from searchtune.evaluation.udapdr_runs import PerSystem, Run, Scores, mean
from searchtune.synthesis.udapdr_faults import FAULTS

RELEASED = "nDCG@10_released"
# metrics of the released reranker evaluation, and what fault U10 adds to their names
RERANKER_METRICS = ("Success@5", "nDCG@10")
WITHOUT_LAST = "_without_last"
RERANKED = "bm25_reranked"
FAULT_COLUMNS = ["fault", "what", "system", "collection", "metric", "corrected", "released"]


def released_ndcg(gains: Sequence[int], k: int = 10) -> float:
    """Return nDCG as the released code computes it (fault U9): the ideal order is that of the retrieved top ``k``
    only, so relevant passages that were missed cost nothing. ``gains`` are those of the ranking, from rank 1.
    """

    def dcg(values: Sequence[int]) -> float:
        """Return the discounted gain of values in rank order."""
        return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(values, 1))

    top = list(gains[:k])
    ideal = dcg(sorted(top, reverse=True))
    return dcg(top) / ideal if ideal else 0.0


def released_ndcg_of(qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Ranking]) -> dict[str, float]:
    """Return query id -> :func:`released_ndcg` over every query of the qrels."""
    return {query: released_ndcg([judged.get(i, 0) for i, _ in run[query]]) for query, judged in qrels.items()}


def add_released(collection: Collection, scored: Iterable[tuple[Run, Scores]]) -> None:
    """Add the released nDCG (fault U9) to the scores of a collection's runs; none where it is judged by answers."""
    for run, scores in scored if collection.judged_by == "qrels" else ():
        judged = {query: collection.qrels[query] for query in scores["nDCG@10"]}
        scores[RELEASED] = released_ndcg_of(judged, read_run(run.path))


def without_last(values: Mapping[str, float], order: Iterable[str]) -> dict[str, float]:
    """Return the values (query id -> value) without that of the last query in ``order`` (fault U10): the released loop
    scores a query when the next one begins. A single query leaves an empty mapping.
    """
    return {query: values[query] for query in [query for query in order if query in values][:-1]}


def add_without_last(collection: Collection, scored: Iterable[tuple[Run, Scores]]) -> None:
    """Add the metrics that lack the last query (fault U10) to the scores of a collection's reranked runs."""
    for run, scores in scored:
        if run.system == RERANKED and len(scores["Success@5"]) > 1:
            for metric in scores.keys() & set(RERANKER_METRICS):
                scores[metric + WITHOUT_LAST] = without_last(scores[metric], collection.queries)


def unscored_rows(collection: Collection, name: str, scores: PerSystem) -> list[dict[str, Any]]:
    """Return what fault U10 is worth: the rerankers' metrics over all queries, and without the last one."""
    rows = []
    place = {"fault": "U10", "what": FAULTS["U10"].what, "system": RERANKED, "collection": name}
    for metric in (metric for metric in RERANKER_METRICS if metric in scores[RERANKED]):
        values = scores[RERANKED][metric]
        if rest := without_last(values, collection.queries):
            rows.append(place | {"metric": metric, "corrected": mean(values), "released": mean(rest)})
    return rows


def fault_rows(collection: Collection, name: str, runs: Mapping[str, Path], scores: PerSystem) -> list[dict[str, Any]]:
    """Return what fault U9 is worth: nDCG@10 of every system, standard and as the released code computes it.

    A collection that is judged by answers has no nDCG and so no rows.
    """
    rows = []
    what = FAULTS["U9"].what
    for system, path in runs.items() if collection.judged_by == "qrels" else ():
        standard = scores[system]["nDCG@10"]
        released = released_ndcg_of({query: collection.qrels[query] for query in standard}, read_run(path))
        values = {"corrected": mean(standard), "released": mean(released)}
        rows.append({"fault": "U9", "what": what, "system": system, "collection": name, "metric": "nDCG@10"} | values)
    return rows
