"""Read result tables and check them against the catalogue."""

from dataclasses import dataclass
from pathlib import Path

from searchtune.errors import DataError, nearest
from searchtune.files import read_text, read_tsv
from searchtune.reporting.catalogue import PAPERS, TABLES, Table

Row = dict[str, str]


@dataclass(frozen=True)
class Loaded:
    """A table as read: what the catalogue says about it, its header and its rows of strings."""

    spec: Table
    path: Path
    columns: list[str]
    rows: list[Row]


def paper_of(path: Path) -> str:
    """Return the paper whose folder holds ``path``; DataError if no folder of the path is a paper's."""
    for part in reversed(path.parts[:-1]):
        if part in PAPERS:
            return part
    raise DataError(f"{path}: no folder of this path names a paper ({', '.join(PAPERS)}); move the table below one")


def load_table(path: Path) -> Loaded:
    """Read one tsv; a missing or unknown column, or a table that nobody knows, is a DataError that names it."""
    paper = paper_of(path)
    names = [name for owner, name in TABLES if owner == paper]
    if path.stem not in names:
        raise DataError(f"{path}: {PAPERS[paper]} has no table {path.stem!r}{nearest(path.stem, names)}")
    spec = TABLES[(paper, path.stem)]
    columns = (read_text(path).splitlines() or [""])[0].split("\t")
    _check_columns(path, columns, spec)
    return Loaded(spec, path, columns, read_tsv(path))


def load_tables(paths: list[Path]) -> dict[str, Loaded]:
    """Read the known tables of one paper as name -> table, in the catalogue's order.

    A folder may hold more than the catalogue knows (per-query values): those files are left alone.
    """
    files = [file for file in tables_in(paths) if (paper_of(file), file.stem) in TABLES or file in paths]
    found = {table.spec.name: table for table in map(load_table, files)}
    order = [spec.name for spec in TABLES.values()]
    return dict(sorted(found.items(), key=lambda item: order.index(item[0])))


def tables_in(paths: list[Path]) -> list[Path]:
    """Expand folders to the tsv files in them, sorted; files stay."""
    return [file for path in paths for file in (sorted(path.glob("*.tsv")) if path.is_dir() else [path])]


def _check_columns(path: Path, columns: list[str], spec: Table) -> None:
    known = (*spec.required, *spec.optional)
    for column in spec.required:
        if column not in columns:
            raise DataError(f"{path}: column {column!r} is missing; the header is: {' '.join(columns)}")
    for column in columns:
        if column not in known:
            raise DataError(f"{path}: unknown column {column!r}{nearest(column, known)}")
        if columns.count(column) > 1:
            raise DataError(f"{path}: column {column!r} stands twice in the header")


def number(row: Row, column: str, path: Path | str = "table") -> float | None:
    """Return a cell as a number, None if it is empty; DataError if it holds anything else."""
    text = row.get(column, "")
    if text == "":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{path}: column {column!r} holds {text!r}, expected a number") from error


def needed(row: Row, column: str, path: Path | str = "table") -> float:
    """Return a cell as a number; DataError if it is empty."""
    found = number(row, column, path)
    if found is None:
        raise DataError(f"{path}: column {column!r} is empty in row {row}; expected a number")
    return found


def truth(text: str) -> bool:
    """Say whether a cell written by ``write_tsv`` means true."""
    return text.strip().lower() in {"true", "1", "yes"}
