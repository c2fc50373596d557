"""The runs that UDAPDR's tables compare: read, scored a query, grouped by collection, variant, system and seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import read_run
from searchtune.errors import DataError
from searchtune.evaluation.answers import ANSWER_METRICS, judged_by_answers
from searchtune.evaluation.metrics import evaluate
from searchtune.evaluation.significance import interval_of
from searchtune.stage import shortage_of

# not adapted to the target: nothing was trained, or the training data came from another domain
UNADAPTED = (
    *("bm25", "minilm_dense", "zero_shot", "maxsim_no_projection", "student_untrained_projection"),
    "student_off_domain",
)
METRICS = ("Success@5", "nDCG@10", "RR")
SUFFIX = ".run.gz"
# metric -> query -> value
Scores = dict[str, dict[str, float]]
# system -> its scores, one a training seed (one of what was not trained)
BySeed = dict[str, list[Scores]]
PerSystem = dict[str, Scores]


@dataclass(frozen=True)
class Run:
    """A run and what made it: ``variant`` is empty for the recipe as configured, ``seed`` for what is untrained."""

    collection: str
    variant: str
    system: str
    seed: int | None
    path: Path


def shortages(paths: Sequence[Path], rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return {variant: why a run of it could not be made, and of how many of its runs that is true}."""
    found: dict[str, list[str]] = {}
    for path, row in zip(paths, rows, strict=True):
        found.setdefault(row["variant"], []).append(shortage_of(path))
    return {
        name: f"not possible ({sum(map(bool, reasons))} of {len(reasons)} runs): {next(filter(None, reasons))}"
        for name, reasons in found.items()
        if any(reasons)
    }


def runs_of(paths: Sequence[Path], rows: Sequence[Mapping[str, Any]]) -> list[Run]:
    """Return the runs behind aligned ``paths`` and ``rows``; a row without a system names a folder of runs.

    A variant of which a run could not be made has none: on fewer seeds it would be compared with other ones.
    """
    found = []
    short = shortages(paths, rows)
    for path, row in zip(paths, rows, strict=True):
        if row["variant"] in short:
            continue
        if row["system"]:
            files = [path / f"{row['system']}{SUFFIX}" if path.is_dir() else path]
        else:
            files = sorted(path.glob(f"*{SUFFIX}"))
        found += [
            Run(
                row["collection"],
                row["variant"],
                row["system"] or file.name.removesuffix(SUFFIX),
                row["seed"],
                file,
            )
            for file in files
        ]
    return found


def score_runs(
    runs: Sequence[Run], collections: Mapping[str, Collection], splits: Sequence[str]
) -> list[tuple[Run, Scores]]:
    """Return each run with its scores on the judged queries of ``splits``.

    Where a collection is judged by answers, these are Success@5 and RR on all queries of ``splits``.
    """
    judged = {
        name: {q: grades for split in splits for q, grades in collection.qrels_of(split).items() if grades}
        for name, collection in collections.items()
    }
    found = []
    for run in runs:
        ranked, collection = read_run(run.path), collections[run.collection]
        if collection.judged_by == "answers":
            scores = evaluate(judged_by_answers(collection, ranked, splits), ranked, ANSWER_METRICS)
        else:
            scores = evaluate(judged[run.collection], ranked, METRICS)
        found.append((run, scores))
    return found


def by_seed(
    scored: Sequence[tuple[Run, Scores]], collection: str, variant: str, systems: Sequence[str]
) -> tuple[BySeed, dict[str, Path]]:
    """Return the scores of ``systems``, in that order, and the first run file of each; DataError if one has no run."""
    mine = [(run, scores) for run, scores in scored if (run.collection, run.variant) == (collection, variant)]
    found: BySeed = {}
    files: dict[str, Path] = {}
    for system in systems:
        chosen = [(run, scores) for run, scores in mine if run.system == system]
        if not chosen:
            raise DataError(f"udapdr.evaluate: no run of {system} on {collection}; give its file or folder among runs")
        found[system] = [scores for _, scores in chosen]
        files[system] = chosen[0][0].path
    return found, files


def averaged(scores: BySeed) -> PerSystem:
    """Return system -> metric -> query -> mean over seeds."""
    return {
        system: {
            metric: {query: sum(seed[metric][query] for seed in seeds) / len(seeds) for query in seeds[0][metric]}
            for metric in seeds[0]
        }
        for system, seeds in scores.items()
    }


def mean(values: Mapping[str, float]) -> float:
    """Return the mean of a mapping's values."""
    return sum(values.values()) / len(values)


def best_unadapted(scores: PerSystem, metric: str) -> str:
    """Return the system that is best on a metric among those that were not adapted to the target."""
    return max((s for s in UNADAPTED if s in scores), key=lambda s: mean(scores[s][metric]))


def interval(seeds: Sequence[Scores], metric: str, params: Mapping[str, Any]) -> tuple[float, float]:
    """Return the interval of a system's mean: over queries, and over seeds where there are several."""
    return interval_of([[scores[metric][q] for q in seeds[0][metric]] for scores in seeds], params)


def paired(seeds: Sequence[Scores], base: Sequence[Scores], metric: str) -> list[list[float]]:
    """Return the change against ``base``, a row a seed, a column a query, the same queries on both sides.

    A side with one row (not trained, or trained once) stands for every seed of the other. DataError where the sides
    have other numbers of seeds or other queries.
    """
    count = max(len(seeds), len(base))
    sides = [list(side) * (count if len(side) == 1 else 1) for side in (seeds, base)]
    if len(sides[0]) != len(sides[1]):
        raise DataError(f"udapdr.evaluate: {len(seeds)} seeds against {len(base)}; run both sides with the same seeds")
    queries = sorted(base[0][metric])
    if any(sorted(scores[metric]) != queries for side in sides for scores in side):
        raise DataError("udapdr.evaluate: two runs of a collection have other queries; delete them and run again")
    return [[a[metric][q] - b[metric][q] for q in queries] for a, b in zip(*sides, strict=True)]
