"""Disfl-QA (Gupta et al. 2021): disfluent question to the original SQuAD question."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.collections.sources import SourceQuestion, read_squad
from searchtune.errors import DataError
from searchtune.files import read_json
from searchtune.tasks.example import Example, clean, detokenise, n_words

_FORM = re.compile(r"\s*(?P<question>.*?)\s*\n\s*context:\s*(?P<context>.*)", re.S | re.I)
# the original's words that must come back in the disfluent form for the pair to be the same question
_LEAST_OVERLAP = 0.6


def key_of(text: str) -> str:
    """Return letters and digits of a text alone, so that tokenised and plain forms agree."""
    return re.sub(r"[\W_]+", "", text.casefold())


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold()))


def _original(disfluent: str, candidates: list[SourceQuestion]) -> SourceQuestion | None:
    """Return the candidate whose words the disfluent form repeats most; None if too few, or two tie."""
    heard = _words(disfluent)
    words = {c.id: _words(c.text) for c in candidates}
    shares = sorted(((len(w & heard) / max(1, len(w)), key) for key, w in words.items()), reverse=True)
    if not shares or shares[0][0] < _LEAST_OVERLAP or (len(shares) > 1 and shares[1][0] == shares[0][0]):
        return None
    return next(c for c in candidates if c.id == shares[0][1])


def query_reformulation(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Join Disfl-QA with SQuAD (``paths``: Disfl-QA file, SQuAD file) on passage and answer.

    Questions without an answer in SQuAD 1.1, and those that fit two originals equally, are left out.
    The article is SQuAD's, so that both data sets split alike.
    """
    disfl, squad = paths
    source = read_squad([squad], "squad")
    keys = {identifier: key_of(passage.text) for identifier, passage in source.passages.items()}
    asked: dict[tuple[str, str], list[SourceQuestion]] = {}
    for question in source.questions.values():
        passage = keys[next(iter(question.relevant))]
        for answer in {key_of(a) for a in question.answers}:
            asked.setdefault((passage, answer), []).append(question)
    for number, row in enumerate(read_json(disfl)["examples"]):
        match = _FORM.fullmatch(row["input"])
        if not match:
            raise DataError(f"{disfl}, example {number}: 'input' is not of the form question, line break, context: ...")
        found = _original(match["question"], asked.get((key_of(match["context"]), key_of(str(row["target"]))), []))
        disfluent = detokenise(match["question"])
        if found and n_words(disfluent) <= max_words and key_of(disfluent) != key_of(found.text):
            yield Example(
                f"query_reformulation/{dataset}/{number}",
                "query_reformulation",
                dataset,
                found.article,
                {"query": disfluent},
                clean(found.text),
            )
