"""What a job asks of a machine, as functions of its inputs and of how often it has failed. Imported while planning."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Demand = Callable[..., int]


def megabytes(paths: Iterable[str | os.PathLike[str]]) -> float:
    """Return the size of files, and of folders with all that is in them (MiB).

    FileNotFoundError for one that is not there yet: Snakemake then asks again when it is.
    """
    return sum(_bytes(Path(path)) for path in paths) / 2**20


def _bytes(path: Path) -> int:
    own = path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file()) if path.is_dir() else own


def memory(least: int, times: float = 2) -> Demand:
    """Return a rule's ``mem_mb``: ``least``, or ``times`` the size of its inputs if that is more; doubled a retry."""

    def demand(wildcards: Any, input: Iterable[str], attempt: int) -> int:
        """Return the MiB of one job."""
        return int(max(least, times * megabytes(input))) * 2 ** (attempt - 1)

    demand.least = least  # type: ignore[attr-defined]
    return demand


def minutes(least: int, per_gb: float) -> Demand:
    """Return a rule's ``runtime``: ``least`` and so much for each GiB of its inputs; once more with every retry."""

    def demand(wildcards: Any, input: Iterable[str], attempt: int) -> int:
        """Return the minutes of one job."""
        return int(least + per_gb * megabytes(input) / 1024) * attempt

    return demand


def gpus(config: dict[str, Any], processes: int = 1) -> int:
    """Return a model job's ``gpu``: none where the configuration has none, else at least one a process."""
    asked = config["hardware"]["gpus"]
    return max(asked, processes) if asked else 0
