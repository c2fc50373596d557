"""CLIMATE-FEVER (Diggelmann et al. 2020): claims about the climate with five sentences of Wikipedia each.

Form: ``climate-fever.jsonl`` (claim_id, claim, claim_label, evidences [{evidence_id, evidence_label, article,
evidence, entropy, votes}]) of tdiggelm/climate-fever-dataset 1.0.1, as read by the hub's former loading script.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.tasks.example import Example, n_words
from searchtune.tasks.normalise.tables import jsonl_rows

LABELS = {
    "SUPPORTS": "support",
    "REFUTES": "refute",
    "DISPUTED": "disputed",
    "NOT_ENOUGH_INFO": "not enough information",
}


def fact_verification(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Claim and its evidence (``page: sentence``, one a line) to one of four labels.

    The publisher does not split. A claim's evidence comes from up to five pages, so the claim itself is the
    article. Evidence longer than ``max_words`` leaves the claim out.
    """
    for path in paths:
        for row in jsonl_rows(path):
            items = row.children("evidences", 1)
            evidence = "\n".join(f"{item.text('article')}: {item.text('evidence')}" for item in items)
            label, claim = LABELS[row.one_of("claim_label", LABELS)], row.text("claim")
            if n_words(evidence) <= max_words:
                yield Example(
                    f"fact_verification/{dataset}/{row.text('claim_id')}",
                    "fact_verification",
                    dataset,
                    f"claim {claim}",
                    {"claim": claim, "evidence": evidence},
                    label,
                    labels=tuple(LABELS.values()),
                )
