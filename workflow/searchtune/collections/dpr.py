"""Reader of open-domain question answering as DPR set it up (Karpukhin et al. 2020; facebookresearch/DPR 1.0.0).

Passages are ``psgs_w100.tsv``: a header ``id, text, title``, then one passage of 100 words a line, written by a CSV
writer with tabs (``CsvCtxSrc`` in dpr/data/retriever_data.py reads it so and takes quotation marks off the ends of the
text). Questions are lists of question and short answers (``CsvQASrc`` there, or JSON lines as pyserini packages them).
No passage is judged beforehand: one that holds a short answer is relevant (:mod:`searchtune.collections.answers`).
"""

import csv
import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.collections.answers import tokens
from searchtune.collections.sources import Source, SourceQuestion, clean, distinct
from searchtune.collections.splits import normalise_article
from searchtune.collections.streams import FilePassages, Row, SourcePassage
from searchtune.collections.topics import Question, read_questions
from searchtune.errors import DataError

HEADER = ["id", "text", "title"]
_QUESTIONS = (".csv", ".txt", ".jsonl")


def read_dpr(paths: Sequence[Path], prefix: str) -> Source:
    """Read passages (.tsv) and one list of questions (.csv, .txt, .jsonl), each perhaps with .gz behind.

    Passage ids are the publisher's, question ids are row numbers from 0. All questions are for testing; they have no
    article, for no passage is theirs. ``prefix`` is not used. DataError for a file of another name, a row of another
    form, or an answer in which no token is left to look for.
    """
    corpora = [path for path in paths if _suffix(path) == ".tsv"]
    lists = [path for path in paths if _suffix(path) in _QUESTIONS]
    if others := [path for path in paths if path not in corpora and path not in lists]:
        raise DataError(f"{others[0]}: DPR has passages (.tsv) and lists of questions ({', '.join(_QUESTIONS)})")
    if not corpora or len(lists) != 1:
        raise DataError(
            f"the reader 'dpr' needs passages (psgs_w100.tsv, perhaps .gz) and one list of questions; given: "
            f"{', '.join(path.name for path in paths)}"
        )
    source = Source(FilePassages(lambda: (row for path in corpora for row in _passages(path))), judged_by="answers")
    for number, question in enumerate(read_questions(lists[0]), 1):
        source.add_question(lists[0], _question(f"{lists[0]}, row {number}", question))
    return source


def _suffix(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix


def _passages(path: Path) -> Iterator[Row]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="\n") as lines:
        reader = csv.reader(lines, delimiter="\t", strict=True)
        number = 0
        try:
            for number, cells in enumerate(reader, 1):
                if number == 1:
                    if cells != HEADER:
                        raise DataError(f"{path}, line 1: the header is {cells}, expected {HEADER}")
                    continue
                if len(cells) != len(HEADER) or not cells[0] or reader.line_num != number:
                    raise DataError(f"{path}, line {number}: not one line of id, text and title, tabs between them")
                identifier, text, title = cells
                yield (
                    path,
                    number,
                    identifier,
                    SourcePassage(clean(title), clean(text.strip('"')), normalise_article(title) or identifier),
                )
        except csv.Error as error:
            raise DataError(
                f"{path}, line {number + 1}: cells are not quoted as a CSV writer does ({error})"
            ) from error


def _question(where: str, question: Question) -> SourceQuestion:
    answers = distinct(question["answers"])
    if not question["question"] or not answers or not all(map(tokens, answers)):
        raise DataError(f"{where}: needs a question and short answers, each with a letter, a digit or a sign")
    return SourceQuestion(question["id"], question["question"], answers, "", {}, "test", where)
