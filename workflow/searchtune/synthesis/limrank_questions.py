"""Stage ``limrank.questions``: a question set without judged passages, with BM25's first stage beside it."""

from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.build import raw_paths
from searchtune.collections.gpqa import read_gpqa
from searchtune.collections.trec import write_run
from searchtune.errors import ConfigError, nearest
from searchtune.files import sha256_tree
from searchtune.retrieval.bm25 import BM25Index
from searchtune.retrieval.first_stage import fill_unmatched
from searchtune.stage import Job

READERS = {"gpqa": read_gpqa}


def run(job: Job) -> dict[str, Any]:
    """Stage function. Input: raw (fetched artefacts). Outputs: questions (collection layout), run, scores.

    Params: name, reader, raw (files), licence, canary, seed (order of choices), depth, k1, b, stop_list, words. The
    released code indexes with English stop words and without stems; the project's BM25 stems.
    """
    params = job.params
    if params["reader"] not in READERS:
        raise ConfigError(f"unknown reader of questions {params['reader']!r}{nearest(params['reader'], READERS)}")
    paths = raw_paths(job.inputs["raw"], params["raw"])
    collection = READERS[params["reader"]](paths, params["name"], params["seed"])
    collection.manifest |= {
        "licence": params["licence"],
        "canary": list(params["canary"]),
        "source": [
            {"file": name, "sha256": sha256_tree(path)} for name, path in zip(params["raw"], paths, strict=True)
        ],
    }
    collection.save(job.outputs["questions"])
    ties = write_run(job.outputs["run"], first_stage(collection, params), "bm25", scores=job.outputs["scores"])
    return {
        "questions": len(collection.queries),
        "documents": len(collection.corpus),
        "tie_share": ties,
        "canary": list(params["canary"]),
        "licences": [params["licence"]] if params["licence"] else [],
    }


def first_stage(collection: Collection, params: dict[str, Any]) -> dict[str, list[tuple[str, float]]]:
    """Return BM25's ranking of every question; one that matched nothing gets documents by id."""
    ids = list(collection.corpus)
    texts = [collection.passage_text(i) for i in ids]
    index = BM25Index.of(ids, texts, params)
    found = index.search([query.text for query in collection.queries.values()], params["depth"])
    return {
        query: fill_unmatched(ranking, ids, params["depth"])
        for query, ranking in zip(collection.queries, found, strict=True)
    }
