"""Microsoft Research Paraphrase Corpus (Dolan et al. 2004): do two sentences say the same?

Schema: msr_paraphrase_train.txt and msr_paraphrase_test.txt (tab-separated, quotes are ordinary signs; Quality, #1 ID,
#2 ID, #1 String, #2 String).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.tasks.example import Example
from searchtune.tasks.inventory import NO, YES
from searchtune.tasks.normalise.tables import Record, split_of_file, table_rows

_COLUMNS = ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")
_LABELS = {"1": YES, "0": NO}


def _groups(rows: Sequence[Record]) -> dict[str, str]:
    """Return sentence id -> smallest id that pairs connect it with: sentences recur, and must not straddle splits."""
    parent: dict[str, str] = {}

    def root(key: str) -> str:
        """Return the sentence that stands for the whole group."""
        while parent.setdefault(key, key) != key:
            key = parent[key]
        return key

    for row in rows:
        low, high = sorted((root(row.text("#1 ID")), root(row.text("#2 ID"))))
        parent[high] = low
    return {key: root(key) for key in parent}


def query_matching(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Two sentences to yes (paraphrases) or no."""
    files = {path: list(table_rows(path, _COLUMNS)) for path in paths}
    groups = _groups([row for rows in files.values() for row in rows])
    for path, rows in files.items():
        split = split_of_file(path)
        for row in rows:
            yield Example(
                f"query_matching/{dataset}/{row.text('#1 ID')}-{row.text('#2 ID')}",
                "query_matching",
                dataset,
                f"msrp sentence {groups[row.text('#1 ID')]}",
                {"first": row.text("#1 String"), "second": row.text("#2 String")},
                _LABELS[row.one_of("Quality", _LABELS)],
                labels=(YES, NO),
                split=split,
            )
