"""Stage ``synthesize.export``: the synthesizer's kept rows as a data set with its card, to take away.

Output: ``train.jsonl`` and ``dev.jsonl``, ``funnel.tsv``, ``reasons.tsv``, ``coverage.tsv``, ``figures/``,
``README.md`` (the data card), ``provenance.json`` and ``summary.json``. Rows that come from data with a canary, or
from something whose licence doesn't let it be passed on, are refused (:mod:`searchtune.release.gate`).
"""

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from searchtune.errors import DataError
from searchtune.files import read_json, read_jsonl, read_tsv, write_json, write_jsonl, write_text
from searchtune.release.card import render_card
from searchtune.release.dataset_warnings import warnings_of
from searchtune.release.gate import chain_of, refuse, steps_of
from searchtune.reporting.figures_ranking import funnel as draw_funnel
from searchtune.reporting.figures_synthesis import FIGURES, coverage_counts
from searchtune.reporting.lineage import licences_of
from searchtune.reporting.reading import Loaded, load_table
from searchtune.stage import Job

TEMPLATE = Path(__file__).parents[2] / "report" / "dataset.md.j2"
SPLITS = ("train", "dev")
COPIED = {"synthesis.tsv": "funnel.tsv", "reasons.tsv": "reasons.tsv", "coverage.tsv": "coverage.tsv"}
_FIELDS = ("id", "query", "passage", "label", "reasoning", "role", "kind", "domain", "difficulty", "band", "register")
_ORIGIN = ("seed_id", "seed", "persona", "plan", "fails_because")
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def export_row(row: dict, models: dict[str, dict[str, str]]) -> dict:
    """Return a kept pair as a row of the data set."""
    origin = {key: row.get(key, "") for key in _ORIGIN} | {"judge_score": row["score"]}
    asked = {step: models[step]["model"] for step in ("expand_query", "write_passage", "judge")}
    fields = {key: row.get(key, "") for key in _FIELDS}
    return fields | {"words": row.get("words"), "provenance": origin | {"models": asked}}


def split_rows(kept: list[dict]) -> list[dict]:
    """Return the numbers of rows, labels, queries and seeds of each split."""
    found = []
    for name in SPLITS:
        mine = [row for row in kept if row["split"] == name]
        found.append(
            {
                "split": name,
                "rows": len(mine),
                "true": sum(row["label"] for row in mine),
                "false": sum(not row["label"] for row in mine),
                "queries": len({row["query"] for row in mine}),
                "seeds": len({row["seed_id"] for row in mine}),
            }
        )
    return found


def size_of(rows: int) -> str:
    """Return the size class of a data set as hubs name it."""
    return next((name for limit, name in _SIZES if rows < limit), "n>1M")


def percent(share: float) -> str:
    """Return a share as a whole percentage."""
    return f"{100 * share:.0f}%"


def components_of(params: dict[str, Any]) -> list[str]:
    """Return the guideline components of a run in words, for the card."""
    return [
        f"personas {'on' if params['use_personas'] else 'off'}",
        f"kinds {', '.join(params['kinds'])}",
        f"reasoning before the plans {'on' if params['use_reasoning'] else 'off'}",
        f"hard negatives a query {params['n_hard']}, random ones {params['n_random']}",
        f"difficulty bands {', '.join(params['difficulties']) or 'off'}",
        f"lengths {', '.join(map(str, params['length_bands']))} words",
        f"registers {', '.join(params['registers'])}",
    ]


def guards_of(params: dict[str, Any]) -> str:
    """Say which evaluation sets the rows were compared with, and how."""
    if not params["compared"]:
        return "none was given"
    meaning = f" and by meaning (cosine {params['leak_cosine']})" if params["leak_encoder"] else ""
    words = f"word n-grams ({params['query_ngram']} of queries, {params['passage_ngram']} of passages)"
    return f"{', '.join(params['compared'])}, by {words}{meaning}"


def facts_of(job: Job, kept: list[dict], tables: dict[str, Loaded]) -> dict[str, Any]:
    """Return what the card says."""
    folder, params = job.inputs["synthesis"], job.params
    judge, models = read_json(folder / "judge.json"), read_json(folder / "models.json")
    lost = Counter({(r["stage"], r["reason"]): 0 for r in tables["reasons"].rows})
    for row in tables["reasons"].rows:
        lost[row["stage"], row["reason"]] += int(row["count"])
    funnel = [
        row | {"share": percent(float(row["keep_rate"])) if row["keep_rate"] else ""}
        for row in tables["synthesis"].rows
    ]
    shown = {"mode": judge["mode"], "n": judge["n"]}
    shown |= {
        name: f"{judge[key]:.2f}" for name, key in (("accuracy", "accuracy"), ("low", "ci_low"), ("high", "ci_high"))
    }
    return {
        "name": params["name"],
        "size": size_of(len(kept)),
        "seeds": next(int(row["out"]) for row in tables["synthesis"].rows if row["stage"] == "seeds"),
        "splits": split_rows(kept),
        "kept": len(kept),
        "pairs": round(len(kept) / judge["keep_rate"]) if judge["keep_rate"] else 0,
        "keep_rate": percent(judge["keep_rate"]),
        "models": [{"step": step} | used for step, used in models.items()],
        "components": components_of(params),
        "funnel": funnel,
        "reasons": [f"{stage}: {count} {reason}" for (stage, reason), count in lost.items()],
        "judge": shown,
        "guards": guards_of(params),
        "coverage": coverage_counts(tables["coverage"]),
        "licences": licences_of(folder),
    }


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Input: synthesis. Output: dataset (folder).

    Params: name, compared (evaluation collections), leak_encoder and the synthesizer's own. DataError for rows that
    may not leave this machine, or where no row was kept.
    """
    folder, out = job.inputs["synthesis"], job.outputs["dataset"]
    chain = chain_of(folder)
    refuse(chain, stated=job.params.get("queries_licence", ""))
    kept = read_jsonl(folder / "kept.jsonl")
    if not kept:
        raise DataError(f"{folder}: the filter kept no row; look at reasons.tsv and judge.json beside it")
    models = read_json(folder / "models.json")
    for name in SPLITS:
        write_jsonl(out / f"{name}.jsonl", (export_row(row, models) for row in kept if row["split"] == name))
    tables = {name: load_table(folder / f"{name}.tsv") for name in ("synthesis", "reasons", "coverage")}
    for source, target in COPIED.items():
        shutil.copyfile(folder / source, out / target)
    draw_funnel(tables, out / "figures")
    for table, draw in FIGURES.values():
        if tables[table].rows:
            draw(tables, out / "figures")
    facts = facts_of(job, kept, tables)
    facts["warnings"] = warnings_of(facts, read_json(folder / "judge.json"), job.params)
    write_text(out / "README.md", render_card(facts, TEMPLATE))
    write_json(out / "provenance.json", steps_of(chain))
    told = ("name", "seeds", "splits", "pairs", "kept", "models", "warnings", "licences")
    write_json(out / "summary.json", {key: facts[key] for key in told} | {"funnel": read_tsv(folder / "synthesis.tsv")})
    return {"rows": len(kept), "warnings": len(facts["warnings"])}
