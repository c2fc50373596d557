"""Reading, writing and hashing files: atomic, deterministic, compressed where the name ends in .gz."""

import contextlib
import gzip
import hashlib
import io
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from searchtune.errors import DataError

DEEPEST = 50  # levels of a YAML file; ours have 7


def sha256_bytes(data: bytes) -> str:
    """Return the hex SHA-256 of ``data``."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def files_of(path: Path) -> list[Path]:
    """Return a file itself, or all files of a folder in sorted order, but for the stamp that Snakemake puts there."""
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*") if p.is_file() and p.name != ".snakemake_timestamp")


def sha256_tree(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder's sorted (relative name, content hash) lines."""
    path = Path(path)
    if path.is_file():
        return sha256_file(path)
    lines = [f"{p.relative_to(path).as_posix()}\t{sha256_file(p)}\n" for p in files_of(path)]
    return sha256_bytes("".join(lines).encode())


def stable_hash(value: Any, length: int = 16) -> str:
    """Return the first ``length`` hex digits of the SHA-256 of ``value`` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return sha256_bytes(text.encode())[:length]


def fsync_path(path: Path) -> None:
    """Flush a file, or every file of a folder, to disk."""
    for item in files_of(path):
        _fsync(item)


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove(path: Path) -> None:
    """Remove a file or folder if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def publish(temporary: Path, final: Path) -> None:
    """Flush ``temporary`` (file or folder) and rename it to ``final``, replacing what stood there."""
    fsync_path(temporary)
    if final.is_dir():
        remove(final)
    os.replace(temporary, final)
    _fsync(final.parent)  # else a power cut may take the new name back


@contextlib.contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary name beside ``final``; rename it on success, remove it on failure."""
    final = Path(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    # the ending stays last, so that writers that look at it (.gz) still work
    temporary = final.with_name(f".tmp-{os.getpid()}-{final.name}")
    try:
        yield temporary
        publish(temporary, final)
    finally:
        if temporary.exists():
            remove(temporary)


def _encode(path: Path, text: str) -> bytes:
    if path.name.endswith(".gz"):
        buffer = io.BytesIO()
        # mtime 0 and no file name: the same text gives the same bytes
        with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as handle:
            handle.write(text.encode())
        return buffer.getvalue()
    return text.encode()


@contextlib.contextmanager
def _open_to_write(path: Path) -> Iterator[io.TextIOBase]:
    """Open a UTF-8 file for writing line by line; the same lines give the same bytes, compressed or not."""
    if not path.name.endswith(".gz"):
        with open(path, "w", encoding="utf-8", newline="\n") as handle:
            yield handle
        return
    with (
        open(path, "wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
        io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as handle,
    ):
        yield handle


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically (gzip where the name ends in .gz)."""
    path = Path(path)
    with atomic_path(path) as temporary:
        temporary.write_bytes(_encode(path, text))


def read_text(path: Path) -> str:
    """Read UTF-8 text (gzip where the name ends in .gz)."""
    path = Path(path)
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.name.endswith(".gz") else data).decode()
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise DataError(f"{path} cannot be read as text ({error}); delete it and run again to rebuild it") from error


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically: two-space indent, UTF-8, keys in the given order."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text, read by the safe loader; yaml.YAMLError where it is none or nests too deep.

    The compiled loader follows collections within collections on the stack of the process, which ends without a word
    beyond 10,000 of them; so they are counted first, over events, which come one after the other.
    """
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"it nests deeper than {DEEPEST} levels")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def parse_json(text: str) -> Any:
    """Return the value of a JSON text; ValueError or RecursionError where it is none, or holds what no file can.

    JSON can name half of a pair of surrogates alone; it is no character, and nothing that holds one can be written.
    """
    value = json.loads(text)
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            raise ValueError(f"{half} is half of a pair of surrogates, which is no character: take it out") from error
    return value


def read_json(path: Path) -> Any:
    """Read a JSON file; a broken one is a DataError that names it."""
    try:
        return parse_json(read_text(path))
    except (ValueError, RecursionError) as error:  # a number of too many digits, or too many brackets
        raise DataError(f"{path} is not valid JSON: {error}") from error


def write_jsonl(path: Path, rows: Iterable[dict]) -> int:
    """Write one JSON object a line, atomically and one by one; return the number of rows."""
    path, count = Path(path), 0
    with atomic_path(path) as temporary, _open_to_write(temporary) as handle:
        for row in rows:
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def read_jsonl(path: Path) -> list[dict]:
    """Read a JSONL file; a line that is not a JSON object is a DataError that names file and line."""
    return list(iter_jsonl(path))


def iter_jsonl(path: Path) -> Iterator[dict]:
    """Yield the objects of a JSONL file one by one, without holding the file in memory."""
    return (row for _, row in numbered_jsonl(path))


def numbered_jsonl(path: Path) -> Iterator[tuple[int, dict]]:
    """Yield (line number from 1, object) of a JSONL file; empty lines are counted and left out."""
    path = Path(path)
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8") as handle:
        for number, line in enumerate(_readable(path, handle), 1):
            if not line.strip():
                continue
            try:
                row = parse_json(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}, line {number} is not valid JSON: {error}") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}: expected a JSON object, found {type(row).__name__}")
            yield number, row


def _readable(path: Path, lines: Iterable[str]) -> Iterator[str]:
    """Yield lines; DataError where the file breaks off or is no text."""
    given = iter(lines)
    while True:
        try:
            line = next(given, None)
        except gzip.BadGzipFile as error:
            raise DataError(f"{path} cannot be unpacked ({error}); delete it and run again to rebuild it") from error
        except (EOFError, UnicodeDecodeError, zlib.error) as error:
            raise DataError(f"{path} cannot be read as text ({error}); delete it and run again") from error
        if line is None:
            return
        yield line


def format_cell(value: Any) -> str:
    """Format a table cell: floats in six significant digits, None as an empty cell, no tabs or newlines."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split())


def write_tsv(path: Path, columns: list[str], rows: Iterable[dict]) -> int:
    """Write a table with a header line; a row with a key outside ``columns`` is a DataError."""
    lines = ["\t".join(columns)]
    for row in rows:
        if extra := set(row) - set(columns):
            raise DataError(f"{path}: row has columns {sorted(extra)} that are not in {columns}")
        lines.append("\t".join(format_cell(row.get(column)) for column in columns))
    write_text(path, "\n".join(lines) + "\n")
    return len(lines) - 1


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Read a table with a header line as dictionaries of strings; no quoting rules apply."""
    lines = read_text(path).splitlines()
    if not lines:
        raise DataError(f"{path} is empty; expected a header line")
    header = lines[0].split("\t")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        cells = line.split("\t")
        if len(cells) != len(header):
            raise DataError(f"{path}, line {number}: {len(cells)} cells where the header has {len(header)}")
        rows.append(dict(zip(header, cells, strict=True)))
    return rows
