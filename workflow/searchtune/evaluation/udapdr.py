"""Stage ``udapdr.evaluate``: tables of UDAPDR from the runs of all systems.

Baselines and p-values: rules of evidence 6 and 10.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.evaluation.answers import NO_NDCG
from searchtune.evaluation.metrics import write_metrics
from searchtune.evaluation.significance import paired_test
from searchtune.evaluation.udapdr_ablations import ABLATION_COLUMNS, ablation_rows
from searchtune.evaluation.udapdr_failures import FAILURE_COLUMNS, failure_rows, judge_rows
from searchtune.evaluation.udapdr_latency import LATENCY_COLUMNS, latency_rows
from searchtune.evaluation.udapdr_published import Published
from searchtune.evaluation.udapdr_released import (
    FAULT_COLUMNS,
    RERANKED,
    add_released,
    add_without_last,
    fault_rows,
    unscored_rows,
)
from searchtune.evaluation.udapdr_runs import (
    UNADAPTED,
    BySeed,
    PerSystem,
    Run,
    Scores,
    averaged,
    best_unadapted,
    by_seed,
    interval,
    mean,
    runs_of,
    score_runs,
    shortages,
)
from searchtune.evaluation.udapdr_signs import SIGN_COLUMNS, signs_of
from searchtune.evaluation.udapdr_verdicts import VERDICTS, Comparisons, verdict_rows
from searchtune.files import read_tsv, write_tsv
from searchtune.stage import Job
from searchtune.synthesis.udapdr_filter import RATE_COLUMNS, SYNTHESIS_COLUMNS

SYSTEMS = (*UNADAPTED, "student_adapted", "student_shuffled_teacher", RERANKED)
TRAINED = ("student_off_domain", "student_adapted", "student_shuffled_teacher", RERANKED)
ENCODER_SYSTEMS = ("minilm_dense", "zero_shot", "maxsim_no_projection", "student_untrained_projection")
COMPARISONS = ("p_vs_bm25", "p_vs_best_unadapted", "p_vs_reranked")
QUALITY_COLUMNS = ["collection", "system", "metric", "value", "ci_low", "ci_high", "n", *COMPARISONS, "note"]
DEV_COLUMNS = [column for column in ABLATION_COLUMNS if column != "p_value"]
PER_QUERY_COLUMNS = ["collection", "variant", "system", "seed", "metric", "query-id", "value"]


def comparators(scores: PerSystem, metric: str) -> dict[str, str]:
    """Return comparison column -> system compared with; the best unadapted one is the best on this metric."""
    best = best_unadapted(scores, metric)
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


def quality_rows(
    collection: str, scores: BySeed, seen: str, params: Mapping[str, Any], judged_by: str = "qrels"
) -> list[dict]:
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
                    "note": note_of(system, len(seeds), seen, params["judge"], judged_by),
                }
            )
    return rows


def note_of(system: str, seeds: int, seen: str, judge: str, judged_by: str = "qrels") -> str:
    """Return what a reader must know of a system: what its checkpoint saw, or how many seeds trained it; that the
    cross-encoders are not the students' teachers where a language model (``judge``) is; and, of a collection without
    judgements, how a hit is told.
    """
    told = ["one seed" if seeds == 1 else f"{seeds} seeds"] if system in TRAINED else []
    told = [seen] if system in ENCODER_SYSTEMS else told
    if judge and system == RERANKED:
        told.append(f"cross-encoders, the teacher is {judge}")
    return "; ".join(text for text in (*told, NO_NDCG if judged_by == "answers" else "") if text)


def collections_of(job: Job) -> dict[str, Collection]:
    """Return the targets by id; passages are read only where a ranked one is judged by what it says."""
    read = [(path, Collection.judgements(path)) for path in job.inputs["collections"]]
    loaded = [(path, Collection.load(path) if found.judged_by == "answers" else found) for path, found in read]
    return {collection.manifest.get("id", path.name): collection for path, collection in loaded}


def per_query_rows(scored: Iterable[tuple[Run, Scores]]) -> Iterator[dict]:
    """Yield the rows of per_query.tsv."""
    for run, scores in scored:
        row = {"collection": run.collection, "variant": run.variant, "system": run.system, "seed": run.seed}
        for metric, values in scores.items():
            for query, value in values.items():
                yield row | {"metric": metric, "query-id": query, "value": value}


def add_faults(
    collections: Mapping[str, Collection], scored: Sequence[tuple[Run, Scores]], faults: Sequence[str]
) -> None:
    """Add the metrics of the released code to the scores, where its faults are switched on."""
    for name, collection in collections.items():
        mine = [pair for pair in scored if pair[0].collection == name]
        if "U9" in faults:
            add_released(collection, mine)
        if "U10" in faults:
            add_without_last(collection, mine)


def dev_rows(job: Job, collections: Mapping[str, Collection], short: Mapping[str, str]) -> list[dict]:
    """Return the rows of dev.tsv: the ablations on the dev queries of the first target, where settings are chosen.

    ``short``: variants that came to too little. The student alone searches dev queries. No p-values: a choice is no
    claim, and would only cost the claims' own tests their power.
    """
    first = next(iter(collections))
    runs = runs_of(job.inputs["runs"], job.params["runs"])
    chosen = [run for run in runs if (run.collection, run.system) == (first, "student_adapted")]
    rows = ablation_rows(score_runs(chosen, collections, ["dev"]), first, job.params, short)
    return [{key: value for key, value in row.items() if key != "p_value"} for row in rows]


def write_published(
    job: Job, targets: Mapping[str, BySeed], scored: Sequence[tuple[Run, Scores]], variants: Mapping[str, Any]
) -> None:
    """Write what stands beside the paper's own values: latency.tsv and verdicts.tsv.

    ``variants``: those that came to a result.
    """
    folder, published = job.outputs["tables"], Published.load(job.inputs["published"])
    latency = latency_rows(read_tsv(job.inputs["latency"]), published)
    write_tsv(folder / "latency.tsv", LATENCY_COLUMNS, latency)
    comparisons = Comparisons(targets, scored, latency, job.params | {"variants": variants})
    write_tsv(folder / "verdicts.tsv", VERDICTS, verdict_rows(comparisons, job.inputs["claims"], published))


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Inputs: collections (targets, the first one first), runs (files and folders), reranked_scores,
    rerankers (folders, of all collections), synthesis (tables of the first target's chain, or folders that hold one),
    filtered (folder), judged (folders of language models that labelled tuples; may be none), latency, plaid (file, or
    none), claims and published (what the paper reports). Outputs: tables (folder: quality, ablations, synthesis,
    filter, signs, latency, plaid, dev, parse_failures, faults, verdicts .tsv) and details (metrics.json,
    per_query.tsv).

    Params: runs (what made each run: collection, variant, system, seed; aligned with the input), variants {name: kind,
    label, x}, dev (whether the first target has dev queries for them), without (systems that were not asked for), axes
    (x of the chain as configured, by kind), judge (language model that labels in the chain as configured; may be
    empty), judged (names of the judges, aligned with the input), splits, seed, permutations, bootstrap_samples, level,
    faults, seen, datasets {collection: its name among the published values}, published_start (whether the student's
    start is ColBERTv2, so that LoTTE's published values are its own). ``seen`` says what the encoder's checkpoint was
    trained on before us; it is printed beside zero-shot systems.
    """
    params = job.params
    collections = collections_of(job)
    scored = score_runs(runs_of(job.inputs["runs"], params["runs"]), collections, params["splits"])
    short = shortages(job.inputs["runs"], params["runs"])
    add_faults(collections, scored, params["faults"])
    targets, faults = {}, []
    for name, collection in collections.items():
        targets[name], files = by_seed(scored, name, "", [s for s in SYSTEMS if s not in params["without"]])
        first_seed = {system: seeds[0] for system, seeds in targets[name].items()}
        faults += fault_rows(collection, name, files, first_seed) + unscored_rows(collection, name, first_seed)
    quality = [
        row
        for name, collection in collections.items()
        for row in quality_rows(name, targets[name], params["seen"], params, collection.judged_by)
    ]
    tables = [path / "synthesis.tsv" if path.is_dir() else path for path in job.inputs["synthesis"]]
    synthesis = [row for path in tables for row in read_tsv(path)]
    signs = signs_of(job, targets, synthesis)
    failures = failure_rows(synthesis) + judge_rows(job.inputs.get("judged", []), params["judged"])
    folder, details = job.outputs["tables"], job.outputs["details"]
    write_tsv(folder / "quality.tsv", QUALITY_COLUMNS, quality)
    write_metrics(details / "metrics.json", {"quality": quality})
    write_tsv(details / "per_query.tsv", PER_QUERY_COLUMNS, per_query_rows(scored))
    first = next(iter(collections))
    write_tsv(folder / "ablations.tsv", ABLATION_COLUMNS, ablation_rows(scored, first, params, short))
    write_tsv(folder / "synthesis.tsv", SYNTHESIS_COLUMNS, synthesis)
    write_tsv(folder / "filter.tsv", RATE_COLUMNS, read_tsv(job.inputs["filtered"] / "pass_rates.tsv"))
    write_tsv(folder / "signs.tsv", SIGN_COLUMNS, signs)
    write_tsv(folder / "parse_failures.tsv", FAILURE_COLUMNS, failures)
    write_tsv(folder / "faults.tsv", FAULT_COLUMNS, faults)
    possible = {name: row for name, row in params["variants"].items() if name not in short}
    write_published(job, targets, scored, possible)
    if params["dev"]:
        write_tsv(folder / "dev.tsv", DEV_COLUMNS, dev_rows(job, collections, short))
    for path in job.inputs.get("plaid", []):
        rows = read_tsv(path)
        write_tsv(folder / path.name, list(rows[0]), rows)
    return {
        "systems": len(SYSTEMS) - len(params["without"]),
        "runs": len(scored),
        "not_possible": len(short),
        "signs": len(signs),
        "signs_passed": sum(row["passed"] for row in signs),
    }
