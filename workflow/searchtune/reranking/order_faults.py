"""Faults of the released LimRank code that change the order of scored candidates, not the scores.

``L1`` depth 10 whatever was asked for; ``L7`` documents are sorted by score and then paired with the unsorted scores;
``L11`` ties in the order in which pairs happened to be scored.
"""

from collections.abc import Iterable

RELEASED_DEPTH = 10
ORDER_FAULTS = ("L1", "L7", "L11")


def pair_unsorted(run: dict[str, float]) -> dict[str, float]:
    """Pair documents sorted by score with the scores in their old order (fault ``L7``)."""
    by_score = sorted(run, key=lambda d: -run[d])
    return dict(zip(by_score, run.values(), strict=True))


def apply_order_faults(
    run: dict[str, dict[str, float]], candidates: dict[str, list[str]], faults: Iterable[str]
) -> tuple[dict[str, dict[str, float]], dict[str, list[str]]]:
    """Return the run and the ranking that breaks its ties; faults ``L7`` and ``L11`` change one or the other.

    The tie rule is previous rank, then id. Under ``L11`` ties fall as the scores happen to lie in memory: here in
    the order of the passage ids, whatever the first stage said.
    """
    active = set(faults)
    if "L7" in active:
        run = {query: pair_unsorted(scores) for query, scores in run.items()}
    previous = {query: sorted(ds) for query, ds in candidates.items()} if "L11" in active else candidates
    return run, previous
