"""Rows of publishers' files (JSON, JSON lines, TSV, CSV; .gz too) with checks that name file, row and field."""

import csv
import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searchtune.errors import DataError, nearest
from searchtune.files import iter_jsonl, read_json
from searchtune.tasks.example import clean

# publishers' names of the three splits, as words of a file name or as the value of a column
_SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "devel", "valid", "validation", "val"), "dev"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


@dataclass(frozen=True)
class Record:
    """One row of a publisher's file; ``where`` is the file and the row (data rows are counted from 1)."""

    where: str
    values: dict[str, Any]

    def raw(self, name: str) -> Any:
        """Return a field as it stands; DataError if the row has no such field."""
        if name not in self.values:
            raise DataError(
                f"{self.where}: no field {name!r}{nearest(name, map(str, self.values))}; is this the publisher's file?"
            )
        return self.values[name]

    def optional(self, name: str) -> str:
        """Return a text field with single spaces; empty where it is absent, null or blank."""
        value = self.values.get(name)
        return "" if value is None else clean(_as_text(self.where, name, value))

    def text(self, name: str) -> str:
        """Return a text field with single spaces; DataError where it is missing, null or blank."""
        value = self.raw(name)
        found = "" if value is None else clean(_as_text(self.where, name, value))
        if not found:
            raise self.fault(name, "is empty")
        return found

    def items(self, name: str, least: int = 0) -> list[Any]:
        """Return a list field; DataError where it is no list or has fewer than ``least`` items."""
        value = self.raw(name)
        if not isinstance(value, list) or len(value) < least:
            raise self.fault(name, f"is not a list of at least {least} items")
        return value

    def texts(self, name: str, least: int = 0) -> list[str]:
        """Return a list of texts with single spaces; DataError where an item is no text."""
        return [clean(_as_text(self.where, name, item)) for item in self.items(name, least)]

    def child(self, name: str) -> "Record":
        """Return an object field as a record of its own; DataError where it is none."""
        value = self.raw(name)
        if not isinstance(value, dict):
            raise self.fault(name, "is not an object")
        return Record(f"{self.where}, {name}", value)

    def children(self, name: str, least: int = 0) -> list["Record"]:
        """Return the objects of a list field as records of their own, counted from 1."""
        return list(records_of(self.items(name, least), f"{self.where}, {name}"))

    def one_of(self, name: str, labels: Iterable[str]) -> str:
        """Return a field that must be one of ``labels``; DataError names those that are allowed."""
        value, allowed = self.text(name), list(labels)
        if value not in allowed:
            raise self.fault(name, f"is {value!r}, none of {', '.join(allowed)}")
        return value

    def fault(self, name: str, what: str) -> DataError:
        """Return the error to raise for a field: ``what`` is the end of the sentence that the field begins."""
        return DataError(f"{self.where}: field {name!r} {what}; mend the row or fetch the publisher's file again")


def _as_text(where: str, name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"{where}: field {name!r} is a {type(value).__name__}, not a text; is this the right file?")
    return str(value)


def records_of(rows: Iterable[Any], where: str) -> Iterator[Record]:
    """Yield objects of a JSON list as records; DataError for anything else in it."""
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f"{where}, row {number}: expected a JSON object, found {type(row).__name__}")
        yield Record(f"{where}, row {number}", row)


def _require(path: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(
            f"{path}, header: no column {missing[0]!r}{nearest(missing[0], found)}; columns are {', '.join(found)}"
        )


def json_rows(path: Path, key: str = "") -> Iterator[Record]:
    """Yield the objects of a JSON file that is a list, or of the list that stands under ``key`` in its object."""
    value = read_json(path)
    if key:
        value = Record(str(path), value if isinstance(value, dict) else {}).raw(key)
    if not isinstance(value, list):
        raise DataError(f"{path}: expected a JSON list{f' under {key!r}' if key else ''}, found {type(value).__name__}")
    yield from records_of(value, str(path))


def jsonl_rows(path: Path) -> Iterator[Record]:
    """Yield the objects of a JSON lines file."""
    yield from records_of(iter_jsonl(path), str(path))


def table_rows(
    path: Path,
    columns: Sequence[str],
    *,
    delimiter: str = "\t",
    quoted: bool = False,
    header: bool = True,
    short: bool = False,
    encoding: str = "utf-8-sig",
) -> Iterator[Record]:
    """Yield the rows of a TSV or CSV file, which must have ``columns`` (others may stand beside them).

    ``quoted``: quotes enclose cells, as CSV writers and pandas do; otherwise a quote is a sign like any other.
    Without ``header`` the columns are named by ``columns``, in order. A row of another length is a DataError, but
    for rows that end early where ``short`` says that they may: their last columns are empty.
    """
    path = Path(path)
    csv.field_size_limit(2**31 - 1)  # web documents in a cell exceed the module's default of 131,072 signs
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rt", encoding=encoding, newline="") as handle:
        rows = csv.reader(handle, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE)
        try:
            names = list(next(rows, [])) if header else list(columns)
            _require(path, names, columns)
            for number, cells in enumerate((row for row in rows if row), 1):
                if short and len(cells) < len(names):
                    cells = [*cells, *[""] * (len(names) - len(cells))]
                if len(cells) != len(names):
                    raise DataError(f"{path}, row {number}: {len(cells)} cells where {len(names)} columns are named")
                yield Record(f"{path}, row {number}", dict(zip(names, cells, strict=True)))
        except (csv.Error, UnicodeDecodeError, OSError, EOFError) as error:
            raise DataError(f"{path}, line {rows.line_num}: cannot be read ({error}); fetch the file again") from error


def split_named(text: str) -> str:
    """Return train, dev or test as named by a word of ``text`` (a file name or a cell); empty if none or several are.

    Words are runs of letters, so ``qrecc_train.json`` is train and ``latest.json`` names no split.
    """
    found = {_SPLIT_NAMES[word] for word in re.findall(r"[a-z]+", text.casefold()) if word in _SPLIT_NAMES}
    return found.pop() if len(found) == 1 else ""


def split_of_file(path: Path) -> str:
    """Return the publisher's split of a file by its name, else by its folder's; DataError where neither names one."""
    path = Path(path)
    found = split_named(path.name) or split_named(path.parent.name)
    if not found:
        raise DataError(f"{path}: neither the file nor its folder names a split (train, dev, test)")
    return found


def numbered(items: Iterable[str]) -> str:
    """Return items as a numbered list, one a line: the form that ``answers.parse_numbered`` reads."""
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))
