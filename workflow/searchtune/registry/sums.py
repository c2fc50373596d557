"""Check a file against the size and sum that the registry gives."""

import hashlib
from pathlib import Path

from searchtune.errors import FetchError

BLOCK = 1 << 20


def digest(path: Path, expected: str) -> str:
    """Return a file's sum in the form of ``expected``: sha256 hex digits, or ``md5:`` and hex digits."""
    if not expected.startswith("md5:"):
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    with open(path, "rb") as handle:
        return "md5:" + hashlib.file_digest(handle, "md5").hexdigest()


def fault_of(path: Path, name: str, expected: str, size: int) -> str:
    """Say what is wrong with a file, by name, with expected and actual values; empty if it is right."""
    actual = path.stat().st_size
    if size and actual < size:
        return f"{name} is truncated: {actual:,} of {size:,} bytes"
    if size and actual > size:
        return f"{name} is not the registered file: {actual:,} bytes, expected {size:,}"
    found = digest(path, expected)
    if found != expected:
        return f"{name} is altered: sum {found}, expected {expected}"
    return ""


def require_pin(name: str, expected: str) -> None:
    """Refuse a file that the registry gives no sum for."""
    if not expected:
        raise FetchError(
            f"{name}: the registry gives no sha256, so its content could not be checked. Get the file "
            "once, check it against what its publisher states, and write its sha256 and bytes there"
        )
