"""From a model's text to an answer: numbered lists, labels, normalised words. Unparsable text is said to be so."""

import re
import string

# faults of the released scorers that can be flipped one by one (facts: section 9)
FAULTS = ("B1", "B2", "B3", "B12")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NUMBER = re.compile(r"(?:^|\n)\s*(\d+)[.)](?!\d)\s*", re.M)
# the released parser knows numbers of one digit, wherever a digit and a full stop stand
_ONE_DIGIT = re.compile(r"\d\.")


def active_faults(fidelity: str, faults: list[str]) -> frozenset[str]:
    """Return the scorer faults in force: all under ``released``, else those named."""
    return frozenset(FAULTS) if fidelity == "released" else frozenset(faults) & frozenset(FAULTS)


def normalise_answer(text: str) -> str:
    """Lower case, no punctuation, no articles, single spaces (SQuAD's official evaluation)."""
    bare = "".join(sign for sign in text.lower() if sign not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def normalise_item(text: str) -> str:
    """Return a list item without surrounding space, case and final punctuation."""
    return " ".join(text.split()).casefold().rstrip(".?! ")


def parse_numbered(text: str, faults: frozenset[str] = frozenset()) -> tuple[list[str], bool]:
    """Return (items, parsed) of a numbered list; ``parsed`` is false where no number was found.

    Unnumbered text is split by line. Numbers may have several digits and must stand at the start of
    a line. B3: one-digit numbers, anywhere. B2: unnumbered text becomes its characters.
    """
    if "B3" in faults:
        pieces = _ONE_DIGIT.split(text)
        parsed = len(pieces) > 1
        items = pieces[1:]
    else:
        marks = list(_NUMBER.finditer(text))
        parsed = bool(marks)
        ends = [mark.start() for mark in marks[1:]] + [len(text)] if marks else []
        items = [text[mark.end() : end] for mark, end in zip(marks, ends, strict=True)]
    if not parsed:
        items = list(text) if "B2" in faults else text.splitlines()
    return [" ".join(item.split()) for item in items if item.strip()], parsed


def parse_label(text: str, labels: list[str]) -> str | None:
    """Return the label that a generated answer opens with or alone names; None if none, or several, can be meant."""
    answer = " ".join(text.casefold().split()).strip(string.punctuation + " ")
    opening = [label for label in labels if re.match(rf"{re.escape(label.casefold())}\b", answer)]
    if opening:
        return max(opening, key=len)
    named = [label for label in labels if re.search(rf"\b{re.escape(label.casefold())}\b", answer)]
    return named[0] if len(named) == 1 else None


def best_label(scores: list[dict], faults: frozenset[str] = frozenset()) -> str:
    """Return the label with the highest log-probability a token; B12: the highest summed one.

    ``scores``: [{text, logprob, n_tokens}]; equal scores go to the label that is listed first.
    """

    def value(row: dict) -> float:
        """Return a label's log-probability, a token unless B12 is on."""
        return row["logprob"] if "B12" in faults else row["logprob"] / row["n_tokens"]

    return max(scores, key=value)["text"]
