"""Paired tests of two runs on the queries that both have (``FILES`` below details/), Holm's correction over all.

A system's value on a query is its mean over the run's seeds and samples, so runs of other seeds, or of more of them,
can be compared, and one comparison is one test.
"""

import itertools
from collections.abc import Iterator, Mapping
from math import fsum
from pathlib import Path
from typing import Any

from searchtune.commands.comparing.tables import PAPERS
from searchtune.errors import DataError
from searchtune.files import read_tsv

QUERY = ("query-id", "example_id", "question")
# what each system scored on each query or question
FILES = ("per_query.tsv", "rag_per_question.tsv")
VALUE = "value"
SEEDS = ("seed", "train_seed")
AVERAGED = (*SEEDS, "sample")
ALPHA = 0.05
SEED = 0

# paper and the other cells (system, collection, metric ...) -> query -> value
Scores = dict[tuple[str, ...], dict[str, float]]


def _rows(run: Path) -> Iterator[tuple[str, Path, dict[str, str]]]:
    """Yield (paper, file, row) of what each system scored on each query."""
    for paper, name in itertools.product(PAPERS, FILES):
        path = run / paper / "details" / name
        for row in read_tsv(path) if path.is_file() else []:
            yield paper, path, row


def scores_of(run: Path) -> Scores:
    """Read what each system scored on each query, the mean over seeds and samples; DataError for a file without queries
    or a value that is no number.
    """
    found: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for paper, path, row in _rows(run):
        query = next((column for column in QUERY if column in row), None)
        if query is None or VALUE not in row:
            raise DataError(f"{path}: columns are {' '.join(row)}; expected {' or '.join(QUERY)}, and {VALUE}")
        # empty cells are left out: a column that was added later changes no key
        key = (paper, *(cell for column, cell in row.items() if cell and column not in (query, VALUE, *AVERAGED)))
        try:
            found.setdefault(key, {}).setdefault(row[query], []).append(float(row[VALUE]))
        except ValueError as error:
            raise DataError(f"{path}: {row[query]!r} has value {row[VALUE]!r}, expected a number") from error
    return {key: {query: fsum(given) / len(given) for query, given in mine.items()} for key, mine in found.items()}


def seeds_of(run: Path) -> list[str]:
    """Return the seeds that a run's systems were trained with."""
    found = {row[column] for _, _, row in _rows(run) for column in SEEDS if row.get(column)}
    return sorted(found, key=lambda seed: (len(seed), seed))


def _word(equal: bool, difference: float, p: float) -> str:
    if equal:
        return "equal"
    if p >= ALPHA or not difference:
        return "can't tell"
    return "b higher" if difference > 0 else "b lower"


def _test(key: tuple[str, ...], a: Mapping[str, float], b: Mapping[str, float]) -> dict[str, Any] | None:
    """Test one system's queries that both runs have; None where fewer than two are shared."""
    from searchtune.evaluation.significance import compare

    shared = sorted(set(a) & set(b))
    if len(shared) < 2:
        return None
    test = compare({q: b[q] for q in shared}, {q: a[q] for q in shared}, SEED)
    return {
        "what": " / ".join(part for part in key if part),
        "n": test["n"],
        **{"mean_a": test["mean_b"], "mean_b": test["mean_a"], "difference": test["difference"]},
        **{name: test[name] for name in ("ci_low", "ci_high", "p_value")},
        "queries_only_a": len(a) - len(shared),
        "queries_only_b": len(b) - len(shared),
        "equal": a == b,
    }


def paired(a: Scores, b: Scores) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the tests of all systems that both runs scored (b minus a), and those with too few shared queries."""
    from searchtune.evaluation.significance import holm

    tests, few = [], []
    for key in [key for key in a if key in b]:
        test = _test(key, a[key], b[key])
        if test is None:
            few.append(" / ".join(part for part in key if part))
        else:
            tests.append(test)
    adjusted = holm({test["what"]: test["p_value"] for test in tests})
    for test in tests:
        test["p_holm"] = adjusted[test["what"]]
        test["verdict"] = _word(test.pop("equal"), test["difference"], test["p_holm"])
    return tests, few


def only_in(a: Scores, b: Scores) -> list[str]:
    """Return the systems that the first run scored and the second did not."""
    return [" / ".join(part for part in key if part) for key in a if key not in b]
