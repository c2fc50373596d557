"""SQuAD-form collections: passage to question, and question to answer."""

import re
from collections.abc import Iterator

from searchtune.collections.beir import Collection
from searchtune.tasks.example import Example, clean, window


def _passage(collection: Collection, query_id: str, max_words: int) -> tuple[str, str] | None:
    """Return (passage id, sentences around the answer) of a question; None if no answer stands in a short window."""
    passage_id = next(i for i, grade in collection.qrels[query_id].items() if grade > 0)
    text = collection.corpus[passage_id].text
    for answer in collection.queries[query_id].metadata.get("answers", []):
        match = re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text)
        if match and (short := window(text, match.start(), match.end(), max_words)):
            return passage_id, short
    return None


def query_generation(collection: Collection, dataset: str, max_words: int) -> Iterator[Example]:
    """Passage to question. References are all sampled questions of the same passage."""
    asked: dict[str, list[str]] = {}
    for query_id, query in collection.queries.items():
        for passage_id in collection.qrels[query_id]:
            asked.setdefault(passage_id, []).append(clean(query.text))
    for query_id, query in collection.queries.items():
        found = _passage(collection, query_id, max_words)
        if found:
            others = tuple(text for text in asked[found[0]] if text != clean(query.text))
            yield Example(
                f"query_generation/{dataset}/{query_id}",
                "query_generation",
                dataset,
                query.metadata["article"],
                {"passage": found[1]},
                clean(query.text),
                references=others,
                meta={"passage_id": found[0]},
            )


def reading_comprehension(collection: Collection, dataset: str, max_words: int) -> Iterator[Example]:
    """Question and passage to answer; the annotators' other answers are references."""
    for query_id, query in collection.queries.items():
        found = _passage(collection, query_id, max_words)
        if found:
            answers = query.metadata["answers"]
            yield Example(
                f"reading_comprehension/{dataset}/{query_id}",
                "reading_comprehension",
                dataset,
                query.metadata["article"],
                {"question": clean(query.text), "passage": found[1]},
                answers[0],
                references=tuple(answers[1:]),
            )
