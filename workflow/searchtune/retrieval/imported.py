"""Stage ``retrieve.import``: a first-stage run made elsewhere, checked against its collection.

Two forms are read: a TREC run (six columns, perhaps with .gz behind), and the JSON of BRIGHT's and mteb's tools, which
jhu-clsp/rank1-run-files and LimRank's run files have: query -> document -> score (``score.json``,
``*_predictions.json``).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.published import run_id
from searchtune.collections.trec import Ranking, rank_by_score, read_run, write_run
from searchtune.errors import DataError
from searchtune.files import read_json
from searchtune.stage import Job

_SHOWN = 3
Run = dict[str, Ranking]


def read_any_run(path: Path) -> Run:
    """Read a run of either form: query -> (document, score) in rank order; ids are made safe for runs.

    The order of a TREC run is that of its ranks; equal scores in JSON are ordered by id. DataError for another form.
    """
    if not path.name.endswith((".json", ".json.gz")):
        return read_run(path)
    value = read_json(path)
    if not isinstance(value, dict) or not all(isinstance(scores, dict) for scores in value.values()):
        raise DataError(f"{path}: not of the form {{query: {{document: score}}}}")
    return {run_id(query): _ranking(path, query, scores) for query, scores in value.items()}


def _ranking(path: Path, query: str, scores: Mapping[str, Any]) -> Ranking:
    if bad := next((d for d, s in scores.items() if isinstance(s, bool) or not isinstance(s, int | float)), None):
        raise DataError(f"{path}, query {query!r}: the score of {bad!r} is {scores[bad]!r}, no number")
    try:
        return rank_by_score({run_id(document): float(score) for document, score in scores.items()})
    except (DataError, OverflowError) as error:
        raise DataError(f"{path}, query {query!r}: {error}") from error


def fit_run(run: Run, collection: Collection, where: str, keep_excluded: bool = False) -> tuple[Run, dict[str, int]]:
    """Return the rankings of the collection's test queries, and counts of what was taken out of the run.

    Excluded passages are taken out unless ``keep_excluded`` (fault L8). Where the scale samples queries or cuts the
    corpus, what it does not hold is left out and counted. DataError, with some ids, for a test query that the run
    lacks, for an id that the whole collection does not know, or for a query that keeps no passage.
    """
    queries = collection.queries_of("test")
    _refuse(where, "lacks the queries", (i for i in queries if i not in run))
    others = [query for query in run if query not in collection.queries]
    if not _sampled(collection):
        _refuse(where, "names queries that the collection does not have:", others)
    fitted, counts = {}, {"other_queries": len(others), "unknown": 0, "excluded": 0}
    for query in queries:
        known = [pair for pair in run[query] if pair[0] in collection.corpus]
        if len(known) < len(run[query]) and not _cut(collection):
            unknown = [d for d, _ in run[query] if d not in collection.corpus]
            _refuse(f"{where}, query {query!r}", "names passages that the collection does not have:", unknown)
        out = collection.excluded.get(query, set())
        fitted[query] = [pair for pair in known if keep_excluded or pair[0] not in out]
        counts["unknown"] += len(run[query]) - len(known)
        counts["excluded"] += len(known) - len(fitted[query])
        if not fitted[query]:
            raise DataError(f"{where}, query {query!r}: no passage is left that may be reranked")
    return fitted, counts


def _sampled(collection: Collection) -> bool:
    """Say whether the collection holds a sample of its source's queries; one without such a record is whole."""
    available = collection.manifest.get("available_queries")
    return available is not None and sum(available.values()) > len(collection.queries)


def _cut(collection: Collection) -> bool:
    """Say whether the collection holds a part of its source's passages."""
    return collection.manifest.get("available_passages", 0) > len(collection.corpus)


def _refuse(where: str, what: str, ids: Iterable[str]) -> None:
    if found := sorted(ids):
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise DataError(
            f"{where} {what} {', '.join(map(repr, found[:_SHOWN]))}{more}; is it a run of this collection and of its "
            "pinned revision?"
        )


def run(job: Job) -> dict[str, Any]:
    """Stage function. Inputs: collection, imported (the user's run). Outputs: run, scores. Param: keep_excluded."""
    path = job.inputs["imported"]
    collection = Collection.load(job.inputs["collection"])
    given = read_any_run(path)
    fitted, counts = fit_run(given, collection, str(path), job.params["keep_excluded"])
    previous = {query: [document for document, _ in ranking] for query, ranking in fitted.items()}
    ties = write_run(job.outputs["run"], fitted, "imported", previous, scores=job.outputs["scores"])
    return {"queries": len(fitted), **counts, "tie_share": ties}
