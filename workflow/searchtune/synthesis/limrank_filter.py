"""The synthesizer's filter: pure code that keeps or drops a (query, passage) pair and says why.

The rule of the paper (as far as it is known) is the last one: a pair stays if the judge's verdict equals the label
that the writer was asked for. Before it come cheap tests: language, length, loops, duplicates, overlap with the
evaluation sets.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from searchtune.synthesis.limrank_seeds import normal

FUNCTION_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "can",
        "do",
        "does",
        "for",
        "from",
        "has",
        "have",
        "how",
        "if",
        "in",
        "is",
        "it",
        "its",
        "may",
        "not",
        "of",
        "on",
        "or",
        "that",
        "the",
        "their",
        "there",
        "they",
        "this",
        "to",
        "was",
        "what",
        "when",
        "which",
        "who",
        "will",
        "with",
        "you",
        "your",
    ]
)
# in the order in which they are tried; the first that applies is the reason on record
REASONS = (
    "too_short",
    "too_long",
    "not_english",
    "loop",
    "off_subject",
    "duplicate",
    "leaks_query",
    "leaks_passage",
    "verdict_differs",
)
_STOP = FUNCTION_WORDS | frozenset(
    [
        "best",
        "i",
        "me",
        "my",
        "we",
        "our",
        "more",
        "most",
        "much",
        "many",
        "about",
        "into",
        "than",
        "then",
        "them",
        "these",
        "those",
        "use",
        "used",
        "using",
        "get",
        "make",
    ]
)


@dataclass(frozen=True)
class Bounds:
    """What a text must keep to: words (count), share of function words, share of distinct word triples."""

    min_words: int = 15
    max_words: int = 200
    min_function_share: float = 0.15
    min_distinct_share: float = 0.6


@dataclass
class EvaluationTexts:
    """Word n-grams of everything that systems are scored on; ``query_n`` and ``passage_n`` are in words."""

    query_n: int
    passage_n: int
    queries: set[str] = field(default_factory=set)
    whole_queries: set[str] = field(default_factory=set)
    passages: set[str] = field(default_factory=set)

    def add(self, queries: Iterable[str], passages: Iterable[str]) -> None:
        """Register texts of one evaluation collection."""
        for text in queries:
            self.whole_queries.add(normal(text))
            self.queries |= ngrams(text, self.query_n)
        for text in passages:
            self.passages |= ngrams(text, self.passage_n)

    def query_leaks(self, text: str) -> bool:
        """Say whether a query equals an evaluation query, or shares a word n-gram with one."""
        return normal(text) in self.whole_queries or not self.queries.isdisjoint(ngrams(text, self.query_n))

    def passage_leaks(self, text: str) -> bool:
        """Say whether a passage shares a word n-gram with an evaluation passage."""
        return not self.passages.isdisjoint(ngrams(text, self.passage_n))


def ngrams(text: str, n: int) -> set[str]:
    """Return all runs of ``n`` words of a text, in lower case; none if it is shorter."""
    words = normal(text).split()
    return {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)}


def content_words(text: str) -> set[str]:
    """Return the first five letters of a text's words that carry meaning (a crude stem, for overlap tests)."""
    return {word[:5] for word in normal(text).split() if len(word) > 2 and word not in _STOP}


def text_fault(text: str, bounds: Bounds) -> str:
    """Return too_short, too_long, not_english or loop, or an empty text if none applies."""
    words = normal(text).split()
    if len(words) < bounds.min_words:
        return "too_short"
    if len(words) > bounds.max_words:
        return "too_long"
    functions = sum(word in FUNCTION_WORDS for word in words) / len(words)
    foreign = sum(ord(c) > 127 for c in text) > 0.1 * len(text)
    if bounds.min_function_share > 0 and (functions < bounds.min_function_share or foreign):
        return "not_english"
    triples = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
    if triples and len(set(triples)) / len(triples) < bounds.min_distinct_share:
        return "loop"
    return ""


def query_fault(query: str, subject: str, bounds: Bounds, evaluation: EvaluationTexts, seen: set[str]) -> str:
    """Return why an expanded query is dropped; ``seen`` (normalised queries) grows by every query that stays.

    A query that shares no content word with its seed has left the subject.
    """
    fault = text_fault(query, bounds)
    if not fault and content_words(query).isdisjoint(content_words(subject)) and content_words(subject):
        fault = "off_subject"
    if not fault and normal(query) in seen:
        fault = "duplicate"
    if not fault and evaluation.query_leaks(query):
        fault = "leaks_query"
    if not fault:
        seen.add(normal(query))
    return fault


def passage_fault(passage: str, bounds: Bounds, evaluation: EvaluationTexts, seen: set[str]) -> str:
    """Return why a written passage is dropped; ``seen`` (normalised passages) grows by every passage that stays."""
    fault = text_fault(passage, bounds)
    if not fault and normal(passage) in seen:
        fault = "duplicate"
    if not fault and evaluation.passage_leaks(passage):
        fault = "leaks_passage"
    if not fault:
        seen.add(normal(passage))
    return fault


def verdict_fault(label: bool, verdict: bool) -> str:
    """Return ``verdict_differs`` unless the judge's verdict equals the label that the passage was written for."""
    return "" if label == verdict else "verdict_differs"
