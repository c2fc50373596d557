"""The values that UDAPDR's paper (and ColBERTv2's, for its own model) print: config/expected/udapdr.tsv.

A selector names values of one column of a table: ``item system``, or ``item setting system`` where a table has
settings (``table3 gpt3+flan-t5-xl deberta-v3-large``). Values are in the paper's unit: points (0 to 100), or ms.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from searchtune.errors import DataError
from searchtune.files import read_tsv

# metric as published -> as measured here
METRICS = {"success@5": "Success@5", "ndcg@10": "nDCG@10", "ms_per_query": "p50_ms"}
Row = dict[str, str]


class Published:
    """The published values, by selector."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = list(rows)

    @classmethod
    def load(cls, path: Path) -> "Published":
        """Read the file."""
        return cls(read_tsv(path))

    def values(self, selector: str, metric: str) -> dict[str, Row]:
        """Return data set -> row of a selector; DataError if the file has none. Without a selector there are none."""
        if not selector:
            return {}
        item, *setting, system = selector.split(" ")
        wanted = (item, " ".join(setting), system, metric)
        found = [r for r in self.rows if (r["item"], r["setting"], r["system"], r["metric"]) == wanted]
        if not found:
            raise DataError(f"config/expected/udapdr.tsv has no {metric} of {selector!r}; correct claims.tsv or add it")
        return {row["dataset"]: row for row in found}

    def mean(self, selector: str, metric: str, datasets: Sequence[str] = ()) -> float | None:
        """Return the mean of a selector's values over ``datasets`` (none given: over all); None without a selector."""
        found = self.values(selector, metric)
        chosen = [float(row["value"]) for name, row in found.items() if not datasets or name in datasets]
        return sum(chosen) / len(chosen) if chosen else None
