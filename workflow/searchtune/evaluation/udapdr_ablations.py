"""Table ``ablations.tsv`` of UDAPDR: what each change of the chain is worth, against the chain as configured."""

from collections.abc import Mapping, Sequence
from typing import Any

from searchtune.evaluation.significance import paired_test, seed_interval
from searchtune.evaluation.udapdr_runs import METRICS, BySeed, Run, Scores, averaged, by_seed, interval, mean, paired

ABLATION_COLUMNS = [
    *("kind", "variant", "label", "x", "collection", "system", "metric", "value", "ci_low", "ci_high", "n", "seeds"),
    *("baseline", "baseline_value", "difference", "difference_low", "difference_high", "p_value"),
    "note",
]
CONFIGURED = "as configured"


def ablation_rows(
    scored: Sequence[tuple[Run, Scores]], collection: str, params: Mapping[str, Any], short: Mapping[str, str]
) -> list[dict]:
    """Return a row a kind, variant, system and metric; each kind begins with the chain as configured.

    A variant that came to too little (``short``: variant to reason) has rows without values, and the reason as note.
    ``params``: variants {name: kind, label, x}, axes {kind: x of the chain as configured}, seed, permutations,
    bootstrap_samples, level.
    """
    rows = []
    for kind in dict.fromkeys(row["kind"] for row in params["variants"].values()):
        mine = {name: row for name, row in params["variants"].items() if row["kind"] == kind}
        systems = sorted({run.system for run, _ in scored if run.variant in mine}) or ["student_adapted"]
        base, _ = by_seed(scored, collection, "", systems)
        place = {"kind": kind, "collection": collection}
        own = place | {"variant": "", "label": CONFIGURED, "x": params["axes"].get(kind)}
        rows += [own | row for row in _scores_of(base, base, params)]
        for name, variant in mine.items():
            place |= {"variant": name, "label": variant["label"], "x": variant["x"]}
            if name in short:
                rows += [place | {"system": "student_adapted", "metric": m, "note": short[name]} for m in METRICS]
                continue
            wanted = [system for system in systems if any((r.variant, r.system) == (name, system) for r, _ in scored)]
            changed, _ = by_seed(scored, collection, name, wanted)
            rows += [place | row for row in _scores_of(changed, base, params)]
    return rows


def _scores_of(changed: BySeed, base: BySeed, params: Mapping[str, Any]) -> list[dict]:
    """Return a row a system and metric, compared with ``base`` unless it is ``base``."""
    rows = []
    means = averaged(changed)
    for system, seeds in changed.items():
        for metric in seeds[0]:
            low, high = interval(seeds, metric, params)
            row = {"system": system, "metric": metric, "value": mean(means[system][metric])}
            row |= {"ci_low": low, "ci_high": high, "n": len(seeds[0][metric]), "seeds": len(seeds)}
            rows.append(row if changed is base else row | _difference(seeds, base[system], metric, params))
    return rows


def _difference(
    seeds: Sequence[Scores], base: Sequence[Scores], metric: str, params: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the change against the chain as configured, seed by seed on the same queries, with interval and test."""
    table = paired(seeds, base, metric)
    means = [sum(column) / len(table) for column in zip(*table, strict=True)]
    low, high = seed_interval(table, params["seed"], params["bootstrap_samples"], params["level"])
    return {
        "baseline": CONFIGURED,
        "baseline_value": mean(averaged({"base": list(base)})["base"][metric]),
        "difference": sum(means) / len(means),
        "difference_low": low,
        "difference_high": high,
        "p_value": paired_test(means, [0.0] * len(means), params["seed"], params["permutations"]),
    }
