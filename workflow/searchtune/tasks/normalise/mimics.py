"""MIMICS (Zamani et al. 2020) and MIMICS-Duo (Tavakoli et al. 2022): query to the options of a clarification pane.

Schemas: README and data/MIMICS-Manual.tsv of microsoft/MIMICS (option_1..5 with option_label_1..5 from 0 to 2);
Data/Task2-QualityLabelling.tsv of Leila-Ta/MIMICS-Duo (option_1..5 with Quality_Option1..5 from 1 to 5).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.tasks.example import Example
from searchtune.tasks.normalise.tables import Record, numbered, table_rows

_OPTIONS = [f"option_{number}" for number in range(1, 6)]


def mimics(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Query to the options that the annotators found good (label 2 of 0 to 2)."""
    return _clarification(paths, dataset, [f"option_label_{n}" for n in range(1, 6)], ("0", "1", "2"), 2)


def mimics_duo(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Query to the options that the annotators found good (quality 4 or 5 of 1 to 5)."""
    return _clarification(paths, dataset, [f"Quality_Option{n}" for n in range(1, 6)], ("1", "2", "3", "4", "5"), 4)


def _good(row: Record, labels: Sequence[str], scale: Sequence[str], least: int) -> list[str]:
    """Return the options of a pane whose label is at least ``least``; an option must have a label of the scale."""
    pairs = [
        (row.text(option), row.one_of(label, scale))
        for option, label in zip(_OPTIONS, labels, strict=True)
        if row.optional(option)
    ]
    return list(dict.fromkeys(option for option, label in pairs if int(label) >= least))


def _clarification(
    paths: Sequence[Path], dataset: str, labels: Sequence[str], scale: Sequence[str], least: int
) -> Iterator[Example]:
    """Yield one example a query and set of good options; panes without any, or in another order, are left out."""
    seen: set[tuple[str, frozenset[str]]] = set()
    for path in paths:
        for number, row in enumerate(table_rows(path, ("query", "question", *_OPTIONS, *labels), quoted=True), 1):
            query, items = row.text("query"), _good(row, labels, scale, least)
            key = (query, frozenset(items))
            if items and key not in seen:
                seen.add(key)
                yield Example(
                    f"query_clarification/{dataset}/{number}",
                    "query_clarification",
                    dataset,
                    query,
                    {"query": query},
                    numbered(items),
                    meta={"items": items},
                )
