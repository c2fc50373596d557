"""Secrets that a test puts into the environment, and where they come out again."""

import gzip
import secrets
from collections.abc import Iterable
from pathlib import Path


def fresh_secrets(names: Iterable[str]) -> dict[str, str]:
    """Return name -> a value of its own, in the form of a service's keys."""
    return {name: f"sk-{secrets.token_hex(16)}" for name in names}


def holders(folder: Path, values: Iterable[str]) -> list[Path]:
    """Return the files below a folder that hold one of the values, plain or compressed, in their bytes or name."""
    wanted = [value.encode() for value in values]
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        if any(value in data or value in path.name.encode() for value in wanted):
            found.append(path)
    return found
