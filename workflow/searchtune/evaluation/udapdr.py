"""Stage ``udapdr.evaluate``: tables of UDAPDR from the runs of all systems.

Baselines and p-values: rules of evidence 6 and 10; signs of life: 15 and 16.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking, read_run, read_scores
from searchtune.errors import DataError
from searchtune.evaluation.metrics import evaluate, write_metrics
from searchtune.evaluation.significance import bootstrap_ci, paired_test
from searchtune.files import read_json, read_tsv, write_tsv
from searchtune.stage import Job
from searchtune.synthesis.udapdr_filter import RATE_COLUMNS, SYNTHESIS_COLUMNS

METRICS = ("Success@5", "nDCG@10", "RR")
RELEASED = "nDCG@10_released"
# not adapted to the target: nothing was trained, or the training data came from another domain
UNADAPTED = ("bm25", "minilm_dense", "maxsim_no_projection", "student_untrained_projection", "student_off_domain")
SYSTEMS = (*UNADAPTED, "student_adapted", "student_shuffled_teacher", "bm25_reranked")
ENCODER_SYSTEMS = ("minilm_dense", "maxsim_no_projection", "student_untrained_projection")
COMPARISONS = ("p_vs_bm25", "p_vs_best_unadapted", "p_vs_reranked")
QUALITY_COLUMNS = ["collection", "system", "metric", "value", "ci_low", "ci_high", "n", *COMPARISONS, "note"]
PER_QUERY_COLUMNS = ["collection", "system", "metric", "query-id", "value"]
SIGN_COLUMNS = ["sign", "value", "threshold", "passed", "note"]
FAILURE_COLUMNS = ["step", "calls", "failed", "share"]
ALPHA = 0.05
FAULT_COLUMNS = ["fault", "what", "system", "collection", "metric", "corrected", "released"]
U9 = "ideal ranking taken from the retrieved passages only"
PerSystem = dict[str, dict[str, dict[str, float]]]


def released_ndcg(gains: Sequence[int], k: int = 10) -> float:
    """Return nDCG as the released code computes it (fault U9): the ideal order is that of the retrieved top ``k``
    only, so relevant passages that were missed cost nothing. ``gains`` are those of the ranking, from rank 1.
    """

    def dcg(values: Sequence[int]) -> float:
        """Return the discounted gain of values in rank order."""
        return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(values, 1))

    top = list(gains[:k])
    ideal = dcg(sorted(top, reverse=True))
    return dcg(top) / ideal if ideal else 0.0


def released_ndcg_of(qrels: Mapping[str, Mapping[str, int]], run: Mapping[str, Ranking]) -> dict[str, float]:
    """Return query id -> :func:`released_ndcg` over every query of the qrels."""
    return {query: released_ndcg([judged.get(i, 0) for i, _ in run[query]]) for query, judged in qrels.items()}


def score_systems(
    collection: Collection, runs: Mapping[str, Path], splits: Sequence[str], faults: Sequence[str]
) -> PerSystem:
    """Return system -> metric -> query -> value on the judged queries of ``splits``."""
    qrels = {q: judged for split in splits for q, judged in collection.qrels_of(split).items() if judged}
    found: PerSystem = {}
    for system, path in runs.items():
        run = read_run(path)
        found[system] = evaluate(qrels, run, METRICS)
        if "U9" in faults:
            found[system][RELEASED] = released_ndcg_of(qrels, run)
    return found


def fault_rows(collection: Collection, name: str, runs: Mapping[str, Path], scores: PerSystem) -> list[dict[str, Any]]:
    """Return what fault U9 is worth: nDCG@10 of every system, standard and as the released code computes it."""
    rows = []
    for system, path in runs.items():
        standard = scores[system]["nDCG@10"]
        released = released_ndcg_of({query: collection.qrels[query] for query in standard}, read_run(path))
        values = {"corrected": mean(standard), "released": mean(released)}
        rows.append({"fault": "U9", "what": U9, "system": system, "collection": name, "metric": "nDCG@10"} | values)
    return rows


def mean(values: Mapping[str, float]) -> float:
    """Return the mean of a mapping's values."""
    return sum(values.values()) / len(values)


def comparators(scores: PerSystem, metric: str) -> dict[str, str]:
    """Return comparison column -> system compared with; the best unadapted one is the best on this metric."""
    best = max((s for s in UNADAPTED if s in scores), key=lambda s: mean(scores[s][metric]))
    return {"p_vs_bm25": "bm25", "p_vs_best_unadapted": best, "p_vs_reranked": "bm25_reranked"}


def p_values(scores: PerSystem, seed: int, permutations: int) -> dict[tuple[str, str, str], float]:
    """Return (system, metric, comparison) -> p-value, not adjusted: the report adjusts all of its comparisons.

    Two columns may compare with one and the same system (BM25 as the best unadapted one): that test
    is done once and shown in both.
    """
    raw: dict[tuple[str, str, str], float] = {}
    places: dict[tuple[str, str, str], float] = {}
    for metric in next(iter(scores.values())):
        for column, other in comparators(scores, metric).items():
            for system, tables in scores.items():
                if system == other or other not in scores:
                    continue
                # a difference has no direction: one test serves both systems
                test = (metric, min(system, other), max(system, other))
                if test not in raw:
                    queries = sorted(tables[metric])
                    raw[test] = paired_test(
                        [tables[metric][q] for q in queries],
                        [scores[other][metric][q] for q in queries],
                        seed,
                        permutations,
                    )
                places[system, metric, column] = raw[test]
    return places


def quality_rows(collection: str, scores: PerSystem, notes: Mapping[str, str], params: Mapping[str, Any]) -> list[dict]:
    """Return the rows of quality.tsv."""
    found = p_values(scores, params["seed"], params["permutations"])
    rows = []
    for system, tables in scores.items():
        for metric, values in tables.items():
            low, high = bootstrap_ci(
                list(values.values()), params["seed"], params["bootstrap_samples"], params["level"]
            )
            tests = {column: found.get((system, metric, column)) for column in COMPARISONS}
            rows.append(
                {
                    "collection": collection,
                    "system": system,
                    "metric": metric,
                    "value": mean(values),
                    "ci_low": low,
                    "ci_high": high,
                    "n": len(values),
                    **tests,
                    "note": notes.get(system, ""),
                }
            )
    return rows


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


def teacher_sign(scores: PerSystem, seed: int, permutations: int) -> dict:
    """Return the sign that shuffled teacher scores make the student worse (nDCG@10, human test queries)."""
    adapted, shuffled = (scores[name]["nDCG@10"] for name in ("student_adapted", "student_shuffled_teacher"))
    queries = sorted(adapted)
    p = paired_test([adapted[q] for q in queries], [shuffled[q] for q in queries], seed, permutations)
    return sign(
        "shuffled teacher scores make the student worse",
        p,
        "p < 0.05, loss > 0",
        p < ALPHA and mean(shuffled) < mean(adapted),
        f"nDCG@10 {mean(adapted):.3f} with the teachers' scores, {mean(shuffled):.3f} with shuffled ones",
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


def failure_rows(synthesis: Sequence[Mapping[str, str]]) -> list[dict]:
    """Return how many answers of each writing step gave no usable question."""
    steps = {"seed": ("seed",), "scale_up": ("scale_up", "clean")}
    rows = []
    for step, stages in steps.items():
        calls = sum(int(r["in"]) for r in synthesis if r["stage"] == stages[0])
        usable = sum(int(r["out"]) for r in synthesis if r["stage"] == stages[-1])
        rows.append(
            {
                "step": step,
                "calls": calls,
                "failed": calls - usable,
                "share": (calls - usable) / calls if calls else None,
            }
        )
    return rows


def runs_of(job: Job) -> dict[str, Path]:
    """Return system -> run file: the named inputs bm25, dense, reranked, and every run in the folders ``late``."""
    found = {"bm25": job.inputs["bm25"], "minilm_dense": job.inputs["dense"], "bm25_reranked": job.inputs["reranked"]}
    for folder in job.inputs["late"]:
        for path in sorted(folder.glob("*.run.gz")):
            found[path.name.removesuffix(".run.gz")] = path
    if missing := [system for system in SYSTEMS if system not in found]:
        raise DataError(f"udapdr.evaluate: no run of {', '.join(missing)}; give the folder that holds it as input late")
    return {system: found[system] for system in SYSTEMS}


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Inputs: collection, bm25, dense, reranked, reranked_scores, late (folders), rerankers (folders, of
    all chains), synthesis (tables of the target's chain, or folders that hold one), filtered (folder), latency.
    Outputs: tables (folder: quality, synthesis, filter, signs, latency, parse_failures, faults .tsv) and
    details (metrics.json, per_query.tsv).

    Params: splits, seed, permutations, bootstrap_samples, level, faults, seen, one_seed. ``seen`` says
    what the encoder's checkpoint was trained on before us; it is printed beside zero-shot systems.
    """
    params = job.params
    collection = Collection.load(job.inputs["collection"])
    name = collection.manifest.get("id", job.inputs["collection"].name)
    runs = runs_of(job)
    scores = score_systems(collection, runs, params["splits"], params["faults"])
    trained = ("student_off_domain", "student_adapted", "student_shuffled_teacher", "bm25_reranked")
    notes = dict.fromkeys(ENCODER_SYSTEMS, params["seen"]) | dict.fromkeys(trained, params["one_seed"])
    tables = [path / "synthesis.tsv" if path.is_dir() else path for path in job.inputs["synthesis"]]
    synthesis = [row for path in tables for row in read_tsv(path)]
    signs = [
        *reranker_signs(job.inputs["rerankers"]),
        teacher_sign(scores, params["seed"], params["permutations"]),
        filter_sign(synthesis),
        spread_sign(read_scores(job.inputs["reranked_scores"])),
    ]
    folder, details = job.outputs["tables"], job.outputs["details"]
    quality = quality_rows(name, scores, notes, params)
    write_tsv(folder / "quality.tsv", QUALITY_COLUMNS, quality)
    write_metrics(details / "metrics.json", {"quality": quality})
    write_tsv(
        details / "per_query.tsv",
        PER_QUERY_COLUMNS,
        (
            {"collection": name, "system": system, "metric": metric, "query-id": query, "value": value}
            for system, tables in scores.items()
            for metric, values in tables.items()
            for query, value in values.items()
        ),
    )
    write_tsv(folder / "synthesis.tsv", SYNTHESIS_COLUMNS, synthesis)
    write_tsv(folder / "filter.tsv", RATE_COLUMNS, read_tsv(job.inputs["filtered"] / "pass_rates.tsv"))
    write_tsv(folder / "signs.tsv", SIGN_COLUMNS, signs)
    write_tsv(folder / "parse_failures.tsv", FAILURE_COLUMNS, failure_rows(synthesis))
    write_tsv(folder / "faults.tsv", FAULT_COLUMNS, fault_rows(collection, name, runs, scores))
    latency = read_tsv(job.inputs["latency"])
    write_tsv(folder / "latency.tsv", list(latency[0]), latency)
    return {
        "systems": len(scores),
        "queries": len(scores["bm25"]["RR"]),
        "signs": len(signs),
        "signs_passed": sum(row["passed"] for row in signs),
    }
