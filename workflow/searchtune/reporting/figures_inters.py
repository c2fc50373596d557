"""The figures of INTERS: by category, by task, data volume, loss, round trip."""

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from searchtune.reporting import figures_ablations
from searchtune.reporting.plot import (
    BASELINE,
    BLUE,
    COLUMN,
    GREY,
    MARKERS,
    SERIES,
    Dot,
    dot_plot,
    look_of,
    new_figure,
    readable,
    save,
)
from searchtune.reporting.reading import Loaded, Row, needed, number

_DATA = ["group", "system", "value", "ci_low", "ci_high", "tasks"]


def main_rows(table: Loaded) -> list[Row]:
    """Return the rows of each test set's first metric, which is its main one."""
    first: dict[tuple[str, str], str] = {}
    for row in table.rows:
        first.setdefault((row["task"], row.get("dataset", "")), row["metric"])
    return [row for row in table.rows if row["metric"] == first[(row["task"], row.get("dataset", ""))]]


def weights_of(rows: list[Row]) -> list[float]:
    """Return the rows' weights in a mean over tasks, where a task's test sets count by their examples; sum 1."""
    sizes: dict[str, float] = {}
    for row in rows:
        sizes[row["task"]] = sizes.get(row["task"], 0.0) + needed(row, "n")
    return [needed(row, "n") / sizes[row["task"]] / len(sizes) for row in rows]


def mean_of(rows: list[Row], path: Path) -> tuple[float, float | None, float | None]:
    """Return the mean over tasks of the rows' values and its interval, the rows' intervals taken as independent.

    Weighted half-widths add in squares: sqrt(sum (w h)^2) on either side.
    """
    values, weights = [needed(row, "value", path) for row in rows], weights_of(rows)
    mean, sides = sum(w * v for w, v in zip(weights, values, strict=True)), []
    for column in ("ci_low", "ci_high"):
        ends = [number(row, column, path) for row in rows]
        if any(end is None for end in ends):
            return mean, None, None
        gaps = [w * (v - e) for w, v, e in zip(weights, values, ends, strict=True) if e is not None]
        sides.append(math.sqrt(sum(gap**2 for gap in gaps)))
    return mean, mean - sides[0], mean + sides[1]


def is_baseline(row: Row) -> bool:
    """Say whether a row of in_domain.tsv is of a system without a language model (BM25, majority, copy)."""
    return row["base_model"] in ("", "none", "-")


def category_scores(table: Loaded) -> dict[str, dict[str, list[Row]]]:
    """Return category -> system -> its rows, one a test set; the best baseline of each test set is one system.

    Systems that lack a test set of the category are left out: their mean would be over other data.
    """
    found: dict[str, dict[str, list[Row]]] = {}
    for category in dict.fromkeys(row["category"] for row in table.rows):
        rows = [row for row in main_rows(table) if row["category"] == category]
        sets = list(dict.fromkeys((row["task"], row["dataset"]) for row in rows))
        systems: dict[str, list[Row]] = {}
        best: dict[tuple[str, str], Row] = {}
        for row in rows:
            if not is_baseline(row):
                systems.setdefault(row["system"], []).append(row)
                continue
            place = (row["task"], row["dataset"])
            if place not in best or needed(row, "value", table.path) > needed(best[place], "value", table.path):
                best[place] = row
        systems["best baseline"] = list(best.values())
        found[category] = {name: its for name, its in systems.items() if len(its) == len(sets)}
    return found


def categories(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw the mean score of each category, untuned against tuned, best baseline beside them."""
    table = tables["in_domain"]
    groups, data = [], []
    for category, systems in category_scores(table).items():
        dots = []
        for system, rows in systems.items():
            mean, low, high = mean_of(rows, table.path)
            look = BASELINE if system == "best baseline" else look_of(system)
            dots.append(Dot(readable(system), mean, low, high, look))
            data.append(
                {"group": category, "system": system, "value": mean, "ci_low": low, "ci_high": high, "tasks": len(rows)}
            )
        count = max((len({row["task"] for row in rows}) for rows in systems.values()), default=0)
        groups.append((f"{readable(category)} ({count} tasks)", dots))
    figure = dot_plot(groups, "mean score over tasks (0 to 1)\n95% interval")
    save(figure, folder, "categories", _DATA, data)


def tasks(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw every test set: all systems on one line, with intervals."""
    table = tables["in_domain"]
    rows = main_rows(table)
    sets = list(dict.fromkeys((row["task"], row["dataset"], row["metric"]) for row in rows))
    # variants that answer only some of the tasks are in the table, not here
    counts = Counter(row["system"] for row in rows)
    rows = [row for row in rows if is_baseline(row) or counts[row["system"]] == len(sets)]
    kinds: dict[str, Dot] = {}
    figure, axes = new_figure(COLUMN, 0.44 * len(sets) + 1.05)
    for index, place in enumerate(sets):
        mine = [row for row in rows if (row["task"], row["dataset"], row["metric"]) == place]
        axes.axhspan(-index - 0.5, -index + 0.5, color="#f6f6f6" if index % 2 else "white", zorder=0, linewidth=0)
        for k, row in enumerate(mine):
            name = "baseline" if is_baseline(row) else row["system"]
            dot = Dot(
                name,
                needed(row, "value", table.path),
                number(row, "ci_low"),
                number(row, "ci_high"),
                BASELINE if is_baseline(row) else look_of(row["system"]),
            )
            kinds.setdefault(name, dot)
            y = -index + 0.3 - 0.6 * (k + 0.5) / len(mine)
            if dot.low is not None and dot.high is not None:
                axes.plot([dot.low, dot.high], [y, y], color=dot.look.colour, linewidth=1.2, zorder=2)
            axes.plot(
                [dot.value],
                [y],
                marker=dot.look.marker,
                markersize=4.2,
                linestyle="none",
                color=dot.look.colour,
                markerfacecolor=dot.look.inside,
                zorder=3,
                clip_on=False,
            )
    axes.set_yticks(
        [-i for i in range(len(sets))],
        [f"{readable(task)}\n{readable(dataset)}, {metric}" for task, dataset, metric in sets],
    )
    axes.set_ylim(-len(sets) + 0.5, 0.5)
    axes.tick_params(axis="y", length=0, pad=7)
    axes.set_xlim(left=0)
    axes.set_xlabel("score (0 to 1)\n95% interval over test examples")
    _key(figure, axes, kinds)
    columns = ["task", "dataset", "metric", "system", "value", "ci_low", "ci_high", "n"]
    save(figure, folder, "tasks", columns, [{c: row[c] for c in columns} for row in rows])


def _key(figure: Figure, axes: Axes, kinds: dict[str, Dot]) -> None:
    """Write the names of the systems above the axes, each beside its mark."""
    handles = [
        axes.plot(
            [],
            [],
            marker=dot.look.marker,
            linestyle="none",
            color=dot.look.colour,
            markersize=5,
            markerfacecolor=dot.look.inside,
            label=readable(name),
        )[0]
        for name, dot in kinds.items()
    ]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=2, frameon=False, handletextpad=0.2, columnspacing=1.2
    )


def data_volume(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw the mean score of each category over the number of training tokens, log scale, with intervals."""
    table = tables["ablation_data_volume"]
    rows = main_rows(table)
    sizes = sorted({needed(row, "train_tokens", table.path) for row in rows})
    above = [size for size in sizes if size > 0]
    # a log axis has no zero: the untuned model stands left of the smallest size, its tick says 0
    place = {size: size if size > 0 else above[0] / 3 for size in sizes} if above else {0.0: 1.0}
    figure, axes = new_figure(COLUMN, 2.5)
    data, ends = [], []
    for k, category in enumerate(dict.fromkeys(row["category"] for row in rows)):
        line = []
        for size in sizes:
            mine = [row for row in rows if row["category"] == category and needed(row, "train_tokens") == size]
            if mine:
                line.append((size, *mean_of(mine, table.path)))
                data.append(dict(zip(_DATA, (category, size, *line[-1][1:], len(mine)), strict=True)))
        colour = SERIES[k % len(SERIES)]
        xs = [place[point[0]] * 1.03 ** (k - 1) for point in line]
        axes.plot(xs, [p[1] for p in line], color=colour, marker=MARKERS[k % len(MARKERS)], markersize=4.5)
        for x, (_, _, low, high) in zip(xs, line, strict=True):
            if low is not None:
                axes.plot([x, x], [low, high], color=colour, linewidth=1)
        ends.append((line[-1][1], readable(category), colour))
    axes.set_xscale("log")
    axes.set_xticks([place[s] for s in sizes], [_tokens(s) for s in sizes])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel("training tokens (log scale; 0 = untuned)")
    axes.set_ylabel("mean score (0 to 1)")
    _end_labels(axes, ends)
    save(
        figure,
        folder,
        "data_volume",
        ["category", "train_tokens", *_DATA[2:]],
        [{"category": d["group"], "train_tokens": d["system"], **{c: d[c] for c in _DATA[2:]}} for d in data],
    )


def _tokens(size: float) -> str:
    return "0" if size == 0 else f"{size / 1000:.0f}K" if size < 1e6 else f"{size / 1e6:.1f}M"


def _end_labels(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Write each line's name right of the axes at its end, moved apart where two would touch."""
    bottom, top = axes.get_ylim()
    step, last = 0.16 * (top - bottom), math.inf
    for y, text, colour in sorted(ends, reverse=True):
        last = min(y, last - step)
        words = text.replace(" understanding", "\nunderstanding").replace(" relationship", "\nrelationship")
        axes.text(
            1.03,
            (last - bottom) / (top - bottom),
            words,
            transform=axes.transAxes,
            color=colour,
            va="center",
            ha="left",
        )


def loss(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw training loss by step and held-out loss at the points where it was measured."""
    table = tables["loss"]
    figure, axes = new_figure(COLUMN, 2.1)
    looks = {"train": (GREY, 1.0, "", "training batches"), "dev": (BLUE, 1.6, "o", "held-out")}
    ends = []
    for split, (colour, width, marker, text) in looks.items():
        mine = [row for row in table.rows if row["split"] == split]
        points = [(needed(row, "tokens", table.path), needed(row, "loss", table.path)) for row in mine]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, linewidth=width, marker=marker, markersize=4.5)
            ends.append((points[-1][1], text, colour))
    axes.set_xlabel("training tokens")
    axes.xaxis.set_major_formatter(lambda value, _: _tokens(value))
    axes.set_ylabel("loss (nats per token)")
    _end_labels(axes, ends)
    save(
        figure,
        folder,
        "loss",
        ["split", "step", "tokens", "loss"],
        [{c: row[c] for c in ("split", "step", "tokens", "loss")} for row in table.rows],
    )


def round_trip(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw how often BM25 finds the passage that a query was written for, by collection and writer."""
    table = tables["round_trip"]
    groups: dict[str, list[Dot]] = {}
    # the last metric is the strictest: copies of the passage count as failed
    metric = table.rows[-1]["metric"]
    rows = [row for row in table.rows if row["metric"] == metric]
    for row in rows:
        value, low, high = needed(row, "value", table.path), number(row, "ci_low"), number(row, "ci_high")
        dot = Dot(readable(row["system"]), value, low, high, look_of(row["system"]))
        groups.setdefault(readable(row["collection"]), []).append(dot)
    unit = f"{metric}:\nsource passage found (BM25), 95% interval"
    figure = dot_plot(list(groups.items()), unit)
    save(figure, folder, "round_trip", table.columns, rows)


FIGURES: dict[str, tuple[str, Callable[[dict[str, Loaded], Path], None]]] = {
    "categories": ("in_domain", categories),
    "tasks": ("in_domain", tasks),
    "data_volume": ("ablation_data_volume", data_volume),
    "instruction_design": ("ablation_instruction_design", figures_ablations.instruction_design),
    "task_variety": ("ablation_task_variety", figures_ablations.task_variety),
    "control": ("ablation_control", figures_ablations.control),
    "base_model": ("ablation_base_model", figures_ablations.base_model),
    "loss": ("loss", loss),
    "round_trip": ("round_trip", round_trip),
}
