"""Tables of two runs, row by row: which are in one run only, which numbers are equal, which are not."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searchtune.errors import DataError
from searchtune.files import read_tsv

PAPERS = ("inters", "udapdr", "limrank")
FIRST_STAGE = "first_stage"
# columns of numbers that tell rows apart, and of text that tells what came out
KEYS = ("seed", "train_seed", "k", "depth", "batch", "x", "fraction", "step", "window", "stride", "prompt")
OUTCOMES = ("note", "verdict", "passed", "status", "licence", "verified")
# times differ each time: shown, but two runs may be equal without them
TIMES = (("udapdr", "latency"),)

Row = dict[str, str]
RowKey = tuple[str, ...]


@dataclass
class Compared:
    """One table of both runs. ``different``: {row, column, a, b} of every cell that differs."""

    paper: str
    name: str
    equal_cells: int = 0
    different: list[dict[str, Any]] = field(default_factory=list)
    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)

    @property
    def timed(self) -> bool:
        """Say whether the table holds times, which say nothing of equality."""
        return (self.paper, self.name) in TIMES

    @property
    def equal(self) -> bool:
        """Say whether both runs have the same rows and cells."""
        return not (self.different or self.only_a or self.only_b)


def tables_of(run: Path) -> dict[tuple[str, str], Path]:
    """Return (paper or first_stage, table) -> file of a results folder; DataError where it holds no tables."""
    found = {(paper, file.stem): file for paper in PAPERS for file in sorted((run / paper / "tables").glob("*.tsv"))}
    if not found:
        raise DataError(
            f"{run} has no <paper>/tables/*.tsv; give the results folder of a finished run (results/<scale>)"
        )
    # what two engines differ in stands beside the papers; alone it's no finished run
    engines = run / FIRST_STAGE / "engines.tsv"
    return found | ({(FIRST_STAGE, "engines"): engines} if engines.is_file() else {})


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == ""
    return True


def key_columns(rows: list[Row]) -> list[str]:
    """Return the columns that tell rows apart: text, and numbers that are settings."""
    columns = list(rows[0]) if rows else []
    return [
        column
        for column in columns
        if column in KEYS or (column not in OUTCOMES and not all(_number(row.get(column, "")) for row in rows))
    ]


def keyed(rows: list[Row], keys: list[str]) -> dict[RowKey, Row]:
    """Return rows by their key; rows of one key are numbered in their order."""
    found: dict[RowKey, Row] = {}
    for row in rows:
        base = tuple(row.get(key, "") for key in keys)
        key, number = base, 2
        while key in found:
            key, number = (*base, f"#{number}"), number + 1
        found[key] = row
    return found


def shown(key: RowKey) -> str:
    """Return a row's key as text."""
    return " / ".join(part for part in key if part)


def compare_rows(paper: str, name: str, a: list[Row], b: list[Row]) -> Compared:
    """Compare two tables row by row; a column that only one of them has is a difference of every row."""
    keys = key_columns([*a, *b])
    left, right = keyed(a, keys), keyed(b, keys)
    found = Compared(paper, name)
    found.only_a = [shown(key) for key in left if key not in right]
    found.only_b = [shown(key) for key in right if key not in left]
    for key, row in left.items():
        if key not in right:
            continue
        other = right[key]
        for column in [column for column in {**row, **other} if column not in keys]:
            before, after = row.get(column), other.get(column)
            if before == after:
                found.equal_cells += 1
            else:
                found.different.append({"row": shown(key), "column": column, "a": before, "b": after})
    return found


def compared(a: Path, b: Path) -> Iterator[Compared]:
    """Yield the comparison of each table that both runs have."""
    left, right = tables_of(a), tables_of(b)
    for key in sorted(set(left) & set(right)):
        yield compare_rows(*key, read_tsv(left[key]), read_tsv(right[key]))
