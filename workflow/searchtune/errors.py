"""Typed errors. Every message names what is wrong, where, and how to mend it."""

import difflib
from collections.abc import Iterable


class SearchtuneError(Exception):
    """Base of all errors that a user can mend; the command line prints its text without a traceback."""


class ConfigError(SearchtuneError):
    """A key, value or id in a configuration file is wrong."""


class DataError(SearchtuneError):
    """A file's content breaks the contract of its form (empty corpus, duplicate id, NaN score ...)."""


class ShortageError(DataError):
    """What a chain made of its own is sound, but too little for its next step (no usable question, no tuple ...)."""


class FetchError(SearchtuneError):
    """Something from outside is missing, truncated, altered or unsafe to unpack."""


class LeakageError(SearchtuneError):
    """Evaluation data would reach, or has reached, a training set."""


class ModelError(SearchtuneError):
    """A model folder, adapter or answer is not usable as asked."""


class IntegrityError(SearchtuneError):
    """A file is not the one that its provenance describes."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as ``; did you mean 'demo'?``, or the list of known names when none is near."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""
