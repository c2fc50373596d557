"""What the first stages by words share, whatever searches: which queries, what is left out, what a run must hold."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking, write_run
from searchtune.errors import DataError
from searchtune.stage import Job

# (ids, texts, queries, depth, ids to leave out of each query's list) -> at most ``depth`` (id, score) a query, by
# falling score, ties by id; none for a query that matches nothing
Search = Callable[[Sequence[str], Sequence[str], Sequence[str], int, Sequence[set[str]]], list[Ranking]]


def fill_unmatched(ranking: Ranking, ids: Iterable[str], k: int, excluded: Iterable[str] = ()) -> Ranking:
    """Give a query that matched nothing the first ``k`` documents by id, all with score 0.

    A TREC run cannot hold an empty list, and a query left out could not be told from a run cut short.
    """
    if ranking:
        return ranking
    out = set(excluded)
    return [(document, 0.0) for document in ids if document not in out][:k]


def splits_queries(collection: Collection, splits: Sequence[str]) -> dict[str, str]:
    """Return id -> text of the queries of the given splits, as the first stage reads them; DataError if there are none.

    A query with an expanded form (BRIGHT's reasoning) is searched for by that form.
    """
    queries = {
        i: query.metadata.get("expanded") or query.text
        for split in splits
        for i, query in collection.queries_of(split).items()
    }
    if not queries:
        raise DataError(
            f"collection {collection.manifest.get('id', '?')!r} has too few queries: "
            f"none in the splits {', '.join(splits)}"
        )
    return queries


def write_first_stage(job: Job, tag: str, search: Search) -> dict[str, Any]:
    """Write the run of a collection's queries; return counts and the tie share.

    Input: collection. Outputs: run, scores. Params: depth, splits, keep_excluded (fault L8 of LimRank: excluded
    passages stay in the run).
    """
    collection = Collection.load(job.inputs["collection"])
    queries = splits_queries(collection, job.params["splits"])
    kept, depth, ids = bool(job.params.get("keep_excluded")), job.params["depth"], list(collection.corpus)
    excluded = [set() if kept else set(collection.excluded.get(query, ())) for query in queries]
    found = search(ids, [collection.passage_text(i) for i in ids], list(queries.values()), depth, excluded)
    rankings = {
        query: fill_unmatched(ranking, sorted(ids), depth, out)
        for query, ranking, out in zip(queries, found, excluded, strict=True)
    }
    ties = write_run(job.outputs["run"], rankings, tag, scores=job.outputs["scores"])
    unmatched = sum(not ranking for ranking in found)
    return {"queries": len(queries), "passages": len(ids), "unmatched": unmatched, "tie_share": ties}
