"""Readers of TREC topic files and question lists, as they lie in pyserini's topics-and-qrels folder."""

import ast
import csv
import html
import re
from pathlib import Path
from typing import Any, TypedDict
from xml.etree import ElementTree

from searchtune.errors import DataError, malformed
from searchtune.files import parse_json, read_text


class Subtopic(TypedDict):
    """One facet of a web topic; ``type`` is nav (navigational), inf (informational) or empty (unclear)."""

    type: str
    text: str


class Topic(TypedDict):
    """One TREC topic; fields that a track does not have are empty."""

    id: str
    title: str
    description: str
    narrative: str
    query_type: str
    subtopics: list[Subtopic]


class QueryLine(TypedDict):
    """One query of a log-like list."""

    id: str
    text: str


class Question(TypedDict):
    """One question with its answers (strings; regular expressions in the curated set)."""

    id: str
    question: str
    answers: list[str]


class Expansion(TypedDict):
    """One question with the text that GAR's T5 generated for it (Mao et al. 2021)."""

    id: str
    question: str
    expansion: str


# one topic ends where </top> stands, or where the next begins
_TOP = re.compile(r"<top\b[^>]*>(.*?)(?=</top>|<top\b|\Z)", re.S | re.I)
_FIELD = re.compile(
    r"<(num|title|desc|narr|dom|smry|con|fac|def|head|nat|time|note)\b[^>]*>"
    r"(.*?)(?=</?(?:num|title|desc|narr|dom|smry|con|fac|def|head|nat|time|note)\b[^>]*>|\Z)",
    re.S | re.I,
)
# slips of the web track's organisers; of "inav" it cannot be said which one was meant
_SUBTOPIC_TYPES = {"nav": "nav", "inf": "inf", "inv": "inf", "inav": ""}
_LABELS = {"num": "Number", "title": "Topic", "desc": "Description", "narr": "Narrative"}


def read_topics(path: Path) -> list[Topic]:
    """Read a TREC topic file, SGML (ad hoc, Robust, Terabyte, Core, FIRE) or XML (COVID, Web), in file order.

    DataError names the file for a form that is neither, a topic without id or title, or a duplicate id.
    """
    with malformed(path, "a TREC topic file"):
        return _topics(path)


def _topics(path: Path) -> list[Topic]:
    text = decode(Path(path))
    topics = _read_xml(path, text) if re.search(r"<topic\s[^>]*\bnumber=", text) else _read_sgml(text)
    if not topics:
        raise DataError(f"{path}: no topics found; expected TREC SGML (<top>) or XML (<topic number=...>)")
    seen: set[str] = set()
    for topic in topics:
        if not topic["id"] or not topic["title"]:
            raise DataError(f"{path}: a topic (id {topic['id']!r}) has no id or no title")
        if topic["id"] in seen:
            raise DataError(f"{path}: duplicate topic id {topic['id']!r}")
        seen.add(topic["id"])
    return topics


def decode(path: Path) -> str:
    """Read UTF-8, or Latin-1 where a file of the nineties is not UTF-8."""
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _lines(text: str) -> list[str]:
    """Split at line feeds alone: str.splitlines also splits at control characters that stand inside these texts."""
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def _clean(text: str | None) -> str:
    return " ".join((text or "").split())


def _read_sgml(text: str) -> list[Topic]:
    return [_sgml_topic(match[1]) for match in _TOP.finditer(text)]


def _sgml_topic(block: str) -> Topic:
    fields: dict[str, str] = {}
    for tag, value in _FIELD.findall(block):
        fields.setdefault(tag.lower(), _without_label(tag.lower(), html.unescape(value)))
    number = re.search(r"\d+", fields.get("num", ""))
    return Topic(
        id=str(int(number[0])) if number else "",
        title=_clean(fields.get("title")),
        description=_clean(fields.get("desc")),
        narrative=_clean(fields.get("narr")),
        query_type="",
        subtopics=[],
    )


def _without_label(tag: str, value: str) -> str:
    """Drop the label that NIST repeats inside a field: "Description:", or "Narrative" alone on its line."""
    label = _LABELS.get(tag)
    return re.sub(rf"\A\s*{label}\s*(?::|\n)", "", value) if label else value


def _read_xml(path: Path, text: str) -> list[Topic]:
    try:
        root = ElementTree.fromstring(text.encode())  # expat refuses external entities
    except ElementTree.ParseError as error:
        raise DataError(f"{path} is not valid XML: {error}") from error
    return [_xml_topic(element) for element in root.iter("topic")]


def _xml_topic(element: ElementTree.Element) -> Topic:
    description = _clean(element.findtext("description")) or _clean(element.findtext("question"))
    subtopics = [
        Subtopic(type=_SUBTOPIC_TYPES.get(sub.get("type", ""), ""), text=_clean(sub.text))
        for sub in element.iter("subtopic")
    ]
    return Topic(
        id=element.get("number", ""),
        title=_clean(element.findtext("query")),
        description=description,
        narrative=_clean(element.findtext("narrative")),
        query_type=element.get("type", ""),
        subtopics=[sub for sub in subtopics if sub["text"]],
    )


def read_query_lines(path: Path) -> list[QueryLine]:
    """Read a query list: ``id:query`` and ``id:priority:query`` (million query, efficiency) or ``id<tab>query``."""
    with malformed(path, "a list of queries"):
        return _query_lines(path)


def _query_lines(path: Path) -> list[QueryLine]:
    lines = []
    for number, line in enumerate(_lines(decode(Path(path))), 1):
        match = re.fullmatch(r"(\d+)(?:\t|:(?:\d:)?)(.*)", line)
        if not match:
            raise DataError(f"{path}, line {number}: not of the form id:query, id:priority:query or id<tab>query")
        if text := _clean(match[2]):
            lines.append(QueryLine(id=match[1], text=text))
    return lines


def read_questions(path: Path) -> list[Question]:
    """Read DPR's question lists: JSON lines, or question<tab>Python list of answers; ids are line numbers from 0."""
    with malformed(path, "a list of questions"):
        return _questions(path)


def _questions(path: Path) -> list[Question]:
    text = read_text(Path(path))
    rows = map(_json_question, _lines(text)) if text.startswith("{") else map(_tsv_question, _cells(text))
    questions = []
    for number, row in enumerate(rows):
        if row is None:
            raise DataError(f"{path}, row {number + 1}: expected a question and a list of answers")
        questions.append(Question(id=str(number), question=_clean(row[0]), answers=[_clean(a) for a in row[1]]))
    return questions


def _cells(text: str) -> list[list[str]]:
    # the lists were written by a CSV writer: a cell with a quotation mark is quoted as a whole
    try:
        return list(csv.reader(_lines(text), delimiter="\t"))
    except csv.Error as error:
        raise ValueError(f"cells are not quoted as a CSV writer does: {error}") from error


def _json_question(line: str) -> tuple[str, list[str]] | None:
    row = parse_json(line)
    return (row["question"], row["answer"]) if {"question", "answer"} <= set(row) else None


def _tsv_question(cells: list[str]) -> tuple[str, list[str]] | None:
    if len(cells) != 2:
        return None
    answers = _literal_list(cells[1])
    return (cells[0], answers) if answers is not None else None


def _literal_list(text: str) -> list[str] | None:
    """Parse a list of string literals; nothing else is accepted and nothing is executed."""
    try:
        value: Any = ast.literal_eval(text)
        found = value if isinstance(value, list) and all(isinstance(item, str) for item in value) else None
        "".join(found or []).encode()  # half of a pair of surrogates is no character
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return found


def read_expansions(path: Path, questions: list[str]) -> list[Expansion]:
    """Read a GAR-T5 file (question followed by generated text) against its questions, in the same order.

    Rows whose expansion is empty are left out. DataError where a row does not begin with its question.
    """
    with malformed(path, "a GAR-T5 file"):
        return _expansions(path, questions)


def _expansions(path: Path, questions: list[str]) -> list[Expansion]:
    rows = read_query_lines(path)
    if len(rows) != len(questions):
        raise DataError(f"{path}: {len(rows)} rows against {len(questions)} questions; they belong to other lists")
    found = []
    for row, question in zip(rows, questions, strict=True):
        prefix = _clean(question)
        if not row["text"].startswith(prefix):
            raise DataError(f"{path}, id {row['id']}: does not begin with the question it expands")
        if expansion := row["text"][len(prefix) :].strip():
            found.append(Expansion(id=row["id"], question=prefix, expansion=expansion))
    return found
