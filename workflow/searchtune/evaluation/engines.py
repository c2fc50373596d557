"""Stage ``evaluate.engines``: what BM25 by bm25s and by Lucene differ in, on the same passages and queries."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking, read_run
from searchtune.errors import ConfigError
from searchtune.evaluation.metrics import evaluate, overlap
from searchtune.evaluation.significance import bootstrap_ci, holm, paired_test
from searchtune.files import write_tsv
from searchtune.stage import Job

METRICS = ("nDCG@10", "R@100")
COLUMNS = [
    *("collection", "passages", "n", "metric", "bm25s", "lucene", "difference", "ci_low", "ci_high"),
    *("p_value", "p_holm", "same_top_10"),
]


def rows_of(collection: Collection, ours: Mapping[str, Ranking], lucene: Mapping[str, Ranking], params: dict) -> list:
    """Return a row a metric: both means over the judged test queries, the difference (bm25s less Lucene) with its
    interval and paired test, and the share of the first ten passages that both have.

    Params: seed, bootstrap_samples, permutations, level.
    """
    queries = [q for q in collection.queries_of("test") if any(collection.qrels.get(q, {}).values())]
    qrels = {query: collection.qrels[query] for query in queries}
    scored = [evaluate(qrels, {q: run[q] for q in queries}, METRICS) for run in (ours, lucene)]
    same = overlap({q: lucene[q] for q in queries}, ours, 10)
    rows = []
    for metric in METRICS:
        a, b = ([table[metric][query] for query in queries] for table in scored)
        differences = [x - y for x, y in zip(a, b, strict=True)]
        low, high = bootstrap_ci(differences, params["seed"], params["bootstrap_samples"], params["level"])
        rows.append(
            {
                "passages": len(collection.corpus),
                "n": len(queries),
                "metric": metric,
                "bm25s": sum(a) / len(a),
                "lucene": sum(b) / len(b),
                "difference": sum(differences) / len(differences),
                "ci_low": low,
                "ci_high": high,
                "p_value": paired_test(a, b, params["seed"], params["permutations"]),
                "same_top_10": same,
            }
        )
    return rows


def run(job: Job) -> dict[str, Any]:
    """Stage function. Inputs, aligned: collections (folders), bm25 and lucene (runs). Output: table.

    Params: engine, seed, bootstrap_samples, permutations, level. ConfigError where Lucene made both runs.
    """
    if job.params["engine"] != "bm25s":
        raise ConfigError("retrieval.engine is lucene, so there is nothing to compare: set it to bm25s for this target")
    rows = []
    paths: list[list[Path]] = [job.inputs[name] for name in ("collections", "bm25", "lucene")]
    for folder, ours, lucene in zip(*paths, strict=True):
        found = rows_of(Collection.load(folder), read_run(ours), read_run(lucene), job.params)
        rows += [{"collection": folder.name, **row} for row in found]
    adjusted = holm({number: row["p_value"] for number, row in enumerate(rows)})
    write_tsv(job.outputs["table"], COLUMNS, [row | {"p_holm": adjusted[n]} for n, row in enumerate(rows)])
    return {"collections": len(paths[0]), "largest_difference": max(abs(row["difference"]) for row in rows)}
