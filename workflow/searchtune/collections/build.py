"""Stage ``collections.build``: from a publisher's raw files to a collection at the scale's size."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np

from searchtune.collections.beir import SPLITS, Collection, Passage, Query
from searchtune.collections.readers import reader_of
from searchtune.collections.sources import Source, SourceQuestion
from searchtune.collections.splits import split_of
from searchtune.collections.streams import Survey, order_key, sample, survey
from searchtune.errors import DataError
from searchtune.files import sha256_tree
from searchtune.stage import Job

# a passage kept: id and text
Kept = Iterator[tuple[str, Passage]]


def seeded_order(ids: Iterable[str], seed: int) -> list[str]:
    """Return ids in an order fixed by ``seed`` alone: a sample of n is the first n, so a smaller one is its prefix."""
    return sorted(ids, key=lambda i: order_key(seed, i))


def resolve_articles(source: Source, found: Survey, where: str) -> None:
    """Give each question without an article of its own that of its first relevant passage, if it has one."""
    for question in source.questions.values():
        if not question.article and question.relevant:
            first = next(iter(question.relevant))
            refuse_unknown(question, [first], found, where)
            question.article = found.places[first][1]


def refuse_unknown(question: SourceQuestion, documents: Iterable[str], found: Survey, where: str) -> None:
    """Raise DataError if one of a question's relevant documents is not in the corpus."""
    if unknown := sorted(set(documents) - set(found.places)):
        raise DataError(
            f"{question.where or where}, query {question.id!r}: qrels name unknown documents: "
            f"{', '.join(map(repr, unknown[:3]))}"
        )


def assign_splits(source: Source, seed: int, shares: dict[str, float]) -> dict[str, list[str]]:
    """Return split -> question ids, in file order; the publisher's own split goes before the article's."""
    found: dict[str, list[str]] = {name: [] for name in SPLITS}
    for question in source.questions.values():
        found[question.split or split_of(question.article, seed, shares)].append(question.id)
    return found


def sample_questions(
    available: dict[str, list[str]], sizes: dict[str, int | None], seed: int, where: str
) -> dict[str, str]:
    """Return question id -> split for the first n of each split in seeded order; None takes all.

    DataError where a split holds fewer questions than asked for.
    """
    chosen: dict[str, str] = {}
    for split in SPLITS:
        size, ids = sizes[split], available[split]
        if size is not None and size > len(ids):
            raise DataError(
                f"{where}: too few queries: n_{split} is {size}, but the {split} articles have {len(ids)}; "
                f"lower n_{split} or change splits"
            )
        chosen.update(dict.fromkeys(seeded_order(ids, seed)[:size], split))
    return chosen


def choose_passages(
    source: Source, found: Survey, questions: Sequence[SourceQuestion], limit: int | None, seed: int, where: str
) -> np.ndarray | None:
    """Return which passages are kept, a truth value each, or None for all of them.

    The passages of the kept questions stay; the rest of ``limit`` is filled in seeded order.
    DataError where ``limit`` is smaller than what the questions need.
    """
    for question in questions:
        refuse_unknown(question, question.relevant, found, where)
    if limit is None or found.prefixes is None:
        return None
    needed = {found.places[i][0] for question in questions for i in needed_by(question) if i in found.places}
    if len(needed) > limit:
        raise DataError(
            f"{where}: max_passages is {limit}, but the sampled queries have {len(needed)} relevant "
            "passages; raise max_passages or lower n_train, n_dev, n_test"
        )
    return sample(source.passages, found.prefixes, needed, limit, seed)


def needed_by(question: SourceQuestion) -> list[str]:
    """Return the passages that a query can't do without: the judged ones, and those that are reranked."""
    return [*question.relevant, *question.candidates]


def survey_of(source: Source, seed: int | None) -> Survey:
    """Go through a source's passages: where those that its questions name stand, and which are questions themselves."""
    questions = source.questions.values()
    wanted = {i for question in questions for i in (*needed_by(question), *question.excluded)}
    return survey(source.passages, wanted, {question.id: question.text for question in questions}, seed)


def prepare(source: Source, params: dict[str, Any]) -> tuple[Collection, Kept]:
    """Return the collection that ``params`` asks for with an empty corpus, and the passages of that corpus.

    ``params``: see :func:`make_collection`. The passages are read from the source while they are iterated.
    """
    where = f"collection {params['id']!r}"
    limit, seed = params["max_passages"], params["seed"]
    found = survey_of(source, None if limit is None else seed)
    if not found.count:
        raise DataError(f"{where}: the corpus is empty; check the raw files")
    resolve_articles(source, found, where)
    available = assign_splits(source, params["split_seed"], params["shares"])
    sizes = {split: params[f"n_{split}"] for split in SPLITS}
    chosen = sample_questions(available, sizes, seed, where)
    if not chosen and not (source.unjudged or sizes["test"] == 0):
        raise DataError(f"{where}: there are no queries; check the raw files and n_train, n_dev, n_test")
    questions = [source.questions[i] for i in chosen]
    kept = choose_passages(source, found, questions, limit, seed, where)
    echoes = {i for i, place in found.echoes.items() if i in chosen and (kept is None or kept[place])}
    in_reach = {i for i, (place, _) in found.places.items() if kept is None or kept[place]}
    collection = Collection(
        corpus={},
        queries={question.id: query_of(question, chosen[question.id]) for question in questions},
        qrels={question.id: dict(question.relevant) for question in questions},
        excluded=excluded_of(questions, echoes, in_reach),
        candidates={q.id: [i for i in q.candidates if i in in_reach] for q in questions if q.candidates},
        manifest=manifest_of(source, found, available, params) | left_out(source, found, questions),
    )
    rows = source.passages.items() if kept is None else compress(source.passages.items(), kept)
    return collection, (
        (i, Passage(passage.title, passage.text, passage.article if source.by_file else "")) for i, passage in rows
    )


def excluded_of(
    questions: Iterable[SourceQuestion], echoes: Container[str], in_reach: Container[str]
) -> dict[str, set[str]]:
    """Return query -> passages of the kept corpus that are taken out of its rankings; ``echoes``: those that are it."""
    excluded = {
        q.id: {i for i in q.excluded if i in in_reach} | ({q.id} if q.id in echoes else set()) for q in questions
    }
    return {query: documents for query, documents in excluded.items() if documents}


def left_out(source: Source, found: Survey, questions: Iterable[SourceQuestion]) -> dict[str, Any]:
    """Return what the publisher has and the collection lacks, counted; nothing where there is none of it."""
    counts = Counter(empty_passages=len(source.empty), near_copies=source.copies)
    for question in questions:
        counts["excluded"] += len(set(question.excluded) - set(found.places))
        counts["candidates"] += len(set(question.candidates) - set(found.places))
    named = {name: count for name, count in counts.items() if count}
    return {"left_out": named} if named else {}


def manifest_of(
    source: Source, found: Survey, available: Mapping[str, Sequence[str]], params: dict[str, Any]
) -> dict[str, Any]:
    """Return what the manifest says of the source; ``available``: split -> question ids."""
    manifest = {
        "id": params["id"],
        "available_queries": {s: len(ids) for s, ids in available.items()},
        "articles": {split: len({source.questions[i].article for i in ids} - {""}) for split, ids in available.items()},
        "available_passages": found.count,
        "params": params,
    }
    return manifest if source.judged_by == "qrels" else manifest | {"judged_by": source.judged_by}


def query_of(question: SourceQuestion, split: str) -> Query:
    """Return a question as a query of a split."""
    metadata = {"split": split, "article": question.article, "answers": question.answers}
    optional = {"expanded": question.expanded, "changed": question.changed}
    return Query(question.text, question.instruction, metadata | {k: value for k, value in optional.items() if value})


def make_collection(source: Source, params: dict[str, Any]) -> Collection:
    """Return the collection that ``params`` asks for, held in memory: splits by article, sampled queries, cut corpus.

    ``params``: id, max_passages (None = all), n_train, n_dev, n_test (None = all), seed (sampling),
    split_seed, shares (train, dev, test). The corpus is ordered as the source, queries by split.
    A query that is itself a passage (ArguAna: same id, same text) must not find itself, as in BEIR's evaluation.
    """
    collection, passages = prepare(source, params)
    collection.corpus.update(passages)
    return collection


def raw_paths(artefacts: Path | list[Path], names: list[str]) -> list[Path]:
    """Return the raw files, named relative to the folder that holds the fetched artefacts.

    A name may end in a pattern, as publishers name the shards of a table (``examples/biology-*``): all files that fit,
    sorted. DataError names the file that is not there and where to put it.
    """
    root = (artefacts[0] if isinstance(artefacts, list) else artefacts).parent
    return [path for name in names for path in _raw_files(root, name)]


def _raw_files(root: Path, name: str) -> list[Path]:
    found = sorted(root.glob(name)) if "*" in name else [path for path in [root / name] if path.exists()]
    if not found:
        raise DataError(f"raw file {root / name} is not there; put it in that place, or fetch its artefact again")
    return found


def _root(job: Job) -> Path:
    raw = job.inputs["raw"]
    return (raw[0] if isinstance(raw, list) else raw).parent


def run(job: Job) -> dict[str, Any]:
    """Stage ``collections.build``: input raw (fetched artefacts); output collection (folder).

    Params: raw (files, relative to the folder of the artefacts), reader, licence, canary and those of
    :func:`make_collection`. The corpus of a large format goes from file to file (about 30 bytes a passage in memory).
    """
    params = job.params
    paths = raw_paths(job.inputs["raw"], params["raw"])
    collection, passages = prepare(reader_of(params["reader"])(paths, params["id"]), params)
    collection.manifest |= {
        "licence": params["licence"],
        "canary": list(params["canary"]),
        "reader": params["reader"],
        "source": [{"file": path.relative_to(_root(job)).as_posix(), "sha256": sha256_tree(path)} for path in paths],
    }
    collection.save(job.outputs["collection"], passages)
    counts = collection.manifest["counts"]
    return {
        "passages": counts["passages"],
        "queries": counts["queries"],
        **{f"queries_{split}": n for split, n in counts["queries_by_split"].items()},
        "judgements": counts["judgements"],
        "canary": list(params["canary"]),
        "licences": [params["licence"]] if params["licence"] else [],
        **{f"left_out_{name}": count for name, count in collection.manifest.get("left_out", {}).items()},
    }
