"""Reader of LoTTE (Santhanam et al. 2022, arXiv 2112.01488): a corpus a domain and split, forum and search queries."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from searchtune.collections.sources import Source, SourcePassage, SourceQuestion, clean
from searchtune.errors import DataError
from searchtune.files import iter_jsonl

_QAS = re.compile(r"qas\.(?P<kind>[a-z]+)\.jsonl")


def read_lotte(paths: Sequence[Path], prefix: str) -> Source:
    """Read ``collection.tsv`` (pid, text) and any ``qas.<kind>.jsonl`` (qid, query, answer_pids) of one corpus.

    Passage ids are the publisher's; query ids have their kind in front (``forum-12``), for each kind counts from 0.
    LoTTE's dev and test are other communities with corpora of their own, so all queries of a corpus are for testing.
    ``prefix`` is not used. DataError for a row of another form, a duplicate id or a file of another name.
    """
    source = Source()
    for path in paths:
        if path.suffix == ".tsv":
            _add_corpus(source, path)
    for path in paths:
        if match := _QAS.fullmatch(path.name):
            for number, row in enumerate(iter_jsonl(path), 1):
                source.add_question(path, _question(source, f"{path}, line {number}", match["kind"], row))
        elif path.suffix != ".tsv":
            raise DataError(f"{path}: LoTTE has collection.tsv and qas.<kind>.jsonl (forum, search); name one of these")
    return source


def _add_corpus(source: Source, path: Path) -> None:
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            identifier, tab, text = line.rstrip("\n").partition("\t")
            if not tab or not identifier:
                raise DataError(f"{path}, line {number}: not of the form id, tab, text")
            if identifier in source.passages:
                raise DataError(f"{path}, line {number}: duplicate id {identifier!r}")
            source.passages[identifier] = SourcePassage("", clean(text), identifier)


def _question(source: Source, where: str, kind: str, row: Any) -> SourceQuestion:
    if not isinstance(row, dict) or not {"qid", "query", "answer_pids"} <= set(row) or not row["answer_pids"]:
        raise DataError(f"{where}: a row has qid, query and a list of answer_pids that is not empty")
    relevant = {str(pid): 1 for pid in row["answer_pids"]}
    if unknown := sorted(set(relevant) - set(source.passages)):
        raise DataError(f"{where}: answer_pids name unknown passages: {', '.join(unknown[:3])}")
    article = next(iter(relevant))
    return SourceQuestion(f"{kind}-{row['qid']}", clean(row["query"]), [], article, relevant, "test")
