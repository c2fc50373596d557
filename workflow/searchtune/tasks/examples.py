"""Stage ``inters.examples``: raw files and collections to task examples in train, dev and test."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.build import raw_paths, seeded_order
from searchtune.collections.splits import SPLITS, split_of
from searchtune.collections.trec import Ranking, read_run
from searchtune.config.inters_pairs import OPEN_QUESTIONS, RANKING_TASKS, collection_of, sources_of, split_pair
from searchtune.errors import DataError
from searchtune.evaluation.leakage import words_of
from searchtune.files import write_jsonl, write_tsv
from searchtune.stage import Job
from searchtune.tasks.example import Example, n_words, unique
from searchtune.tasks.inventory import category_of
from searchtune.tasks.normalise import reranking
from searchtune.tasks.pairs import COLLECTION_NORMALISERS, examples_from_files

STATISTICS_COLUMNS = [
    "category",
    "task",
    "dataset",
    "split",
    "available",
    "examples",
    "articles",
    "mean_input_words",
    "mean_target_words",
    "canary",
]
Splits = dict[str, list[Example]]


def spread(examples: Iterable[Example], seed: int) -> list[Example]:
    """Return examples in seeded order, one of each article before the second of any.

    A sample of n is the first n, so a smaller sample is a prefix of a larger one, and few examples
    still come from many articles.
    """
    by_id = {example.id: example for example in examples}
    taken: Counter[str] = Counter()
    keys: dict[str, tuple[int, int]] = {}
    for place, key in enumerate(seeded_order(by_id, seed)):
        article = by_id[key].article
        keys[key] = (taken[article], place)
        taken[article] += 1
    return [by_id[key] for key in sorted(by_id, key=lambda k: keys[k])]


def by_split(examples: Iterable[Example], seed: int, shares: dict[str, float], published: bool = False) -> Splits:
    """Return examples by the split of their source article, the same for all data sets.

    With ``published`` the publisher's split stands where the data set has one.
    """
    found: Splits = {name: [] for name in SPLITS}
    for example in examples:
        split = example.split if published and example.split else split_of(example.article, seed, shares)
        found[split].append(example)
    return found


def take(available: Splits, sizes: dict[str, int], seed: int, where: str, upto: bool = False) -> Splits:
    """Return the first n of each split in :func:`spread` order; DataError where there are fewer (not with ``upto``)."""
    chosen: Splits = {}
    for split, examples in available.items():
        if sizes[split] > len(examples) and not upto:
            raise DataError(
                f"{where}: n_{split} is {sizes[split]}, but its {split} articles give {len(examples)} "
                f"examples; lower n_{split}, raise max_words or set upto: true"
            )
        chosen[split] = spread(examples, seed)[: sizes[split]]
    return chosen


def ranking_examples(
    collection: Collection,
    run: dict[str, Ranking],
    pair: str,
    settings: dict[str, Any],
    sizes: dict[str, int],
    seed: int,
) -> tuple[Splits, Splits]:
    """Return (available, chosen) reranking examples; sizes are numbers of *queries*.

    Train and dev have two rows a query (relevant, BM25 negative); test has the query's first
    ``depth`` BM25 passages.
    """
    task, dataset = split_pair(pair)
    available: Splits = {}
    chosen: Splits = {}
    for split in ("train", "dev"):
        own = {i for query in collection.queries_of(split) for i in collection.qrels[query]}
        rows = list(reranking.training_pairs(collection, run, dataset, settings["max_words"], split, own, seed, task))
        pairs = [(rows[i], rows[i + 1]) for i in range(0, len(rows), 2)]
        heads = take({split: [a for a, _ in pairs]}, {split: sizes[split]}, seed, pair, settings["upto"])[split]
        partner = {a.id: b for a, b in pairs}
        available[split] = rows
        chosen[split] = [row for head in heads for row in (head, partner[head.id])]
    queries = seeded_order(collection.queries_of("test"), seed)
    if sizes["test"] > len(queries) and not settings["upto"]:
        raise DataError(f"{pair}: n_test is {sizes['test']}, but there are {len(queries)} test queries")
    picked = queries[: sizes["test"]]
    chosen["test"] = list(
        reranking.candidates(collection, run, dataset, settings["max_words"], picked, settings["depth"], task)
    )
    available["test"] = chosen["test"]
    return available, chosen


def row_of(example: Example, split: str) -> dict[str, Any]:
    """Return the JSONL row of an example: {id, task, dataset, category, split, article, fields, target, ...}."""
    return {
        "id": example.id,
        "task": example.task,
        "dataset": example.dataset,
        "category": category_of(example.task),
        "split": split,
        "article": example.article,
        "fields": example.fields,
        "target": example.target,
        "labels": list(example.labels),
        "references": list(example.references),
        "meta": example.meta,
    }


def _mean(values: list[int]) -> float:
    return sum(values) / len(values) if values else 0.0


def statistics(pair: str, available: Splits, chosen: Splits, canary: list[str]) -> list[dict[str, Any]]:
    """Return the rows of statistics.tsv for one pair."""
    task, dataset = split_pair(pair)
    return [
        {
            "category": category_of(task),
            "task": task,
            "dataset": dataset,
            "split": split,
            "available": len(available[split]),
            "examples": len(chosen[split]),
            "articles": len({e.article for e in chosen[split]}),
            "mean_input_words": _mean([sum(map(n_words, e.fields.values())) for e in chosen[split]]),
            "mean_target_words": _mean([n_words(e.target) for e in chosen[split]]),
            "canary": " ".join(canary),
        }
        for split in SPLITS
    ]


class Sources:
    """The inputs of the stage, read when first asked for."""

    def __init__(self, job: Job) -> None:
        artefacts = _paths(job.inputs.get("raw", []))
        self._files = {name: raw_paths(artefacts, entry["raw"]) for name, entry in job.params["sources"].items()}
        self._marks = {name: entry["canary"] for name, entry in job.params["sources"].items()}
        self._collections = {path.name: path for path in _paths(job.inputs.get("collections", []))}
        self._runs = {path.parent.name: path for path in _paths(job.inputs.get("runs", []))}
        self._loaded: dict[str, Collection] = {}
        self._asked = {
            " ".join(words_of(query.text))
            for path in _paths(job.inputs.get("avoided", []))
            for query in Collection.load(path).queries.values()
        }

    def collection(self, name: str) -> Collection:
        """Return a collection; DataError if the job was not given it."""
        if name not in self._collections:
            raise DataError(f"inters.examples was not given collection {name!r}; list it under inters.collections")
        if name not in self._loaded:
            self._loaded[name] = Collection.load(self._collections[name])
        return self._loaded[name]

    def canary(self, pair: str) -> list[str]:
        """Return the canary marks of everything that a pair reads."""
        name = collection_of(pair)
        marks = self.collection(name).manifest.get("canary", []) if name else []
        return sorted({*marks, *(mark for source in sources_of(pair) for mark in self._marks[source])})

    def select(
        self, pair: str, settings: dict[str, Any], params: dict[str, Any], sizes: dict[str, int]
    ) -> tuple[Splits, Splits]:
        """Return (available, chosen) examples of a pair by split."""
        task, dataset = split_pair(pair)
        name, seed = collection_of(pair), params["seed"]
        if task in RANKING_TASKS:
            run = read_run(self._runs[dataset])
            return ranking_examples(self.collection(dataset), run, pair, settings, sizes, seed)
        if name:
            found = COLLECTION_NORMALISERS[task](self.collection(name), dataset, settings["max_words"])
        else:
            found = examples_from_files(pair, self._files, settings["max_words"])
        if pair in OPEN_QUESTIONS:
            found = (example for example in found if " ".join(words_of(example.target)) not in self._asked)
        available = by_split(unique(found, pair), params["split_seed"], params["shares"], params["published_splits"])
        return available, take(available, sizes, seed, pair, settings["upto"])


def _paths(value: Path | list[Path]) -> list[Path]:
    return value if isinstance(value, list) else [value]


def sizes_of(settings: dict[str, Any], canary: list[str], canary_data: str) -> dict[str, int]:
    """Return the sample size of each split; canaried data never trains under ``evaluate_only``."""
    sizes = {split: settings[f"n_{split}"] for split in SPLITS}
    return sizes | {"train": 0} if canary and canary_data == "evaluate_only" else sizes


def run(job: Job) -> dict[str, Any]:
    """Write train.jsonl, dev.jsonl, test.jsonl and statistics.tsv to output ``examples`` (a folder).

    Inputs: raw (fetched artefacts), collections, runs (BM25), avoided (collections whose queries no open question
    may be). Params: sources {name: raw, canary},
    pairs {task/dataset: n_train, n_dev, n_test, max_words, depth}, seed, split_seed, shares, published_splits,
    canary_data.
    """
    sources, params = Sources(job), job.params
    rows: dict[str, list[dict]] = defaultdict(list)
    table: list[dict[str, Any]] = []
    marks: set[str] = set()
    for pair, settings in sorted(params["pairs"].items()):
        canary = sources.canary(pair)
        sizes = sizes_of(settings, canary, params["canary_data"])
        available, chosen = sources.select(pair, settings, params, sizes)
        for split in SPLITS:
            rows[split] += [row_of(example, split) for example in chosen[split]]
        table += statistics(pair, available, chosen, canary)
        marks.update(canary)
        job.log(f"{pair}: " + ", ".join(f"{len(chosen[s])} of {len(available[s])} {s}" for s in SPLITS))
    folder = job.outputs["examples"]
    for split in SPLITS:
        write_jsonl(folder / f"{split}.jsonl", rows[split])
    write_tsv(folder / "statistics.tsv", STATISTICS_COLUMNS, table)
    return {
        "pairs": len(params["pairs"]),
        **{split: len(rows[split]) for split in SPLITS},
        "canary": sorted(marks),
        "licences": sorted({e.get("licence") or "not stated" for e in params["sources"].values()}),
    }
