"""Table ``latency.tsv`` of UDAPDR: the times measured here, with the paper's (Table 2) beside them.

The paper's reranking times are one pair's time, 20.6 ms on a V100, multiplied by the depth; retrieval is not added.
Ours are measured whole (see :mod:`searchtune.evaluation.latency`), so a pair's time here holds its share of retrieval
and of all rerankers that score it.
"""

from collections.abc import Sequence
from typing import Any

from searchtune.evaluation.udapdr_published import Published, Row

LATENCY_COLUMNS = ["system", "depth", "batch", "p50_ms", "p95_ms", "n", "p99_ms", "published_ms", "ms_per_pair"]
# systems: of reranking here, of the student in the paper
RERANKED = "bm25_reranked"
STUDENT = "udapdr_y5_z20k"


def published_ms(published: Published, system: str, depth: str) -> float | None:
    """Return the paper's time of a system at a depth of reranking, None where it prints none."""
    selectors = {"student_adapted": ("", STUDENT), RERANKED: (f"depth={depth}", "colbertv2_plus_reranker")}
    if system not in selectors:
        return None
    wanted = ("table2", "ms_per_query", *selectors[system])
    keys = ("item", "metric", "setting", "system")
    found = [float(row["value"]) for row in published.rows if tuple(row[key] for key in keys) == wanted]
    return found[0] if found else None


def latency_rows(measured: Sequence[Row], published: Published) -> list[dict[str, Any]]:
    """Return the rows of the table. The paper times one query at a time, so its value stands at batch 1 alone."""
    rows = []
    for row in measured:
        theirs = published_ms(published, row["system"], row["depth"]) if row["batch"] == "1" else None
        per_pair = float(row["p50_ms"]) / int(row["depth"]) if row["system"] == RERANKED else None
        rows.append({**row, "published_ms": theirs, "ms_per_pair": per_pair})
    return rows
