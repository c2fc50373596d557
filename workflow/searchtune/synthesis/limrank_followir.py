"""Stage ``limrank.followir``: published FollowIR sets in the form of the packaged instruction set.

Each set becomes a folder as :mod:`searchtune.synthesis.limrank_instructions` writes one: the collection with its two
queries a topic, ``changed.jsonl``, ``candidates.run.gz`` (what is reranked, the same under both instructions) and
``bm25.run.gz`` (BM25 with the instruction behind the query, FollowIR's baseline). The publisher's candidates are in no
order that is documented, so BM25 for the query without any instruction orders them, unless an imported run does.
"""

from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection, Query
from searchtune.collections.followir import CHANGED, ORIGINAL, pair_ids
from searchtune.collections.trec import Ranking, write_run
from searchtune.errors import DataError
from searchtune.files import write_jsonl
from searchtune.retrieval.bm25 import BM25Index
from searchtune.retrieval.imported import fit_run, read_any_run
from searchtune.stage import Job
from searchtune.synthesis.limrank_instructions import restricted


def run(job: Job) -> dict[str, Any]:
    """Stage function. Inputs: collections (folders, read by ``followir``); imported (runs of ``imported_names``).
    Output: followir, a folder of sets. Params: k1, b, stop_list, words, imported_names."""
    params = job.params
    imported = dict(zip(params["imported_names"], _list(job.inputs.get("imported", [])), strict=True))
    counts = {"queries": 0, "candidates": 0}
    for path in _list(job.inputs["collections"]):
        collection = Collection.load(path)
        folder = job.outputs["followir"] / path.name
        written = write_set(folder, path.name, collection, params, imported.get(path.name))
        counts = {key: counts[key] + written[key] for key in counts}
    return counts


def _list(paths: Path | list[Path]) -> list[Path]:
    return paths if isinstance(paths, list) else [paths]


def write_set(
    folder: Path, name: str, collection: Collection, params: dict[str, Any], imported: Path | None
) -> dict[str, int]:
    """Write one set; return its numbers of topics and of candidates."""
    topics = pair_ids(collection.queries)
    index = _index(collection, params)
    ready = fit_run(read_any_run(imported), collection, str(imported))[0] if imported else {}
    candidates: dict[str, Ranking] = {}
    bm25: dict[str, Ranking] = {}
    for topic in topics:
        for form in (ORIGINAL, CHANGED):
            key = f"{topic}-{form}"
            query, pool = collection.queries[key], _pool(collection, key)
            candidates[key] = ready[key] if ready else restricted(index, query.text, pool)
            bm25[key] = restricted(index, f"{query.text} {query.instruction}", pool)
    _same_lists(name, topics, candidates)
    _collection_of(collection).save(folder)
    write_jsonl(folder / "changed.jsonl", ({"id": t, "changed": changed_of(collection, t)} for t in topics))
    write_run(folder / "candidates.run.gz", candidates, "imported" if imported else "bm25-query", _order(candidates))
    write_run(folder / "bm25.run.gz", bm25, "bm25-instruction")
    return {"queries": len(topics), "candidates": sum(map(len, candidates.values()))}


def _index(collection: Collection, params: dict[str, Any]) -> BM25Index:
    ids = list(collection.corpus)
    texts = [collection.passage_text(i) for i in ids]
    return BM25Index.of(ids, texts, params)


def _pool(collection: Collection, key: str) -> list[str]:
    if not (pool := collection.candidates.get(key)):
        raise DataError(f"query {key!r} has no candidates; was the collection read by the reader 'followir'?")
    return pool


def changed_of(collection: Collection, topic: str) -> list[str]:
    """Return the documents whose grade the changed instruction changes."""
    changed = collection.queries[f"{topic}-{ORIGINAL}"].metadata.get("changed")
    if not changed:
        raise DataError(f"query {topic!r} has no list of changed documents; was the collection read by 'followir'?")
    return list(changed)


def _same_lists(name: str, topics: list[str], candidates: dict[str, Ranking]) -> None:
    """Refuse candidates that differ between the two instructions: a move could not be told from another list."""
    for topic in topics:
        original, changed = ({d for d, _ in candidates[f"{topic}-{form}"]} for form in (ORIGINAL, CHANGED))
        if original != changed:
            raise DataError(f"{name}, query {topic!r}: the two instructions have different candidates; p-MRR needs one")


def _order(candidates: dict[str, Ranking]) -> dict[str, list[str]]:
    return {query: [document for document, _ in ranking] for query, ranking in candidates.items()}


def _collection_of(collection: Collection) -> Collection:
    """Return the set: the same corpus cut to what is ranked or judged, its queries without their lists."""
    used = {d for part in (collection.qrels, collection.candidates) for ds in part.values() for d in ds}
    queries = {
        key: Query(q.text, q.instruction, {k: v for k, v in q.metadata.items() if k != "changed"})
        for key, q in collection.queries.items()
    }
    corpus = {d: passage for d, passage in collection.corpus.items() if d in used}
    kept = ("id", "licence", "canary", "source", "reader", "left_out")
    manifest = {key: collection.manifest[key] for key in kept if key in collection.manifest}
    return Collection(corpus, queries, collection.qrels, manifest=manifest)
