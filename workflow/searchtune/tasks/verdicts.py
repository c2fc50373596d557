"""Expected against ours: what INTERS reports beside what was measured here, with a verdict by the interval.

A published change is compared with ours on the same category of tasks. Only a base model of the same name can be
``within tolerance``; any other stands in for it, and of a stand-in only the direction is judged.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from searchtune.evaluation.claims import NOT_RUN, claims_of, not_run, sign_of, verdict
from searchtune.files import read_tsv
from searchtune.tasks.inventory import CATEGORIES, TASKS, spec_of
from searchtune.tasks.scoring import Pair
from searchtune.tasks.tabulate import Statistics, System
from searchtune.tasks.variants import FEW_SHOT, FULL, leaves_out

if TYPE_CHECKING:
    from pathlib import Path

    from searchtune.tasks.evaluate import Evaluation

VERDICTS = [
    *("item", "claim", "published_system", "published_before", "published_after", "trust", "base_model", "category"),
    *("compared", "change", "ci_low", "ci_high", "n", "seeds", "verdict"),
]
NOT_OF_THE_PAPER = ("query_generation",)  # the workflow's own task
# categories as the published values name them
PUBLISHED = {"QU": "query_understanding", "DU": "document_understanding", "QDU": "query_document_understanding"}


def change(system: System, other: System, pairs: list[Pair], stats: Statistics) -> dict[str, Any]:
    """Return the mean change over the tasks of ``pairs`` with its interval, times 100; examples are paired."""
    tables = []
    for task in sorted({pair[0] for pair in pairs}):
        keys = [(pair, spec_of(*pair).main) for pair in pairs if pair[0] == task]
        # an untuned model has one row for all seeds of a tuned one
        tables.append(np.array(system.matrix(keys)) - np.array(other.matrix(keys)))
    value, low, high = stats.within(tables)
    return {
        "change": 100 * value,
        "ci_low": 100 * low,
        "ci_high": 100 * high,
        "n": sum(table.shape[1] for table in tables),
        "seeds": len(system.runs),
        "compared": f"{system.name} against {other.name}",
        "base_model": system.base_model,
    }


class Comparisons:
    """The pairs of systems that the claims speak of, out of what was run."""

    def __init__(self, evaluation: "Evaluation", stats: Statistics) -> None:
        self.evaluation, self.stats = evaluation, stats
        self.base = evaluation.params["base"]
        self.untuned = evaluation.system("untuned", evaluation.index_of(False, 0.0), None)
        self.full = evaluation.system(FULL, evaluation.index_of(True, 1.0), None)

    def designed(self, design: str) -> System | None:
        """Return the first base's model of an ablation, None if it was not run."""
        places = self.evaluation.index_of(True, 1.0, design)
        return self.evaluation.system(design.replace("_", " "), places, None) if places else None

    def side(self, name: str) -> System | None:
        """Return the system that a claim names."""
        if name in ("tuned", FULL):
            return self.full
        if name == "untuned":
            return self.untuned
        places = self.evaluation.index_of(True, 1.0)
        if name == FEW_SHOT:
            asked = all(FEW_SHOT in self.evaluation.params["systems"][i]["sets"] for i in places)
            return self.evaluation.system("full, with demonstrations", places, None, FEW_SHOT) if asked else None
        if name == "smallest":
            share = min(self.evaluation.params["volumes"])
            if share == 1:  # one volume alone: nothing to compare
                return None
            return self.evaluation.system(f"{share:g} of the data", self.evaluation.index_of(True, share), None)
        return self.designed(name)

    def unseen(self) -> list[tuple[System, list[Pair]]]:
        """Return every model that was tuned without some test sets, with those."""
        found = []
        for design, row in self.evaluation.params["ablations"].items():
            # a task whose other data sets were trained on is no unseen task
            whole = row["leave_out"] and not any("/" in part for part in row["leave_out"])
            if whole and (system := self.designed(design)):
                pairs = [p for p in system.pairs() if any(leaves_out(part, *p) for part in row["leave_out"])]
                found += [(system, pairs)] if pairs else []
        return found

    def parts(self, scope: str) -> dict[str, list[Pair]]:
        """Return name -> test sets that a claim is judged on: all tasks of the paper, or each category alone."""
        pairs = [pair for pair in self.full.pairs() if pair[0] not in NOT_OF_THE_PAPER]
        if scope == "all":
            return {"all tasks": pairs}
        found = {title: [p for p in pairs if TASKS[p[0]].category == code] for code, title in CATEGORIES.items()}
        return {title: its for title, its in found.items() if its}

    def claim(self, row: dict[str, str]) -> list[dict[str, Any]]:
        """Return the verdicts on one claim: one row, or one a left-out part; ``not run`` where a side is missing."""
        head = {"item": row["item"], "claim": row["claim"], "trust": row["trust"], "category": "all tasks"}
        if row["scope"] == "left out":
            sides = [(system, self.untuned, pairs) for system, pairs in self.unseen()]
            names = ["what was left out"] * len(sides)
        else:
            first, second = self.side(row["ours"]), self.side(row["against"])
            parts = self.parts(row["scope"]) if first and second else {}
            sides = [(first, second, pairs) for pairs in parts.values() if first and second]
            names = list(parts)
        rows = []
        for name, (first, second, pairs) in zip(names, sides, strict=True):
            got = change(first, second, pairs, self.stats)
            said = verdict(sign_of(row), got["ci_low"], got["ci_high"])
            rows.append(head | {"category": name} | got | {"verdict": said})
        return rows or [head | not_run(row)]


def published_rows(comparisons: Comparisons, path: "Path") -> list[dict[str, Any]]:
    """Return one row a published base model and category: the published means, our change, the verdict.

    Where that base model was not tuned here our first one stands in for its direction.
    """
    published: dict[tuple[str, str], dict[str, float]] = {}
    trust = {}
    for line in read_tsv(path):
        if line["item"] == "figure_in_domain":
            published.setdefault((line["system"], line["dataset"]), {})[line["setting"]] = float(line["value"])
            trust[line["system"]] = line["trust"]
    bases = dict.fromkeys(s["base"] for s in comparisons.evaluation.params["systems"])
    rows = []
    for (model, category), values in published.items():
        code = next(code for code, name in PUBLISHED.items() if name == category)
        base = model if model in bases else comparisons.base
        first, second = (
            comparisons.evaluation.system(name, comparisons.evaluation.index_of(tuned, share, FULL, base), None)
            for name, tuned, share in (("tuned", True, 1.0), ("untuned", False, 0.0))
        )
        pairs = [p for p in first.pairs() if TASKS[p[0]].category == code and p[0] not in NOT_OF_THE_PAPER]
        theirs = values["tuned"] - values["base"]
        row: dict[str, Any] = {
            "item": "in_domain",
            "claim": "tuned against base model",
            "published_system": model,
            "published_before": values["base"],
            "published_after": values["tuned"],
            "trust": trust[model],
            "category": CATEGORIES[code],
        }
        if not pairs:
            rows.append(row | {"base_model": base, "compared": "no test set of this category", "verdict": NOT_RUN})
            continue
        got = change(first, second, pairs, comparisons.stats)
        same = theirs if base == model else None
        rows.append(row | got | {"verdict": verdict(theirs, got["ci_low"], got["ci_high"], same, got["change"])})
    return rows


def verdict_rows(
    evaluation: "Evaluation", claims: "Path", published: "Path", stats: Statistics
) -> list[dict[str, Any]]:
    """Return the table of verdicts: the claims in words, then the published means."""
    comparisons = Comparisons(evaluation, stats)
    rows = [r for row in claims_of(claims, "inters") for r in comparisons.claim(row)]
    return rows + published_rows(comparisons, published)
