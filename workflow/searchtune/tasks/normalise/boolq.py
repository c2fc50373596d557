"""BoolQ (Clark et al. 2019): yes/no questions over a Wikipedia paragraph, answered true or false.

Form: ``train.jsonl`` and ``dev.jsonl`` (question, passage, answer as a JSON boolean, title): README of
google-research-datasets/boolean-questions at 90af341. The labels of the test file are withheld.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.tasks.example import Example, n_words
from searchtune.tasks.normalise.tables import jsonl_rows, split_of_file

LABELS = ("true", "false")


def reading_comprehension(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Question and passage to true or false; the article is the page.

    Passages of more than ``max_words`` words are left out: no span says which part of them answers the question.
    """
    for path in paths:
        split = split_of_file(path)
        for number, row in enumerate(jsonl_rows(path), 1):
            answer, passage = row.raw("answer"), row.text("passage")
            if not isinstance(answer, bool):
                raise row.fault("answer", f"is {answer!r}, none of true, false")
            if n_words(passage) <= max_words:
                yield Example(
                    f"reading_comprehension/{dataset}/{split}-{number}",
                    "reading_comprehension",
                    dataset,
                    row.text("title"),
                    {"question": row.text("question"), "passage": passage},
                    LABELS[0] if answer else LABELS[1],
                    labels=LABELS,
                    split=split,
                )
