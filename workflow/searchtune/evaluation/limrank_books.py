"""LimRank's per-query values: every run scored a query, by collection, system and mode, one table a training seed."""

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking, read_run, read_scores, scores_path, tie_share
from searchtune.errors import DataError
from searchtune.evaluation.metrics import evaluate
from searchtune.evaluation.pmrr import p_mrr_per_query
from searchtune.evaluation.significance import paired_test
from searchtune.files import read_jsonl

PER_QUERY_COLUMNS = ["collection", "system", "mode", "train_seed", "metric", "query-id", "value"]
HELDOUT_METRIC = "pairs in order"
UNTUNED, FIRST_STAGE = "untuned", "bm25"
Key = tuple[str, str, str]  # collection, system, mode


@dataclass
class Book:
    """Per-query values: (collection, system, mode) -> metric -> one {query: value} a training seed; tie shares."""

    values: dict[Key, dict[str, list[dict[str, float]]]] = field(default_factory=lambda: defaultdict(dict))
    ties: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    depths: dict[Key, int] = field(default_factory=dict)
    seeds: dict[Key, list[int | None]] = field(default_factory=lambda: defaultdict(list))

    def add(self, key: Key, per_query: dict[str, dict[str, float]], ties: float, depth: int, seed: int | None) -> None:
        """Book one run's values."""
        for metric, values in per_query.items():
            self.values[key].setdefault(metric, []).append(values)
        self.ties[key].append(ties)
        self.depths[key] = depth
        self.seeds[key].append(seed)


def paths_of(given: Path | list[Path]) -> list[Path]:
    """Return an input of a job as a list."""
    return given if isinstance(given, list) else [given]


def _ids(run: dict[str, Ranking]) -> dict[str, list[str]]:
    return {query: [d for d, _ in ranking] for query, ranking in run.items()}


def _ties(path: Path) -> float:
    return tie_share(read_scores(scores_path(path)))


def cut(run: dict[str, Ranking], first: dict[str, Ranking], depth: int) -> dict[str, Ranking]:
    """Return the run that reranking the first ``depth`` candidates alone would have given, query by query.

    A pointwise score hangs on its own pair alone, so that a smaller depth only takes the later candidates of the
    ``first`` stage away, and what is left keeps its order: nothing has to be reranked again.
    """
    found = {}
    for query, ranking in run.items():
        scored = {document for document, _ in ranking}
        kept = set([document for document, _ in first[query] if document in scored][:depth])
        found[query] = [pair for pair in ranking if pair[0] in kept]
    return found


def _cut_ties(path: Path, run: dict[str, Ranking]) -> float:
    """Return the tie share of the raw scores beside a run, of the documents that ``run`` holds."""
    scores = read_scores(scores_path(path))
    return tie_share({query: [(d, scores[query][d]) for d, _ in ranking] for query, ranking in run.items()})


def book_collection(
    book: Book,
    name: str,
    collection: Collection,
    bm25: Path,
    reranked: list[tuple[Path, dict]],
    params: dict[str, Any],
    depth: int,
) -> None:
    """Book all systems on one collection at a depth; BM25 is cut to it, and to the queries of the rerankers.

    Excluded passages are taken out of every ranking before it is cut and scored, unless fault L8 keeps them.
    """
    paths = [
        (manifest, mode, path / mode / f"{name}.run.gz") for path, manifest in reranked for mode in manifest["modes"]
    ]
    if not paths:
        return
    kept = any("L8" in manifest.get("faults", ()) for manifest, _, _ in paths)
    excluded = {} if kept else collection.excluded
    runs, first = [without(read_run(path), excluded) for _, _, path in paths], without(read_run(bm25), excluded)
    qrels = {query: collection.qrels[query] for query in sorted(runs[0])}
    depth = min(depth, max(len(ranking) for ranking in runs[0].values()))
    metrics = list(dict.fromkeys([*params.get("own_metrics", {}).get(name, params["metrics"]), f"R@{depth}"]))
    candidates = {query: first[query][:depth] for query in qrels}
    book.add((name, FIRST_STAGE, ""), evaluate(qrels, candidates, metrics), _cut_ties(bm25, candidates), depth, None)
    for (manifest, mode, path), whole in zip(paths, runs, strict=True):
        found = cut(whole, first, depth)
        key = (name, manifest["system"], mode)
        book.add(key, evaluate(qrels, found, metrics), _cut_ties(path, found), depth, manifest["train_seed"])


def without(run: dict[str, Ranking], excluded: Mapping[str, Container[str]]) -> dict[str, Ranking]:
    """Return rankings without the passages that are excluded from their query."""
    return {
        query: [pair for pair in ranking if pair[0] not in excluded.get(query, ())] for query, ranking in run.items()
    }


def book_instructions(
    book: Book,
    folder: Path,
    reranked: list[tuple[Path, dict]],
    params: dict[str, Any],
    name: str = "instructions",
) -> None:
    """Book p-MRR, and the standard metrics on the original instruction with the original judgements (FollowIR).

    ``name``: of the set, the packaged one or one of FollowIR's. BM25 ranks the passages that the rerankers ranked.
    """
    collection = Collection.load(folder)
    changed = {row["id"]: row["changed"] for row in read_jsonl(folder / "changed.jsonl")}
    qrels = {query: collection.qrels[f"{query}-og"] for query in changed}
    paths = [(FIRST_STAGE, "", None, folder / "bm25.run.gz")]
    paths += [
        (m["system"], mode, m["train_seed"], path / mode / f"{name}.run.gz")
        for path, m in reranked
        for mode in m["modes"]
    ]
    pool = {query: {d for d, _ in ranking} for query, ranking in read_run(paths[-1][3]).items()}
    metrics = params.get("own_metrics", {}).get(name, params["instruction_metrics"])
    for system, mode, seed, path in paths:
        found = {q: [pair for pair in ranking if pair[0] in pool[q]] for q, ranking in read_run(path).items()}
        original = {query: found[f"{query}-og"] for query in changed}
        narrowed = {query: found[f"{query}-changed"] for query in changed}
        values = {
            "p-MRR": p_mrr_per_query(changed, _ids(original), _ids(narrowed)),
            **evaluate(qrels, original, metrics),
        }
        values = {metric: by_article(scores, collection) for metric, scores in values.items()}
        book.add((name, system, mode), values, _ties(path), max(map(len, original.values())), seed)


def by_article(values: dict[str, float], collection: Collection) -> dict[str, float]:
    """Return article -> mean over its queries, of values by query: queries of one article share passages, so that
    articles, not queries, are what intervals and tests may resample."""
    groups = defaultdict(list)
    for query, value in values.items():
        groups[str(collection.queries[f"{query}-og"].metadata["article"])].append(value)
    return {article: sum(found) / len(found) for article, found in sorted(groups.items())}


def share_below(qrels: dict[str, dict[str, int]], run: dict[str, Ranking]) -> dict[str, float]:
    """Return query -> share of (relevant, other) passage pairs that are in the right order, 0 to 1, 0.5 by chance.

    A query whose candidates are all relevant (a small writer repeats itself) says nothing and is left out, the same
    for every system. DataError if no query is left.
    """
    values = {}
    for query, judged in qrels.items():
        relevant = [judged.get(d, 0) > 0 for d, _ in run[query]]
        right = sum(sum(not other for other in relevant[rank + 1 :]) for rank, hit in enumerate(relevant) if hit)
        pairs = sum(relevant) * (len(relevant) - sum(relevant))
        if pairs:
            values[query] = right / pairs
    if not values:
        raise DataError(
            f"none of {len(qrels)} held-out queries has a relevant and another passage; raise "
            "limrank.synthesize.n_seeds or limrank.synthesize.dev_share"
        )
    return values


def book_heldout(book: Book, folder: Path, reranked: list[tuple[Path, dict]]) -> None:
    """Book the held-out synthetic queries: is the passage written for a query ranked above those of the others?"""
    collection = Collection.load(folder)
    for path, manifest in reranked:
        for mode in manifest["modes"]:
            run_path = path / mode / "heldout.run.gz"
            found = read_run(run_path)
            values = {HELDOUT_METRIC: share_below(collection.qrels, found)}
            depth = max(map(len, found.values()))
            book.add(("heldout", manifest["system"], mode), values, _ties(run_path), depth, manifest["train_seed"])


def mean_over_seeds(tables: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return query -> mean over training seeds; DataError if the seeds were scored on other queries."""
    if any(set(table) != set(tables[0]) for table in tables):
        raise DataError("training seeds were evaluated on different queries; rerank all with the same sample")
    return {query: sum(table[query] for table in tables) / len(tables) for query in sorted(tables[0])}


def p_value(book: Book, key: Key, other: Key, metric: str, params: dict[str, Any]) -> float | None:
    """Return the paired p-value against another system; None if there is none to compare with."""
    if key == other or other not in book.values:
        return None
    a, b = (mean_over_seeds(book.values[k][metric]) for k in (key, other))
    return paired_test([a[q] for q in sorted(a)], [b[q] for q in sorted(a)], params["seed"], params["permutations"])


def per_query_rows(*books: Book) -> list[dict]:
    """Return every per-query value of every book."""
    return [
        {
            "collection": key[0],
            "system": key[1],
            "mode": key[2],
            "train_seed": seed,
            "metric": metric,
            "query-id": query,
            "value": value,
        }
        for book in books
        for key, metrics in book.values.items()
        for metric, tables in metrics.items()
        for seed, values in zip(book.seeds[key], tables, strict=True)
        for query, value in values.items()
    ]
