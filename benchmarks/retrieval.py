"""Compare the adapted student with batched reranking on a finished run: time a query, and Success@5 of its answers.

    python benchmarks/retrieval.py results/demo --collection amazon

Both answer every test query from its text, one query at a time. The student encodes the query and searches its index
exactly; reranking retrieves the top of BM25 and scores it with all rerankers of the chain, whose mean it takes. Their
Success@5 are compared by a paired test over the queries, and with those of the run's own files before the times are
printed: an answer that is fast but another one would not count.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

Ranking = list[tuple[str, float]]
METRIC = "Success@5"
# a run's lists were scored in other batches, in bfloat16 where the machine has it: a few near ties may fall otherwise
CLOSE = 0.02


def student_of(chain: Path, depth: int) -> Callable[[str], Ranking]:
    """Return the search of the adapted student in its index."""
    from searchtune.retrieval.late_interaction import LateInteractionModel, search
    from searchtune.retrieval.token_index import TokenIndex

    model = LateInteractionModel.load(chain / "students/adapted", precision="auto")
    index = TokenIndex.load(chain / "indexes/student_adapted")
    return lambda query: search(index, model.encode_queries([query]), depth)[0]


def reranking_of(chain: Path, collection: Path, depth: int) -> Callable[[str], Ranking]:
    """Return BM25 followed by all rerankers, with the length and batches that the run used."""
    from searchtune.collections.beir import Collection
    from searchtune.collections.trec import rank_by_score
    from searchtune.files import read_json
    from searchtune.reranking.cross_encoder import CrossEncoder, mean_scores
    from searchtune.retrieval.bm25 import BM25Index

    params = read_json(chain / "bm25_reranked.run.gz.job.json")["params"]
    loaded = Collection.load(collection)
    ids = list(loaded.corpus)
    index = BM25Index.build(ids, [loaded.passage_text(i) for i in ids])
    folders = sorted(path for path in (chain / "rerankers").iterdir() if path.is_dir())
    models = [CrossEncoder.load(path, params["max_length"], params["precision"]) for path in folders]

    def answer(query: str) -> Ranking:
        """Return the reranked top of BM25."""
        top = [passage for passage, _ in index.search([query], depth)[0]]
        pairs = [(query, loaded.passage_text(passage)) for passage in top]
        scores = mean_scores([model.score(pairs, params["batch_size"]) for model in models])
        return rank_by_score(list(zip(top, scores, strict=True)), top)

    return answer


def timed(answer: Callable[[str], Ranking], queries: dict[str, str]) -> tuple[dict[str, Ranking], list[float]]:
    """Return every query's ranking and its milliseconds; a few queries warm up first."""
    for query in list(queries.values())[:5]:
        answer(query)
    run, times = {}, []
    for name, query in queries.items():
        started = time.perf_counter()
        run[name] = answer(query)
        times.append(1000 * (time.perf_counter() - started))
    return run, times


def success(qrels: dict[str, dict[str, int]], run: dict[str, Ranking]) -> dict[str, float]:
    """Return query -> Success@5; a query without an answer counts 0."""
    from searchtune.evaluation.metrics import evaluate

    return evaluate(qrels, {q: ranking for q, ranking in run.items() if ranking}, [METRIC], allow_missing=True)[METRIC]


def mean(values: dict[str, float]) -> float:
    """Return the mean over queries."""
    return sum(values.values()) / len(values)


def main() -> None:
    """Print median and 95th percentile of the milliseconds a query, Success@5, and the paired test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="results folder of a finished run, such as results/demo")
    parser.add_argument("--collection", default="amazon", help="target of the run's UDAPDR chain")
    parser.add_argument("--depth", type=int, default=20, help="passages that are reranked")
    parser.add_argument("--queries", type=int, help="test queries, the first ones (default: all)")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    import torch
    from transformers.utils import logging

    from searchtune.collections.beir import Collection
    from searchtune.collections.trec import read_run
    from searchtune.evaluation.latency import percentile
    from searchtune.evaluation.significance import compare

    torch.set_num_threads(options.threads)
    logging.disable_progress_bar()
    chain, folder = (options.results / part / options.collection for part in ("udapdr", "collections"))
    collection = Collection.load(folder)
    qrels = dict(list(collection.qrels_of("test").items())[: options.queries])
    queries = {query: collection.queries[query].text for query in qrels}
    systems = {
        "student": (student_of(chain, 100), chain / "late/student_adapted/student_adapted.run.gz"),
        "reranking": (reranking_of(chain, folder, options.depth), chain / "bm25_reranked.run.gz"),
    }
    values, rows = {}, []
    for name, (answer, path) in systems.items():
        run, times = timed(answer, queries)
        values[name] = success(qrels, run)
        kept = mean(success(qrels, read_run(path)))
        if abs(mean(values[name]) - kept) > CLOSE:
            sys.exit(f"{name}: {METRIC} is {mean(values[name]):.4f}, in {path} it is {kept:.4f}; times would mislead")
        rows.append((name, percentile(times, 0.5), percentile(times, 0.95), mean(values[name]), kept))
    print(f"system\tp50_ms\tp95_ms\t{METRIC}\tin_the_run\ttimes_reranking")
    for name, middle, late, value, kept in rows:
        print(f"{name}\t{middle:.1f}\t{late:.1f}\t{value:.4f}\t{kept:.4f}\t{rows[-1][1] / middle:.1f}")
    found = compare(values["student"], values["reranking"], 0)
    print(
        f"student minus reranking: {found['difference']:+.4f} ({found['ci_low']:+.4f} to {found['ci_high']:+.4f}), "
        f"p {found['p_value']:.3f}, {found['n']} queries"
    )


if __name__ == "__main__":
    main()
