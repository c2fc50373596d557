"""Reader of GPQA with its pool of documents, as the released code of LimRank and ReasonIR use it.

Three files: ``gpqa_diamond.csv`` (columns Record ID, Question, Correct Answer, Incorrect Answer 1 to 3, and others;
gated, Idavidrein/gpqa); a pool of documents, JSON lines with ``text`` (songtingyu/gpqa_corpus_for_limrank); texts to
search with, JSON lines with ``query`` (rulins/gpqa_original_queries), one a question, in the order of the csv. The
names of the keys are those that the released code reads; whether the queries hold the choices is not known, so the
choices that a generator sees are always those of the csv, in a seeded order.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.sources import clean, text_id
from searchtune.errors import DataError
from searchtune.files import numbered_jsonl, read_text

ID, QUESTION, RIGHT = "Record ID", "Question", "Correct Answer"
WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")
LETTERS = "ABCD"
# how the questions of such a set are judged: by what a generator makes of the passages
JUDGED_BY = "generated answers"


def read_gpqa(paths: Sequence[Path], name: str, seed: int) -> Collection:
    """Return the question set: documents, one test query a question with ``question``, ``choices``, ``letter`` and
    ``answers`` in its metadata, and no judgements.

    Documents of equal text are one. DataError for a missing file, column or answer, a repeated id, or a list of
    queries that does not belong to the questions.
    """
    tables = [path for path in paths if path.suffix == ".csv"]
    lists = {path: _rows(path) for path in paths if path.suffix == ".jsonl"}
    pools = [path for path, rows in lists.items() if "text" in rows[0][1]]
    queries = [path for path, rows in lists.items() if "query" in rows[0][1] and path not in pools]
    if len(tables) != 1 or not pools or len(queries) > 1 or len(tables) + len(pools) + len(queries) != len(paths):
        raise DataError(
            "the reader 'gpqa' needs one .csv with the questions, .jsonl files of documents (key 'text') and at most "
            f"one of queries (key 'query'); given: {', '.join(path.name for path in paths)}"
        )
    questions = _questions(tables[0])
    texts = _searched(queries[0], lists[queries[0]], questions) if queries else [q[QUESTION] for q in questions]
    return Collection(
        {i: Passage("", text) for i, text in _documents(name, {p: lists[p] for p in pools})},
        {q[ID]: Query(clean(text), metadata=_metadata(q, seed)) for q, text in zip(questions, texts, strict=True)},
        {},
        manifest={"id": name, "judged_by": JUDGED_BY},
    )


def _rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    rows = list(numbered_jsonl(path))
    if not rows:
        raise DataError(f"{path} is empty")
    return rows


def _questions(path: Path) -> list[dict[str, str]]:
    """Return the cleaned cells of each question; DataError names the line that lacks one."""
    columns, table = _table(path)
    wanted = (ID, QUESTION, RIGHT, *WRONG)
    if missing := [column for column in wanted if column not in columns]:
        raise DataError(f"{path}: no column {missing[0]!r}; is this gpqa_diamond.csv?")
    rows: dict[str, dict[str, str]] = {}
    for number, row in enumerate(table, 1):
        cells = {column: clean(row[column] or "") for column in wanted}
        if empty := [column for column, text in cells.items() if not text]:
            raise DataError(f"{path}, question {number} ({cells[ID] or 'no id'}): {empty[0]!r} is empty")
        if cells[ID] in rows or len({cells[c] for c in (RIGHT, *WRONG)}) < len(LETTERS):
            raise DataError(f"{path}, question {number} ({cells[ID]}): its id or one of its choices is repeated")
        rows[cells[ID]] = cells
    if not rows:
        raise DataError(f"{path} holds no question")
    return list(rows.values())


def _table(path: Path) -> tuple[Sequence[str], list[dict[str, str | None]]]:
    """Return the columns and the rows of a csv; a row that is cut short has None in its last columns."""
    reader = csv.DictReader(io.StringIO(read_text(path)))
    try:
        return reader.fieldnames or [], list(reader)
    except csv.Error as error:
        raise DataError(f"{path}: cells are not quoted as a CSV writer does ({error})") from error


def _searched(path: Path, rows: list[tuple[int, dict]], questions: list[dict[str, str]]) -> list[str]:
    """Return the text to search with of each question; DataError where a text is not of the question in its place."""
    if len(rows) != len(questions):
        raise DataError(f"{path} has {len(rows)} queries for {len(questions)} questions; are they of the same set?")
    for (number, row), question in zip(rows, questions, strict=True):
        if question[QUESTION][:40] not in clean(str(row.get("query", ""))):
            raise DataError(f"{path}, line {number}: the query is not that of question {question[ID]!r}")
    return [str(row["query"]) for _, row in rows]


def _documents(name: str, pools: dict[Path, list[tuple[int, dict]]]) -> Iterable[tuple[str, str]]:
    seen = set()
    for path, rows in pools.items():
        for number, row in rows:
            text = clean(row["text"]) if isinstance(row.get("text"), str) else ""
            if not text:
                raise DataError(f"{path}, line {number}: a document has a text")
            if (key := text_id(name, text)) not in seen:
                seen.add(key)
                yield key, text


def _metadata(question: dict[str, str], seed: int) -> dict[str, Any]:
    order = Random(f"{seed}/{question[ID]}").sample((RIGHT, *WRONG), len(LETTERS))
    return {
        "split": "test",
        "article": question[ID],
        "answers": [question[RIGHT]],
        "question": question[QUESTION],
        "choices": [question[column] for column in order],
        "letter": LETTERS[order.index(RIGHT)],
    }
