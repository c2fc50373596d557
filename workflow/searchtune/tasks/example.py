"""One example of an INTERS task, and what every normaliser shares."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from searchtune.errors import DataError

# not after an initial (R. A. Day) or one of a few titles: a cut there would leave half a sentence
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<![A-Z]\.)(?<!\b(?:Mr|Dr|St)\.)(?<!\bMrs\.)[\"')\]]*\s+(?=[A-Z0-9\"'(\[])")


@dataclass(frozen=True)
class Example:
    """Input fields and target of one task instance; ``article`` is the source document that its split hangs on.

    ``split`` is the publisher's (train, dev or test) where the data set has one, else empty. ``labels`` are the
    allowed answers of a classification task; ``references`` are further right answers, if there are any; ``meta``
    holds what scoring needs (passage ids, grades, ranks).
    """

    id: str
    task: str
    dataset: str
    article: str
    fields: dict[str, str]
    target: str
    labels: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    split: str = ""


def clean(text: str) -> str:
    """Return ``text`` with every run of white space as one space."""
    return " ".join(text.split())


def sentences(text: str) -> list[tuple[int, int]]:
    """Return the (start, end) character ranges of the sentences of ``text``; they touch and cover all of it."""
    cuts = [match.end() for match in _SENTENCE_END.finditer(text)]
    return list(zip([0, *cuts], [*cuts, len(text)], strict=True))


def n_words(text: str) -> int:
    """Return the number of words separated by white space."""
    return len(text.split())


def window(text: str, start: int, end: int, max_words: int) -> str | None:
    """Return whole sentences around the span ``start``..``end`` with at most ``max_words`` words.

    Sentences are added before and after in turn, as long as they fit. None where the sentences that
    hold the span are already too long: a cut inside them could lose what the span needs.
    """
    spans = sentences(text)
    first = next(i for i, (_, e) in enumerate(spans) if start < e)
    last = next((i for i, (_, e) in enumerate(spans) if end <= e), len(spans) - 1)
    last = max(first, last)
    if n_words(text[spans[first][0] : spans[last][1]]) > max_words:
        return None
    grown = True
    while grown:
        grown = False
        for before, after in ((1, 0), (0, 1)):
            low, high = first - before, last + after
            if low >= 0 and high < len(spans) and n_words(text[spans[low][0] : spans[high][1]]) <= max_words:
                first, last, grown = low, high, True
    return text[spans[first][0] : spans[last][1]].strip()


def unbracket(text: str) -> str:
    """Return text with the Penn Treebank's bracket tokens (-LRB-, -RRB-, ...) as brackets."""
    for token, sign in (("LRB", "("), ("RRB", ")"), ("LSB", "["), ("RSB", "]"), ("LCB", "{"), ("RCB", "}")):
        text = text.replace(f"-{token}-", sign)
    return text


def detokenise(text: str) -> str:
    """Join punctuation that a tokeniser set apart: ``Earth ' s air , etc .`` becomes ``Earth's air, etc.``."""
    text = unbracket(text).replace("``", '"').replace("''", '"')
    text = re.sub(r"\s+'\s*(s|t|re|ve|ll|d|m)\b", r"'\1", text)
    text = re.sub(r"(\w)\s+n't\b", r"\1n't", text)
    text = re.sub(r"(?<=\w)\s+-\s+(?=\w)", "-", text)
    text = re.sub(r"\s+([,.;:?!%)\]])", r"\1", text)
    return clean(re.sub(r"([(\[$])\s+", r"\1", text))


def unique(examples: Iterable[Example], where: str) -> Iterator[Example]:
    """Yield examples; DataError for a repeated id or an empty field, naming ``where``."""
    seen: set[str] = set()
    for example in examples:
        if example.id in seen:
            raise DataError(f"{where}: duplicate example id {example.id!r}")
        seen.add(example.id)
        empty = [name for name, text in example.fields.items() if not text.strip()]
        if empty or not example.target.strip():
            raise DataError(f"{where}: example {example.id!r} has an empty {empty[0] if empty else 'target'!r}")
        yield example
