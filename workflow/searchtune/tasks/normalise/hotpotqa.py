"""HotpotQA (Yang et al. 2018): questions over two Wikipedia paragraphs.

Form: a JSON list of {_id, question, answer, supporting_facts [[title, sentence]], context [[title, [sentences]]],
type, level} (README of hotpotqa/hotpot at 02493f6); ``hotpot_train_v1.1.json``, ``hotpot_dev_distractor_v1.json``.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from searchtune.tasks.example import Example, clean, n_words
from searchtune.tasks.normalise.tables import Record, json_rows, split_of_file


def reading_comprehension(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Question and the paragraphs of its supporting facts to the answer; the article is the first of those pages.

    Paragraphs that are too long together are cut to their supporting sentences; where those too have more than
    ``max_words`` words the question is left out.
    """
    for path in paths:
        split = split_of_file(path)
        for row in json_rows(path):
            facts = _facts(row)
            passage = _passage(row, facts, max_words)
            if passage:
                yield Example(
                    f"reading_comprehension/{dataset}/{row.text('_id')}",
                    "reading_comprehension",
                    dataset,
                    next(iter(facts)),
                    {"question": row.text("question"), "passage": passage},
                    row.text("answer"),
                    split=split,
                )


def _facts(row: Record) -> dict[str, set[int]]:
    """Return title -> numbers of the supporting sentences, in order."""
    found: dict[str, set[int]] = {}
    for item in row.items("supporting_facts", 1):
        title, number = _two(row, "supporting_facts", item, int)
        found.setdefault(title, set()).add(number)
    return found


def _two(row: Record, name: str, item: Any, second: type) -> tuple[str, Any]:
    if not isinstance(item, list) or len(item) != 2 or not isinstance(item[0], str) or not isinstance(item[1], second):
        raise row.fault(name, f"holds {item!r}, not a title and a {second.__name__}")
    return item[0], item[1]


def _passage(row: Record, facts: dict[str, set[int]], max_words: int) -> str:
    """Return ``title: sentences`` of the supporting paragraphs, one a line; empty if they are too long."""
    context = dict(_two(row, "context", item, list) for item in row.items("context", 1))
    if lost := [title for title in facts if title not in context]:
        raise row.fault("supporting_facts", f"names {lost[0]!r}, which the context lacks")
    whole = "\n".join(f"{title}: {clean(' '.join(context[title]))}" for title in facts)
    if n_words(whole) <= max_words:
        return whole
    # a few supporting facts of the release lie beyond the end of their paragraph
    cut = "\n".join(
        f"{title}: {clean(' '.join(text for number, text in enumerate(context[title]) if number in facts[title]))}"
        for title in facts
    )
    return cut if n_words(cut) <= max_words else ""
