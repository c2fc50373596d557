"""XSum (Narayan et al. 2018): news story to its one-sentence summary."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.files import read_json
from searchtune.prompts.budget import first_words
from searchtune.tasks.example import Example, clean


def summarization(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Opening of the story (``max_words`` words) to summary; every story is an article of its own."""
    for path in paths:
        for number, row in enumerate(read_json(path)["examples"]):
            story, summary = clean(row["input"]), clean(str(row["target"]))
            if story and summary:
                yield Example(
                    f"summarization/{dataset}/{number}",
                    "summarization",
                    dataset,
                    f"xsum story {row.get('comment') or number}",
                    {"article": first_words(story, max_words)},
                    summary,
                )
