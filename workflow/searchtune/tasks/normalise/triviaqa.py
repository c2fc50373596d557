"""TriviaQA (Joshi et al. 2017): trivia questions with evidence from Wikipedia, and closed book.

With evidence: ``qa/wikipedia-<split>.json`` ({Data: [{Question, QuestionId, Answer {Value, Aliases, ...}, EntityPages
[{Filename, Title, ...}]}]}) and the texts in ``evidence/wikipedia`` (mandarjoshi90/triviaqa at b2c0046). Closed book:
``topics.dpr.trivia.<split>.txt`` as DPR prepared it: question, tab, a list of answers in Python's notation.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.collections.splits import normalise_article
from searchtune.files import read_text
from searchtune.tasks.example import Example, clean, window
from searchtune.tasks.normalise.tables import Record, json_rows, split_of_file, table_rows


def reading_comprehension(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Question and the sentences of a Wikipedia page around its answer; ``paths``: question files, folder of texts.

    The passage is the first of a question's pages that holds the answer or an alias in a window of ``max_words``
    words; a question without one is left out. The article is the answer, so that a question falls into the
    same split here and closed book, together with others whose pages it is likely to share.
    """
    folders = [path for path in paths if path.is_dir()]
    for path in (path for path in paths if path.is_file()):
        split = split_of_file(path)
        for row in json_rows(path, "Data"):
            answer = Record(f"{row.where}, Answer", _object(row, "Answer"))
            aliases = [clean(text) for text in answer.items("Aliases")]
            names = [answer.text("Value"), *aliases]
            passage = _passage(row, folders, names, max_words)
            if passage:
                article = _article(aliases or names)
                yield _example(dataset, row.text("QuestionId"), row.text("Question"), names, split, article, passage)


def closed_book(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Question alone to answer, as half of INTERS' templates for TriviaQA ask it; aliases are references."""
    for path in paths:
        split = split_of_file(path)
        for number, row in enumerate(table_rows(path, ("question", "answers"), quoted=True, header=False), 1):
            names = _listed(row)
            yield _example(dataset, f"{split}-{number}", row.text("question"), names, split, _article(names))


def _article(aliases: Sequence[str]) -> str:
    """Return the least alias: DPR's list has the aliases, but not which of them is the answer's usual name."""
    return f"triviaqa answer {min(normalise_article(name) for name in aliases if name)}"


def _example(
    dataset: str, key: str, question: str, names: list[str], split: str, article: str, passage: str = ""
) -> Example:
    names = [name for name in dict.fromkeys(names) if name]
    return Example(
        f"reading_comprehension/{dataset}/{key}",
        "reading_comprehension",
        dataset,
        article,
        {"question": question} | ({"passage": passage} if passage else {}),
        names[0],
        references=tuple(names[1:]),
        split=split,
    )


def _object(row: Record, name: str) -> dict:
    value = row.raw(name)
    if not isinstance(value, dict):
        raise row.fault(name, "is not an object")
    return value


def _listed(row: Record) -> list[str]:
    """Return the answers of a row of DPR's file; DataError where they are no list of texts, or there are none."""
    try:
        found = ast.literal_eval(row.text("answers"))
    except (ValueError, SyntaxError) as error:
        raise row.fault("answers", "is not a list in Python's notation") from error
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found) or not "".join(found).strip():
        raise row.fault("answers", "is not a list of texts, or is empty")
    return [clean(text) for text in found if text.strip()]


def _passage(row: Record, folders: Sequence[Path], names: list[str], max_words: int) -> str:
    """Return the sentences around the first answer found; DataError where none of the pages' texts is there."""
    pages = [item.text("Filename") for item in row.children("EntityPages", 1)]
    files = [folder / name for name in pages for folder in folders if (folder / name).is_file()]
    if not files:
        raise row.fault("EntityPages", f"names {pages[0]!r}, which is in none of the given folders of texts")
    wanted = "|".join(re.escape(name) for name in sorted(filter(None, names), key=len, reverse=True))
    for file in files:
        text = read_text(file)
        match = re.search(rf"(?<!\w)(?:{wanted})(?!\w)", text, re.IGNORECASE)
        short = window(text, match.start(), match.end(), max_words) if match else None
        if short:
            return clean(short)
    return ""
