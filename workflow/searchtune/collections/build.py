"""Stage ``collections.build``: from a publisher's raw files to a collection at the scale's size."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from searchtune.collections.beir import SPLITS, Collection, Passage, Query
from searchtune.collections.readers import reader_of
from searchtune.collections.sources import Source, SourceQuestion
from searchtune.collections.splits import split_of
from searchtune.errors import DataError
from searchtune.files import sha256_tree
from searchtune.stage import Job


def seeded_order(ids: Iterable[str], seed: int) -> list[str]:
    """Return ids in an order fixed by ``seed`` alone: a sample of n is the first n, so a smaller one is its prefix."""
    return sorted(ids, key=lambda i: hashlib.sha256(f"{seed}\x1f{i}".encode()).digest())


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
    source: Source, questions: Iterable[SourceQuestion], limit: int | None, seed: int, where: str
) -> list[str]:
    """Return the ids of the passages kept, in file order.

    The passages of the kept questions stay; the rest of ``limit`` is filled in seeded order.
    DataError where ``limit`` is smaller than what the questions need.
    """
    unknown = sorted({i for question in questions for i in question.relevant} - set(source.passages))
    if unknown:
        raise DataError(f"{where}: qrels name unknown documents: {', '.join(map(repr, unknown[:3]))}")
    if limit is None:
        return list(source.passages)
    needed = {i for question in questions for i in question.relevant}
    if len(needed) > limit:
        raise DataError(
            f"{where}: max_passages is {limit}, but the sampled queries have {len(needed)} relevant "
            "passages; raise max_passages or lower n_train, n_dev, n_test"
        )
    others = seeded_order((i for i in source.passages if i not in needed), seed)
    kept = needed.union(others[: limit - len(needed)])
    return [i for i in source.passages if i in kept]


def make_collection(source: Source, params: dict[str, Any]) -> Collection:
    """Return the collection that ``params`` asks for: splits by article, sampled queries, cut corpus.

    ``params``: id, max_passages (None = all), n_train, n_dev, n_test (None = all), seed (sampling),
    split_seed, shares (train, dev, test). The corpus is ordered as the source, queries by split.
    A query that is itself a passage (ArguAna: same id, same text) must not find itself, as in BEIR's evaluation.
    """
    where = f"collection {params['id']!r}"
    if not source.passages:
        raise DataError(f"{where}: the corpus is empty; check the raw files")
    available = assign_splits(source, params["split_seed"], params["shares"])
    sizes = {split: params[f"n_{split}"] for split in SPLITS}
    chosen = sample_questions(available, sizes, params["seed"], where)
    if not chosen and not (source.unjudged or sizes["test"] == 0):
        raise DataError(f"{where}: there are no queries; check the raw files and n_train, n_dev, n_test")
    questions = [source.questions[i] for i in chosen]
    kept = choose_passages(source, questions, params["max_passages"], params["seed"], where)
    excluded = {i: {i} for i in chosen if i in kept and source.passages[i].text == source.questions[i].text}
    articles = {split: len({source.questions[i].article for i in ids}) for split, ids in available.items()}
    return Collection(
        corpus={i: Passage(source.passages[i].title, source.passages[i].text) for i in kept},
        queries={
            i: Query(
                source.questions[i].text,
                metadata={
                    "split": split,
                    "article": source.questions[i].article,
                    "answers": source.questions[i].answers,
                },
            )
            for i, split in chosen.items()
        },
        qrels={question.id: dict(question.relevant) for question in questions},
        excluded=excluded,
        manifest={
            "id": params["id"],
            "available_queries": {s: len(ids) for s, ids in available.items()},
            "articles": articles,
            "available_passages": len(source.passages),
            "params": params,
        },
    )


def raw_paths(artefacts: Path | list[Path], names: list[str]) -> list[Path]:
    """Return the raw files, named relative to the folder that holds the fetched artefacts.

    DataError names the file that is not there and where to put it.
    """
    root = (artefacts[0] if isinstance(artefacts, list) else artefacts).parent
    for name in names:
        if not (root / name).exists():
            raise DataError(f"raw file {root / name} is not there; put it in that place, or fetch its artefact again")
    return [root / name for name in names]


def run(job: Job) -> dict[str, Any]:
    """Stage ``collections.build``: input raw (fetched artefacts); output collection (folder).

    Params: raw (files, relative to the folder of the artefacts), reader, licence, canary and those of
    :func:`make_collection`.
    """
    params = job.params
    paths = raw_paths(job.inputs["raw"], params["raw"])
    collection = make_collection(reader_of(params["reader"])(paths, params["id"]), params)
    collection.manifest |= {
        "licence": params["licence"],
        "canary": list(params["canary"]),
        "reader": params["reader"],
        "source": [
            {"file": name, "sha256": sha256_tree(path)} for name, path in zip(params["raw"], paths, strict=True)
        ],
    }
    collection.save(job.outputs["collection"])
    counts = collection.counts()
    return {
        "passages": counts["passages"],
        "queries": counts["queries"],
        **{f"queries_{split}": n for split, n in counts["queries_by_split"].items()},
        "judgements": counts["judgements"],
        "canary": list(params["canary"]),
        "licences": [params["licence"]] if params["licence"] else [],
    }
