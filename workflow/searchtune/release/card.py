"""The card of an adapted retriever: what it is, what it learnt from, how it compares, how to use it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

TEMPLATE = Path(__file__).parents[2] / "report" / "card.md.j2"
METRICS = ("nDCG@10", "Success@5")
# systems of quality.tsv in the order of the card, and what they are called there
SYSTEMS = {
    "bm25": "BM25",
    "minilm_dense": "dense, one vector a passage, not adapted",
    "zero_shot": "late interaction, not adapted",
    "maxsim_no_projection": "late interaction, not adapted",
    "student_adapted": "**this model**",
    "bm25_reranked": "BM25, reranked by this model's teachers",
}


def score_rows(quality: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the card's table out of rows of quality.tsv: a row a system, a value with its interval a metric."""
    found = []
    for system, name in SYSTEMS.items():
        mine = {row["metric"]: row for row in quality if row["system"] == system}
        if not mine:
            continue
        row = {"name": name}
        for metric in METRICS:
            value, low, high = (float(mine[metric][key]) for key in ("value", "ci_low", "ci_high"))
            row[metric] = f"{value:.3f} ({low:.3f} to {high:.3f})"
        found.append(row)
    return found


def comparison(quality: Sequence[Mapping[str, str]], alpha: float = 0.05) -> str:
    """Say in a sentence how the adapted student compares with BM25 (nDCG@10, paired test, not adjusted)."""
    rows = {row["system"]: row for row in quality if row["metric"] == METRICS[0]}
    ours, base = rows["student_adapted"], rows["bm25"]
    p, gain = float(ours["p_vs_bm25"] or "nan"), float(ours["value"]) - float(base["value"])
    if not p < alpha:
        return f"It can't be told apart from BM25 here (nDCG@10 {gain:+.3f}, p {p:.3g})."
    return f"It is {'better' if gain > 0 else 'worse'} than BM25 here (nDCG@10 {gain:+.3f}, p {p:.3g})."


def render_card(facts: Mapping[str, Any], template: Path = TEMPLATE) -> str:
    """Return the card as Markdown with a YAML head; ``facts``: the names that the template uses."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template.name).render(**facts)
