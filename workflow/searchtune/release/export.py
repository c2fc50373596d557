"""Stage ``adapt.export``: an adapted retriever as a folder to search with, its model ready for a hub.

Output: ``model/`` (weights, tokenizer, settings, card, provenance; no text of the corpus), ``index/`` (token vectors
and passages, for this machine), ``quality.tsv``. A model that learnt from data with a canary is refused: such data ask
not to be trained on, and what was made from them stays on this machine (rules of evidence, 17).
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.errors import ModelError
from searchtune.files import read_json, read_jsonl, read_tsv, write_json, write_jsonl, write_text, write_tsv
from searchtune.release.card import comparison, render_card, score_rows
from searchtune.reporting.lineage import ancestors, licences_of
from searchtune.stage import Job, provenance_of

PASSAGES = "passages.jsonl"
MODEL, INDEX = "model", "index"
UNNEEDED = shutil.ignore_patterns(".*")  # the workflow's own marks


def refuse_canary(model: Path) -> None:
    """Raise ModelError if a model, by its provenance, learnt from data with a canary, or has no provenance."""
    record = provenance_of(model)
    if record is None:
        raise ModelError(f"{model}: no provenance lies beside it, so what it learnt from is unknown; make it anew")
    if record.get("canary"):
        raise ModelError(
            f"{model} learnt from data that carry a canary ({', '.join(record['canary'])}) and stays on this machine. "
            "Use a writer and a corpus without one: scale adapt, canary_data: evaluate_only"
        )


def steps_of(model: Path) -> list[dict[str, Any]]:
    """Return the steps behind a model without any path of this machine: stage, parameters' and code's hash, output."""
    return [
        {
            # what no step made is the user's own, whose folders are nobody's business
            "artefact": "/".join(Path(step.path).parts[-3 if step.stage else -1 :]),
            "sha256": step.sha256,
            "stage": step.stage,
            "parameters": step.config,
            "code": step.code,
            "licences": list(step.licences),
        }
        for step in ancestors([model]).values()
    ]


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
    (whether its test queries are), k (of the filter). ModelError for a model with a canary.
    """
    refuse_canary(job.inputs["model"])
    collection = Collection.load(job.inputs["collection"])
    table = read_tsv(job.inputs["tables"] / "quality.tsv")
    quality = [row for row in table if row["collection"] == job.params["scored"]]
    folder = job.outputs["folder"]
    shutil.copytree(job.inputs["model"], folder / MODEL, ignore=UNNEEDED)
    write_text(folder / MODEL / "README.md", render_card(facts_of(job, collection, quality)))
    write_json(folder / MODEL / "provenance.json", steps_of(job.inputs["model"]))
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
