"""What LimRank's published GPQA accuracies can carry: a row of the RAG tests, worked out from config/expected."""

from collections.abc import Iterable, Mapping
from typing import Any

from searchtune.errors import DataError
from searchtune.evaluation.proportions import count_of, paired_bounds, questions_needed
from searchtune.evaluation.significance import verdict

ITEM, OURS, AGAINST = "gpqa_rag", "limrank-7b", "rank1-7b"
# questions of a data set, from its publisher (GPQA: Rein et al. 2023)
QUESTIONS = {"gpqa-diamond": 198}


def published_claim(expected: Iterable[Mapping[str, str]], level: float = 0.95) -> dict[str, Any]:
    """Return the row of the published comparison: values and change in points, interval, unadjusted p-value at the
    overlap that favours the claim most (in column ``p_holm``, as its note says), verdict. DataError if ``expected``
    (rows of limrank.tsv) lacks one of the two systems."""
    rows = {row["system"]: row for row in expected if row["item"] == ITEM and row["metric"] == "accuracy"}
    if missing := [name for name in (OURS, AGAINST) if name not in rows]:
        raise DataError(f"config/expected/limrank.tsv: item {ITEM!r} has no accuracy of {missing[0]!r}")
    name = rows[OURS]["dataset"]
    if name not in QUESTIONS or rows[AGAINST]["dataset"] != name:
        raise DataError(f"config/expected/limrank.tsv: {name!r} is no data set whose number of questions is known")
    n = QUESTIONS[name]
    before, after = (float(rows[system]["value"]) for system in (AGAINST, OURS))
    found = paired_bounds(count_of(after, n), count_of(before, n), n, level)
    return {
        "collection": f"{name}, as published",
        "system": OURS,
        "against": AGAINST,
        "metric": "accuracy",
        "before": before,
        "after": after,
        "change": 100 * found.difference,
        "ci_low": 100 * found.low,
        "ci_high": 100 * found.high,
        "n": n,
        "p_holm": found.p_best,
        "verdict": verdict(found.difference, found.p_best, 1),
        "note": f"{found.first} against {found.second} of {n} questions. Which ones is not published: the sign test "
        f"gives p {found.p_best:.3f}, unadjusted, if they overlap as far as they can and {found.p_worst:.2f} if as "
        f"little; {questions_needed(level)} questions won and none lost would decide. Trust: {rows[OURS]['trust']}",
    }
