"""What the faults of the released LimRank code are worth: the same scores, ordered as the released code does."""

from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking, rank_by_score, read_run, read_scores, scores_path
from searchtune.evaluation.metrics import evaluate, means
from searchtune.reranking.order_faults import ORDER_FAULTS, RELEASED_DEPTH, apply_order_faults

METRIC = "nDCG@10"
WHAT = {
    "L1": f"reranks {RELEASED_DEPTH} candidates whatever was asked for",
    "L7": "pairs the sorted documents with the unsorted scores",
    "L11": "breaks ties by the order in memory, here by passage id",
}
Scores = dict[str, dict[str, float]]


def ordered(scores: Scores, candidates: dict[str, list[str]], faults: tuple[str, ...]) -> dict[str, Ranking]:
    """Return the rankings of raw reranker scores (query -> passage -> score) under some order faults.

    ``candidates``: query -> passages in first-stage order.
    """
    if "L1" in faults:
        candidates = {query: documents[:RELEASED_DEPTH] for query, documents in candidates.items()}
    kept = {query: {d: scores[query][d] for d in documents} for query, documents in candidates.items()}
    run, previous = apply_order_faults(kept, candidates, faults)
    return {query: rank_by_score(found, previous[query]) for query, found in run.items()}


def fault_rows(
    collections: list[Path], runs: list[Path], reranked: list[tuple[Path, dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Return a row for each fault, collection and reranking run: mean nDCG@10 corrected and as released.

    A run that was itself made with faults has no corrected order left, and gives no row.
    """
    rows = []
    for folder, run_path in zip(collections, runs, strict=True):
        collection, first = Collection.load(folder), read_run(run_path)
        for path, manifest in reranked:
            for mode in manifest["modes"] if not manifest["faults"] else ():
                scores = read_scores(scores_path(path / mode / f"{folder.name}.run.gz"))
                candidates = {q: [d for d, _ in first[q] if d in found] for q, found in scores.items()}
                qrels = {q: collection.qrels[q] for q in scores}
                corrected, *released = (
                    means(evaluate(qrels, ordered(scores, candidates, faults), [METRIC]))[METRIC]
                    for faults in ((), *((fault,) for fault in ORDER_FAULTS))
                )
                rows += [
                    {
                        "fault": fault,
                        "what": WHAT[fault],
                        "system": f"{manifest['system']} {mode}",
                        "collection": folder.name,
                        "metric": METRIC,
                        "corrected": corrected,
                        "released": value,
                    }
                    for fault, value in zip(ORDER_FAULTS, released, strict=True)
                ]
    return rows
