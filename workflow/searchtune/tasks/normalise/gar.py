"""Natural Questions with a generated sentence each (GAR, Mao et al. 2021): sentence to question, without any canary.

The sentences are a model's, not Wikipedia's: some miss their question. A writer that learned from those would make
things up, so a pair stays only if the sentence holds half of the question's content words.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.collections.topics import read_expansions, read_questions
from searchtune.errors import DataError
from searchtune.synthesis.cleaning import grounding
from searchtune.tasks.example import Example, detokenise, n_words

MIN_GROUNDING = 0.5
MIN_WORDS = 8
_UNKNOWN = "⁇"  # the generator's sign for a character that it does not know


def query_generation(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Yield sentence to question, for sentences of 8 to ``max_words`` words; the question is its own article.

    ``paths``: the questions with answers, then the sentences, in the same order.
    """
    if len(paths) != 2:
        raise DataError(f"query_generation/{dataset}: expected two files, questions and sentences, not {len(paths)}")
    questions = [row["question"] for row in read_questions(paths[0])]
    for row in read_expansions(paths[1], questions):
        text = detokenise(row["expansion"])
        sound = _UNKNOWN not in text and MIN_WORDS <= n_words(text) <= max_words
        if sound and grounding(row["question"], text) >= MIN_GROUNDING:
            yield Example(
                f"query_generation/{dataset}/{row['id']}",
                "query_generation",
                dataset,
                row["question"],
                {"passage": text},
                row["question"],
            )
