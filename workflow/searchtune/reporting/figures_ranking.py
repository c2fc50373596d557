"""The figures of UDAPDR and LimRank: dot plots by system, quality against latency, synthesis funnel."""

from collections.abc import Callable
from pathlib import Path

from searchtune.reporting.numbers import show_count
from searchtune.reporting.plot import (
    BASELINE,
    BLUE,
    COLUMN,
    GREY,
    LIGHT,
    OURS,
    ROW,
    Dot,
    dot_plot,
    look_of,
    new_figure,
    place_labels,
    readable,
    save,
)
from searchtune.reporting.reading import Loaded, Row, needed, number

QUALITY_METRICS = ("Success@5", "nDCG@10")
MAIN_METRIC = "nDCG@10"


def system_name(row: Row) -> str:
    """Return a system's readable name with its mode (``Tuned, reasoning``)."""
    mode = row.get("mode", "")
    return readable(row["system"]) + (f", {mode.replace('_', ' ')}" if mode not in ("", "none", "-") else "")


def _dot(row: Row, path: Path) -> Dot:
    return Dot(
        system_name(row),
        needed(row, "value", path),
        number(row, "ci_low", path),
        number(row, "ci_high", path),
        look_of(row["system"]),
    )


def _grouped(table: Loaded, rows: list[Row], by: Callable[[Row], str]) -> list[tuple[str, list[Dot]]]:
    groups: dict[str, list[Dot]] = {}
    for row in rows:
        groups.setdefault(by(row), []).append(_dot(row, table.path))
    return list(groups.items())


def quality(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw Success@5 and nDCG@10 of every system; one figure a collection."""
    table = tables["quality"]
    for collection in dict.fromkeys(row["collection"] for row in table.rows):
        rows = [
            row
            for metric in QUALITY_METRICS
            for row in table.rows
            if row["collection"] == collection and row["metric"] == metric
        ]
        if rows:
            n = max(needed(row, "n", table.path) for row in rows)
            groups = _grouped(table, rows, lambda row: row["metric"])
            figure = dot_plot(groups, f"score (0 to 1), 95% interval\n{readable(collection)}, {n:.0f} queries")
            save(figure, folder, f"quality_{collection}", table.columns, rows)


def quality_latency(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw nDCG@10 against the median time of one query (batch 1); one figure a collection."""
    table, times = tables["quality"], tables["latency"]
    median: dict[str, tuple[float, float]] = {}
    for row in times.rows:
        if needed(row, "batch", times.path) == 1:
            # a reranker is timed at several depths: the schema sees to it that quality is measured at the smallest
            key, depth = row["system"], number(row, "depth", times.path) or 0
            if key not in median or depth < median[key][0]:
                median[key] = (depth, needed(row, "p50_ms", times.path))
    for collection in dict.fromkeys(row["collection"] for row in table.rows):
        rows = [
            row
            for row in table.rows
            if row["collection"] == collection and row["metric"] == MAIN_METRIC and row["system"] in median
        ]
        if len(rows) >= 2:
            _scatter(
                table, rows, {name: time for name, (_, time) in median.items()}, folder, f"quality_latency_{collection}"
            )


def _scatter(table: Loaded, rows: list[Row], times: dict[str, float], folder: Path, name: str) -> None:
    figure, axes = new_figure(COLUMN, 2.4)
    points = []
    for row in rows:
        dot, x = _dot(row, table.path), times[row["system"]]
        if dot.low is not None and dot.high is not None:
            axes.plot([x, x], [dot.low, dot.high], color=dot.look.colour, linewidth=0.9, alpha=0.55, zorder=1)
        axes.plot(
            [x],
            [dot.value],
            marker=dot.look.marker,
            markersize=5.5,
            color=dot.look.colour,
            linestyle="none",
            markerfacecolor=dot.look.inside,
            zorder=3,
        )
        points.append((x, dot.value, dot.label, dot.look.colour))
    axes.set_xscale("log")
    low, high = min(p[0] for p in points), max(p[0] for p in points)
    axes.set_xlim(low / 2.2, high * 2.2)
    # values are read off the labels' heights, not off bars: the axis may start above 0
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(0.0, bottom - 0.3 * (top - bottom)), top)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("median time of one query (ms, log scale)")
    axes.set_ylabel(f"{MAIN_METRIC}, 95% interval")
    place_labels(figure, axes, points)
    drawn = [{c: row[c] for c in ("system", "value", "ci_low", "ci_high")} for row in rows]
    save(
        figure,
        folder,
        name,
        ["system", "p50_ms", "value", "ci_low", "ci_high"],
        [row | {"p50_ms": times[row["system"]]} for row in drawn],
    )


def funnel(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw what went into each stage of the synthesis (light) and what came out (dark), with the share kept."""
    table = tables["synthesis"]
    stages: dict[str, list[float]] = {}
    for row in table.rows:
        sums = stages.setdefault(row["stage"], [0.0, 0.0])
        sums[0] += needed(row, "in", table.path)
        sums[1] += needed(row, "out", table.path)
    figure, axes = new_figure(COLUMN, 2 * ROW * len(stages) + 0.6)
    for index, (_, (given, kept)) in enumerate(stages.items()):
        axes.barh(-index, given, height=0.62, color=LIGHT, zorder=1)
        axes.barh(-index, kept, height=0.36, color=BLUE, zorder=2)
        share = f" ({kept / given:.0%})" if given and kept <= given else ""
        axes.text(
            1.03,
            -index,
            f"{show_count(given)} → {show_count(kept)}{share}",
            va="center",
            transform=axes.get_yaxis_transform(),
            color=GREY,
        )
    axes.set_yticks([-i for i in range(len(stages))], [readable(stage) for stage in stages])
    axes.tick_params(axis="y", length=0, pad=7)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("items: in (light), out (dark)")
    axes.xaxis.set_major_locator(few_ticks())
    save(
        figure,
        folder,
        "synthesis",
        ["stage", "in", "out"],
        [{"stage": stage, "in": given, "out": kept} for stage, (given, kept) in stages.items()],
    )


def few_ticks() -> object:
    """Return a locator of at most three whole numbers."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(nbins=3, integer=True)


def rerank(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw nDCG@10 of every reranker by collection; one figure a depth."""
    table = tables["rerank"]
    rows = [row for row in table.rows if row["metric"] == MAIN_METRIC]
    for depth in dict.fromkeys(row["depth"] for row in rows):
        mine = [row for row in rows if row["depth"] == depth]
        n = {needed(row, "n", table.path) for row in mine}
        queries = f"{min(n):.0f}" if len(n) == 1 else f"{min(n):.0f} to {max(n):.0f}"
        figure = dot_plot(
            _grouped(table, mine, lambda row: readable(row["collection"])),
            f"{MAIN_METRIC} (0 to 1), 95% interval\ntop {depth} reranked, {queries} queries",
        )
        save(figure, folder, f"rerank_depth_{depth}", table.columns, mine)


def followir(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw p-MRR of every system: right of 0, the changed instruction was followed."""
    table = tables["followir"]
    rows = [row for row in table.rows if row["metric"].lower().startswith(("p-mrr", "pmrr"))]
    if rows:
        unit = "p-MRR (−100 to 100), 95% interval\nright of 0: the instruction was followed"
        groups = _grouped(table, rows, lambda row: readable(row["collection"]))
        figure = dot_plot(groups, unit, digits=1, zero=False)
        save(figure, folder, "followir", table.columns, rows)


def ablations(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw what each change of the chain is worth, by metric; one figure a kind of change and system that is scored."""
    table = tables["ablations"]
    for kind, system in dict.fromkeys((row["kind"], row["system"]) for row in table.rows):
        rows = [
            row
            for metric in QUALITY_METRICS
            for row in table.rows
            # a variant that was not possible has no value
            if (row["kind"], row["system"], row["metric"]) == (kind, system, metric) and row["value"]
        ]
        groups: dict[str, list[Dot]] = {}
        for row in rows:
            look = OURS if row["variant"] == "" else BASELINE
            low, high = (number(row, key, table.path) for key in ("ci_low", "ci_high"))
            dot = Dot(row["label"] + _count(row), needed(row, "value", table.path), low, high, look)
            groups.setdefault(row["metric"], []).append(dot)
        n = max(needed(row, "n", table.path) for row in rows)
        unit = f"score (0 to 1), 95% interval\n{readable(rows[0]['collection'])}, {n:.0f} queries"
        suffix = "" if system == "student_adapted" else f"_{system}"
        save(dot_plot(list(groups.items()), unit), folder, f"ablations_{kind}{suffix}", table.columns, rows)


def _count(row: Row) -> str:
    """Return the count behind the chain as configured, where its kind varies one; of tuples it is a limit."""
    most = "at most " if row["kind"] == "tuples" else ""
    return f" ({most}{show_count(float(row['x']))})" if row["x"] and row["variant"] == "" else ""


Draw = Callable[[dict[str, Loaded], Path], None]
UDAPDR: dict[str, tuple[str, Draw]] = {
    "quality": ("quality", quality),
    "ablations": ("ablations", ablations),
    "quality_latency": ("latency", quality_latency),
    "synthesis": ("synthesis", funnel),
}
LIMRANK: dict[str, tuple[str, Draw]] = {
    "rerank": ("rerank", rerank),
    "followir": ("followir", followir),
    "synthesis": ("synthesis", funnel),
}
