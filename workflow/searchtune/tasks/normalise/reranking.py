"""Ranking tasks: BM25's candidates of a query, each to be judged yes or no."""

import random
from collections.abc import Iterator

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking
from searchtune.errors import DataError
from searchtune.prompts.budget import first_words
from searchtune.tasks.example import Example, clean
from searchtune.tasks.inventory import NO, YES

_PASSAGES = "passage_reranking"


def _example(
    collection: Collection, dataset: str, query_id: str, passage_id: str, rank: int, max_words: int, task: str
) -> Example:
    query = collection.queries[query_id]
    grade = collection.qrels[query_id].get(passage_id, 0)
    return Example(
        f"{task}/{dataset}/{query_id}/{passage_id}",
        task,
        dataset,
        query.metadata["article"],
        {"query": clean(query.text), "passage": first_words(collection.passage_text(passage_id), max_words)},
        YES if grade > 0 else NO,
        labels=(YES, NO),
        meta={"group": query_id, "passage_id": passage_id, "rank": rank, "grade": grade},
    )


def training_pairs(
    collection: Collection,
    run: dict[str, Ranking],
    dataset: str,
    max_words: int,
    split: str,
    trained_passages: set[str],
    seed: int,
    task: str = _PASSAGES,
) -> Iterator[Example]:
    """Yield, for each query of ``split``, its relevant passage and one of BM25's top 20 that is not relevant.

    Negatives come from ``trained_passages`` alone (passages of articles in that split), so that no
    text of a test article is trained on. A query without such a negative is left out.
    """
    for query_id in collection.queries_of(split):
        relevant = [i for i, grade in collection.qrels[query_id].items() if grade > 0]
        wrong = [i for i, _ in run.get(query_id, [])[:20] if i not in relevant and i in trained_passages]
        if wrong and relevant:
            negative = random.Random(f"{seed}/{query_id}").choice(wrong)
            ranks = {i: rank for rank, (i, _) in enumerate(run[query_id], 1)}
            for passage_id in (relevant[0], negative):
                yield _example(collection, dataset, query_id, passage_id, ranks.get(passage_id, 0), max_words, task)


def candidates(
    collection: Collection,
    run: dict[str, Ranking],
    dataset: str,
    max_words: int,
    query_ids: list[str],
    depth: int,
    task: str = _PASSAGES,
) -> Iterator[Example]:
    """Yield the first ``depth`` passages of BM25 for each query, in rank order; what BM25 missed stays out."""
    for query_id in query_ids:
        if not run.get(query_id):
            raise DataError(f"{task}/{dataset}: the BM25 run lacks query {query_id!r}; finish retrieve.bm25")
        for rank, (passage_id, _) in enumerate(run[query_id][:depth], 1):
            yield _example(collection, dataset, query_id, passage_id, rank, max_words, task)
