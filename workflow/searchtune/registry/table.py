"""The registry: everything that comes from outside, one row a data set or model (config/datasets.tsv, models.tsv).

Read at every parse of the workflow, so only the standard library is imported here.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from searchtune.errors import ConfigError, malformed, nearest
from searchtune.files import read_tsv
from searchtune.redaction import SECRET_NAME

ROOT = Path(__file__).resolve().parents[3]
TABLES = {"dataset": "config/datasets.tsv", "model": "config/models.tsv"}
SOURCES = ("pypi", "hub", "url", "ir_datasets", "local", "built", "licensed")
COLUMNS = (
    "id",
    "source",
    "name",
    "version",
    "archive",
    "sha256",
    "bytes",
    "file",
    "licence",
    "canary",
    "used_by",
    "note",
    "verified",
)
# how a loader of INTERS data was tested: on the publisher's real file, on a small file in the publisher's confirmed
# format, or in a format that could not be confirmed; empty for all other rows
VERIFIED = ("", "raw", "schema", "none")
UNPINNED = "unpinned"
PINNED_ALONE = ("pypi", "url", "local")  # sources whose rows are pinned by the sum of a file


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the registry. ``bytes`` is the size of ``archive`` (0: not known); lists are split at blanks."""

    id: str
    kind: str
    source: str
    name: str
    version: str
    archive: str
    sha256: str
    bytes: int
    file: str
    licence: str
    canary: tuple[str, ...]
    used_by: tuple[str, ...]
    note: str
    verified: str

    @property
    def artefact(self) -> str:
        """Return the fetch unit that holds this row's file: its folder below resources/raw."""
        name = self.name.replace("/", "--")
        return f"{name}-{self.version}" if self.version else name

    @property
    def path(self) -> str:
        """Return the file or glob relative to resources/raw."""
        return f"{self.artefact}/{self.file}"


@dataclass(frozen=True, slots=True)
class Part:
    """One file at the source, and the members of it that are used (names or globs; a star also crosses slashes)."""

    archive: str
    sha256: str
    bytes: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Artefact:
    """One fetch unit: all rows that lie in the same folder below resources/raw."""

    id: str
    kind: str
    source: str
    name: str
    version: str
    parts: tuple[Part, ...]
    licences: tuple[str, ...]
    canary: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """Return the download size."""
        return sum(part.bytes for part in self.parts)


def _address_fault(address: str) -> str:
    """Say what is wrong with an address, without showing it: a part of it may be a password or a token."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return "its address is not of the form https://host/path"
    signed = any(SECRET_NAME.search(key.replace("-", "_")) or "sig" in key.lower() for key, _ in parse_qsl(parts.query))
    if "@" in parts.netloc or signed:
        return (
            "its address holds a user, a password or a key, which every record of the run would repeat: name a file "
            "that anybody may fetch, or get it by hand and make the row local or licensed"
        )
    return ""


def _fault(row: dict[str, str]) -> str:
    """Say what is wrong with a row, or return an empty string."""
    # first: what the other faults show of the row is then no secret
    if fault := next(filter(None, (_address_fault(row[key]) for key in ("archive", "name"))), ""):
        return fault
    if not re.fullmatch(r"[\w.+-]+", row["id"]):
        return f"id {row['id']!r} may hold letters, digits, '.', '_', '+' and '-' only"
    if row["source"] not in SOURCES:
        return f"unknown source {row['source']!r}{nearest(row['source'], SOURCES)}"
    if not re.fullmatch(r"([0-9a-f]{64}|md5:[0-9a-f]{32})?", row["sha256"]):
        return f"sha256 {row['sha256']!r} is not 64 hexadecimal digits (or md5: and 32 of them)"
    if not re.fullmatch(r"\d*", row["bytes"]):
        return f"bytes {row['bytes']!r} is not a whole number"
    if row["source"] in PINNED_ALONE and row["version"] != UNPINNED and not (row["archive"] and row["sha256"]):
        return f"source {row['source']} needs archive and sha256 (or the version {UNPINNED!r})"
    if row["source"] == "hub" and not re.fullmatch(rf"[0-9a-f]{{40}}|{UNPINNED}", row["version"]):
        return f"version {row['version']!r} of a hub row is not a commit of 40 hexadecimal digits, nor {UNPINNED!r}"
    if row["verified"] not in VERIFIED:
        return f"verified {row['verified']!r} is none of {', '.join(VERIFIED[1:])}, nor empty"
    unsafe = [part for name in (row["name"], row["version"], row["file"]) for part in name.split("/") if part == ".."]
    if unsafe or row["file"].startswith("/") or not row["name"]:
        return "name must be given, and no name, version or file may lead out of its folder"
    return ""


def _row(kind: str, row: dict[str, str]) -> Row:
    texts = {name: row[name] for name in COLUMNS if name not in ("bytes", "canary", "used_by")}
    return Row(
        kind=kind,
        bytes=int(row["bytes"] or 0),
        canary=tuple(row["canary"].split()),
        used_by=tuple(row["used_by"].split()),
        **texts,
    )


def read_rows(path: Path, kind: str) -> list[Row]:
    """Read one table; ConfigError names the file, the line and the fault."""
    found = []
    for number, row in enumerate(read_tsv(path), 2):
        if set(row) != set(COLUMNS):
            raise ConfigError(f"{path}: columns are {', '.join(row)}; expected {', '.join(COLUMNS)}")
        if fault := _fault(row):
            raise ConfigError(f"{path}, line {number}: {fault}")
        with malformed(f"{path}, line {number},", "a row of the registry", ConfigError):
            found.append(_row(kind, row))
    return found


class Registry:
    """All rows by id, and the fetch units that they form."""

    def __init__(self, rows: Iterable[Row]) -> None:
        """Check that ids are unique and that rows of one artefact agree; ConfigError otherwise."""
        self.rows: dict[str, Row] = {}
        for row in rows:
            if row.id in self.rows:
                raise ConfigError(
                    f"registry: the id {row.id!r} is given twice; ids are unique over {' and '.join(TABLES.values())}"
                )
            self.rows[row.id] = row
        groups: dict[str, list[Row]] = {}
        for row in self.rows.values():
            groups.setdefault(row.artefact, []).append(row)
        self.artefacts = {name: _artefact(name, group) for name, group in groups.items()}

    def get(self, row_id: str) -> Row:
        """Return a row; ConfigError with the nearest valid id otherwise."""
        if row_id not in self.rows:
            raise ConfigError(f"registry: unknown id {row_id!r}{nearest(row_id, self.rows)}")
        return self.rows[row_id]

    def artefact(self, name: str) -> Artefact:
        """Return a fetch unit; ConfigError with the nearest valid name otherwise."""
        if name not in self.artefacts:
            raise ConfigError(
                f"nothing in {' or '.join(TABLES.values())} gives the folder {name!r} below "
                f"resources/raw{nearest(name, self.artefacts)}"
            )
        return self.artefacts[name]


def _artefact(name: str, rows: Sequence[Row]) -> Artefact:
    """Group the rows of one folder: one part for each file at the source."""
    first = rows[0]
    parts: dict[str, Part] = {}
    for row in rows:
        if (row.kind, row.source) != (first.kind, first.source):
            raise ConfigError(f"registry: {first.id!r} and {row.id!r} share the folder {name!r} but not their source")
        known = parts.get(row.archive, Part(row.archive, row.sha256, row.bytes, ()))
        if (known.sha256, known.bytes) != (row.sha256, row.bytes):
            raise ConfigError(f"registry: {first.id!r} and {row.id!r} give different sums or sizes of {row.archive!r}")
        members = tuple(dict.fromkeys([*known.members, *([row.file] if row.file else [])]))
        parts[row.archive] = Part(row.archive, row.sha256, row.bytes, members)
    licences = sorted({row.licence for row in rows if row.licence})
    canary = sorted({mark for row in rows for mark in row.canary})
    return Artefact(
        name, first.kind, first.source, first.name, first.version, tuple(parts.values()), tuple(licences), tuple(canary)
    )


@lru_cache(maxsize=4)
def load_registry(root: Path = ROOT) -> Registry:
    """Read both tables below ``root`` (the project's root)."""
    return Registry(row for kind, name in TABLES.items() for row in read_rows(root / name, kind))


def placed_by_hand(root: Path, path: str) -> Artefact | None:
    """Return the fetch unit that a path lies in if no step can fetch it: a user puts it there, without a record."""
    parts = Path(path).parts
    if parts[:2] != ("resources", "raw") or len(parts) < 3 or not (root / TABLES["dataset"]).is_file():
        return None
    unit = load_registry(root).artefacts.get(parts[2])
    return unit if unit and unit.source == "licensed" else None


def fetch_args(artefact: str, root: Path = ROOT) -> dict[str, Any]:
    """Return the parameters of the stage ``fetch.artefact`` for one fetch unit."""
    unit = load_registry(root).artefact(artefact)
    parts = [
        {"archive": p.archive, "sha256": p.sha256, "bytes": p.bytes, "members": list(p.members)} for p in unit.parts
    ]
    return {
        "artefact": unit.id,
        "kind": unit.kind,
        "source": unit.source,
        "name": unit.name,
        "version": unit.version,
        "parts": parts,
        "licences": list(unit.licences),
        "canary": list(unit.canary),
    }


def access_text(row: Row, raw: str = "resources/raw") -> str:
    """Say how to get a licensed file and where to put it."""
    return f"{row.id}: {row.note or 'ask its publisher for access'} Then put {row.file} into {raw}/{row.artefact}/."


def missing_licensed(ids: Iterable[str], root: Path = ROOT) -> str:
    """Return what to put where for the licensed rows among ``ids`` whose files are not there; empty if none.

    ``ids`` are registry ids or names of fetch units. Called at plan time, before any job starts.
    """
    registry, raw, lines = load_registry(root), root / "resources" / "raw", []
    wanted = set(ids)
    for row in registry.rows.values():
        if row.source != "licensed" or not wanted & {row.id, row.artefact}:
            continue
        folder = raw / row.artefact
        if not folder.is_dir() or not any(folder.glob(row.file or "*")):
            lines.append(access_text(row))
    if not lines:
        return ""
    return "licensed files are not there, and cannot be fetched:\n  " + "\n  ".join(lines)


def planned_args(artefact: str, dry: bool, root: Path = ROOT) -> dict[str, Any]:
    """Return :func:`fetch_args`; ConfigError, before any job starts, where licensed files are not there.

    In a dry run (``dry``) a missing licensed file is only told, so that every scale can be planned anywhere.
    """
    args = fetch_args(artefact, root)
    if text := missing_licensed([artefact], root):
        if not dry:
            raise ConfigError(text)
        print(text, file=sys.stderr)
    return args
