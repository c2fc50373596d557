"""Figures of the synthesizer: which domains and difficulties its rows cover, and why items were lost."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from searchtune.reporting.figures_ranking import Draw, few_ticks
from searchtune.reporting.numbers import show_count
from searchtune.reporting.plot import BLUE, COLUMN, GREY, LIGHT, ROW, VERMILLION, new_figure, readable, save
from searchtune.reporting.reading import Loaded, needed

# a line of a bar plot: label, whole, part of it, what stands at the right
Bar = tuple[str, float, float, str]
COVERED = ("domain", "difficulty", "band", "kind")


def bar_plot(groups: Sequence[tuple[str, Sequence[Bar]]], unit: str, colour: str) -> Figure:
    """Draw groups of bars: the whole (light) with its part (coloured) on it; ``unit`` labels the axis."""
    lines = sum(len(bars) + 1.2 for _, bars in groups)
    figure, axes = new_figure(COLUMN, ROW * lines + 0.6)
    y, ticks, labels = 0.0, [], []
    for title, bars in groups:
        place = blended_transform_factory(figure.transFigure, axes.transData)
        axes.text(0.02, y, title, transform=place, fontweight="bold", va="center").set_in_layout(False)
        for label, whole, part, note in bars:
            y -= 1
            axes.barh(y, whole, height=0.7, color=LIGHT, zorder=1)
            axes.barh(y, part, height=0.4, color=colour, zorder=2)
            axes.text(1.03, y, note, transform=axes.get_yaxis_transform(), va="center", color=GREY)
            ticks.append(y)
            labels.append(label)
        y -= 1.2
    axes.set_yticks(ticks, labels)
    axes.set_ylim(y + 0.6, 0.6)
    axes.tick_params(axis="y", length=0, pad=7)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(unit)
    axes.xaxis.set_major_locator(few_ticks())
    return figure


def coverage_counts(table: Loaded) -> list[dict]:
    """Return rows {by, value, pairs, kept}: pairs summed over everything else, most frequent value first."""
    found = []
    for column in COVERED:
        sums: dict[str, list[float]] = {}
        for row in table.rows:
            counts = sums.setdefault(row.get(column, ""), [0.0, 0.0])
            counts[0] += needed(row, "pairs", table.path)
            counts[1] += needed(row, "kept", table.path)
        # a band of its own has only a run that asked for bands
        named = {value: counts for value, counts in sums.items() if value}
        ordered = sorted(named.items(), key=lambda item: (-item[1][0], item[0]))
        found += [{"by": column, "value": value, "pairs": n, "kept": kept} for value, (n, kept) in ordered]
    return found


def coverage(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw how many pairs of each domain, difficulty, band and kind were judged (light) and kept (dark)."""
    rows = coverage_counts(tables["coverage"])
    groups = []
    for column in COVERED:
        mine = [row for row in rows if row["by"] == column]
        bars = [
            (readable(r["value"]), r["pairs"], r["kept"], f"{show_count(r['pairs'])} → {show_count(r['kept'])}")
            for r in mine
        ]
        if bars:
            groups.append(("Band asked for" if column == "band" else readable(column), bars))
    figure = bar_plot(groups, "pairs: judged (light), kept (dark)", BLUE)
    save(figure, folder, "coverage", ["by", "value", "pairs", "kept"], rows)


def losses(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw for each stage of the synthesis how many items each reason cost."""
    table = tables["reasons"]
    sums: dict[str, dict[str, float]] = {}
    for row in table.rows:
        stage = sums.setdefault(row["stage"], {})
        stage[row["reason"]] = stage.get(row["reason"], 0.0) + needed(row, "count", table.path)
    rows: list[dict] = [
        {"stage": stage, "reason": reason, "count": count}
        for stage, reasons in sums.items()
        for reason, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    ]
    groups = [
        (
            readable(stage),
            [(readable(r["reason"]), 0.0, r["count"], show_count(r["count"])) for r in rows if r["stage"] == stage],
        )
        for stage in sums
    ]
    save(bar_plot(groups, "items lost", VERMILLION), folder, "losses", ["stage", "reason", "count"], rows)


FIGURES: dict[str, tuple[str, Draw]] = {"coverage": ("coverage", coverage), "losses": ("reasons", losses)}
