"""The rows of the INTERS tables, out of the scores of systems: values, intervals, tests, signs of life."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np

from searchtune.errors import DataError
from searchtune.evaluation.significance import bootstrap_ci, holm, macro_interval, paired_test, seed_interval
from searchtune.tasks.inventory import CATEGORIES, TASKS, spec_of
from searchtune.tasks.scoring import NO_COPIES, Pair, Scores, Values

UNTUNED, FEW_SHOT, TUNED, TUNED_FEW_SHOT = "untuned zero-shot", "untuned few-shot", "tuned", "tuned few-shot"
# labels are scored, as in the paper; the model's own words for them stand beside
GENERATED = ", generated label"
IN_DOMAIN = [
    "system",
    "base_model",
    "tuned",
    "category",
    "task",
    "dataset",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "n",
    "baseline",
    "p_value",
]
VOLUME = ["fraction", "train_tokens", "category", "task", "metric", "value", "ci_low", "ci_high", "n"]
ROUND_TRIP = ["system", "collection", "metric", "value", "ci_low", "ci_high", "n", "baseline", "p_value"]
LOSS = ["split", "step", "tokens", "loss"]
FAILURES = ["step", "calls", "failed", "share"]
SIGNS = ["sign", "value", "threshold", "passed", "note"]
PER_QUERY = ["system", "task", "dataset", "metric", "seed", "example_id", "value"]
CATEGORY = ["system", "base_model", "tuned", "category", "metric", "value", "ci_low", "ci_high", "n_tasks", "n"]
FAULT = ["fault", "what", "system", "task", "dataset", "metric", "corrected", "released"]
LOSS_FALL, DIFFERING = 0.15, 0.5  # rules of evidence, 14


@dataclass
class System:
    """A row group of the tables: one Scores a seed (one for what is not trained)."""

    name: str
    base_model: str = ""
    tuned: bool = False
    fraction: float | None = None
    tokens: float = 0.0
    seeds: list[int] = field(default_factory=list)
    runs: list[Scores] = field(default_factory=list)
    baseline: str | None = None
    steps: float = 0.0
    instructions: float = 0.0
    supervised: float = 0.0

    def pairs(self) -> list[Pair]:
        """Return the pairs that the system has scores for, in the order of the inventory."""
        return sorted(self.runs[0].values, key=lambda pair: (list(TASKS).index(pair[0]), pair[1]))

    def matrix(self, keys: Sequence[tuple[Pair, str]]) -> list[list[float]]:
        """Return one row a seed, one column an example of the given (pair, metric) keys, in a fixed order."""
        return [
            [run.values[pair][metric][i] for pair, metric in keys for i in sorted(run.values[pair][metric])]
            for run in self.runs
        ]


@dataclass
class Statistics:
    """Settings of intervals and tests."""

    seed: int
    samples: int
    permutations: int
    level: float

    def interval(self, table: list[list[float]]) -> tuple[float, float]:
        """Return the interval of the mean: over examples, and over seeds where there are several."""
        if len(table) == 1:
            return bootstrap_ci(table[0], self.seed, self.samples, self.level)
        return seed_interval(table, self.seed, self.samples, self.level)

    def test(self, table: list[list[float]], other: list[list[float]]) -> float:
        """Return the p-value of the paired test of two systems' values an example, averaged over seeds."""
        first, second = (list(np.mean(rows, axis=0)) for rows in (table, other))
        return paired_test(first, second, self.seed, self.permutations)

    def within(self, tables: list[np.ndarray]) -> tuple[float, float, float]:
        """Return (value, low, high) of the unweighted mean of several means of tables (seeds by examples)."""
        return macro_interval(tables, self.seed, self.samples, self.level)

    def row(self, table: list[list[float]]) -> dict[str, Any]:
        """Return value, ci_low, ci_high and n of a table of values (seeds by examples)."""
        low, high = self.interval(table)
        return {"value": float(np.mean(table)), "ci_low": low, "ci_high": high, "n": len(table[0])}


def names_of(pair: Pair) -> dict[str, str]:
    """Return the columns category, task and dataset of a pair as they are printed."""
    spec = TASKS[pair[0]]
    return {"category": CATEGORIES[spec.category], "task": spec.title, "dataset": pair[1]}


def metric_rows(systems: list[System], stats: Statistics, main_only: bool) -> list[dict[str, Any]]:
    """Return one row a system, pair and metric; p-values (unadjusted) of the paired test against its baseline."""
    rows = []
    by_name = {system.name: system for system in systems}
    for system in systems:
        for pair in system.pairs():
            for metric in system.runs[0].values[pair]:
                if main_only and metric != spec_of(*pair).main:
                    continue
                table = system.matrix([(pair, metric)])
                p = stats.test(table, by_name[system.baseline].matrix([(pair, metric)])) if system.baseline else None
                rows.append(
                    {
                        "system": system.name,
                        "base_model": system.base_model,
                        "tuned": system.tuned,
                        **names_of(pair),
                        "metric": metric,
                        **stats.row(table),
                        "baseline": system.baseline,
                        "p_value": p,
                    }
                )
    return rows


def total_rows(systems: list[System]) -> list[dict[str, Any]]:
    """Return the rows of numbers that no single example has (weighted F1, corpus BLEU, tie share): no interval."""
    return [
        {
            "system": system.name,
            "base_model": system.base_model,
            "tuned": system.tuned,
            **names_of(pair),
            "metric": name,
            "value": float(np.mean([run.totals[pair][name] for run in system.runs])),
            "n": len(next(iter(system.runs[0].values[pair].values()))),
        }
        for system in systems
        for pair in system.pairs()
        for name in system.runs[0].totals.get(pair, {})
    ]


def adjust(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with ``p_holm``: Holm's correction over all tests of the main metrics."""
    names = {spec.title: name for name, spec in TASKS.items()}
    tested = {
        i: row["p_value"]
        for i, row in enumerate(rows)
        if row.get("p_value") is not None and row["metric"] == spec_of(names[row["task"]], row["dataset"]).main
    }
    adjusted = holm(tested)
    return [row | {"p_holm": adjusted.get(i)} for i, row in enumerate(rows)]


def task_keys(system: System) -> dict[str, list[tuple[Pair, str]]]:
    """Return task -> its (pair, main metric) keys: a task's value is the mean over all examples of its data sets."""
    found: dict[str, list[tuple[Pair, str]]] = {}
    for pair in system.pairs():
        found.setdefault(pair[0], []).append((pair, spec_of(*pair).main))
    return found


def volume_rows(systems: list[System], stats: Statistics) -> list[dict[str, Any]]:
    """Return the data-volume table: one row a fraction and task; fraction 0 is the untuned model."""
    rows = []
    for system in sorted((s for s in systems if s.fraction is not None), key=lambda s: s.fraction or 0.0):
        for task, keys in task_keys(system).items():
            spec = TASKS[task]
            rows.append(
                {
                    "fraction": system.fraction,
                    "train_tokens": round(system.tokens),
                    "category": CATEGORIES[spec.category],
                    "task": spec.title,
                    # data sets of a task may have other main metrics
                    "metric": " / ".join(dict.fromkeys(metric for _, metric in keys)),
                    **stats.row(system.matrix(keys)),
                }
            )
    return rows


def category_rows(systems: list[System], stats: Statistics) -> list[dict[str, Any]]:
    """Return the category means (times 100): mean over tasks of the main metric; examples resampled within tasks."""
    rows = []
    whole = task_keys(systems[0])
    for system in systems:
        for category, title in CATEGORIES.items():
            keys = [k for task, k in task_keys(system).items() if TASKS[task].category == category]
            # the mean over fewer data sets would be of other data
            if not keys or sum(map(len, keys)) < sum(len(k) for t, k in whole.items() if TASKS[t].category == category):
                continue
            tables = [np.array(system.matrix(k)) for k in keys]
            value, low, high = stats.within(tables)
            rows.append(
                {
                    "system": system.name,
                    "base_model": system.base_model,
                    "tuned": system.tuned,
                    "category": title,
                    "metric": "category_mean_x100",
                    "value": 100 * value,
                    "ci_low": 100 * low,
                    "ci_high": 100 * high,
                    "n_tasks": len(keys),
                    "n": sum(table.shape[1] for table in tables),
                }
            )
    return rows


def round_trip_rows(trips: dict[str, dict[str, Values]], stats: Statistics) -> list[dict[str, Any]]:
    """Return the round-trip table out of system -> collection -> metric -> example -> 0 or 1."""
    rows = []
    for system, found in trips.items():
        for collection, values in found.items():
            for metric, by_id in values.items():
                table = [[by_id[i] for i in sorted(by_id)]]
                base = trips[UNTUNED][collection][metric]
                tested = system in (FEW_SHOT, TUNED)
                rows.append(
                    {
                        "system": system,
                        "collection": collection,
                        "metric": metric,
                        **stats.row(table),
                        "baseline": UNTUNED if tested else None,
                        "p_value": stats.test(table, [[base[i] for i in sorted(base)]]) if tested else None,
                    }
                )
    return rows


def failure_rows(systems: list[System]) -> list[dict[str, Any]]:
    """Return how many answers of each system and task could not be parsed (empty, without number, without label)."""
    rows = []
    for system in (s for s in systems if s.base_model):
        for task in sorted(system.runs[0].failures):
            calls, failed = (sum(run.failures[task][i] for run in system.runs) for i in (0, 1))
            rows.append(
                {
                    "step": f"predict/{system.name}/{TASKS[task].title}",
                    "calls": calls,
                    "failed": failed,
                    "share": failed / calls if calls else 0.0,
                }
            )
    return rows


def loss_rows(training: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the loss of a tuning run by step: of training batches, and of the held-out examples."""
    curve = [
        {"split": "train", "step": p["step"], "tokens": p["tokens"], "loss": p["loss"]} for p in training["loss_curve"]
    ]
    # steps between two logged ones are placed in proportion
    steps, tokens = [0, *(p["step"] for p in curve)], [0, *(p["tokens"] for p in curve)]
    return curve + [
        {
            "split": "dev",
            "step": p["step"],
            "loss": p["loss"],
            "tokens": round(float(np.interp(p["step"], steps, tokens))),
        }
        for p in training["dev_loss"]
    ]


def fall_of(training: dict[str, Any]) -> float:
    """Return the share by which the held-out loss fell from step 0 to the last step."""
    first, last = training["dev_loss"][0], training["dev_loss"][-1]
    if first["step"] != 0 or last["step"] == 0:
        raise DataError("training.json: dev_loss must hold step 0 and a later step; train again with dev examples")
    return (first["loss"] - last["loss"]) / first["loss"]


def sign_rows(
    training: dict[str, Any], differing: float, trips: dict[str, dict[str, Values]], stats: Statistics
) -> list[dict[str, Any]]:
    """Return the signs of life (rules of evidence, 14), as measured; nothing is hidden where one fails."""
    fall = fall_of(training)
    rows: list[dict[str, Any]] = [
        {
            "sign": "held-out loss falls",
            "value": fall,
            "threshold": f"at least {LOSS_FALL}",
            "passed": fall >= LOSS_FALL,
            "note": f"from step 0 to step {training['dev_loss'][-1]['step']}",
        },
        {
            "sign": "answers differ from the untuned model's",
            "value": differing,
            "threshold": f"at least {DIFFERING}",
            "passed": differing >= DIFFERING,
            "note": "share of zero-shot prompts that ask for a text",
        },
    ]
    for collection in trips[TUNED]:
        before, after = (trips[name][collection][NO_COPIES] for name in (UNTUNED, TUNED))
        gains = [after[i] - before[i] for i in sorted(after)]
        low, high = bootstrap_ci(gains, stats.seed, stats.samples, stats.level)
        rows.append(
            {
                "sign": f"round trip of queries improves on {collection}",
                "value": float(np.mean(gains)),
                "threshold": "interval above 0",
                "passed": low > 0,
                "note": f"{NO_COPIES} {np.mean(list(before.values())):.2f} untuned, "
                f"{np.mean(list(after.values())):.2f} tuned; gain's interval {low:.2f} to {high:.2f}",
            }
        )
    return rows


def per_query_rows(systems: list[System]) -> list[dict[str, Any]]:
    """Return every value of every example (or query) behind the tables."""
    return [
        {
            "system": system.name,
            "task": pair[0],
            "dataset": pair[1],
            "metric": metric,
            "seed": seed,
            "example_id": i,
            "value": value,
        }
        for system in systems
        for run, seed in zip_longest(system.runs, system.seeds)
        for pair, found in sorted(run.values.items())
        for metric, by_id in found.items()
        for i, value in sorted(by_id.items())
    ]
