"""Reader of LoTTE (Santhanam et al. 2022, arXiv 2112.01488): a corpus a domain and split, forum and search queries."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from searchtune.collections.sources import Source, SourceQuestion, clean
from searchtune.collections.streams import FilePassages, Row, SourcePassage
from searchtune.errors import DataError
from searchtune.files import numbered_jsonl

_QAS = re.compile(r"qas\.(?P<kind>[a-z]+)\.jsonl")


def read_lotte(paths: Sequence[Path], prefix: str) -> Source:
    """Read ``collection.tsv`` (pid, text) and any ``qas.<kind>.jsonl`` (qid, query, answer_pids) of one corpus.

    Passage ids are the publisher's; query ids have their kind in front (``forum-12``), for each kind counts from 0.
    LoTTE's dev and test are other communities with corpora of their own, so all queries of a corpus are for testing.
    The corpus stays in its file. ``prefix`` is not used. DataError for a row of another form, a duplicate id of a query
    or a file of another name.
    """
    corpora = [path for path in paths if path.suffix == ".tsv"]
    source = Source(FilePassages(lambda: (row for path in corpora for row in _passages(path))))
    for path in paths:
        if match := _QAS.fullmatch(path.name):
            for number, row in numbered_jsonl(path):
                source.add_question(path, _question(f"{path}, line {number}", match["kind"], row))
        elif path not in corpora:
            raise DataError(f"{path}: LoTTE has collection.tsv and qas.<kind>.jsonl (forum, search); name one of these")
    return source


def _passages(path: Path) -> Iterator[Row]:
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            identifier, tab, text = line.rstrip("\n").partition("\t")
            if not tab or not identifier:
                raise DataError(f"{path}, line {number}: not of the form id, tab, text")
            yield path, number, identifier, SourcePassage("", clean(text), identifier)


def _question(where: str, kind: str, row: dict[str, Any]) -> SourceQuestion:
    if not {"qid", "query", "answer_pids"} <= set(row) or not row["answer_pids"]:
        raise DataError(f"{where}: a row has qid, query and a list of answer_pids that is not empty")
    relevant = {str(pid): 1 for pid in row["answer_pids"]}
    article = next(iter(relevant))
    return SourceQuestion(f"{kind}-{row['qid']}", clean(row["query"]), [], article, relevant, "test", where)
