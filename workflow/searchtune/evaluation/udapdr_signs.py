"""Signs of life of UDAPDR: rules of evidence 15 and 16."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from searchtune.collections.trec import read_scores
from searchtune.errors import DataError
from searchtune.evaluation.significance import paired_test
from searchtune.evaluation.udapdr_runs import BySeed, PerSystem, averaged, mean
from searchtune.files import read_json
from searchtune.stage import Job

SIGN_COLUMNS = ["sign", "value", "threshold", "passed", "note"]
ALPHA = 0.05


def sign(name: str, value: float, threshold: str, passed: bool, note: str) -> dict[str, Any]:
    """Return one row of signs.tsv."""
    return {"sign": name, "value": value, "threshold": threshold, "passed": passed, "note": note}


def reranker_signs(folders: Sequence[Path]) -> list[dict]:
    """Return a sign a reranker: it beats the same network with an untrained head on held-out synthetic queries."""
    rows = []
    for folder in folders:
        found = read_json(folder / "evaluation.json")
        gain = found["trained"] - found["untrained"]
        rows.append(
            sign(
                f"reranker {folder.parent.parent.name}/{folder.name} beats its untrained head",
                found["p_value"],
                "p < 0.05, gain > 0",
                found["p_value"] < ALPHA and gain > 0,
                f"RR {found['untrained']:.3f} untrained, {found['trained']:.3f} trained, "
                f"{found['n']} held-out synthetic queries",
            )
        )
    return rows


def teacher_sign(scores: PerSystem, seed: int, permutations: int, where: str = "") -> dict:
    """Return the sign that shuffled teacher scores make the student worse (test queries; nDCG@10, or RR where that is
    not defined).
    """
    metric = "nDCG@10" if "nDCG@10" in scores["student_adapted"] else "RR"
    adapted, shuffled = (scores[name][metric] for name in ("student_adapted", "student_shuffled_teacher"))
    queries = sorted(adapted)
    p = paired_test([adapted[q] for q in queries], [shuffled[q] for q in queries], seed, permutations)
    return sign(
        "shuffled teacher scores make the student worse" + where,
        p,
        "p < 0.05, loss > 0",
        p < ALPHA and mean(shuffled) < mean(adapted),
        f"{metric} {mean(adapted):.3f} with the teachers' scores, {mean(shuffled):.3f} with shuffled ones",
    )


def filter_sign(rows: Sequence[Mapping[str, str]]) -> dict:
    """Return the sign that the round-trip filter keeps strictly between 5% and 95%."""
    mine = [row for row in rows if row["stage"] == "filter"]
    given, kept = (sum(int(row[key]) for row in mine) for key in ("in", "out"))
    if not given:
        raise DataError("udapdr.evaluate: the synthesis tables have no row of stage 'filter'")
    rate = kept / given
    return sign(
        "the filter keeps some and drops some",
        rate,
        "0.05 to 0.95",
        0.05 < rate < 0.95,
        f"{kept} of {given} synthetic queries kept",
    )


def spread_sign(scores: Mapping[str, Mapping[str, float]]) -> dict:
    """Return the sign that the rerankers' scores vary within every query that has two candidates."""
    lists = [values for values in scores.values() if len(values) > 1]
    varied = sum(len({round(value, 4) for value in values.values()}) > 1 for values in lists) / max(1, len(lists))
    return sign("reranker scores vary within a query", varied, "= 1", varied == 1, f"{len(lists)} queries")


def signs_of(job: Job, targets: Mapping[str, BySeed], synthesis: Sequence[Mapping[str, str]]) -> list[dict]:
    """Return all rows of signs.tsv: rules of evidence 15 and 16."""
    params = job.params
    return [
        *reranker_signs(job.inputs["rerankers"]),
        *(
            teacher_sign(averaged(scores), params["seed"], params["permutations"], f", {name}" if number else "")
            for number, (name, scores) in enumerate(targets.items())
        ),
        filter_sign(synthesis),
        spread_sign(read_scores(job.inputs["reranked_scores"])),
    ]
