"""p-MRR: how far a narrowed instruction pushes the documents down that it made non-relevant (FollowIR).

For one newly non-relevant document with 1-based rank R_og under the original and R_new under the changed
instruction::

    R_new / R_og - 1   if R_og >= R_new   (it stayed or moved up: 0 or less)
    1 - R_og / R_new   otherwise          (it moved down: above 0)

The mean over a query's documents, then over queries, times 100: -100 to 100. A document that is absent
from a list has the rank list length + 1. Ranks come from ranked lists, so ties were broken before, by the
rule of the runs (previous rank, then id), never by the order of a dictionary.
"""

from collections.abc import Mapping, Sequence

from searchtune.errors import DataError

SCALE = 100.0


def rank_of(document: str, ranking: Sequence[str]) -> int:
    """Return the 1-based rank of a document in a list of ids; list length + 1 if it is absent."""
    return ranking.index(document) + 1 if document in ranking else len(ranking) + 1


def document_shift(original: int, changed: int) -> float:
    """Return the p-MRR term, -1 to 1, of one document by its 1-based ranks before and after the change."""
    if original < 1 or changed < 1:
        raise DataError(f"ranks are 1-based; found {original} and {changed}")
    return changed / original - 1 if original >= changed else 1 - original / changed


def p_mrr_per_query(
    changed_documents: Mapping[str, Sequence[str]],
    original: Mapping[str, Sequence[str]],
    changed: Mapping[str, Sequence[str]],
) -> dict[str, float]:
    """Return query id -> p-MRR x 100 from ranked id lists under the two instructions.

    ``changed_documents`` names the newly non-relevant documents of each query. Raises DataError for a query
    without such a document, and for one that either run lacks (a short run is an error, not a zero).
    """
    values = {}
    for query, documents in changed_documents.items():
        if not documents:
            raise DataError(f"query {query!r} has no newly non-relevant document; p-MRR is not defined for it")
        for name, run in (("original", original), ("changed", changed)):
            if query not in run:
                raise DataError(f"the {name} run lacks query {query!r}; run the reranker on all queries")
        shifts = [document_shift(rank_of(d, original[query]), rank_of(d, changed[query])) for d in documents]
        values[query] = SCALE * sum(shifts) / len(shifts)
    return values


def p_mrr(
    changed_documents: Mapping[str, Sequence[str]],
    original: Mapping[str, Sequence[str]],
    changed: Mapping[str, Sequence[str]],
) -> float:
    """Return the mean of :func:`p_mrr_per_query`, -100 to 100."""
    values = p_mrr_per_query(changed_documents, original, changed)
    if not values:
        raise DataError("p-MRR of no queries; the instruction set is empty")
    return sum(values.values()) / len(values)
