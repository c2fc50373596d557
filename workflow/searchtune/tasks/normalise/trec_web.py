"""TREC Web track topics: query type, subtopic type and subtopics."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.tasks.example import Example
from searchtune.tasks.normalise.trec_topics import distinct_topics

QUERY_TYPES = ("ambiguous", "faceted")
SUBTOPIC_TYPES = {"inf": "informational", "nav": "navigational"}


def query_type(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Query and description to ``faceted`` or ``ambiguous``; topics with a single facet have neither label."""
    for topic in distinct_topics(paths):
        if topic["query_type"] in QUERY_TYPES and topic["description"]:
            yield Example(
                f"query_intent_classification/{dataset}/{topic['id']}",
                "query_intent_classification",
                dataset,
                topic["title"],
                {"query": topic["title"], "description": topic["description"]},
                topic["query_type"],
                labels=QUERY_TYPES,
            )


def subtopic_type(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Query and subtopic to ``informational`` or ``navigational``; subtopics of unclear type are left out."""
    for topic in distinct_topics(paths):
        for number, subtopic in enumerate(topic["subtopics"], 1):
            if subtopic["type"] in SUBTOPIC_TYPES:
                yield Example(
                    f"query_intent_classification/{dataset}/{topic['id']}-{number}",
                    "query_intent_classification",
                    dataset,
                    topic["title"],
                    {"query": topic["title"], "subtopic": subtopic["text"]},
                    SUBTOPIC_TYPES[subtopic["type"]],
                    labels=tuple(SUBTOPIC_TYPES.values()),
                )


def subtopics(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Query and description to the numbered list of subtopics, as many whole items as fit into ``max_words``."""
    for topic in distinct_topics(paths):
        items: list[str] = []
        for text in dict.fromkeys(subtopic["text"] for subtopic in topic["subtopics"]):
            if sum(len(item.split()) for item in [*items, text]) > max_words:
                break
            items.append(text)
        if len(items) > 1 and topic["description"]:
            target = "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))
            yield Example(
                f"query_subtopic_generation/{dataset}/{topic['id']}",
                "query_subtopic_generation",
                dataset,
                topic["title"],
                {"query": topic["title"], "description": topic["description"]},
                target,
                meta={"items": items},
            )
