"""SciFact (Wadden et al. 2020): scientific claims joined with the sentences of the abstracts that decide them.

Form: ``claims_<split>.jsonl`` (id, claim, evidence {document: [{sentences, label}]}, cited_doc_ids) and
``corpus.jsonl`` (doc_id, title, abstract as a list of sentences, structured): doc/data.md of allenai/scifact at
04816e2. Its text calls the second label CONTRADICT; an earlier release of the claims says REFUTE, so both are read.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from searchtune.errors import DataError
from searchtune.tasks.example import Example, clean, n_words
from searchtune.tasks.normalise.tables import Record, jsonl_rows, split_of_file

LABELS = {"SUPPORT": "support", "CONTRADICT": "refute", "REFUTE": "refute"}
_TARGETS = ("support", "refute")
CORPUS = "corpus"


def fact_verification(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Claim and the deciding sentences of one abstract to support or refute.

    ``paths``: files of claims, and the corpus (known by its name). Claims without evidence carry no label and are
    left out, as is evidence longer than ``max_words``. Claims that share an abstract are one article.
    """
    corpus = {row.text("doc_id"): row for path in paths if CORPUS in path.name for row in jsonl_rows(path)}
    if not corpus:
        raise DataError(f"{dataset}: none of {', '.join(map(str, paths))} is SciFact's corpus.jsonl, or it is empty")
    claims = [(row, split_of_file(path)) for path in paths if CORPUS not in path.name for row in jsonl_rows(path)]
    group = linked([list(evidence_of(row)) for row, _ in claims])
    for row, split in claims:
        for doc_id, rationales in evidence_of(row).items():
            evidence = _evidence(row, doc_id, rationales, corpus)
            if n_words(evidence) <= max_words:
                yield Example(
                    f"fact_verification/{dataset}/{row.text('id')}-{doc_id}",
                    "fact_verification",
                    dataset,
                    f"scifact abstract {group[doc_id]}",
                    {"claim": row.text("claim"), "evidence": evidence},
                    _label(row, rationales),
                    labels=_TARGETS,
                    split=split,
                )


def evidence_of(row: Record) -> dict[str, list[Record]]:
    """Return document -> rationales of a claim; empty where no abstract decides it. DataError for another form."""
    value: Any = row.raw("evidence")
    if not isinstance(value, dict):
        raise row.fault("evidence", "is not an object of documents")
    return {doc: Record(f"{row.where}, evidence", value).children(doc, 1) for doc in value}


def linked(sets: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return id -> the first id of its group, where ids of one set (a claim's abstracts) belong together."""
    group: dict[str, str] = {}
    for ids in sets:
        heads = {group.get(i, i) for i in ids}
        first = min(heads, default="")
        moved = [i for i, head in group.items() if head in heads]
        group |= dict.fromkeys([*moved, *ids], first)
    return group


def _label(row: Record, rationales: list[Record]) -> str:
    labels = {LABELS[item.one_of("label", LABELS)] for item in rationales}
    if len(labels) > 1:
        raise row.fault("evidence", "has rationales of both labels for one abstract")
    return labels.pop()


def _evidence(row: Record, doc_id: str, rationales: list[Record], corpus: dict[str, Record]) -> str:
    """Return ``title: sentences`` of an abstract's rationales, in the abstract's order."""
    if doc_id not in corpus:
        raise row.fault("evidence", f"names document {doc_id!r}, which the corpus lacks")
    abstract = corpus[doc_id].items("abstract", 1)
    numbers = sorted({number for item in rationales for number in item.items("sentences", 1)})
    if not all(isinstance(text, str) for text in abstract):
        raise corpus[doc_id].fault("abstract", "is not a list of sentences")
    if not all(isinstance(number, int) and 0 <= number < len(abstract) for number in numbers):
        raise row.fault("evidence", f"names sentences {numbers} of document {doc_id!r}, which has {len(abstract)}")
    return f"{corpus[doc_id].text('title')}: {clean(' '.join(abstract[number] for number in numbers))}"
