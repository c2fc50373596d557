"""Listwise reranking: a model orders windows of passages, from the bottom of the ranking to its top.

INTERS (released code, eval_rerank.py): sliding windows over BM25's candidates. With a stride below the window a passage
can rise through all windows; with stride = window (fault ``B6``) it can't leave its own, and the released run shuffles
the candidates first.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence

# windows without overlap; pairwise and listwise drop queries with few candidates
STRATEGY_FAULTS = ("B6", "B8")
_INTEGER = re.compile(r"\d+")
# (query, passages of the window, in order) for many queries at once -> the model's answers
AskOrder = Callable[[list[tuple[str, list[str]]]], list[str]]


def windows(length: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Return the (start, end) of each window, bottom first; the last one starts at 0.

    ``size`` and ``stride`` in passages, 1 <= stride <= size.
    """
    if not 1 <= stride <= size:
        raise ValueError(f"stride is {stride}, window {size}; expected 1 <= stride <= window")
    found = [(max(0, end - size), end) for end in range(length, 0, -stride)]
    first = next((place for place, (start, _) in enumerate(found) if start == 0), 0)
    return found[: first + 1]


def parse_order(answer: str, size: int) -> tuple[list[int], bool]:
    """Return (order, whole): places 0..size-1 as the answer ranks them, and whether it named every one.

    Every integer of the answer counts; repeats and those out of range are dropped, missing places follow in their old
    order, as in the released code.
    """
    named = list(dict.fromkeys(n - 1 for text in _INTEGER.findall(answer) if 1 <= (n := int(text[:9])) <= size))
    rest = [place for place in range(size) if place not in named]
    return named + rest, not rest


def shuffled(candidates: Mapping[str, Sequence[str]], seed: int) -> dict[str, list[str]]:
    """Return each query's candidates in seeded order: the released code shuffles before it sorts."""
    found = {}
    for query, documents in candidates.items():
        found[query] = list(documents)
        random.Random(f"{seed}/{query}").shuffle(found[query])
    return found


def rank_by_windows(
    candidates: Mapping[str, Sequence[str]], ask: AskOrder, size: int = 10, stride: int = 5
) -> tuple[dict[str, list[str]], int, int]:
    """Return (query -> passages, best first; windows asked; windows whose answer was not whole).

    All queries go through their windows in step, so that ``ask`` gets one large batch a step.
    """
    order = {query: list(documents) for query, documents in candidates.items()}
    plans = {query: windows(len(documents), size, stride) for query, documents in order.items()}
    asked = broken = 0
    for step in range(max(map(len, plans.values()), default=0)):
        batch = [(query, *plan[step]) for query, plan in plans.items() if step < len(plan)]
        answers = ask([(query, order[query][start:end]) for query, start, end in batch])
        for (query, start, end), answer in zip(batch, answers, strict=True):
            places, whole = parse_order(answer, end - start)
            order[query][start:end] = [order[query][start + place] for place in places]
            asked, broken = asked + 1, broken + (not whole)
    return order, asked, broken
