"""The figures of INTERS' ablations: instruction design, task variety, the control, base models."""

from collections.abc import Callable
from pathlib import Path

from searchtune.reporting.plot import BASELINE, FEW_SHOT, OURS, RERANKED, UNTUNED, Dot, Look, dot_plot, readable, save
from searchtune.reporting.reading import Loaded, Row, needed, number

MEAN = "mean of tasks"
_COLUMNS = ["system", "base_model", "scope", "category", "dataset", "value", "ci_low", "ci_high", "n", "p_value"]


def mean_rows(table: Loaded, dataset: str = "all") -> list[Row]:
    """Return the rows of means over tasks: of all test sets of a category, or of those left out."""
    return [row for row in table.rows if row["task"].startswith(MEAN) and row["dataset"].startswith(dataset)]


def dot_of(row: Row, label: str, look: Look, path: Path) -> Dot:
    """Return the dot of a row with its interval."""
    return Dot(label, needed(row, "value", path), number(row, "ci_low"), number(row, "ci_high"), look)


def look_of_variant(row: Row) -> Look:
    """Return the look of an ablation's row: full model, untuned one, a variant, a variant in its own form."""
    if row["baseline"] == "":
        return OURS
    if "untuned" in row["system"]:
        return UNTUNED
    return BASELINE if row["prompts"] == "same" else FEW_SHOT


def by_category(rows: list[Row], look: Callable[[Row], Look], path: Path) -> list[tuple[str, list[Dot]]]:
    """Return a dot plot's groups: one a category, all tasks among them, with a dot a row."""
    return [
        (
            "All tasks" if category == "all" else readable(category),
            [dot_of(r, readable(r["system"]), look(r), path) for r in rows if r["category"] == category],
        )
        for category in dict.fromkeys(row["category"] for row in rows)
    ]


def data_of(rows: list[Row]) -> list[Row]:
    """Return what a figure draws, as the rows of its table file."""
    return [{column: row[column] for column in _COLUMNS} for row in rows]


def instruction_design(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw every variant's mean over tasks in each category, the full and the untuned model beside them."""
    table = tables["ablation_instruction_design"]
    for base in dict.fromkeys(row["base_model"] for row in table.rows):
        rows = [row for row in mean_rows(table) if row["base_model"] == base]
        groups = by_category(rows, look_of_variant, table.path)
        figure = dot_plot(groups, "mean score over tasks (0 to 1)\n95% interval")
        save(figure, folder, _name("instruction_design", base, table), _COLUMNS, data_of(rows))


def task_variety(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw what leaving out tasks does to them: the full model against the model that never saw them."""
    table = tables["ablation_task_variety"]
    for base in dict.fromkeys(row["base_model"] for row in table.rows):
        mine = [row for row in table.rows if row["base_model"] == base]
        rows = [row for row in mean_rows(table, "left out") if row["base_model"] == base]
        groups = []
        for row in rows:
            rest = next(r for r in mean_rows(table, "trained") if r["system"] == row["system"] and r in mine)
            dots = [
                Dot("Full model", needed(row, "baseline_value"), None, None, OURS),
                dot_of(row, "Left out", UNTUNED, table.path),
                Dot("Full model, other tasks", needed(rest, "baseline_value"), None, None, RERANKED),
                dot_of(rest, "Left out, other tasks", BASELINE, table.path),
            ]
            groups.append((readable(row["system"]), dots))
        figure = dot_plot(groups, "mean score over tasks (0 to 1)\n95% interval")
        save(figure, folder, _name("task_variety", base, table), _COLUMNS, data_of(rows))


def control(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw the untuned model, the control tuned on general instructions and the full model, by category."""
    table = tables["ablation_control"]

    def look(row: Row) -> Look:
        """Return the look of a system of this table: search tasks, none at all, or general instructions."""
        return OURS if row["system"].startswith("full") else UNTUNED if row["system"] == "untuned" else BASELINE

    for base in dict.fromkeys(row["base_model"] for row in table.rows):
        rows = [row for row in mean_rows(table) if row["base_model"] == base]
        figure = dot_plot(by_category(rows, look, table.path), "mean score over tasks (0 to 1)\n95% interval")
        save(figure, folder, _name("control", base, table), _COLUMNS, data_of(rows))


def base_model(tables: dict[str, Loaded], folder: Path) -> None:
    """Draw every base model untuned and tuned, by category."""
    table = tables["ablation_base_model"]
    rows = mean_rows(table)
    groups = by_category(rows, lambda row: OURS if row["tuned"] == "true" else UNTUNED, table.path)
    figure = dot_plot(groups, "mean score over tasks (0 to 1)\n95% interval")
    columns = [column for column in _COLUMNS if column != "scope"]
    save(figure, folder, "base_model", columns, [{c: row[c] for c in columns} for row in rows])


def _name(figure: str, base: str, table: Loaded) -> str:
    """Return the file name of a figure: with the base model where the table has several."""
    return figure if len({row["base_model"] for row in table.rows}) == 1 else f"{figure}_{base}"
