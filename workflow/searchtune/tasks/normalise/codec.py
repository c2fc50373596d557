"""CODEC (Mackie et al. 2022): essay-style question to the reformulations that its expert searched with.

Schema: grill-lab/CODEC, ``topics/`` (topics.json: id -> Domain, Query, Guidelines; query_reformulations.txt: id and
query, tab-separated, no header). Early commits call the field Query ``Description``.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.errors import DataError
from searchtune.files import read_json
from searchtune.prompts.budget import first_words
from searchtune.tasks.example import Example, n_words
from searchtune.tasks.normalise.tables import Record, numbered, table_rows


def _topics(path: Path) -> dict[str, Record]:
    value = read_json(path)
    if not isinstance(value, dict) or not all(isinstance(topic, dict) for topic in value.values()):
        raise DataError(f"{path}: expected an object of topics by id; is this the publisher's topics.json?")
    return {key: Record(f"{path}, topic {key}", topic) for key, topic in value.items()}


def query_reformulation(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Question, domain and opening of the guidelines to numbered reformulations, as many as fit into ``max_words``.

    ``paths``: topics.json, query_reformulations.txt. The question itself, which the experts' list repeats, is no
    reformulation and is left out.
    """
    topics_path, queries_path = paths
    topics = _topics(topics_path)
    found: dict[str, list[str]] = {key: [] for key in topics}
    for row in table_rows(queries_path, ("topic", "query"), header=False):
        found[row.one_of("topic", topics)].append(row.text("query"))
    for key, topic in topics.items():
        query = topic.text("Query" if "Query" in topic.values else "Description")
        items: list[str] = []
        for text in dict.fromkeys(text for text in found[key] if text.casefold() != query.casefold()):
            if sum(map(n_words, [*items, text])) > max_words:
                break
            items.append(text)
        if items:
            guidelines = first_words(topic.text("Guidelines"), max_words)
            yield Example(
                f"query_reformulation/{dataset}/{key}",
                "query_reformulation",
                dataset,
                query,
                {"query": query, "domain": topic.text("Domain"), "guidelines": guidelines},
                numbered(items),
                meta={"items": items},
            )
