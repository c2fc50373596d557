"""ClariQ-FKw (Sekulic et al. 2021): request to a clarifying question.

Schema: data/ClariQ-FKw.tsv.train and .dev of isekulic/CQ-generation (an index without a name, topic_id,
initial_request, facet_desc, question). The files of ClariQ itself (Aliannejadi et al. 2021: data/train.tsv and
dev.tsv of aliannejadi/ClariQ) have these columns too, and can be read in their place.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.tasks.example import Example
from searchtune.tasks.normalise.tables import split_of_file, table_rows

# ClariQ's mark for "no question needs to be asked": its question is empty
_NO_QUESTION = "Q00001"


def query_clarification(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Request to a clarifying question, each question of a topic once; the topic's others are references."""
    for path in paths:
        split = split_of_file(path)
        asked: dict[tuple[str, str], list[str]] = {}
        for row in table_rows(path, ("topic_id", "initial_request", "question"), quoted=True):
            if row.optional("question_id") != _NO_QUESTION:
                topic = (row.text("topic_id"), row.text("initial_request"))
                asked.setdefault(topic, []).append(row.text("question"))
        for (topic_id, query), questions in asked.items():
            distinct = list(dict.fromkeys(questions))
            for number, question in enumerate(distinct, 1):
                yield Example(
                    f"query_clarification/{dataset}/{split}-{topic_id}-{number}",
                    "query_clarification",
                    dataset,
                    query,
                    {"query": query},
                    question,
                    references=tuple(other for other in distinct if other != question),
                    split=split,
                )
