"""What the faults of the released LimRank code are worth: the scores of corrected runs, used as the released code does.

Priced are those that need no other call: depth, order, ties, silent 0.5, and excluded documents, which the reranker
scores apart. The others change prompts or batches; ``reranking.released_faults`` says of each where its worth is seen.
"""

from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking, rank_by_score, read_run, read_scores, scores_path
from searchtune.evaluation.metrics import evaluate, means
from searchtune.files import iter_jsonl
from searchtune.reranking.order_faults import ORDER_FAULTS, RELEASED_DEPTH, apply_order_faults
from searchtune.reranking.released_faults import ALL, EXCLUDED

METRIC = "nDCG@10"
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


def with_excluded(scores: Scores, first: dict[str, Ranking], extra: Scores) -> tuple[Scores, dict[str, list[str]]]:
    """Return scores and candidates of fault ``L8``: the first stage's top as it is, excluded documents and all.

    ``extra`` holds the scores of the excluded documents that stand there; the depth is that of the corrected lists.
    """
    depth = max(map(len, scores.values()))
    known = {query: found | extra.get(query, {}) for query, found in scores.items()}
    return known, {query: [d for d, _ in first[query][:depth] if d in known[query]] for query in scores}


def without_verdict(calls: Path) -> set[tuple[str, str]]:
    """Return the (query, passage) pairs whose reasoning ran out of budget or ended without its tag."""
    found = set()
    for call in iter_jsonl(calls):
        if call["id"].endswith("#think") and (call["finish_reason"] == "length" or call.get("unstopped")):
            query, document = call["id"].removesuffix("#think").split("\t")
            found.add((query, document))
    return found


def silenced(scores: Scores, pairs: set[tuple[str, str]]) -> Scores:
    """Return the scores of fault ``L14``: log-odds 0, which is 0.5, for pairs whose answer had no verdict.

    The released code first asks again for one of the two words, and falls back where they are not among the top
    log-probabilities; how often is a matter of its back end. Here that always fails: the most that the fault can do.
    """
    return {
        query: {d: 0.0 if (query, d) in pairs else score for d, score in found.items()}
        for query, found in scores.items()
    }


def released_rankings(
    folder: Path, mode: str, collection: Collection, name: str, first: dict[str, Ranking]
) -> dict[str, dict[str, Ranking]]:
    """Return fault -> rankings of one run, "" for the corrected ones; faults that can't touch it are left out."""
    scores = read_scores(scores_path(folder / mode / f"{name}.run.gz"))
    candidates = {q: [d for d, _ in first[q] if d in found] for q, found in scores.items()}
    rankings = {"": ordered(scores, candidates, ())}
    rankings |= {fault: ordered(scores, candidates, (fault,)) for fault in ORDER_FAULTS}
    if any(collection.excluded.get(query) for query in scores):
        path = scores_path(folder / mode / f"{name}{EXCLUDED}.run.gz")
        rankings["L8"] = ordered(*with_excluded(scores, first, read_scores(path) if path.is_file() else {}), ())
    calls = folder / "calls" / f"{mode}-{name}.jsonl.gz"
    if mode == "reasoning" and calls.is_file():
        rankings["L14"] = ordered(silenced(scores, without_verdict(calls)), candidates, ())
    return rankings


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
                rankings = released_rankings(path, mode, collection, folder.name, first)
                values = {
                    fault: means(evaluate({q: collection.qrels[q] for q in found}, found, [METRIC]))[METRIC]
                    for fault, found in rankings.items()
                }
                rows += [
                    {
                        "fault": fault,
                        "what": ALL[fault].what,
                        "system": f"{manifest['system']} {mode}",
                        "collection": folder.name,
                        "metric": METRIC,
                        "corrected": values[""],
                        "released": values[fault],
                    }
                    for fault in sorted(values, key=lambda name: int(name[1:] or 0))
                    if fault
                ]
    return rows
