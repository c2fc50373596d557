"""VitaminC (Schuster et al. 2021) as packaged: page, evidence sentence and claim to one of three labels."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.errors import DataError
from searchtune.files import read_json
from searchtune.tasks.example import Example, detokenise, n_words, unbracket

LABELS = {"True": "supported", "False": "refuted", "Neither": "not enough information"}
_FORM = re.compile(r"\s*(?P<page>.+?):\s(?P<evidence>.*)\nClaim:\s(?P<claim>.*)", re.S)


def fact_verification(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Claim and evidence to supported, refuted or not enough information; the article is the Wikipedia page."""
    for path in paths:
        for number, row in enumerate(read_json(path)["examples"]):
            match = _FORM.fullmatch(row["input"])
            true = [name for name, share in row["target_scores"].items() if share]
            if not match or len(true) != 1 or true[0] not in LABELS:
                raise DataError(f"{path}, example {number}: expected 'page: evidence', 'Claim: ...' and one true label")
            evidence = f"{unbracket(match['page'])}: {detokenise(match['evidence'])}"
            if n_words(evidence) <= max_words and match["claim"].strip() and match["evidence"].strip():
                yield Example(
                    f"fact_verification/{dataset}/{number}",
                    "fact_verification",
                    dataset,
                    unbracket(match["page"]),
                    {"claim": detokenise(match["claim"]), "evidence": evidence},
                    LABELS[true[0]],
                    labels=tuple(LABELS.values()),
                )
