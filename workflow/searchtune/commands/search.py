"""``searchtune search FOLDER "query"``: the best passages of an adapted retriever's corpus."""

import argparse
import json
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from searchtune.errors import DataError, malformed
from searchtune.files import iter_jsonl
from searchtune.lean import hide_unused_packages
from searchtune.release.export import INDEX, MODEL, PASSAGES

SUMMARY = "search the corpus of an adapted retriever"
WIDTH = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("folder", type=Path, help="what `searchtune adapt` made: a folder with model and index")
    parser.add_argument("queries", nargs="*", metavar="query", help="queries; none: one a line from standard input")
    parser.add_argument("-k", type=int, default=5, help="passages a query (default: 5)")
    parser.add_argument("--json", action="store_true", help="one JSON object a query and line")


class Searcher:
    """An adapted retriever with its index; DataError where the folder is not whole."""

    def __init__(self, folder: Path) -> None:
        for part in (MODEL, INDEX, f"{INDEX}/{PASSAGES}"):
            if not (folder / part).exists():
                raise DataError(f"{folder} has no {part}; give the folder that `searchtune adapt` made")
        hide_unused_packages()
        from transformers.utils import logging

        from searchtune.retrieval.late_interaction import LateInteractionModel
        from searchtune.retrieval.token_index import TokenIndex

        logging.disable_progress_bar()
        with malformed(folder, "whole; run `searchtune adapt` again"):
            self.model = LateInteractionModel.load(folder / MODEL)
            self.index = TokenIndex.load(folder / INDEX)
        self.passages = {row["id"]: row for row in iter_jsonl(folder / INDEX / PASSAGES)}
        if missing := [i for i in self.index.ids if i not in self.passages][:1]:
            raise DataError(
                f"{folder}: its index knows {missing[0]!r}, its passages do not; run `searchtune adapt` again"
            )

    def search(self, queries: list[str], k: int) -> Iterator[dict[str, Any]]:
        """Yield {query, passages: [{rank, score, id, file, title, text}]} for each query."""
        from searchtune.retrieval.late_interaction import search

        for query, found in zip(queries, search(self.index, self.model.encode_queries(queries), k), strict=True):
            hits = [
                {"rank": rank, "score": round(score, 4), **self.passages[identifier]}
                for rank, (identifier, score) in enumerate(found, 1)
            ]
            yield {"query": query, "passages": hits}


def as_text(answer: dict[str, Any]) -> str:
    """Return an answer for the eye: the query, then rank, score, file, title and text of each passage."""
    lines = [answer["query"]]
    for hit in answer["passages"]:
        where = ": ".join(dict.fromkeys(text for text in (hit.get("file"), hit["title"]) if text)) or hit["id"]
        lines.append(f"{hit['rank']:>3}. {hit['score']:.2f}  {where}")
        lines += textwrap.wrap(hit["text"], WIDTH, initial_indent=" " * 5, subsequent_indent=" " * 5)
    return "\n".join(lines)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    if arguments.k < 1:
        raise DataError(f"-k is {arguments.k}; ask for at least one passage")
    given: Iterable[str] = arguments.queries or (line.strip() for line in sys.stdin)
    queries = [query for query in given if query.strip()]
    if not queries:
        raise DataError("no query was given; put it behind the folder, or on standard input")
    searcher = Searcher(arguments.folder)
    for answer in searcher.search(queries, arguments.k):
        print(json.dumps(answer, ensure_ascii=False) if arguments.json else as_text(answer))
    return 0
