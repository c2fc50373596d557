"""What a paper claims, beside what was measured here: the verdicts, and how an interval decides them.

Claims are rows of config/expected/claims.tsv; published values stand in the tsv of each paper beside it.
"""

from pathlib import Path

from searchtune.files import read_tsv

SAME, WITHIN, DIFFERS, UNKNOWN, NOT_RUN = (
    *("same direction", "within tolerance", "differs", "can't tell at this scale", "not run"),
)
TOLERANCE = 0.1  # of a published change; ours, the papers give no spread
Claim = dict[str, str]


def claims_of(path: Path, paper: str) -> list[Claim]:
    """Return the claims of one paper, in the order of the file."""
    return [row for row in read_tsv(path) if row["paper"] == paper]


def sign_of(claim: Claim) -> float:
    """Return the direction that a claim gives to a change: 1 up, -1 down."""
    return 1.0 if claim["direction"] == "up" else -1.0


def not_run(claim: Claim) -> dict[str, str]:
    """Return what a row says of a claim of which a side was not run."""
    return {"compared": f"{claim['ours']} against {claim['against']}", "verdict": NOT_RUN}


def verdict(direction: float, low: float, high: float, published: float | None = None, value: float = 0.0) -> str:
    """Return the verdict on a change whose interval is (low, high), against the published direction (its sign).

    ``published``: the published change, given only where the model is the same; ``value``: ours, on the same scale.
    """
    if low <= 0 <= high:
        return UNKNOWN
    if published is not None and abs(value - published) <= TOLERANCE * abs(published):
        return WITHIN
    return SAME if (low > 0) == (direction > 0) else DIFFERS


def level_verdict(low: float, high: float, difference: float, tolerance: float) -> str:
    """Return the verdict on a score of the same system: ``difference`` is ours less the published one, (low, high) its
    interval. Within ``tolerance`` (same unit) it is reproduced; beyond, it differs where the interval leaves out 0.
    """
    if abs(difference) <= tolerance:
        return WITHIN
    return UNKNOWN if low <= 0 <= high else DIFFERS
