"""MS MARCO question answering v2.1 (Nguyen et al. 2016): web questions, passages and written answers.

Form: one JSON object of columns (query, query_id, query_type, passages, answers, wellFormedAnswers), each an object of
row -> value; a passage is {is_selected, url, passage_text} (README of microsoft/MSMARCO-Question-Answering at
2ee516f). ``train_v2.1.json.gz`` and ``dev_v2.1.json.gz``; the answers of the test file are withheld.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from searchtune.errors import DataError
from searchtune.files import read_json
from searchtune.tasks.example import Example, clean, n_words
from searchtune.tasks.normalise.tables import Record, split_of_file

COLUMNS = ("query_id", "query", "passages", "answers")
NO_ANSWER = "No Answer Present."


def reading_comprehension(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Question and the passages that its judge used to the written answer; further answers are references.

    Questions without an answer, or answered from no passage, are left out, as are passages of more than
    ``max_words`` words together. The article is the first passage's page.
    """
    for path in paths:
        split = split_of_file(path)
        for row in column_rows(path):
            answers = _answers(row)
            used = [item for item in row.children("passages") if item.text("is_selected") == "1"]
            passage = " ".join(item.text("passage_text") for item in used)
            if answers[0] != NO_ANSWER and used and n_words(passage) <= max_words:
                yield Example(
                    f"reading_comprehension/{dataset}/{row.text('query_id')}",
                    "reading_comprehension",
                    dataset,
                    used[0].text("url"),
                    {"question": row.text("query"), "passage": passage},
                    answers[0],
                    references=answers[1:],
                    split=split,
                )


def column_rows(path: Path) -> Iterator[Record]:
    """Yield the rows of a JSON object of columns; DataError for a missing column or a row that a column lacks."""
    table: Any = read_json(path)
    for name in COLUMNS:
        if not isinstance(table, dict) or not isinstance(table.get(name), dict):
            raise DataError(f"{path}: no column {name!r}; is this a file of MS MARCO QA v2.1 with answers?")
    for key in table["query"]:
        yield Record(f"{path}, row {key}", {name: table[name][key] for name in COLUMNS if key in table[name]})


def _answers(row: Record) -> tuple[str, ...]:
    found = [clean(text) for text in row.items("answers", 1) if isinstance(text, str)]
    found = [text for text in dict.fromkeys(found) if text]
    if not found:
        raise row.fault("answers", "is empty")
    return tuple(found)
