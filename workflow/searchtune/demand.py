"""What a job asks of a machine, as functions of its inputs and of how often it has failed. Imported while planning."""

import json
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


# passages whose token vectors late interaction holds at once; a larger corpus lies on disk (retrieval/token_index.py)
PIECE = 8192
# each vector at the peak, measured with an encoder of 384 numbers on 124,000 and 617,000 of them
VECTOR_KB = 3
# of English text; counted on two corpora it was 5.8 and, cut to 96 tokens a passage, 10
BYTES_A_TOKEN = 5
_LOADED_MB = 750
_TEXT_COPIES = 3


def vectors_mb(tokens: float, passages: int | None, length: int) -> int:
    """Return the memory (MiB) that late interaction needs for a corpus of ``tokens`` in so many passages (None: nobody
    knows), of which it reads at most ``length`` tokens: for the text, and for as many passages as it holds at once."""
    held = min(passages or PIECE, PIECE)
    vectors = min(tokens * held / (passages or held), held * length)
    text = tokens * BYTES_A_TOKEN * _TEXT_COPIES / 2**20
    return int(_LOADED_MB + text + vectors * VECTOR_KB / 1024)


def late(least: int, length: int) -> Demand:
    """Return ``mem_mb`` of a rule that encodes or searches the corpus of its input ``collection``; doubled a retry."""

    def demand(wildcards: Any, input: Any, attempt: int) -> int:
        """Return the MiB of one job."""
        folder = Path(input.collection)
        folder.stat()  # of an input itself that is not there Snakemake knows that it will come, of a file in it not
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        passages = manifest.get("counts", {}).get("passages")  # those that were kept
        tokens = (folder / "corpus.jsonl").stat().st_size / BYTES_A_TOKEN
        return max(least, vectors_mb(tokens, passages, length)) * 2 ** (attempt - 1)

    demand.least = least  # type: ignore[attr-defined]
    return demand


# minutes. A cluster refuses a job that asks for more than its partition allows, or puts it where GPUs idle beside it
LONGEST = 1440


def minutes(least: int, per_gb: float) -> Demand:
    """Return a rule's ``runtime``: ``least`` and so much for each GiB of its inputs; once more with every retry.

    Never above ``LONGEST``, which is that of the longest partition without GPUs (profiles/slurm/partitions.yaml).
    """

    def demand(wildcards: Any, input: Iterable[str], attempt: int) -> int:
        """Return the minutes of one job."""
        return min(int(least + per_gb * megabytes(input) / 1024) * attempt, LONGEST)

    return demand


def gpus(config: dict[str, Any], processes: int = 1) -> int:
    """Return a model job's ``gpu``: none where the configuration has none, else at least one a process of its own and
    one for each part of a model in vLLM.
    """
    hardware = config["hardware"]
    return max(hardware["gpus"], hardware["tensor_parallel"], processes) if hardware["gpus"] else 0
