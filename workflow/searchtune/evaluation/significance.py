"""Intervals and tests over queries: percentile bootstrap, sign-flip randomisation test, Holm's correction.

Sign flips: Fisher's randomisation test of paired differences, as advised for retrieval by
Smucker, Allan and Carterette (CIKM 2007). All functions are vectorised and take their seed.
"""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from searchtune.errors import DataError

Key = TypeVar("Key", bound=Hashable)
_CELLS = 4_000_000  # numbers held at once by one chunk of resamples
# a p-value from fewer hits than FEW is drawn again, FINER times as finely
FEW, FINER = 10, 20
_SLACK = 1e-12  # relative; sums of floats in another order differ by less


def _values(name: str, values: Sequence[float], least: int) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < least:
        raise DataError(f"{name}: too few queries: {array.size}, at least {least} are needed")
    if not np.isfinite(array).all():
        raise DataError(f"{name}: {int((~np.isfinite(array)).sum())} of {len(array)} values are not finite numbers")
    return array


def bootstrap_ci(values: Sequence[float], seed: int, n: int = 2000, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of per-query values.

    ``n`` resamples of the queries with replacement; ``level`` is the coverage. DataError for fewer
    than two queries or for a value that is not finite.
    """
    array = _values("bootstrap_ci", values, 2)
    rng = np.random.default_rng(seed)
    rows = max(1, _CELLS // len(array))
    means = [
        array[rng.integers(0, len(array), size=(min(rows, n - start), len(array)))].mean(axis=1)
        for start in range(0, n, rows)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def seed_interval(
    values: Sequence[Sequence[float]], seed: int, n: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Return the bootstrap interval of the mean over training seeds *and* queries.

    ``values`` has one row a seed, one column a query, aligned. Both are resampled, so the interval
    covers both sources of variation; with one seed it equals :func:`bootstrap_ci` in kind.
    """
    table = np.stack([_values("seed_interval", row, 2) for row in values])
    rng = np.random.default_rng(seed)
    seeds, queries = table.shape
    means = [
        table[rng.integers(0, seeds, seeds)].mean(axis=0)[rng.integers(0, queries, queries)].mean() for _ in range(n)
    ]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interval_of(many: Sequence[Sequence[float]], params: Mapping[str, Any]) -> tuple[float, float]:
    """Return the interval of the mean of ``many`` (training seeds x queries): over queries, and over seeds where there
    are several. ``params``: seed, bootstrap_samples, level."""
    settings = (params["seed"], params["bootstrap_samples"], params["level"])
    return seed_interval(many, *settings) if len(many) > 1 else bootstrap_ci(many[0], *settings)


def macro_interval(
    tables: Sequence[np.ndarray], seed: int, n: int = 2000, level: float = 0.95
) -> tuple[float, float, float]:
    """Return (value, low, high) of the unweighted mean of several means of tables (seeds by queries each).

    Queries are resampled within each table, seeds for all tables at once: a seed is one model for all of them.
    """
    rng = np.random.default_rng(seed)
    seeds = len(tables[0])
    counts = rng.multinomial(seeds, np.full(seeds, 1 / seeds), n) / seeds if seeds > 1 else None
    draws = []
    for table in tables:
        values = np.broadcast_to(table[0], (n, table.shape[1])) if counts is None else counts @ table
        places = rng.integers(0, table.shape[1], (n, table.shape[1]))
        draws.append(np.take_along_axis(values, places, axis=1).mean(axis=1))
    low, high = np.quantile(np.mean(draws, axis=0), [(1 - level) / 2, (1 + level) / 2])
    return float(np.mean([table.mean() for table in tables])), float(low), float(high)


def paired_test(a: Sequence[float], b: Sequence[float], seed: int, n: int = 10_000) -> float:
    """Return the two-sided p-value of the difference of means of two aligned per-query lists.

    Each query's difference changes its sign with probability 1/2. Where all 2**queries sign
    patterns are at most ``n`` they are enumerated and p is exact; else ``n`` random ones are drawn
    and p = (1 + as extreme) / (1 + n), which is never 0. Where fewer than FEW of them are as extreme, FINER
    times as many are drawn: Holm's correction over hundreds of comparisons needs p-values below 1 / n.
    DataError for lists of other lengths.
    """
    left, right = _values("paired_test, a", a, 1), _values("paired_test, b", b, 1)
    if len(left) != len(right):
        raise DataError(f"paired_test: {len(left)} values against {len(right)}; align them by query first")
    differences = left - right
    total = differences.sum()
    bound = abs(total) - _SLACK * max(1.0, np.abs(differences).sum())
    if 2 ** min(len(differences), 63) <= n:
        patterns = np.arange(2 ** len(differences))[:, None] >> np.arange(len(differences)) & 1
        return float((np.abs(total - 2 * (patterns @ differences)) >= bound).mean())
    count = _as_extreme(differences, total, bound, seed, n)
    if count < FEW:
        n *= FINER
        count = _as_extreme(differences, total, bound, seed, n)
    return (1 + count) / (1 + n)


def _as_extreme(differences: np.ndarray, total: float, bound: float, seed: int, n: int) -> int:
    """Count random sign patterns whose sum is at least as far from 0 as the observed one."""
    rng = np.random.default_rng(seed)
    width = -(-len(differences) // 8)
    rows = max(1, _CELLS // len(differences))
    count = 0
    for start in range(0, n, rows):
        height = min(rows, n - start)
        # one random bit a sign: eight times fewer random bytes than one byte a sign
        packed = np.frombuffer(rng.bytes(height * width), dtype=np.uint8).reshape(height, width)
        flipped = np.unpackbits(packed, axis=1, count=len(differences)) @ differences
        count += int((np.abs(total - 2 * flipped) >= bound).sum())
    return count


def holm(pvalues: Mapping[Key, float]) -> dict[Key, float]:
    """Return Holm's adjusted p-values (Holm 1979), keyed and ordered as given."""
    for key, value in pvalues.items():
        if not 0 <= value <= 1:
            raise DataError(f"holm: p-value of {key!r} is {value}; expected a number from 0 to 1")
    adjusted: dict[Key, float] = {}
    running = 0.0
    for rank, (key, value) in enumerate(sorted(pvalues.items(), key=lambda item: item[1])):
        running = max(running, min(1.0, (len(pvalues) - rank) * value))
        adjusted[key] = running
    return {key: adjusted[key] for key in pvalues}


def compare(
    per_query_a: Mapping[str, float],
    per_query_b: Mapping[str, float],
    seed: int,
    n_permutations: int = 10_000,
    n_bootstrap: int = 2000,
) -> dict[str, float | int]:
    """Compare two systems on the same queries (a minus b).

    Returns n, mean_a, mean_b, difference, ci_low and ci_high (bootstrap of the difference), p_value
    (unadjusted; see :func:`holm`), wins, losses, ties of a. DataError if the query ids differ.
    """
    if set(per_query_a) != set(per_query_b):
        odd = sorted(set(per_query_a) ^ set(per_query_b))
        raise DataError(
            f"compare: {len(odd)} queries are in one system only, such as {odd[0]!r}; "
            "score both systems on the same queries"
        )
    order = sorted(per_query_a)
    a, b = (np.array([table[query] for query in order]) for table in (per_query_a, per_query_b))
    difference = _values("compare", list(a - b), 2)
    low, high = bootstrap_ci(list(difference), seed, n_bootstrap)
    return {
        "n": len(order),
        "mean_a": float(a.mean()),
        "mean_b": float(b.mean()),
        "difference": float(difference.mean()),
        "ci_low": low,
        "ci_high": high,
        "p_value": paired_test(list(a), list(b), seed, n_permutations),
        "wins": int((difference > 0).sum()),
        "losses": int((difference < 0).sum()),
        "ties": int((difference == 0).sum()),
    }


def verdict(difference: float, p_adjusted: float, n_seeds: int, alpha: float = 0.05) -> str:
    """Return ``better``, ``worse`` or ``can't tell at this scale``, with ``(one seed)`` below three seeds."""
    if p_adjusted >= alpha or difference == 0:
        word = "can't tell at this scale"
    else:
        word = "better" if difference > 0 else "worse"
    return word if n_seeds >= 3 else f"{word} (one seed)"
