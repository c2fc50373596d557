"""Stage ``udapdr.evaluate``: tables of UDAPDR from the runs of all systems.

Baselines and p-values: rules of evidence 6 and 10; signs of life: 15 and 16.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking, read_run, read_scores
from searchtune.errors import DataError
from searchtune.evaluation.metrics import write_metrics
from searchtune.evaluation.significance import paired_test
from searchtune.evaluation.udapdr_ablations import ABLATION_COLUMNS, ablation_rows
from searchtune.evaluation.udapdr_runs import (
    BySeed,
    PerSystem,
    Run,
    Scores,
    averaged,
    by_seed,
    interval,
    mean,
    runs_of,
    score_runs,
)
from searchtune.files import read_json, read_tsv, write_tsv
from searchtune.stage import Job
from searchtune.synthesis.udapdr_filter import RATE_COLUMNS, SYNTHESIS_COLUMNS

RELEASED = "nDCG@10_released"
# not adapted to the target: nothing was trained, or the training data came from another domain
UNADAPTED = ("bm25", "minilm_dense", "maxsim_no_projection", "student_untrained_projection", "student_off_domain")
SYSTEMS = (*UNADAPTED, "student_adapted", "student_shuffled_teacher", "bm25_reranked")
TRAINED = ("student_off_domain", "student_adapted", "student_shuffled_teacher", "bm25_reranked")
ENCODER_SYSTEMS = ("minilm_dense", "maxsim_no_projection", "student_untrained_projection")
COMPARISONS = ("p_vs_bm25", "p_vs_best_unadapted", "p_vs_reranked")
QUALITY_COLUMNS = ["collection", "system", "metric", "value", "ci_low", "ci_high", "n", *COMPARISONS, "note"]
PER_QUERY_COLUMNS = ["collection", "variant", "system", "seed", "metric", "query-id", "value"]
SIGN_COLUMNS = ["sign", "value", "threshold", "passed", "note"]
FAILURE_COLUMNS = ["step", "calls", "failed", "share"]
ALPHA = 0.05
FAULT_COLUMNS = ["fault", "what", "system", "collection", "metric", "corrected", "released"]
U9 = "ideal ranking taken from the retrieved passages only"


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


def add_released(collection: Collection, scored: Iterable[tuple[Run, Scores]]) -> None:
    """Add the released nDCG (fault U9) to the scores of a collection's runs."""
    for run, scores in scored:
        judged = {query: collection.qrels[query] for query in scores["nDCG@10"]}
        scores[RELEASED] = released_ndcg_of(judged, read_run(run.path))


def fault_rows(collection: Collection, name: str, runs: Mapping[str, Path], scores: PerSystem) -> list[dict[str, Any]]:
    """Return what fault U9 is worth: nDCG@10 of every system, standard and as the released code computes it."""
    rows = []
    for system, path in runs.items():
        standard = scores[system]["nDCG@10"]
        released = released_ndcg_of({query: collection.qrels[query] for query in standard}, read_run(path))
        values = {"corrected": mean(standard), "released": mean(released)}
        rows.append({"fault": "U9", "what": U9, "system": system, "collection": name, "metric": "nDCG@10"} | values)
    return rows


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


def quality_rows(collection: str, scores: BySeed, seen: str, params: Mapping[str, Any]) -> list[dict]:
    """Return the rows of quality.tsv; ``seen``: what the encoder's checkpoint was trained on before us."""
    means = averaged(scores)
    found = p_values(means, params["seed"], params["permutations"])
    rows = []
    for system, seeds in scores.items():
        for metric, values in means[system].items():
            low, high = interval(seeds, metric, params)
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
                    "note": note_of(system, len(seeds), seen),
                }
            )
    return rows


def note_of(system: str, seeds: int, seen: str) -> str:
    """Return what a reader must know of a system: what its checkpoint saw, or how many seeds trained it."""
    if system in ENCODER_SYSTEMS:
        return seen
    if system in TRAINED:
        return "one seed" if seeds == 1 else f"{seeds} seeds"
    return ""


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
    """Return the sign that shuffled teacher scores make the student worse (nDCG@10, test queries)."""
    adapted, shuffled = (scores[name]["nDCG@10"] for name in ("student_adapted", "student_shuffled_teacher"))
    queries = sorted(adapted)
    p = paired_test([adapted[q] for q in queries], [shuffled[q] for q in queries], seed, permutations)
    return sign(
        "shuffled teacher scores make the student worse" + where,
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


def collections_of(job: Job) -> dict[str, Collection]:
    """Return the targets by id."""
    loaded = [(path, Collection.load(path)) for path in job.inputs["collections"]]
    return {collection.manifest.get("id", path.name): collection for path, collection in loaded}


def per_query_rows(scored: Iterable[tuple[Run, Scores]]) -> Iterator[dict]:
    """Yield the rows of per_query.tsv."""
    for run, scores in scored:
        row = {"collection": run.collection, "variant": run.variant, "system": run.system, "seed": run.seed}
        for metric, values in scores.items():
            for query, value in values.items():
                yield row | {"metric": metric, "query-id": query, "value": value}


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


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Inputs: collections (targets, the first one first), runs (files and folders), reranked_scores,
    rerankers (folders, of all collections), synthesis (tables of the first target's chain, or folders that hold one),
    filtered (folder), latency, plaid (file, or none). Outputs: tables (folder: quality, ablations, synthesis, filter,
    signs, latency, plaid, parse_failures, faults .tsv) and details (metrics.json, per_query.tsv).

    Params: runs (what made each run: collection, variant, system, seed; aligned with the input), variants {name: kind,
    label, x}, axes (x of the chain as configured, by kind), splits, seed, permutations, bootstrap_samples, level,
    faults, seen. ``seen`` says what the encoder's checkpoint was trained on before us; it is printed beside zero-shot
    systems.
    """
    params = job.params
    collections = collections_of(job)
    scored = score_runs(runs_of(job.inputs["runs"], params["runs"]), collections, params["splits"])
    if "U9" in params["faults"]:
        for name, collection in collections.items():
            add_released(collection, [pair for pair in scored if pair[0].collection == name])
    targets, faults = {}, []
    for name, collection in collections.items():
        targets[name], files = by_seed(scored, name, "", SYSTEMS)
        faults += fault_rows(collection, name, files, {s: seeds[0] for s, seeds in targets[name].items()})
    quality = [row for name in targets for row in quality_rows(name, targets[name], params["seen"], params)]
    tables = [path / "synthesis.tsv" if path.is_dir() else path for path in job.inputs["synthesis"]]
    synthesis = [row for path in tables for row in read_tsv(path)]
    signs = signs_of(job, targets, synthesis)
    folder, details = job.outputs["tables"], job.outputs["details"]
    write_tsv(folder / "quality.tsv", QUALITY_COLUMNS, quality)
    write_metrics(details / "metrics.json", {"quality": quality})
    write_tsv(details / "per_query.tsv", PER_QUERY_COLUMNS, per_query_rows(scored))
    first = next(iter(collections))
    write_tsv(folder / "ablations.tsv", ABLATION_COLUMNS, ablation_rows(scored, first, params))
    write_tsv(folder / "synthesis.tsv", SYNTHESIS_COLUMNS, synthesis)
    write_tsv(folder / "filter.tsv", RATE_COLUMNS, read_tsv(job.inputs["filtered"] / "pass_rates.tsv"))
    write_tsv(folder / "signs.tsv", SIGN_COLUMNS, signs)
    write_tsv(folder / "parse_failures.tsv", FAILURE_COLUMNS, failure_rows(synthesis))
    write_tsv(folder / "faults.tsv", FAULT_COLUMNS, faults)
    for path in (job.inputs["latency"], *job.inputs.get("plaid", [])):
        rows = read_tsv(path)
        write_tsv(folder / path.name, list(rows[0]), rows)
    return {
        "systems": len(SYSTEMS),
        "runs": len(scored),
        "signs": len(signs),
        "signs_passed": sum(row["passed"] for row in signs),
    }
