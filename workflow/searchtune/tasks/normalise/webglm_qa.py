"""WebGLM-QA (Liu et al. 2023): a question and web references to a long answer that cites them.

Form: ``data/<split>.jsonl`` (question, answer, references as a list of texts) of THUDM/webglm-qa on the hub.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.prompts.budget import first_words
from searchtune.tasks.example import Example, clean
from searchtune.tasks.normalise.tables import Record, jsonl_rows, split_of_file


def reading_comprehension(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Question and numbered references, an equal share of ``max_words`` words each, to the answer.

    All references stay, since the answer cites them by number. They come from several pages; the question is
    the article.
    """
    for path in paths:
        split = split_of_file(path)
        for number, row in enumerate(jsonl_rows(path), 1):
            question = row.text("question")
            yield Example(
                f"reading_comprehension/{dataset}/{split}-{number}",
                "reading_comprehension",
                dataset,
                f"question {question}",
                {"question": question, "passage": _references(row, max_words)},
                row.text("answer"),
                split=split,
            )


def _references(row: Record, max_words: int) -> str:
    texts = row.items("references", 1)
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise row.fault("references", "holds an empty reference or one that is no text")
    share = max(1, max_words // len(texts))
    return "\n".join(f"[{number}] {first_words(clean(text), share)}" for number, text in enumerate(texts, 1))
