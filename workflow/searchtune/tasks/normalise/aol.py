"""AOL's query log of 2006 (user-ct-test-collection): earlier queries of a session to the next one.

Schema: U500k_README.txt of the collection (tab-separated; AnonID, Query, QueryTime, ItemRank, ClickURL; sorted by user
and time; one line a click, so a query repeats). The log was withdrawn by its publisher: it is never fetched.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from pathlib import Path

from searchtune.tasks.example import Example
from searchtune.tasks.normalise.tables import Record, numbered, table_rows
from searchtune.tasks.normalise.turns import latest

GAP = timedelta(minutes=30)
# what stands where the publisher blanked a query
_BLANK = "-"


def _time(row: Record) -> datetime:
    try:
        return datetime.strptime(row.text("QueryTime"), "%Y-%m-%d %H:%M:%S")
    except ValueError as error:
        raise row.fault("QueryTime", f"is {row.text('QueryTime')!r}, not of the form 2006-03-01 07:17:12") from error


def sessions(rows: Iterator[Record]) -> Iterator[list[str]]:
    """Yield the sessions of one user: queries with at most 30 minutes between, neighbours that repeat once.

    Blanked queries are left out.
    """
    session: list[str] = []
    last: datetime | None = None
    for row in rows:
        query, time = row.optional("Query"), _time(row)
        if session and last is not None and time - last > GAP:
            yield session
            session = []
        last = time
        if query not in ("", _BLANK) and session[-1:] != [query]:
            session.append(query)
    if session:
        yield session


def query_suggestion(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Earlier queries (``history``, numbered; the latest that fit into ``max_words``) to the session's next query.

    ``query`` is the latest query, which the copy baseline repeats. The article is the user.
    """
    # a user could stand in two files: the file's place keeps the ids apart
    for file, path in enumerate(paths, 1):
        rows = table_rows(path, ("AnonID", "Query", "QueryTime"), short=True)
        for user, own in groupby(rows, key=lambda row: row.text("AnonID")):
            for number, queries in enumerate(sessions(own), 1):
                for place in range(1, len(queries)):
                    if kept := latest(queries[:place], max_words):
                        yield Example(
                            f"query_suggestion/{dataset}/{file}-{user}-{number}-{place}",
                            "query_suggestion",
                            dataset,
                            f"aol user {user}",
                            {"history": numbered(kept.splitlines()), "query": queries[place - 1]},
                            queries[place],
                        )
