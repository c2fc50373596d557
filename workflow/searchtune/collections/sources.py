"""Readers of publishers' formats: distinct passages, human questions, answers, source articles.

A reader takes the raw files and a prefix for passage ids and returns a :class:`Source`. Readers do
not sample, split or judge; :mod:`searchtune.collections.build` does. Readers of formats that may be
large return passages that stay in their files (:mod:`searchtune.collections.streams`).
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searchtune.collections.splits import normalise_article
from searchtune.collections.streams import FilePassages, Passages, Row, SourcePassage
from searchtune.errors import DataError
from searchtune.files import iter_jsonl, numbered_jsonl, read_json, read_tsv

_NQ = re.compile(r"\s*Question: (?P<question>.*?)\nContext: (?P<passage>.*)", re.S)
_OPENING_WORDS = 8


@dataclass(slots=True)
class SourceQuestion:
    """A human question. ``relevant`` maps passage ids to grades; ``split`` is the publisher's own, if there is one.

    An empty ``article`` is that of the first relevant passage; ``where`` is the place that errors name. Of reranking
    sets: ``excluded`` passages are no answers and are taken out of every ranking; ``expanded`` is the query's form for
    the first stage; ``candidates`` are what is reranked; ``changed`` are the documents that the query's other
    instruction judges otherwise.
    """

    id: str
    text: str
    answers: list[str]
    article: str
    relevant: dict[str, int]
    split: str | None = None
    where: str = ""
    excluded: list[str] = field(default_factory=list)
    expanded: str = ""
    instruction: str = ""
    candidates: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


@dataclass
class Source:
    """What a reader found: passages by id and questions by id, in file order; ``unjudged``: a format without
    questions; ``by_file``: articles are files, whose names help who searches; ``judged_by``: ``qrels``, or ``answers``
    where a passage is relevant if it holds a short answer; ``empty``: ids of passages without text, which are left out;
    ``copies``: near-copies of a passage that are left out with the questions asked of them (count).
    """

    passages: Passages = field(default_factory=dict)
    questions: dict[str, SourceQuestion] = field(default_factory=dict)
    unjudged: bool = False
    by_file: bool = False
    judged_by: str = "qrels"
    empty: set[str] = field(default_factory=set)
    copies: int = 0

    def add_question(self, where: Path, question: SourceQuestion) -> None:
        """Add a question; DataError for an id that is there already."""
        if question.id in self.questions:
            raise DataError(f"{where}: duplicate question id {question.id!r}")
        self.questions[question.id] = question


Reader = Callable[[Sequence[Path], str], Source]


def clean(text: str) -> str:
    """Return ``text`` with every run of white space as one space."""
    return " ".join(text.split())


def text_id(prefix: str, text: str) -> str:
    """Return an id made of a prefix and the hash of the text, so equal passages have equal ids."""
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def distinct(texts: Iterable[str]) -> list[str]:
    """Return cleaned, non-empty texts without repetitions, in order."""
    return list(dict.fromkeys(text for text in map(clean, texts) if text))


def read_squad(paths: Sequence[Path], prefix: str) -> Source:
    """Read SQuAD and SQuADShifts JSON (Rajpurkar et al. 2016; Miller et al. 2020).

    A passage may be repeated; it is kept once. Titles name the source article and are not put in
    front of the passage: in SQuADShifts they are file names and addresses. A file whose one title
    covers everything (Reddit comments) has no articles, so each passage is its own.
    """
    passages: dict[str, SourcePassage] = {}
    source = Source(passages)
    for path in paths:
        articles = _value(path, read_json(path), "data")
        one_title = len({article.get("title") for article in articles}) == 1 and len(articles[0]["paragraphs"]) > 1
        for article in articles:
            for paragraph in _value(path, article, "paragraphs"):
                text = clean(_value(path, paragraph, "context"))
                passage_id = text_id(prefix, text)
                name = passage_id if one_title else normalise_article(article.get("title") or passage_id)
                passage = passages.setdefault(passage_id, SourcePassage("", text, name))
                for item in paragraph["qas"]:
                    answers = distinct(answer["text"] for answer in item.get("answers", []))
                    source.add_question(
                        path,
                        SourceQuestion(
                            str(item["id"]), clean(item["question"]), answers, passage.article, {passage_id: 1}
                        ),
                    )
    return source


def read_nq_swapped(paths: Sequence[Path], prefix: str) -> Source:
    """Read Natural Questions with the answer entity of the passage swapped (Longpre et al. 2021).

    Each example is one question and one passage. The same passage comes back with other entities, and of its
    copies, which are as good, one alone is judged relevant (BM25 put another one first for 34 of 200 questions). So of
    passages that begin alike, their true entity put back, the first stays, with the questions asked of it; the others
    are counted (``Source.copies``).
    That beginning is the article. A question asked of two articles is one query with two relevant passages.
    """
    kept: dict[str, str] = {}
    passages: dict[str, SourcePassage] = {}
    source = Source(passages)
    by_question: dict[str, SourceQuestion] = {}
    for path in paths:
        for number, example in enumerate(_value(path, read_json(path), "examples")):
            question, text = _question_and_passage(path, number, example)
            passage_id = text_id(prefix, text)
            article = _restored_article(text, example)
            if kept.setdefault(article, passage_id) != passage_id:
                source.copies += 1
                continue
            passage = passages.setdefault(passage_id, SourcePassage("", text, article))
            if known := by_question.get(question):
                known.relevant[passage_id] = 1
                known.answers = distinct([*known.answers, example["target"]])
                continue
            by_question[question] = SourceQuestion(
                text_id("q", question), question, distinct([example["target"]]), passage.article, {passage_id: 1}
            )
            source.add_question(path, by_question[question])
    return source


def _question_and_passage(path: Path, number: int, example: dict) -> tuple[str, str]:
    match = _NQ.fullmatch(example.get("input", ""))
    if not match:
        raise DataError(f"{path}, example {number}: 'input' is not of the form Question: ... Context: ...")
    return clean(match["question"]), clean(match["passage"])


def _restored_article(text: str, example: dict) -> str:
    original = [entity for entity, true in example["target_scores"].items() if not true]
    restored = text.replace(clean(example["target"]), clean(original[0])) if original else text
    opening = " ".join(normalise_article(restored).split()[:_OPENING_WORDS])
    return text_id("nq", opening)


def read_beir(paths: Sequence[Path], prefix: str) -> Source:
    """Read a BEIR-style folder: corpus.jsonl, queries.jsonl, qrels.tsv or qrels/<split>.tsv. Ids are kept.

    A folder without queries.jsonl is a corpus without questions. The corpus stays in its file.
    """
    files = [folder / "corpus.jsonl" for folder in paths]
    source = Source(
        FilePassages(lambda: (row for file in files for row in _beir_passages(file))),
        unjudged=not any((folder / "queries.jsonl").is_file() for folder in paths),
    )
    for folder in paths if not source.unjudged else ():
        judged, splits = _beir_qrels(folder)
        path = folder / "queries.jsonl"
        where = str(path)
        for row in iter_jsonl(path):
            identifier, metadata = str(row["_id"]), row.get("metadata") or {}
            if relevant := dict(judged.get(identifier, {})):
                answers = distinct(metadata.get("answers") or [])
                split = splits.get(identifier) or metadata.get("split")
                article = metadata.get("article") or ""
                question = SourceQuestion(identifier, clean(row["text"]), answers, article, relevant, split, where)
                source.add_question(path, question)
    return source


def _beir_passages(path: Path) -> Iterator[Row]:
    for number, row in numbered_jsonl(path):
        if "_id" not in row or not isinstance(row.get("text"), str):
            raise DataError(f"{path}, line {number}: a document has an _id and a text")
        identifier = str(row["_id"])
        article = (row.get("metadata") or {}).get("article") or identifier
        yield path, number, identifier, SourcePassage(clean(row.get("title") or ""), clean(row["text"]), article)


def _beir_qrels(folder: Path) -> tuple[dict[str, dict[str, int]], dict[str, str]]:
    files = [folder / "qrels.tsv"] if (folder / "qrels.tsv").is_file() else sorted((folder / "qrels").glob("*.tsv"))
    if not files:
        raise DataError(f"{folder}: no qrels.tsv and no qrels/*.tsv")
    judged: dict[str, dict[str, int]] = {}
    splits: dict[str, str] = {}
    for path in files:
        for row in read_tsv(path):
            judged.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
            if path.stem in ("train", "dev", "test"):
                splits[row["query-id"]] = path.stem
    return judged, splits


def _value(path: Path, row: Any, key: str) -> Any:
    if not isinstance(row, dict) or key not in row:
        raise DataError(f"{path}: no key {key!r} where the format has one; is this the right reader for this file?")
    return row[key]
