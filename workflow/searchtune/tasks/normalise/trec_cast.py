"""TREC CAsT 2019 to 2021 (Dalton et al.): title to description, and turn to self-contained query.

Schema: daltonj/treccastweb (2019 topics as JSON, resolved turns as TSV without header: topic_turn, utterance;
2020 and 2021 manual evaluation topics, JSON with the rewrites beside the turns).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.tasks.example import Example, n_words
from searchtune.tasks.normalise.tables import Record, json_rows, split_named, table_rows
from searchtune.tasks.normalise.turns import latest

_REWRITE = "manual_rewritten_utterance"


def _article(topic: Record) -> str:
    return f"trec cast topic {topic.text('number')}"


def query_expansion(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Topic title to description (2019); topics without description, or with a longer one, are left out."""
    for path in paths:
        for topic in json_rows(path):
            title, description = topic.text("title"), topic.optional("description")
            if description and n_words(description) <= max_words:
                yield Example(
                    f"query_expansion/{dataset}/{topic.text('number')}",
                    "query_expansion",
                    dataset,
                    _article(topic),
                    {"title": title},
                    description,
                    split=split_named(path.name),
                )


def _resolved(paths: Sequence[Path]) -> dict[str, str]:
    """Return ``topic_turn`` -> self-contained utterance of the TSV files among ``paths``."""
    rows = (row for path in paths if path.suffix == ".tsv" for row in table_rows(path, ("turn", "text"), header=False))
    return {row.text("turn"): row.text("text") for row in rows}


def query_reformulation(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Turn and earlier turns to the manual rewrite; ids begin with cast19 or cast2x, by the form of the topics.

    First turns are left out: there is nothing yet to resolve them with. Topics of 2019 have a title, which
    becomes ``context``. All topics are evaluation topics, so no split is published.
    """
    resolved = _resolved(paths)
    for path in paths:
        if path.suffix != ".tsv":
            for topic in json_rows(path):
                yield from _turns(topic, resolved, dataset, max_words)


def _turns(topic: Record, resolved: dict[str, str], dataset: str, max_words: int) -> Iterator[Example]:
    said: list[str] = []
    for turn in topic.children("turn", 1):
        query, key = turn.text("raw_utterance"), f"{topic.text('number')}_{turn.text('number')}"
        form = "cast2x" if _REWRITE in turn.values else "cast19"
        if form == "cast19" and key not in resolved:
            raise turn.fault(_REWRITE, f"is missing, and no resolved TSV file has the turn {key!r}")
        target = turn.text(_REWRITE) if form == "cast2x" else resolved[key]
        if history := latest(said, max_words):
            title, description = topic.optional("title"), topic.optional("description")
            context = ". ".join(text.rstrip(".") for text in (title, description) if text)
            yield Example(
                f"query_reformulation/{dataset}/{form}-{key}",
                "query_reformulation",
                dataset,
                _article(topic),
                {"query": query, "history": history} | ({"context": context} if context else {}),
                target,
            )
        said.append(query)
