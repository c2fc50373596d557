"""CANARD (Elgohary et al. 2019): question of a QuAC dialogue to a question that stands alone.

Schema: the release's train.json, dev.json and test.json (lists; History, QuAC_dialog_id, Question, Question_no,
Rewrite). The first two entries of History are the titles of the Wikipedia page and of its section.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.tasks.example import Example
from searchtune.tasks.normalise.tables import json_rows, split_of_file
from searchtune.tasks.normalise.turns import NO_TURNS, latest, spoken


def query_reformulation(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Question, titles (``context``) and the latest turns that fit into ``max_words`` to the rewrite.

    First questions stay: the titles resolve them. The article is the page, which several dialogues share.
    """
    for path in paths:
        split = split_of_file(path)
        for row in json_rows(path):
            page, section, *turns = row.texts("History", 2)
            query, target = row.text("Question"), row.text("Rewrite")
            history = latest(spoken(turns), max_words) if turns else NO_TURNS
            if not page:
                raise row.fault("History", "begins without a page title")
            if history:
                yield Example(
                    f"query_reformulation/{dataset}/{row.text('QuAC_dialog_id')}-{row.text('Question_no')}",
                    "query_reformulation",
                    dataset,
                    page,
                    {"query": query, "history": history, "context": f"{page}, {section}" if section else page},
                    target,
                    split=split,
                )
