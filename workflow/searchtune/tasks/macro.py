"""Data sets that are several collections (CQADupStack's sub-forums): the unweighted mean over their collections."""

from typing import Any

import numpy as np

from searchtune.tasks.inventory import spec_of
from searchtune.tasks.tabulate import Statistics, System, names_of

# task -> INTERS' data set -> ids of the collections that make it up
Rankings = dict[str, dict[str, list[str]]]


def macro_rows(systems: list[System], stats: Statistics, rankings: Rankings) -> list[dict[str, Any]]:
    """Return one row a system and data set of several collections, where the system has scores for all of them.

    The value is the mean of the collections' means of the main metric, as the released postprocess_cqa.py
    computes it: a forum with few queries counts as much as one with many.
    """
    split = [(task, name, ids) for task, sets in rankings.items() for name, ids in sets.items() if len(ids) > 1]
    rows = []
    for system in systems:
        scored = set(system.pairs())
        for task, name, ids in split:
            pairs = [(task, collection) for collection in ids]
            if scored.issuperset(pairs):
                metric = spec_of(task, ids[0]).main
                tables = [np.array(system.matrix([(pair, metric)])) for pair in pairs]
                value, low, high = stats.within(tables)
                rows.append(
                    {
                        "system": system.name,
                        "base_model": system.base_model,
                        "tuned": system.tuned,
                        **names_of((task, name)),
                        "metric": f"{metric}, mean of {len(ids)}",
                        "value": value,
                        "ci_low": low,
                        "ci_high": high,
                        "n": sum(table.shape[1] for table in tables),
                    }
                )
    return rows
