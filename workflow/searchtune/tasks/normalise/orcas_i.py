"""ORCAS-I (Alexander et al. 2022): web query to one of five intents.

Schema: record pp7xz-n9a06 of TU Wien Research Data. ORCAS-I-gold.tsv (1,000 queries labelled by hand) has the column
label_manual; ORCAS-I-2M.tsv and -18M.tsv (weak labels) have label and data_split.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.tasks.example import Example
from searchtune.tasks.normalise.tables import Record, split_named, table_rows

LABELS = ("navigational", "transactional", "instrumental", "factual", "abstain")


def _split(row: Record, gold: bool) -> str:
    if gold:
        return "test"
    split = split_named(row.text("data_split"))
    if not split:
        raise row.fault("data_split", f"is {row.text('data_split')!r}, neither train nor validation")
    return split


def query_intent_classification(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Query to its intent; of the rows of a query (one a clicked page) the first is taken."""
    seen: set[str] = set()
    for path in paths:
        for row in table_rows(path, ("qid", "query")):
            gold = "label_manual" in row.values
            column, query = "label_manual" if gold else "label", row.text("query")
            label = row.text(column).casefold()
            if label not in LABELS:
                raise row.fault(column, f"is {row.text(column)!r}, none of {', '.join(LABELS)}")
            if query.casefold() not in seen:
                seen.add(query.casefold())
                yield Example(
                    f"query_intent_classification/{dataset}/{row.text('qid')}",
                    "query_intent_classification",
                    dataset,
                    query,
                    {"query": query},
                    label,
                    labels=LABELS,
                    split=_split(row, gold),
                )
