"""Work kept for a resumed job, with its hash beside it: what a disk or a crash changed is not gone on from."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from searchtune.files import atomic_path, read_text, sha256_file, write_text

SEAL = ".sha256"


@contextlib.contextmanager
def sealed_path(final: Path) -> Iterator[Path]:
    """Yield a temporary name; rename it to ``final`` on success, with its SHA-256 in ``final.sha256``."""
    with atomic_path(final) as temporary:
        yield temporary
        seal = final.with_name(final.name + SEAL)
        # a job killed between the two renames leaves the new seal on the old file: that one's hash stays in it
        before = read_text(seal).split()[:1] if seal.is_file() else []
        write_text(seal, "\n".join([sha256_file(temporary), *before]) + "\n")


def intact(final: Path) -> bool:
    """Say whether a file is there and is what :func:`sealed_path` made."""
    seal = final.with_name(final.name + SEAL)
    return final.is_file() and seal.is_file() and sha256_file(final) in read_text(seal).split()
