"""Pairwise reranking: a model says which of two passages is better, and bubble sort brings the best ones up.

INTERS (released code, eval_rerank.py): the likelihood of "[1]" against "[2]" in both orders; two passages change places
only if both orders agree.
"""

from collections.abc import Callable, Generator, Mapping, Sequence

# (query, upper passage, lower passage) for many queries at once -> is the lower one better, by both orders?
Prefer = Callable[[list[tuple[str, str, str]]], list[bool]]
Duel = tuple[str, str]


def bubble(documents: Sequence[str], top: int) -> Generator[Duel, bool, list[str]]:
    """Sort the ``top`` best passages to the front; yield each (upper, lower) pair, be sent whether the lower is better.

    One pass from the bottom for each place. The next pass starts just below the lowest change: pairs further down are
    as they were when the answer was no. A pass without a change ends the sort. The return value is the order.
    """
    order, start = list(documents), len(documents) - 1
    for place in range(min(top, len(order))):
        lowest = 0
        for lower in range(start, place, -1):
            if (yield order[lower - 1], order[lower]):
                order[lower - 1], order[lower] = order[lower], order[lower - 1]
                lowest = lowest or lower
        if not lowest:
            break
        start = min(len(order) - 1, lowest + 1)
    return order


def rank_by_duels(
    candidates: Mapping[str, Sequence[str]], prefer: Prefer, top: int = 10
) -> tuple[dict[str, list[str]], int]:
    """Return (query -> passages, the ``top`` best first; comparisons made).

    All queries are sorted in step: each step asks one comparison of every query that is not done, in one batch.
    """
    sorters = {query: bubble(documents, top) for query, documents in candidates.items()}
    done: dict[str, list[str]] = {}
    waiting: dict[str, Duel] = {}
    for query, sorter in sorters.items():
        _advance(query, sorter, None, waiting, done)
    asked = 0
    while waiting:
        batch = [(query, *duel) for query, duel in waiting.items()]
        asked += len(batch)
        waiting = {}
        for (query, *_), better in zip(batch, prefer(batch), strict=True):
            _advance(query, sorters[query], better, waiting, done)
    return {query: done[query] for query in candidates}, asked


def _advance(
    query: str,
    sorter: Generator[Duel, bool, list[str]],
    answer: bool | None,
    waiting: dict[str, Duel],
    done: dict[str, list[str]],
) -> None:
    """Give a sorter its answer (None: start it), and book what it asks next, or its result."""
    try:
        waiting[query] = next(sorter) if answer is None else sorter.send(answer)
    except StopIteration as end:
        done[query] = end.value
