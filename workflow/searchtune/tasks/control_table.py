"""The table of the control: is it the search tasks that help, or any instruction tuning?

A control is tuned on general instructions in place of every search task, on as many tokens and optimiser steps as the
full model, and tested on the same prompts. Each system is paired with the one before it: the control with the untuned
model (what any instruction tuning does), the full model with the control (what the search tasks add).
"""

from typing import TYPE_CHECKING, Any

from searchtune.tasks.ablation_tables import SAME, rows_of
from searchtune.tasks.tabulate import Statistics
from searchtune.tasks.variants import FULL

if TYPE_CHECKING:
    from searchtune.tasks.evaluate import Evaluation

KIND = "control"


def controls(evaluation: "Evaluation", stats: Statistics) -> list[dict[str, Any]]:
    """Return the table of the controls, for every base model that they ran on; empty where none ran."""
    params, never = evaluation.params, evaluation.untrained
    chosen = {design: row["label"] for design, row in params["ablations"].items() if row["kind"] == KIND}
    rows: list[dict[str, Any]] = []
    for base in dict.fromkeys(s["base"] for s in params["systems"] if s["design"] in chosen):
        untuned = evaluation.system("untuned", evaluation.index_of(False, 0.0, FULL, base), None)
        # no test set is of a control's data
        every = frozenset(untuned.pairs())
        rows += rows_of(untuned, None, SAME, [], stats, every)
        for design, label in chosen.items():
            control = evaluation.system(label, evaluation.index_of(True, 1.0, design, base), untuned.name)
            rows += rows_of(control, untuned, SAME, [], stats, every)
            name = FULL if len(chosen) == 1 else f"{FULL}, against {label}"
            full = evaluation.system(name, evaluation.index_of(True, 1.0, FULL, base), label)
            rows += rows_of(full, control, SAME, [], stats, never)
    return rows
