"""Turn result tables into rows of readable cells, in long form (every column) and in short form (systems side by side).

The forms know nothing of Markdown, LaTeX or HTML; writers.py does.
"""

from collections.abc import Callable
from dataclasses import dataclass

from searchtune.errors import DataError
from searchtune.reporting.comparing import Judge, best_rows, groups, is_p
from searchtune.reporting.numbers import digits_for, show, show_count, show_interval, show_p
from searchtune.reporting.reading import Loaded, Row, number

_COUNTS = frozenset({"n", "in", "out", "depth", "batch", "calls", "failed", "train_tokens", "step", "tokens"})
_COUNTS |= {"rows", "queries_0.5", "queries_1", "queries_2", "queries_4", "limrank", "rank1"}
_MILLISECONDS = frozenset({"p50_ms", "p95_ms", "p99_ms", "published_ms", "ms_per_pair"})
_POINTS = frozenset({"published_before", "published_after", "before", "after", "sd", "gap", "detectable"})
_PLAIN = frozenset({"tie_share", "share", "fraction", "threshold", "loss", "corrected", "released", "alpha"})
_LABELS = {
    "p_value": "p (Holm)",
    "p_vs_bm25": "p vs BM25 (Holm)",
    "p_vs_best_unadapted": "p vs best unadapted (Holm)",
    "p_vs_reranked": "p vs BM25 + reranker (Holm)",
    "p_vs_untuned": "p vs untuned (Holm)",
    "p50_ms": "p50 (ms)",
    "p95_ms": "p95 (ms)",
    "p99_ms": "p99 (ms)",
    "published_ms": "published (ms)",
    "ms_per_pair": "per pair (ms)",
    "p_adjusted": "p (Holm, this table)",
    "p_holm": "p (Holm, LimRank's comparisons)",
    **{f"queries_{gap}": f"queries for {gap} points" for gap in ("0.5", "1", "2", "4")},
    "detectable": "smallest gap decided",
    "under_5_percent": "under 5%",
    "change": "change [95% interval]",
    "base_model": "base model",
    "tie_share": "tie share",
    "train_tokens": "training tokens",
    "fraction": "share of data",
    "value": "value [95% interval]",
}


@dataclass(frozen=True)
class Cell:
    """One cell: what is shown, what it is sorted by, and whether it is a number or a shown best."""

    text: str
    sort: str = ""
    numeric: bool = False
    bold: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table ready to be written: header, rows of cells, and for each row the row of the tsv that it stands for."""

    title: str
    caption: str
    header: list[str]
    rows: list[list[Cell]]


def label(column: str) -> str:
    """Return the heading of a column."""
    return _LABELS.get(column, column.replace("_", " "))


def caption_of(table: Loaded) -> str:
    """Return the caption of a table; where notes explain the values of a column, with each of them said once."""
    column = table.spec.explained
    if not column or "note" not in table.columns:
        return table.spec.caption
    said = {row[column]: row["note"] for row in table.rows if row["note"]}
    return " ".join([table.spec.caption, *(f"{name}: {note}." for name, note in said.items())])


def _value_cell(row: Row, table: Loaded, digits: int, bold: bool, column: str = "value") -> Cell:
    value, low, high = (number(row, key, table.path) for key in (column, "ci_low", "ci_high"))
    return Cell(show_interval(value, low, high, digits), row.get(column, ""), True, bold)


def _digits(table: Loaded) -> Callable[[int], int]:
    """Return a function: row number -> decimals, equal within one metric of the table."""
    values: dict[str, list[float]] = {}
    for row in table.rows:
        if "value" in row and (value := number(row, "value", table.path)) is not None:
            values.setdefault(row.get("metric", ""), []).append(value)
    by_metric = {metric: digits_for(found) for metric, found in values.items()}
    return lambda index: by_metric.get(table.rows[index].get("metric", ""), 3)


def _cell(table: Loaded, index: int, column: str, judge: Judge) -> Cell:
    row, text = table.rows[index], table.rows[index][column]
    if is_p(column):
        p = judge.p_of(table, index, column)
        return Cell(show_p(p), "" if p is None else f"{p:.6g}", True)
    kinds: list[tuple[frozenset[str], Callable[[float | None], str]]] = [
        (_COUNTS, show_count),
        (_MILLISECONDS | _POINTS, lambda v: show(v, 1)),
        (frozenset({"p_adjusted", "p_holm"}), show_p),
        (_PLAIN, lambda v: show(v, 3)),
    ]
    for names, shown in kinds:
        if column in names:
            try:
                return Cell(shown(number(row, column, table.path)), text, True)
            except DataError:
                return Cell(text, text)  # a threshold such as "0.05 to 0.95" is text
    if column == "value":
        found = number(row, column, table.path)
        return Cell(show(found, digits_for([found or 0.0])), text, True)
    if column == "passed":
        return Cell({"true": "pass", "false": "FAIL"}.get(text.lower(), text or "not checked"), text)
    return Cell(text or "–", text)


def long_sheet(table: Loaded, judge: Judge) -> Sheet:
    """Return every row and column; ci_low and ci_high go into the cell of the value, or of the change."""
    merged = {"ci_low", "ci_high"} <= set(table.columns)
    centre = next((c for c in ("value", "change") if merged and c in table.columns), "")
    dropped = [*(["ci_low", "ci_high"] if merged else []), *(["note"] if table.spec.explained else [])]
    columns = [c for c in table.columns if c not in dropped]
    best, digits = best_rows(table, judge), _digits(table)

    def cell(index: int, column: str) -> Cell:
        """Return one cell; a change is in points, or in milliseconds."""
        if column != centre:
            return _cell(table, index, column, judge)
        return _value_cell(table.rows[index], table, digits(index) if column == "value" else 1, index in best, column)

    rows = [[cell(i, c) for c in columns] for i in range(len(table.rows))]
    header = [label(c) if c == centre or c != "value" else "value" for c in columns]
    return Sheet(table.spec.title, caption_of(table), header, rows)


def _varying(table: Loaded, columns: list[str]) -> list[str]:
    return [c for c in columns if c in table.columns and len({row[c] for row in table.rows} - {""}) > 1]


def wide_sheet(table: Loaded, judge: Judge) -> Sheet | None:
    """Return the short form: one row a system or task, one column a metric or system; None if the table has none.

    DataError if two rows of the table claim the same cell.
    """
    if not table.spec.wide:
        return None
    across = [*table.spec.wide]
    across += _varying(table, ["base_model"]) if "system" in across else []
    down = [c for c in (*table.spec.group, table.spec.system) if c not in across]
    down = _varying(table, down) or down[-1:]
    down += [c for c in _varying(table, ["mode"]) if c not in down]
    if "task" in down and "category" in down:
        down.remove("category")  # a task has one category; the long form names it
    # what a row is about comes first: it stays in sight on a narrow screen
    first = {table.spec.system: 0, "task": 1}
    down.sort(key=lambda c: (first.get(c, 2), table.columns.index(c)))
    return _pivot(table, judge, down, across)


def _pivot(table: Loaded, judge: Judge, down: list[str], across: list[str]) -> Sheet:
    best, digits = best_rows(table, judge), _digits(table)
    cells: dict[tuple[str, ...], dict[tuple[str, ...], Cell]] = {}
    heads: dict[tuple[str, ...], None] = {}
    for index, row in enumerate(table.rows):
        place, head = tuple(row[c] for c in down), tuple(row[c] for c in across)
        if head in cells.setdefault(place, {}):
            raise DataError(
                f"{table.path}: two rows for {dict(zip(down + across, place + head, strict=True))}; "
                "a result stands once in a table"
            )
        cells[place][head] = _value_cell(row, table, digits(index), index in best)
        heads.setdefault(head)
    empty = Cell("–", "", True)
    rows = [
        [*(Cell(text or "–", text) for text in place), *(found.get(head, empty) for head in heads)]
        for place, found in cells.items()
    ]
    # a bare number needs its column's name
    named = {column: f"{label(column)} " for column in ("fraction", "depth")}
    shown = [
        " · ".join(named.get(c, "") + text for c, text in zip(across, head, strict=True) if text) for head in heads
    ]
    return Sheet(table.spec.title, caption_of(table), [label(c) for c in down] + shown, rows)


def sheets(table: Loaded, judge: Judge) -> dict[str, Sheet]:
    """Return file stem -> sheet: the long form under the table's name, the short form with ``_wide`` behind it."""
    found = {table.spec.name: long_sheet(table, judge)}
    if table.rows and (wide := wide_sheet(table, judge)):
        found[f"{table.spec.name}_wide"] = wide
    return found


def footnote(judge: Judge, tables: list[Loaded]) -> str:
    """Say what bold and p mean in these tables, and on how many seeds they rest."""
    few = judge.note() if any(t.spec.group and groups(t) for t in tables) else ""
    text = (
        "Bold: the best value of its group where every other one is shown to be lower (intervals apart, or a "
        "paired test against it with p < 0.05). p-values are adjusted by Holm over all "
        f"{judge.comparisons} comparisons shown together, unless a heading names another family. Intervals are over "
        "queries, and over seeds where there are several; several queries about one passage count as independent."
    )
    if not few:
        return text
    return f"{text} Training rests on {few}: differences between systems may be differences between seeds."
