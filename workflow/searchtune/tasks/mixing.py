"""Examples-proportional mixing with a cap, laid out so that every beginning of the mixture has its proportions."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


def weights_of(sizes: Mapping[str, int], cap: int, multipliers: Mapping[str, float], uses: int = 1) -> dict[str, float]:
    """Return the weight of each pair (``task/dataset``): min(size, cap), times its task's multiplier, but never more
    than its renderings, of which there are ``uses`` an example: a pair that runs dry would change the proportions.

    The scheme of T5 and FLAN, which INTERS names without its cap (facts: construction pipeline).
    """
    return {
        pair: min(min(size, cap) * multipliers.get(pair.split("/")[0], 1.0), uses * size)
        for pair, size in sizes.items()
        if size
    }


def interleave(queues: Mapping[str, Iterator[T]], weights: Mapping[str, float]) -> Iterator[T]:
    """Yield from the queues so that, at every point, each has given its weight's share (within one item).

    A queue that is empty drops out and the others go on. The order depends on the names, weights
    and queues alone, so a shorter mixture is a prefix of a longer one.
    """
    taken = {name: 0 for name in sorted(queues) if weights.get(name, 0) > 0}
    while taken:
        name = min(taken, key=lambda n: ((taken[n] + 1) / weights[n], n))
        item = next(queues[name], None)
        if item is None:
            del taken[name]
            continue
        taken[name] += 1
        yield item
