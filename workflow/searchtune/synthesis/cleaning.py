"""Cleaning of what a language model writes when it is asked for a query (UDAPDR, arXiv 2303.00807, and its code).

A model's answer is cut down to one question; then rules say whether it is kept. Every rule has a
name, so that a table can say how many queries each of them dropped.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

# words of the released text filter: a question that speaks of its passage makes no sense without it
FORBIDDEN = ("speaker", "passage", "author", "the issue", "the problem", "the document", "the text", "the article")
_LABEL = re.compile(
    r"^\W*(?:(?:example|document|passage|text)\s*\d*\s*:\s*)?"
    r"(?:(?:good|bad|relevant|search)\s+)?(?:question|query)\s*\d*\s*:\s*",
    re.I,
)
_NEXT_LABEL = re.compile(
    r"(?:\b(?:good|bad|relevant)\s+(?:question|query)|\bexample\s*\d*|\bdocument|\bpassage)\s*\d*\s*:", re.I
)
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# what a question is made of whatever it is about
_FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
    a an and any are as at be been being by can could did do does for from had has have how i if in into is it its many
    me most much my name of on one or should so than that the their them there they this to type used was were what when
    where which who whom whose why will with would you your""",
    )
)
T = TypeVar("T")


@dataclass(frozen=True)
class Rules:
    """Bounds of a kept query. Words are runs of letters and digits."""

    min_words: int = 3
    max_words: int = 30
    min_latin_share: float = 0.6
    forbidden: tuple[str, ...] = FORBIDDEN
    need_question_mark: bool = False


def words(text: str) -> list[str]:
    """Return the words of a text, lower case."""
    return [word.lower() for word in _WORD.findall(text)]


def clean_answer(text: str) -> str:
    """Return the first question of a model's answer, without labels; an empty string if there is none.

    The label of a good question is removed, a bad-question part or a new example is cut off, as is
    everything after the first non-empty line or the first question mark; white space is collapsed.
    """
    line = next((part for part in text.splitlines() if part.strip()), "")
    line = _LABEL.sub("", line, count=1)
    if following := _NEXT_LABEL.search(line):
        line = line[: following.start()]
    head, mark, _ = line.partition("?")
    return " ".join(f"{head}{mark}".split()).strip("\"'“”‘’*-• ")


def normalised(text: str) -> str:
    """Return a text's words joined by single spaces: equal for queries that differ in case and punctuation only."""
    return " ".join(words(text))


def latin_share(text: str) -> float:
    """Return the share of letters that are ASCII; 0 for a text without letters. A cheap check for English."""
    letters = [char for char in text if char.isalpha()]
    return sum(char.isascii() for char in letters) / len(letters) if letters else 0.0


def refusal(query: str, rules: Rules) -> str | None:
    """Return the name of the first rule that a query breaks, or None: blank, too_short, too_long, not_english,
    no_question_mark, forbidden_word.
    """
    count = len(words(query))
    spaced = f" {normalised(query)} "
    checks = [
        ("blank", count == 0),
        ("too_short", count < rules.min_words),
        ("too_long", count > rules.max_words),
        ("not_english", latin_share(query) < rules.min_latin_share),
        ("no_question_mark", rules.need_question_mark and not query.endswith("?")),
        ("forbidden_word", any(f" {word} " in spaced or f" {word}s " in spaced for word in rules.forbidden)),
    ]
    return next((name for name, broken in checks if broken), None)


def overlap(first: str, second: str) -> float:
    """Return the Jaccard overlap (0 to 1) of two texts' words; 0 if neither has any."""
    a, b = set(words(first)), set(words(second))
    return len(a & b) / len(a | b) if a | b else 0.0


def same_question(good: str, bad: str, max_overlap: float, prefix: int = 20) -> bool:
    """Say whether a bad question is too near its good one: an equal start of ``prefix`` normalised characters, or
    a word overlap above ``max_overlap``. The released test compares words with characters (fault U12).
    """
    left, right = normalised(good), normalised(bad)
    return left[:prefix] == right[:prefix] or overlap(good, bad) > max_overlap


def grounding(question: str, passage: str) -> float:
    """Return the share (0 to 1) of a question's content words that stand in the passage; 0 if it has none."""
    content = set(words(question)) - _FUNCTION_WORDS
    return len(content & set(words(passage))) / len(content) if content else 0.0


def released_same_question(good: str, bad: str, max_overlap: float, prefix: int = 20) -> bool:
    """Say what the released test says (fault U12): an equal start, or an overlap of words of one side with characters
    of the other, so that hardly a word but "a" or "I" counts.
    """
    left, right, mine = normalised(good), normalised(bad), set(words(good))
    return left[:prefix] == right[:prefix] or len(mine & set(right)) / max(1, len(mine)) > max_overlap


def deduplicate(rows: Iterable[T], texts: Sequence[str]) -> list[T]:
    """Return the rows whose text (aligned) is not, after normalisation, the text of an earlier row."""
    seen: set[str] = set()
    kept = []
    for row, text in zip(rows, texts, strict=True):
        key = normalised(text)
        if key not in seen:
            seen.add(key)
            kept.append(row)
    return kept
