"""Stage ``adapt.export``: an adapted retriever as a folder to search with, its model ready for a hub.

Output: ``model/`` (weights, tokenizer, settings, card, provenance; no text of the corpus), ``index/`` (token vectors
and passages, for this machine), ``quality.tsv``. A model that learnt from data with a canary, or from something whose
licence doesn't let it be passed on, is refused (:mod:`searchtune.release.gate`).
"""

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.errors import ModelError
from searchtune.files import read_json, read_jsonl, read_tsv, write_json, write_jsonl, write_text, write_tsv
from searchtune.release.card import comparison, render_card, score_rows
from searchtune.release.gate import chain_of, refuse, steps_of
from searchtune.reporting.lineage import licences_of
from searchtune.stage import Job

PASSAGES = "passages.jsonl"
MODEL, INDEX = "model", "index"
UNNEEDED = shutil.ignore_patterns(".*")  # the workflow's own marks


def facts_of(job: Job, collection: Collection, quality: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return what the card says; ``quality``: the rows of the target."""
    params, tables = job.params, job.inputs["tables"]
    settings = read_json(job.inputs["model"] / "late_interaction.json")
    queries = read_jsonl(job.inputs["filtered"] / "queries.jsonl")
    signs = read_tsv(tables / "signs.tsv")
    return {
        **{key: params[key] for key in ("target", "encoder", "seen", "writer", "rerankers", "synthetic", "k")},
        "dim": settings["dim"],
        "passage_length": settings["passage_length"],
        "passages": len(collection.corpus),
        "n": quality[0]["n"],
        "comparison": comparison(quality),
        "scores": score_rows(quality),
        "signs": len(signs),
        "signs_passed": sum(row["passed"] == "true" for row in signs),
        "failed": [row["sign"] for row in signs if row["passed"] != "true"],
        "written": sum(int(row["in"]) for row in read_tsv(tables / "synthesis.tsv") if row["stage"] == "scale_up"),
        "kept": len(queries),
        "trained": sum(row["part"] != "held" for row in queries),
        "corpus_licence": collection.manifest.get("licence", ""),
        "licences": licences_of(job.inputs["model"]),
    }


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Inputs: model (student), index, collection, filtered, tables (of udapdr), audit. Output: folder.

    Params: target, scored (collection of the quality table), encoder, seen, writer, rerankers (count), synthetic
    (whether its test queries are), k (of the filter). ModelError for a model that may not leave this machine.
    """
    chain = chain_of(job.inputs["model"], ModelError)
    collection = Collection.load(job.inputs["collection"])
    refuse(chain, ModelError, collection.manifest.get("licence", ""))
    table = read_tsv(job.inputs["tables"] / "quality.tsv")
    quality = [row for row in table if row["collection"] == job.params["scored"]]
    folder = job.outputs["folder"]
    shutil.copytree(job.inputs["model"], folder / MODEL, ignore=UNNEEDED)
    write_text(folder / MODEL / "README.md", render_card(facts_of(job, collection, quality)))
    write_json(folder / MODEL / "provenance.json", steps_of(chain))
    shutil.copytree(job.inputs["index"], folder / INDEX, ignore=UNNEEDED)
    write_jsonl(
        folder / INDEX / PASSAGES,
        (
            {"id": i, "file": passage.file, "title": passage.title, "text": passage.text}
            for i, passage in collection.corpus.items()
        ),
    )
    write_tsv(folder / "quality.tsv", list(table[0]), quality)
    return {"passages": len(collection.corpus), "systems": len({row["system"] for row in quality})}
