"""Retrieval metrics with per-query values, computed by trec_eval through ir_measures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from searchtune.collections.trec import Ranking, Scored, rank_by_score
from searchtune.errors import ConfigError, DataError, nearest
from searchtune.files import write_json

Qrels = Mapping[str, Mapping[str, int]]
PerQuery = dict[str, dict[str, float]]
# P@5, AP, nDCG, R@100, RR, Success@5, Bpref, Judged@10 ... : whatever ir_measures can compute by trec_eval
KNOWN = ("nDCG", "nDCG@10", "RR", "AP", "P@10", "R@100", "Success@1", "Success@5", "Success@10", "Bpref", "Rprec")
_SHOWN = 5
LIBRARIES = ("ir-measures", "pytrec-eval-terrier", "sacrebleu", "rouge-score")


def evaluate(qrels: Qrels, run: Mapping[str, Scored], metrics: Sequence[str], allow_missing: bool = False) -> PerQuery:
    """Return metric -> query id -> value, over every query of the qrels.

    A ranking given as (id, score) pairs keeps its order; a mapping id -> score is ranked with ties
    by id. Metrics are trec_eval's (nDCG with linear gain). A query of the qrels that the run lacks
    is a DataError that lists it; with ``allow_missing`` it counts as 0. DataError also for NaN
    scores, duplicates, judged queries without any judgement; ConfigError for an unknown metric.
    """
    _check(qrels, run, allow_missing)
    measures = {name: _measure(name) for name in metrics}
    table = {name: dict.fromkeys(qrels, 0.0) for name in measures}
    names = {measure: name for name, measure in measures.items()}
    ranked = {query: _by_rank(query, run[query]) for query in qrels if query in run}
    import ir_measures

    judged = {query: dict(documents) for query, documents in qrels.items()}
    for found in ir_measures.iter_calc(list(measures.values()), judged, ranked):
        if found.query_id in judged:
            table[names[found.measure]][found.query_id] = float(found.value)
    return table


def missing_queries(qrels: Mapping[str, Any], run: Mapping[str, Any]) -> list[str]:
    """Return the queries of the qrels that the run lacks, sorted."""
    return sorted(set(qrels) - set(run))


def _check(qrels: Qrels, run: Mapping[str, Scored], allow_missing: bool) -> None:
    if not qrels:
        raise DataError("too few queries: the qrels are empty, so there is nothing to evaluate")
    if unjudged := sorted(query for query, documents in qrels.items() if not documents):
        raise DataError(f"{len(unjudged)} queries of the qrels have no judgement, such as {unjudged[0]!r}")
    if not allow_missing:
        refuse_missing(qrels, run)


def refuse_missing(queries: Mapping[str, Any], run: Mapping[str, Any]) -> None:
    """Raise DataError, which lists them, for queries that the run lacks."""
    if missing := missing_queries(queries, run):
        shown = ", ".join(missing[:_SHOWN]) + (" ..." if len(missing) > _SHOWN else "")
        raise DataError(
            f"too few queries: the run lacks {len(missing)} of {len(queries)} queries of the qrels "
            f"({shown}); finish the run, or count them as 0 with allow_missing"
        )


def _measure(name: str) -> Any:
    import ir_measures

    try:
        measure = ir_measures.parse_measure(name)
    except (NameError, SyntaxError, ValueError, TypeError) as error:
        raise ConfigError(f"unknown metric {name!r}{nearest(name, KNOWN)}") from error
    return measure


def _by_rank(query: str, scores: Scored) -> dict[str, float]:
    """Replace scores by falling ranks, so that no library applies a tie rule or precision of its own."""
    given: Ranking = rank_by_score(scores) if isinstance(scores, Mapping) else list(scores)
    try:
        rank_by_score(given)  # refuses NaN and duplicates
    except DataError as error:
        raise DataError(f"query {query!r}: {error}") from error
    return {document: float(len(given) - rank) for rank, (document, _) in enumerate(given)}


def means(per_query: PerQuery) -> dict[str, float]:
    """Return the mean over queries of every metric."""
    return {name: sum(values.values()) / len(values) for name, values in per_query.items()}


def overlap(exact: Mapping[str, Ranking], found: Mapping[str, Ranking], k: int) -> float:
    """Return the share (0 to 1) of the exact top ``k`` that ``found`` has in its own top ``k``, mean over queries.

    Where the exact list is shorter than ``k``, the share is of the shorter list.
    """
    shares = []
    for query, ranking in exact.items():
        wanted = {document for document, _ in ranking[:k]}
        shares.append(len(wanted & {document for document, _ in found[query][:k]}) / len(wanted))
    return sum(shares) / len(shares)


def write_metrics(path: Path, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write ``metrics.json``: the rows of the main tables as they are, and the versions of what computed them."""
    from importlib.metadata import version

    libraries = {name: version(name) for name in LIBRARIES}
    write_json(path, {"libraries": libraries, "tables": {name: list(rows) for name, rows in tables.items()}})
