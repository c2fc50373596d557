"""Expected against ours: what UDAPDR reports beside what was measured here, with a verdict by the interval.

A claim (config/expected/claims.tsv) names two sides. A side is a system of the quality table, ``zero_shot`` (the
student before training) or ``best_unadapted``; ``<system> in <kind>:<variant>`` is that system of a changed chain,
where the variant may be ``each`` of its kind or the one with the ``least`` of what the kind varies. Its scope says
where: ``each PATTERN`` or ``mean PATTERN`` of the targets (by the name of the data set in the paper), the ``first``
target, or ``time``. Published values are compared with in size only where the student starts from ColBERTv2 and the
collection is LoTTE; any other start stands in for it, and of a stand-in only the direction is judged.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from searchtune.evaluation.claims import (
    DIFFERS,
    SAME,
    UNKNOWN,
    Claim,
    claims_of,
    level_verdict,
    not_run,
    sign_of,
    verdict,
)
from searchtune.evaluation.significance import holm, macro_interval, paired_test
from searchtune.evaluation.udapdr_published import METRICS, Published
from searchtune.evaluation.udapdr_runs import (
    BySeed,
    Run,
    Scores,
    averaged,
    best_unadapted,
    by_seed,
    interval,
    paired,
)

VERDICTS = [
    *("item", "claim", "published_before", "published_after", "trust", "collection", "metric", "compared"),
    *("before", "after", "change", "ci_low", "ci_high", "n", "seeds", "p_adjusted", "verdict", "note"),
]
ALPHA = 0.05
LEVEL_TOLERANCE = 1.0  # points; ColBERT's maintainer calls gaps below one point noise (ColBERT issue 410)
# the first that was run: a start that was trained for late interaction, else one with an untrained projection
ZERO_SHOT = ("zero_shot", "student_untrained_projection")
PUBLISHED = "published"  # the other side of a claim about a level
NOT_TRAINED = ("bm25",)  # no model stands in for it
Row = dict[str, Any]
Side = tuple[str, str]  # system, variant


class Comparisons:
    """The runs that claims can speak of."""

    def __init__(
        self,
        targets: Mapping[str, BySeed],
        scored: Sequence[tuple[Run, Scores]],
        latency: Sequence[Mapping[str, Any]],
        params: Mapping[str, Any],
    ) -> None:
        self.targets, self.scored, self.latency, self.params = targets, scored, latency, params
        self.first = next(iter(targets))

    def dataset(self, collection: str) -> str:
        """Return the name of a collection among the published values, its own where it has none there."""
        return self.params["datasets"].get(collection, collection)

    def sides(self, text: str) -> list[Side]:
        """Return what a side of a claim names: one system, or one for each of several variants; none if not run."""
        system, _, place = text.partition(" in ")
        if not place:
            return [(system, "")]
        kind, _, which = place.partition(":")
        mine = {name: row for name, row in self.params["variants"].items() if row["kind"] == kind}
        if which == "least":
            configured = self.params["axes"].get(kind)
            less = {name: row["x"] for name, row in mine.items() if configured is not None and row["x"] < configured}
            return [(system, min(less, key=lambda name: less[name]))] if less else []
        return [(system, name) for name in mine if which in ("each", name)]

    def scores(self, collection: str, side: Side, metric: str) -> list[Scores]:
        """Return the scores of a side on a collection, one a seed."""
        system, variant = side
        if variant:
            return by_seed(self.scored, collection, variant, [system])[0][system]
        own = self.targets[collection]
        if system == "best_unadapted":
            system = best_unadapted(averaged(dict(own)), metric)
        return own[next(name for name in ZERO_SHOT if name in own) if system == "zero_shot" else system]

    def label(self, side: Side) -> str:
        """Return a side as the table prints it."""
        system, variant = side
        return f"{system}, {self.params['variants'][variant]['label']}" if variant else system

    def places(self, claim: Claim, published: Published) -> list[list[str]]:
        """Return the groups of collections that a claim is judged on, each alone or as one mean.

        A target that has a name in the paper, but no value in the claim's own table, belongs to another claim.
        """
        if claim["scope"] == "first":
            return [[self.first]] if self.measured(self.first, METRICS[claim["metric"]]) else []
        how, _, pattern = claim["scope"].partition(" ")
        named = published.values(claim["published_after"], claim["metric"])
        measured = [c for c in self.targets if self.measured(c, METRICS[claim["metric"]])]
        inside = [c for c in measured if fnmatchcase(self.dataset(c), pattern)]
        found = [c for c in inside if not named or self.dataset(c) in named or c not in self.params["datasets"]]
        return [[c] for c in found] if how == "each" else [found] if found else []

    def measured(self, collection: str, metric: str) -> bool:
        """Say whether a collection has a metric: one that is judged by answers has no nDCG."""
        return all(metric in scores for seeds in self.targets[collection].values() for scores in seeds)

    def own(self, collections: Sequence[str]) -> bool:
        """Say whether the published values are of the same start and data as ours."""
        return self.params["published_start"] and all(self.dataset(c).startswith("lotte/") for c in collections)

    def change(self, collections: Sequence[str], sides: tuple[Side, Side], metric: str) -> Row:
        """Return the change from the second side to the first, mean over collections, with interval and p-value."""
        given = [[self.scores(c, side, metric) for side in sides] for c in collections]
        tables = [np.array(paired(first, second, metric)) for first, second in given]
        after, before = (
            100 * float(np.mean([np.mean([list(s[metric].values()) for s in pair[i]]) for pair in given]))
            for i in (0, 1)
        )
        settings = (self.params["seed"], self.params["bootstrap_samples"], self.params["level"])
        value, low, high = macro_interval(tables, *settings)
        n = sum(table.shape[1] for table in tables)
        # weighted so that the mean over all queries is the mean of the collections' means
        weighted = np.concatenate([table.mean(axis=0) * n / (len(tables) * table.shape[1]) for table in tables])
        p = paired_test(list(weighted), [0.0] * n, self.params["seed"], self.params["permutations"])
        return {"before": before, "after": after, "change": 100 * value, "ci_low": 100 * low, "ci_high": 100 * high} | {
            "n": n,
            "seeds": len(tables[0]),
            "p": p,
        }


def head_of(claim: Claim, published: Published, datasets: Sequence[str] = ()) -> Row:
    """Return what a row says of the paper: its values on ``datasets`` where it has them, else the mean over all those
    of its table that the claim is about.
    """
    metric, pattern = claim["metric"], claim["scope"].partition(" ")[2] or "*"
    row: Row = {"item": claim["item"], "claim": claim["claim"], "trust": claim["trust"], "metric": METRICS[metric]}
    notes = [claim["note"]]
    for column in ("published_before", "published_after"):
        named = published.values(claim[column], metric)
        chosen = [name for name in datasets if name in named]
        row[column] = published.mean(claim[column], metric, chosen or [n for n in named if fnmatchcase(n, pattern)])
        notes += [named[name]["note"] for name in chosen[:1]]
    return row | {"note": "; ".join(dict.fromkeys(note for note in notes if note))}


def changes(comparisons: Comparisons, claim: Claim, published: Published) -> list[Row]:
    """Return one row a place and pair of sides; the verdict is still open where there is a p-value."""
    metric = METRICS[claim["metric"]]
    pairs = [(a, b) for a in comparisons.sides(claim["ours"]) for b in comparisons.sides(claim["against"])]
    rows = []
    for collections in comparisons.places(claim, published) if pairs else []:
        datasets = [comparisons.dataset(c) for c in collections]
        head = head_of(claim, published, datasets) | {"collection": ", ".join(collections)}
        before, after = head["published_before"], head["published_after"]
        theirs = after - before if comparisons.own(collections) and None not in (before, after) else None
        for sides in pairs:
            compared = " against ".join(comparisons.label(side) for side in sides)
            got = comparisons.change(collections, sides, metric)
            rows.append(head | {"compared": compared} | got | {"direction": sign_of(claim), "theirs": theirs})
    return rows


def levels(comparisons: Comparisons, claim: Claim, published: Published) -> list[Row]:
    """Return one row a collection: our score of the paper's own system beside the published one."""
    metric, side = METRICS[claim["metric"]], comparisons.sides(claim["ours"])[0]
    named = published.values(claim["published_after"], claim["metric"])
    rows = []
    for (collection,) in comparisons.places(claim, published):
        dataset = comparisons.dataset(collection)
        if dataset not in named or not (side[0] in NOT_TRAINED or comparisons.own([collection])):
            continue
        seeds, theirs = comparisons.scores(collection, side, metric), float(named[dataset]["value"])
        ours = 100 * float(np.mean([list(scores[metric].values()) for scores in seeds]))
        low, high = (100 * bound - theirs for bound in interval(seeds, metric, comparisons.params))
        row = head_of(claim, published, [dataset]) | {
            "collection": collection,
            "compared": f"{side[0]} against the paper",
        }
        row |= {"after": ours, "change": ours - theirs, "ci_low": low, "ci_high": high}
        row |= {"n": len(seeds[0][metric]), "seeds": len(seeds)}
        rows.append(row | {"verdict": level_verdict(low, high, ours - theirs, LEVEL_TOLERANCE)})
    return rows


def time_rows(comparisons: Comparisons, claim: Claim, published: Published) -> list[Row]:
    """Return the row of a claim about time, one query at a time. No interval: a side is faster where its 95th
    percentile lies below the other's median. ``n``: queries of the side that was timed on fewer, as rerankers are.
    """
    found = []
    for side in ("ours", "against"):
        system, _, depth = claim[side].partition(" in depth:")
        rows = [r for r in comparisons.latency if (r["system"], r["batch"]) == (system, "1")]
        found.append(next((r for r in rows if depth in ("", r["depth"])), None))
    first, second = found
    if first is None or second is None:
        return []
    after, before = float(first["p50_ms"]), float(second["p50_ms"])
    faster = float(first["p95_ms"]) < before
    slower = float(second["p95_ms"]) < after
    said = (SAME if faster else DIFFERS) if faster or slower else UNKNOWN
    row = head_of(claim, published) | {"collection": comparisons.first, "before": before, "after": after}
    row |= {"compared": f"{claim['ours']} against {claim['against']}", "change": after - before}
    row["n"] = min(int(first["n"]), int(second["n"]))
    return [row | {"verdict": said}]


def settled(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with their verdicts: of a change by its interval, where the p-value, adjusted by Holm over all
    claims, shows that there is one.
    """
    adjusted = holm({number: row["p"] for number, row in enumerate(rows) if "p" in row})
    done = []
    for number, row in enumerate(rows):
        if number in adjusted:
            said = verdict(row["direction"], row["ci_low"], row["ci_high"], row["theirs"], row["change"])
            said = said if adjusted[number] < ALPHA else UNKNOWN
            row = row | {"p_adjusted": adjusted[number], "verdict": said}
        done.append({column: row.get(column) for column in VERDICTS})
    return done


def verdict_rows(comparisons: Comparisons, claims: Path, published: Published) -> list[Row]:
    """Return the table of verdicts, claim by claim; ``not run`` where a side or a place is missing."""
    rows: list[Row] = []
    for claim in claims_of(claims, "udapdr"):
        if claim["scope"] == "time":
            found = time_rows(comparisons, claim, published)
        else:
            found = (levels if claim["against"] == PUBLISHED else changes)(comparisons, claim, published)
        rows += found or [head_of(claim, published) | not_run(claim)]
    return settled(rows)
