"""How figures look and how they are saved: one style, one palette, the same bytes from the same numbers.

Palette: Okabe and Ito, "Color Universal Design" (2008); shape says the same as colour, so that a
figure survives grey print. Text is 8 pt or more at the printed width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox, blended_transform_factory

from searchtune.files import write_tsv
from searchtune.reporting.numbers import show
from searchtune.synthesis.udapdr_chains import HELD

COLUMN = 3.4  # inches: one column of a two-column page, and a telephone
ROW = 0.19  # inches a line of a dot plot takes
GREY = "#595959"
LIGHT = "#d9d9d9"
BLUE, ORANGE, GREEN, VERMILLION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, GREY)
MARKERS = ("o", "s", "D", "^", "v", "X")
_METADATA = {
    "pdf": {"CreationDate": None, "Producer": "searchtune", "Creator": None},
    "svg": {"Date": None, "Creator": "searchtune"},
    "png": {"Software": "searchtune"},
}
_NAMES = {
    "bm25": "BM25",
    "minilm": "MiniLM",
    "maxsim": "MaxSim",
    "monot5": "monoT5",
    "rankllama": "RankLLaMA",
    "bright": "BRIGHT",
    "followir": "FollowIR",
    "litsearch": "LitSearch",
    "gpqa": "GPQA",
    "squad": "SQuAD",
    "coqa": "CoQA",
    "xsum": "XSum",
    "vitaminc": "VitaminC",
    "fever": "FEVER",
    "nq": "NQ",
    "nyt": "NYT",
    "trec": "TREC",
    "gar": "GAR",
    "qa": "QA",
    "wiki": "Wikipedia",
    "disfl": "Disfl",
    "wikilingua": "WikiLingua",
    "llm": "LLM",
    "lm": "LM",
}
_PHRASES = {"zero_shot": "Late interaction, not adapted"}
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": GREY,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": False,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "searchtune",
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "lines.linewidth": 1.3,
    "path.sketch": None,
}


@dataclass(frozen=True)
class Look:
    """Colour, marker and filling of one kind of system."""

    colour: str
    marker: str
    filled: bool

    @property
    def inside(self) -> str:
        """Colour inside the marker."""
        return self.colour if self.filled else "white"


OURS = Look(BLUE, "o", True)
UNTUNED = Look(VERMILLION, "s", False)
FEW_SHOT = Look(VERMILLION, "D", True)
RERANKED = Look(GREEN, "^", True)
BASELINE = Look(GREY, "o", False)


@dataclass(frozen=True)
class Dot:
    """One line of a dot plot: a label, a value with its interval, and its look."""

    label: str
    value: float
    low: float | None
    high: float | None
    look: Look = BASELINE
    note: str = ""


def look_of(system: str) -> Look:
    """Return the look of a system by what its name says it is (tuned or adapted, untuned, reranked, baseline)."""
    name = system.lower().replace("_", " ").replace("-", " ")
    if "untuned" in name:
        return FEW_SHOT if "few" in name else UNTUNED
    if "rerank" in name:
        return RERANKED
    if "tuned" in name or "limrank" in name or ("adapted" in name and "unadapted" not in name):
        return OURS
    return BASELINE


def readable(name: str) -> str:
    """Return the id of a system, stage or collection as words (``bm25_reranked`` -> ``BM25 reranked``)."""
    if name.endswith(HELD):
        return f"{readable(name.removesuffix(HELD))} (synthetic)"
    if name in _PHRASES:
        return _PHRASES[name]
    words = " ".join(_NAMES.get(word, word) for word in name.replace("_", " ").split(" "))
    return words if words.split(" ")[0] in _NAMES.values() else words[:1].upper() + words[1:]


def new_figure(width: float, height: float, **kwargs: Any) -> tuple[Figure, Any]:
    """Return a figure of ``width`` x ``height`` inches and its axes, in the house style."""
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(_STYLE)  # type: ignore[arg-type]
    return plt.subplots(figsize=(width, height), layout="constrained", **kwargs)


def save(figure: Figure, folder: Path, name: str, columns: list[str], rows: list[dict]) -> None:
    """Write ``name.{pdf,png,svg}`` and ``name.tsv`` (what was drawn) into ``folder``; close the figure."""
    folder.mkdir(parents=True, exist_ok=True)
    for ending, metadata in _METADATA.items():
        figure.savefig(folder / f"{name}.{ending}", metadata=metadata)
    plt.close(figure)
    write_tsv(folder / f"{name}.tsv", columns, rows)


def _draw_dot(axes: Axes, y: float, dot: Dot) -> None:
    if dot.low is not None and dot.high is not None:
        axes.plot([dot.low, dot.high], [y, y], color=dot.look.colour, linewidth=1.4, solid_capstyle="butt", zorder=2)
    axes.plot(
        [dot.value],
        [y],
        marker=dot.look.marker,
        markersize=5,
        color=dot.look.colour,
        linestyle="none",
        markerfacecolor=dot.look.inside,
        markeredgewidth=1.1,
        zorder=3,
        clip_on=False,
    )


def dot_plot(
    groups: Sequence[tuple[str, Sequence[Dot]]], unit: str, digits: int = 2, zero: bool = True, width: float = COLUMN
) -> Figure:
    """Draw groups of labelled dots with intervals under one axis; the value stands at the right edge of its line.

    ``unit`` labels the axis; ``zero`` draws the axis from 0 (scores) rather than around 0 (differences).
    """
    lines = sum(len(dots) + 1.15 for _, dots in groups)
    figure, axes = new_figure(width, ROW * lines + 0.4 + 0.14 * (unit.count("\n") + 1))
    y, ticks, labels = 0.0, [], []
    for title, dots in groups:
        # from the left edge of the figure: titles may be longer than the axes are wide
        axes.text(
            0.02,
            y,
            title,
            transform=blended_transform_factory(figure.transFigure, axes.transData),
            fontweight="bold",
            va="center",
        ).set_in_layout(False)
        for dot in dots:
            y -= 1
            _draw_dot(axes, y, dot)
            axes.text(
                1.03,
                y,
                dot.note or show(dot.value, digits),
                transform=axes.get_yaxis_transform(),
                va="center",
                ha="left",
                color=dot.look.colour,
            )
            axes.axhline(y, color="#eeeeee", linewidth=0.6, zorder=0)
            ticks.append(y)
            labels.append(dot.label)
        y -= 1.15
    axes.set_yticks(ticks, labels)
    axes.set_ylim(y + 0.6, 0.6)
    axes.tick_params(axis="y", length=0, pad=7)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(unit)
    if zero:
        axes.set_xlim(left=0)
    else:
        axes.axvline(0, color=GREY, linewidth=0.8, zorder=1)
    return figure


# where a label may stand around its point: offset in points, alignment
_PLACES = [(7, 0, "left", "center"), (-7, 0, "right", "center"), (0, 8, "center", "bottom"), (0, -8, "center", "top")]
_PLACES += [
    (side * 6, up * far, "left" if side > 0 else "right", "bottom" if up > 0 else "top")
    for far in (9, 20)
    for side in (1, -1)
    for up in (1, -1)
]


def place_labels(figure: Figure, axes: Axes, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Write a label beside each (x, y, text, colour), in the first place around it that hits nothing drawn before."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    spots = [axes.transData.transform((x, y)) for x, y, _, _ in points]
    taken = [Bbox.from_bounds(a - 4, b - 4, 8, 8) for a, b in spots]
    taken += [line.get_window_extent(renderer).padded(1) for line in axes.lines]
    frame = axes.get_window_extent(renderer)
    for x, y, text, colour in points:
        best = None
        for dx, dy, across, up in _PLACES:
            note = axes.annotate(text, (x, y), (dx, dy), textcoords="offset points", ha=across, va=up, color=colour)
            box = note.get_window_extent(renderer)
            outside = box.x0 < frame.x0 or box.x1 > frame.x1 + 4 or box.y1 > frame.y1 + 4 or box.y0 < frame.y0
            cost = sum(box.overlaps(other) for other in taken) + 3 * outside
            if best is None or cost < best[0]:
                if best:
                    best[1].remove()
                best = (cost, note, box)
            else:
                note.remove()
            if cost == 0:
                break
        if best:
            taken.append(best[2])
            best[1].set_in_layout(False)
