"""QReCC (Anantha et al. 2021): conversational question to a question that stands alone.

Schema: README of apple/ml-qrecc (JSON list; Context, Question, Rewrite, Conversation_no, Turn_no, Conversation_source).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.tasks.example import Example
from searchtune.tasks.normalise.tables import json_rows, split_of_file
from searchtune.tasks.normalise.turns import latest, spoken


def query_reformulation(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Question and the latest turns that fit into ``max_words`` to the rewrite; questions without any are left out."""
    for path in paths:
        split = split_of_file(path)
        for row in json_rows(path):
            number, turn = row.text("Conversation_no"), row.text("Turn_no")
            query, target = row.text("Question"), row.text("Rewrite")
            if history := latest(spoken(row.texts("Context")), max_words):
                yield Example(
                    f"query_reformulation/{dataset}/{split}-{number}-{turn}",
                    "query_reformulation",
                    dataset,
                    f"qrecc {split} conversation {number}",
                    {"query": query, "history": history},
                    target,
                    meta={"source": row.text("Conversation_source")},
                    split=split,
                )
