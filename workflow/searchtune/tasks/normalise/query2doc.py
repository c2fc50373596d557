"""Query2Doc (Wang et al. 2023): MS MARCO query to the pseudo-document that a language model wrote for it.

Schema: dataset card of intfloat/query2doc_msmarco (JSON lines; query_id, query, pseudo_doc; train, dev, test).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.tasks.example import Example, n_words
from searchtune.tasks.normalise.tables import jsonl_rows, split_of_file


def query_expansion(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Query to pseudo-document of at most ``max_words`` words (longer ones are left out, never cut)."""
    for path in paths:
        # the judged queries of 2019 and 2020 are test data, but their files' names do not say so
        split = "test" if path.name.startswith("trec_dl") else split_of_file(path)
        for row in jsonl_rows(path):
            query, document = row.text("query"), row.text("pseudo_doc")
            if n_words(document) <= max_words:
                yield Example(
                    f"query_expansion/{dataset}/{split}-{row.text('query_id')}",
                    "query_expansion",
                    dataset,
                    query,
                    {"title": query},
                    document,
                    split=split,
                )
