"""Whether a passage holds a short answer, as DPR matches them (Karpukhin et al. 2020; facebookresearch/DPR, release
1.0.0: ``has_answer`` with match type "string" in dpr/data/qa_validation.py, ``SimpleTokenizer`` in
dpr/utils/tokenizers.py).

Both texts are decomposed (NFD), cut into tokens and lower-cased; the answer's tokens must stand in the passage side by
side. A token is a run of letters, digits and marks, or one other character that is neither a separator nor a control.
Only the text counts, not the title: DPR's default.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import groupby

# characters below stand in Unicode's first plane
PLANE = 0x10000


def tokens(text: str) -> list[str]:
    """Return the lower-case tokens of a text, in order."""
    return [token.lower() for token in _pattern().findall(unicodedata.normalize("NFD", text))]


def has_answer(answers: Iterable[str], text: str) -> bool:
    """Say whether the text holds one of the answers; an answer without any token is held by no text.

    DPR's code finds an answer without tokens in every text; the reader refuses such answers.
    """
    words = tokens(text)
    return any(_stands_in(tokens(answer), words) for answer in answers)


def _stands_in(part: Sequence[str], words: Sequence[str]) -> bool:
    return bool(part) and any(words[i : i + len(part)] == part for i in range(len(words) - len(part) + 1))


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str]:
    r"""Return DPR's pattern ``[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]`` with its Unicode classes written out.

    Planes are kept apart: ``re`` looks up the first in a table and goes through the ranges of the others one by one.
    """
    (words, far_words), (signs, far_signs) = _classes("LNM"), _classes("PS")
    far = f"(?=[{chr(PLANE)}-{chr(sys.maxunicode)}])"
    return re.compile(f"(?:[{words}]+|{far}[{far_words}])+|[{signs}]|{far}[{far_signs}]")


def _classes(kinds: str) -> tuple[str, str]:
    """Return the ranges of all characters whose general category begins with one of ``kinds``: first plane, others."""
    points = [code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] in kinds]
    near = [code for code in points if code < PLANE]
    return _ranges(near), _ranges(points[len(near) :])


def _ranges(points: Sequence[int]) -> str:
    runs = (list(run) for _, run in groupby(enumerate(points), lambda pair: pair[1] - pair[0]))
    return "".join(f"{re.escape(chr(run[0][1]))}-{re.escape(chr(run[-1][1]))}" for run in runs)
