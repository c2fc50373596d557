"""Stage ``udapdr.latency``: warm time per query from text to ranked list (UDAPDR, arXiv 2303.00807, table 2).

The paper's reranking times are multiples of 20.6 ms a pair, one pair at a time, without retrieval.
Here retrieval is included, the pairs of a query are scored in batches by all Y rerankers (the system whose quality
is measured takes their mean), and every system is timed query by query and with several queries at once.
"""

import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.errors import DataError
from searchtune.files import read_text, write_json, write_tsv
from searchtune.llm.hardware import device
from searchtune.reranking.cross_encoder import CrossEncoder
from searchtune.retrieval.bm25 import BM25Index
from searchtune.retrieval.late_interaction import LateInteractionModel, search
from searchtune.retrieval.token_index import TokenIndex
from searchtune.stage import Job

COLUMNS = ["system", "depth", "batch", "p50_ms", "p95_ms", "n", "p99_ms"]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the sorted values lie, interpolated linearly; DataError if empty."""
    if not values:
        raise DataError("no time was measured; raise udapdr.latency.n_queries")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def time_calls(call: Callable[[list[str]], Any], queries: Sequence[str], batch: int, warm_up: int) -> list[float]:
    """Return milliseconds a query for each batch of ``batch`` queries, after ``warm_up`` batches that do not count."""
    groups = [list(queries[i : i + batch]) for i in range(0, len(queries), batch)]
    for group in groups[:warm_up]:
        call(group)
    times = []
    for group in groups:
        started = time.perf_counter()
        call(group)
        times.append(1000 * (time.perf_counter() - started) / len(group))
    return times


def row(system: str, depth: int, batch: int, times: Sequence[float], n: int) -> dict[str, Any]:
    """Return one row of the table; ``n`` counts queries."""
    return {
        "system": system,
        "depth": depth,
        "batch": batch,
        "p50_ms": percentile(times, 0.5),
        "p95_ms": percentile(times, 0.95),
        "n": n,
        "p99_ms": percentile(times, 0.99),
    }


def rerank_call(
    index: BM25Index, models: Sequence[CrossEncoder], collection: Collection, depth: int, pairs_at_once: int
) -> Callable[[list[str]], Any]:
    """Return a function that retrieves with BM25 and scores the top ``depth`` of all queries with every model."""

    def call(queries: list[str]) -> None:
        """Rerank the queries; what comes out is not looked at."""
        found = zip(queries, index.search(queries, depth), strict=True)
        pairs = [(query, collection.passage_text(i)) for query, ranking in found for i, _ in ranking]
        for model in models if pairs else ():
            model.score(pairs, pairs_at_once)

    return call


def hardware(threads: int) -> dict[str, Any]:
    """Describe the machine that the times belong to."""
    try:
        lines = read_text(Path("/proc/cpuinfo")).splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return {
        "processor": next(names, platform.processor()),
        "threads": threads,
        "device": device().type,
        "system": platform.platform(),
    }


def measure(job: Job, collection: Collection, queries: list[str]) -> list[dict[str, Any]]:
    """Return the rows of the table; ``batch`` counts the queries that are answered at once."""
    params = job.params
    ids = list(collection.corpus)
    bm25 = BM25Index.of(ids, [collection.passage_text(i) for i in ids], params)
    student = LateInteractionModel.load(job.inputs["student"], "trained", precision=params["precision"])
    index = TokenIndex.load(job.inputs["index"])
    rerankers = [CrossEncoder.load(p, params["max_length"], params["precision"]) for p in job.inputs["rerankers"]]
    batches, warm = (1, params["batch_size"]), params["warm_up"]
    # a round number of batches: a last short one would be timed as if it were whole
    fast = queries[: max(1, len(queries) // params["batch_size"]) * params["batch_size"]]
    depth = params["depth"]
    calls = {
        "bm25": lambda q: bm25.search(q, depth),
        "student_adapted": lambda q: search(index, student.encode_queries(q), depth),
    }
    rows = [
        row(name, depth, batch, time_calls(call, fast, batch, warm), len(fast))
        for name, call in calls.items()
        for batch in batches
    ]
    few = queries[: params["n_reranked"]]
    for depth in params["depths"]:
        call = rerank_call(bm25, rerankers, collection, depth, params["score_batch_size"])
        for batch in (1, max(2, len(few) // 4)):
            rows.append(row("bm25_reranked", depth, batch, time_calls(call, few, batch, 1), len(few)))
            job.log(f"reranked, depth {depth}, batch {batch}: {rows[-1]['p50_ms']:.0f} ms")
    return rows


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Inputs: collection, student, index (of the student), rerankers. Outputs: latency (table), hardware
    (JSON).

    Params: depth (of first-stage lists), depths (reranking), batch_size, n_queries, n_reranked,
    warm_up, splits, max_length, score_batch_size, precision, k1, b.
    """
    collection = Collection.load(job.inputs["collection"])
    queries = [q.text for split in job.params["splits"] for q in collection.queries_of(split).values()]
    if not queries:
        raise DataError(f"udapdr.latency: no queries in the splits {', '.join(job.params['splits'])}")
    rows = measure(job, collection, queries[: job.params["n_queries"]])
    write_tsv(job.outputs["latency"], COLUMNS, rows)
    write_json(job.outputs["hardware"], hardware(job.threads) | {"passages": len(collection.corpus)})
    return {"rows": len(rows), "passages": len(collection.corpus)}
