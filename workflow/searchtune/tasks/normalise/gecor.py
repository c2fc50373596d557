"""GECOR (Quan et al. 2019): user turn of a restaurant dialogue (CamRest676) to its complete form.

Schema: CamRest676_annotated.json of terryqj0107/GECOR (list of dialogues; dialogue_id, goal.text, dial: turn,
usr.transcript, usr.transcript_complete, sys.sent).
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.tasks.example import Example
from searchtune.tasks.normalise.tables import Record, json_rows
from searchtune.tasks.normalise.turns import latest, spoken

_TASK_NUMBER = re.compile(r"^Task \d+:\s*")


def query_reformulation(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """User turn, latest turns and dialogue goal (``context``) to the complete turn; first turns are left out.

    No split is published: the paper's 80 to 20 division is not in the file.
    """
    for path in paths:
        for dialogue in json_rows(path):
            yield from _dialogue(dialogue, dataset, max_words)


def _dialogue(dialogue: Record, dataset: str, max_words: int) -> Iterator[Example]:
    goal = _TASK_NUMBER.sub("", dialogue.child("goal").text("text"))
    name, said = dialogue.text("dialogue_id"), list[str]()
    for turn in dialogue.children("dial", 1):
        user = turn.child("usr")
        query, target = user.text("transcript"), user.text("transcript_complete")
        if history := latest(spoken(said, ("User", "System")), max_words):
            yield Example(
                f"query_reformulation/{dataset}/{name}-{turn.text('turn')}",
                "query_reformulation",
                dataset,
                f"gecor dialogue {name}",
                {"query": query, "history": history, "context": goal},
                target,
            )
        # a dialogue may end with the user's turn: the system's answer is then empty
        said += [query, turn.child("sys").optional("sent")]
