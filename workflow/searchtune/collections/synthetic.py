"""Synthetic queries that passed the round-trip filter: written by one step, read by rerankers and teachers."""

from dataclasses import dataclass
from pathlib import Path

from searchtune.collections.trec import read_run
from searchtune.errors import DataError
from searchtune.files import read_jsonl


@dataclass(frozen=True)
class Synthetic:
    """A kept synthetic query: its source passage, prompt number, part, and candidate passages in rank order."""

    id: str
    text: str
    source: str
    prompt: int
    part: str
    candidates: tuple[str, ...]
    rank: int | None = None


def load_filtered(path: Path) -> list[Synthetic]:
    """Read the folder that the stage wrote; DataError if it holds no query."""
    candidates = read_run(Path(path) / "candidates.run.gz")
    rows = [
        Synthetic(
            r["id"], r["text"], r["source"], r["prompt"], r["part"], tuple(i for i, _ in candidates[r["id"]]), r["rank"]
        )
        for r in read_jsonl(Path(path) / "queries.jsonl")
    ]
    if not rows:
        raise DataError(f"{path}: no synthetic query passed the filter")
    return rows
