"""The ablation tables of INTERS: what a change of the recipe does to every test set, paired against the full model."""

from typing import TYPE_CHECKING, Any

import numpy as np

from searchtune.tasks.inventory import CATEGORIES, TASKS, spec_of
from searchtune.tasks.scoring import Pair
from searchtune.tasks.tabulate import Statistics, System, metric_rows, names_of
from searchtune.tasks.variants import FEW_SHOT, FULL, OWN, leaves_out

if TYPE_CHECKING:
    from searchtune.tasks.evaluate import Evaluation

ABLATION = [
    *("system", "base_model", "prompts", "scope", "train_tokens", "steps", "instructions", "supervised_tokens"),
    *("category", "task", "dataset"),
    *("metric", "value", "ci_low", "ci_high", "n", "baseline", "baseline_value", "p_value"),
]
BASE_MODEL = [
    *("system", "base_model", "tuned", "train_tokens", "category", "task", "dataset", "metric"),
    *("value", "ci_low", "ci_high", "n", "baseline", "baseline_value", "p_value", "note"),
]
# prompts that a row was asked with: the full model's, the variant's own, the full model's with demonstrations
SAME, OWN_FORM, SHOWN = "same", "own form", "with demonstrations"
TRAINED, LEFT_OUT, MIXED = "trained", "left out", "some left out"
MEAN, MEAN_METRIC = "mean of tasks", "mean of main metrics"


def weighted(system: System, pairs: list[Pair]) -> list[list[float]]:
    """Return seeds by examples, each value weighted so that a row's mean is the mean over tasks of their means.

    A task's value is the mean over all its examples (of all its data sets): its weight is shared among them.
    """
    tasks = sorted({pair[0] for pair in pairs})
    columns, weights = [], []
    for task in tasks:
        keys = [(pair, spec_of(*pair).main) for pair in pairs if pair[0] == task]
        table = np.array(system.matrix(keys))
        columns.append(table)
        weights.append(np.full(table.shape[1], 1 / (len(tasks) * table.shape[1])))
    whole, weight = np.concatenate(columns, axis=1), np.concatenate(weights)
    return (whole * weight * whole.shape[1]).tolist()


def mean_row(system: System, full: System | None, pairs: list[Pair], stats: Statistics) -> dict[str, Any]:
    """Return value, interval, n and p-value of the mean over the tasks of ``pairs``.

    Examples are resampled within tasks, and seeds where there are several. The test flips signs of the weighted
    differences, averaged over seeds.
    """
    tasks = sorted({pair[0] for pair in pairs})
    keys = [[(p, spec_of(*p).main) for p in pairs if p[0] == task] for task in tasks]
    value, low, high = stats.within([np.array(system.matrix(k)) for k in keys])
    table = weighted(system, pairs)
    row = {"metric": MEAN_METRIC, "value": value, "ci_low": low, "ci_high": high, "n": len(table[0])}
    return row | against(table, weighted(full, pairs) if full else None, stats)


def against(table: list[list[float]], other: list[list[float]] | None, stats: Statistics) -> dict[str, Any]:
    """Return the other side's mean and the p-value of the paired test, empty without another side."""
    if other is None:
        return {"baseline_value": None, "p_value": None}
    return {"baseline_value": float(np.mean(other)), "p_value": stats.test(table, other)}


def scope_of(parts: list[str], pairs: list[Pair], untrained: frozenset[Pair] = frozenset()) -> str:
    """Say whether test sets were trained on: all of them, none, or some. ``untrained`` are those that no mixture
    holds (``canary_data: evaluate_only``, or ``n_train: 0``).
    """
    outs = {pair in untrained or any(leaves_out(part, *pair) for part in parts) for pair in pairs}
    return MIXED if len(outs) > 1 else LEFT_OUT if True in outs else TRAINED


def means_of(pairs: list[Pair], parts: list[str]) -> dict[tuple[str, str], list[Pair]]:
    """Return (category as printed, data set as printed) -> the pairs of one mean: categories, and what was left out."""
    found = {
        (title, "all"): [pair for pair in pairs if TASKS[pair[0]].category == name]
        for name, title in CATEGORIES.items()
    }
    outs = [pair for pair in pairs if scope_of(parts, [pair]) == LEFT_OUT]
    found["all", "left out"] = outs
    found["all", "trained"] = [pair for pair in pairs if pair not in outs] if outs else []
    found["all", "all"] = pairs
    return {key: its for key, its in found.items() if its}


def mean_of(category: str) -> str:
    """Return what stands for the task in a row of means."""
    return MEAN if category == "all" else f"{MEAN}, {category}"


def rows_of(
    system: System,
    full: System | None,
    prompts: str,
    parts: list[str],
    stats: Statistics,
    untrained: frozenset[Pair] = frozenset(),
) -> list[dict[str, Any]]:
    """Return the rows of one system: every test set's main metric, the categories' means, what was left out."""
    head = {
        "system": system.name,
        "base_model": system.base_model,
        "prompts": prompts,
        "train_tokens": round(system.tokens),
        "steps": round(system.steps),
        "instructions": round(system.instructions),
        "supervised_tokens": round(system.supervised),
        "baseline": full.name if full else None,
    }
    rows = []
    for pair in system.pairs():
        key = [(pair, spec_of(*pair).main)]
        table = system.matrix(key)
        place = names_of(pair) | {"metric": key[0][1], "scope": scope_of(parts, [pair], untrained)}
        rows.append(head | place | stats.row(table) | against(table, full.matrix(key) if full else None, stats))
    for (category, dataset), pairs in means_of(system.pairs(), parts).items():
        # means over other test sets are not comparable between variants, so they bear the variant's name
        shown = dataset if dataset == "all" else f"{dataset} ({system.name})"
        scope = scope_of(parts, pairs, untrained)
        place = {"category": category, "task": mean_of(category), "dataset": shown, "scope": scope}
        rows.append(head | place | mean_row(system, full, pairs, stats))
    return rows


def ablations(evaluation: "Evaluation", kind: str, stats: Statistics) -> list[dict[str, Any]]:
    """Return the table of one kind of ablation, for every base model that it ran on; empty where none ran."""
    params = evaluation.params
    chosen = {design: row for design, row in params["ablations"].items() if row["kind"] == kind}
    rows: list[dict[str, Any]] = []
    for base in dict.fromkeys(s["base"] for s in params["systems"] if s["design"] in chosen):
        places = evaluation.index_of(True, 1.0, FULL, base)
        full = evaluation.system(FULL, places, None)
        untuned = evaluation.system("untuned", evaluation.index_of(False, 0.0, FULL, base), FULL)
        never = evaluation.untrained
        rows += rows_of(full, None, SAME, [], stats, never) + rows_of(untuned, full, SAME, [], stats, never)
        if kind == "instruction_design" and all(FEW_SHOT in params["systems"][i]["sets"] for i in places):
            rows += rows_of(
                evaluation.system(f"{FULL}, {SHOWN}", places, FULL, FEW_SHOT), full, SHOWN, [], stats, never
            )
        for design, row in chosen.items():
            places = evaluation.index_of(True, 1.0, design, base)
            rows += rows_of(evaluation.system(row["label"], places, FULL), full, SAME, row["leave_out"], stats, never)
            if all(OWN in params["systems"][i]["sets"] for i in places):
                own = evaluation.system(f"{row['label']}, {OWN_FORM}", places, FULL, OWN)
                rows += rows_of(own, full, OWN_FORM, row["leave_out"], stats, never)
    return rows


def base_models(evaluation: "Evaluation", stats: Statistics) -> list[dict[str, Any]]:
    """Return the table of base models, each untuned and tuned on the full mixture; empty where there is one base.

    ``note`` says what a base is and saw before us (rules of evidence, 8).
    """
    bases = list(dict.fromkeys(s["base"] for s in evaluation.params["systems"]))
    rows: list[dict[str, Any]] = []
    for base in bases if len(bases) > 1 else []:
        before = evaluation.system(f"untuned {base}", evaluation.index_of(False, 0.0, FULL, base), None)
        after = evaluation.system(f"tuned {base}", evaluation.index_of(True, 1.0, FULL, base), before.name)
        tokens = {before.name: 0, after.name: round(after.tokens)}
        values = {pair: before.matrix([(pair, spec_of(*pair).main)]) for pair in before.pairs()}
        main = metric_rows([before, after], stats, True)
        for row, pair in zip(main, [*before.pairs(), *after.pairs()], strict=True):
            theirs = float(np.mean(values[pair])) if row["baseline"] else None
            rows.append(row | {"train_tokens": tokens[row["system"]], "baseline_value": theirs})
        for system, other in ((before, None), (after, before)):
            for (category, dataset), pairs in means_of(system.pairs(), []).items():
                rows.append(
                    {"system": system.name, "base_model": base, "tuned": system.tuned, "category": category}
                    | {"task": mean_of(category), "dataset": dataset, "train_tokens": tokens[system.name]}
                    | mean_row(system, other, pairs, stats)
                    | {"baseline": other.name if other else None}
                )
    return [row | {"note": evaluation.params["seen"][row["base_model"]]} for row in rows]
