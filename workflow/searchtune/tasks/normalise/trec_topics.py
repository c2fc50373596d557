"""TREC topics (ad hoc, Robust, Terabyte, COVID, FIRE): title, description, narrative."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.collections.splits import normalise_article
from searchtune.collections.topics import Topic, read_topics
from searchtune.tasks.example import Example, n_words


def distinct_topics(paths: Sequence[Path]) -> list[Topic]:
    """Return topics in file order, one a title: tracks repeat topics of earlier years."""
    found: dict[str, Topic] = {}
    for path in paths:
        for topic in read_topics(path):
            found.setdefault(normalise_article(topic["title"]), topic)
    return list(found.values())


def query_description(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Title to narrative, for narratives of at most ``max_words`` words (longer ones are left out, never cut)."""
    for topic in distinct_topics(paths):
        if topic["narrative"] and n_words(topic["narrative"]) <= max_words:
            yield Example(
                f"query_description/{dataset}/{topic['id']}",
                "query_description",
                dataset,
                topic["title"],
                {"title": topic["title"]},
                topic["narrative"],
            )


def query_expansion(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Title to description."""
    for topic in distinct_topics(paths):
        if topic["description"] and n_words(topic["description"]) <= max_words:
            yield Example(
                f"query_expansion/{dataset}/{topic['id']}",
                "query_expansion",
                dataset,
                topic["title"],
                {"title": topic["title"]},
                topic["description"],
            )


def query_generation(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Narrative to title: a query writer's data without any canary (rules of evidence, 17)."""
    for topic in distinct_topics(paths):
        if topic["narrative"] and n_words(topic["narrative"]) <= max_words:
            yield Example(
                f"query_generation/{dataset}/{topic['id']}",
                "query_generation",
                dataset,
                topic["title"],
                {"passage": topic["narrative"]},
                topic["title"],
            )
