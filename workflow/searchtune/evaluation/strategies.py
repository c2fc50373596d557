"""Table of ranking strategies: pointwise, pairwise and listwise reranking beside BM25, on the same candidates."""

from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking, read_run, read_scores, scores_path, tie_share
from searchtune.evaluation.metrics import PerQuery, evaluate
from searchtune.evaluation.significance import bootstrap_ci, paired_test
from searchtune.files import read_json, read_tsv

METRICS = ("nDCG@10", "RR@10")
BM25 = "bm25"
STRATEGY_COLUMNS = [
    *("system", "collection", "mode", "depth", "window", "stride", "metric", "value", "ci_low", "ci_high", "n"),
    *("tie_share", "dropped", "asked", "broken", "prompt_tokens", "completion_tokens", "baseline", "p_value"),
]
_COPIED = (
    *("collection", "mode", "depth", "window", "stride"),
    *("dropped", "asked", "broken", "prompt_tokens", "completion_tokens"),
)


def first_stage(run_path: Path, reranked: dict[str, Ranking]) -> dict[str, Ranking]:
    """Return BM25's order of the very candidates that were reranked."""
    run = read_run(run_path)
    return {
        query: [pair for pair in run[query] if pair[0] in {d for d, _ in ranking}]
        for query, ranking in reranked.items()
    }


def metric_rows(head: dict[str, Any], values: PerQuery, against: PerQuery | None, stats: dict[str, Any]) -> list[dict]:
    """Return a row a metric: mean, interval over queries, paired p-value against BM25 on the same queries."""
    rows = []
    for metric, found in values.items():
        queries = sorted(found)
        mine = [found[q] for q in queries]
        low, high = bootstrap_ci(mine, stats["seed"], stats["samples"], stats["level"])
        p = (
            paired_test(mine, [against[metric][q] for q in queries], stats["seed"], stats["permutations"])
            if against
            else None
        )
        rows.append(
            head
            | {"metric": metric, "value": sum(mine) / len(mine), "ci_low": low, "ci_high": high, "n": len(mine)}
            | {"baseline": BM25 if against else None, "p_value": p}
        )
    return rows


def strategy_rows(
    collections: dict[str, Path], runs: dict[str, Path], reranked: list[Path], stats: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the rows of strategies.tsv.

    ``collections`` and ``runs`` (BM25): name -> path; ``reranked``: folders of stage ``rerank.strategies``; ``stats``:
    seed, samples, permutations, level. BM25 stands once a collection, on the first folder's queries.
    """
    rows: list[dict[str, Any]] = []
    seen: set[str] = set()
    for folder in reranked:
        system = read_json(folder / "manifest.json")["system"]
        for counts in read_tsv(folder / "counts.tsv"):
            name, path = counts["collection"], folder / counts["mode"] / f"{counts['collection']}.run.gz"
            run = read_run(path)
            judged = Collection.judgements(collections[name]).qrels
            qrels = {query: judged[query] for query in run}
            bm25 = first_stage(runs[name], run)
            baseline = evaluate(qrels, bm25, METRICS)
            if name not in seen:
                seen.add(name)
                head: dict[str, Any] = {"system": BM25, "collection": name, "mode": "", "depth": counts["depth"]}
                rows += metric_rows(head, baseline, None, stats)
            head = {"system": system} | {
                key: counts[key] for key in ("collection", "mode", "depth", "window", "stride")
            }
            head |= {key: counts[key] for key in _COPIED}
            head["tie_share"] = tie_share(read_scores(scores_path(path)))
            rows += metric_rows(head, evaluate(qrels, run, METRICS), baseline, stats)
    return rows
