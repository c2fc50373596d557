"""Judging a run by short answers, where no passage was judged beforehand (open-domain question answering, DPR).

Which passages hold an answer is known for the passages of a run alone. Success@k and RR ask for no more: they depend on
the rank of the first hit. Measures that count all relevant passages (nDCG, recall, AP) are not defined here.
"""

from collections.abc import Mapping, Sequence

from searchtune.collections.answers import has_answer
from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking
from searchtune.errors import DataError
from searchtune.evaluation.metrics import refuse_missing

ANSWER_METRICS = ("Success@5", "RR")
# what a reader of a table must know of a collection that is judged so
NO_NDCG = "judged by short answers: nDCG is not defined"


def judged_by_answers(
    collection: Collection, run: Mapping[str, Ranking], splits: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Return query -> passage -> 1 (holds an answer) or 0, for the run's passages down to the first hit.

    DataError for a query of ``splits`` that the run lacks, or a passage that the collection lacks.
    """
    queries = {i: query for split in splits for i, query in collection.queries_of(split).items()}
    refuse_missing(queries, run)
    return {i: _grades(collection, i, query.metadata["answers"], run[i]) for i, query in queries.items()}


def _grades(collection: Collection, query: str, answers: Sequence[str], ranking: Ranking) -> dict[str, int]:
    grades: dict[str, int] = {}
    for identifier, _ in ranking:
        if identifier not in collection.corpus:
            raise DataError(
                f"query {query!r}: the run names the passage {identifier!r}, which the collection does not have; "
                "was it made from another corpus?"
            )
        grades[identifier] = int(has_answer(answers, collection.corpus[identifier].text))
        if grades[identifier]:
            break
    return grades
