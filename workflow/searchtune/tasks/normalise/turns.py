"""The earlier turns of a conversation or session, as the text of one field."""

from collections.abc import Sequence

from searchtune.tasks.example import n_words

# where a conversation's first turn is an example too: its field must not be empty
NO_TURNS = "(none: this is the first turn)"


def spoken(texts: Sequence[str], speakers: tuple[str, str] = ("Q", "A")) -> list[str]:
    """Return turns as lines ``Q: ...``, ``A: ...``; the two speakers take turns, the first of them begins."""
    return [f"{speakers[number % 2]}: {text}" for number, text in enumerate(texts)]


def latest(lines: Sequence[str], max_words: int) -> str:
    """Return as many of the latest lines as fit into ``max_words``, whole and in order, one a line.

    Empty where there is no line, or where the last one alone is too long.
    """
    kept: list[str] = []
    for line in reversed(lines):
        if sum(map(n_words, [*kept, line])) > max_words:
            break
        kept.append(line)
    return "\n".join(reversed(kept))
