"""Stage ``udapdr.plaid_loss``: what PLAID loses against exact late interaction, on a corpus that both can search."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking, tie_share
from searchtune.errors import DataError
from searchtune.evaluation.metrics import evaluate, means, overlap
from searchtune.files import files_of, write_tsv
from searchtune.retrieval import plaid
from searchtune.retrieval.late_interaction import LateInteractionModel, search
from searchtune.retrieval.token_index import VECTORS_FILE, TokenIndex
from searchtune.stage import Job

COLUMNS = [
    *("collection", "search", "nbits", "passages", "index_bytes", "bytes_share", "overlap@10", "overlap@100"),
    *("success@5", "ndcg@10", "n", "depth", "least_rows", "tie_share"),
]


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files of a folder."""
    return sum(file.stat().st_size for file in files_of(path))


def loss_row(
    collection: Collection, exact: Mapping[str, Ranking], found: Mapping[str, Ranking], size: int, exact_size: int
) -> dict[str, Any]:
    """Return what is measured of one search; ``size`` and ``exact_size``: bytes of its index and of the exact one."""
    scores = means(evaluate({query: collection.qrels[query] for query in exact}, found, ["Success@5", "nDCG@10"]))
    return {
        "passages": len(collection.corpus),
        "index_bytes": size,
        "bytes_share": size / exact_size,
        "overlap@10": overlap(exact, found, 10),
        "overlap@100": overlap(exact, found, 100),
        "success@5": scores["Success@5"],
        "ndcg@10": scores["nDCG@10"],
        "n": len(exact),
        "least_rows": min(map(len, found.values())),
        "tie_share": tie_share(found),
    }


def judged_queries(collection: Collection, splits: Sequence[str]) -> dict[str, str]:
    """Return id -> text of the judged queries of the splits; DataError if there is none."""
    asked = {i: q.text for split in splits for i, q in collection.queries_of(split).items() if collection.qrels.get(i)}
    if not asked:
        raise DataError(f"udapdr.plaid_loss: no judged queries in the splits {', '.join(splits)}")
    return asked


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Inputs: collection, student, index (its token index). Output: loss (table, see ``COLUMNS``).

    Params: splits, depth, nbits (of PLAID, a row each), plaid (:class:`plaid.PlaidSettings`, but for the bits). The
    exact row is of the saved index, whose vectors have half precision, as PLAID gets them.
    """
    params, collection = job.params, Collection.load(job.inputs["collection"])
    index = TokenIndex.load(job.inputs["index"])
    asked = judged_queries(collection, params["splits"])
    vectors = LateInteractionModel.load(job.inputs["student"]).encode_queries(list(asked.values()))
    excluded = [collection.excluded.get(query, set()) for query in asked]
    exact = dict(zip(asked, search(index, vectors, params["depth"], excluded), strict=True))
    file = job.inputs["index"] / VECTORS_FILE
    exact_size = size_of(file)
    start = {"collection": collection.manifest.get("id", job.inputs["collection"].name), "depth": params["depth"]}
    rows = [start | {"search": "exact", "nbits": ""} | loss_row(collection, exact, exact, exact_size, exact_size)]
    for nbits in params["nbits"]:
        settings = replace(plaid.settings_of(params), nbits=nbits)
        folder = job.work / f"plaid-{nbits}"
        found = plaid.search(file, index.ids, vectors, params["depth"], excluded, settings, folder, job.threads)
        row = loss_row(collection, exact, dict(zip(asked, found, strict=True)), size_of(folder), exact_size)
        rows.append(start | {"search": f"plaid_{nbits}bit", "nbits": nbits} | row)
        job.log(f"PLAID, {nbits} bits: overlap of the top 10 {row['overlap@10']:.3f}")
    write_tsv(job.outputs["loss"], COLUMNS, rows)
    return {"queries": len(asked), "rows": len(rows)}
