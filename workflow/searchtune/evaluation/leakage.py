"""Leakage: training data against evaluation data, by exact text, shared n-grams and source articles.

Stage ``audit.leakage`` compares artefacts; :func:`assert_targets_not_trained` checks a plan before
any job runs. Examples are reported by id, never by text.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.splits import normalise_article
from searchtune.collections.synthetic import load_filtered
from searchtune.errors import ConfigError, DataError, LeakageError, nearest
from searchtune.files import iter_jsonl, remove, write_jsonl, write_tsv
from searchtune.stage import Job, shortage_of

KINDS = ("query", "passage", "article")
REPORT_COLUMNS = [
    "chain",
    "train",
    "eval",
    "kind",
    "n_train",
    "n_eval",
    "exact",
    "ngram",
    "share",
    "max_share",
    "enforced",
]
# fields of a task example that its source document gives; the others are the example's own
SOURCE_FIELDS = ("passage", "evidence", "article", "context", "history", "guidelines")
MIN_WORDS = 5  # a shorter query occurs inside other texts by chance: only a whole field or line counts
_SHOWN = 5


def assert_targets_not_trained(targets: Iterable[str], training: Mapping[str, Iterable[str]]) -> None:
    """Raise LeakageError if a chain takes human queries, labels or answers from a target collection.

    ``targets`` are the collections on which systems are scored; ``training`` maps a chain (a paper's
    model, such as ``udapdr.writer``) to the collections whose human data tune any model in it.
    """
    wanted = set(targets)
    for chain, collections in sorted(training.items()):
        if leaked := sorted(wanted & set(collections)):
            raise LeakageError(
                f"{chain} would be trained on {', '.join(map(repr, leaked))}, on which systems are scored: "
                "a target collection gives no human query, label or answer to any tuning. Take it out of "
                f"the training collections of {chain}, or out of the targets"
            )


# Chinese characters and Japanese syllables stand without blanks between words: each counts as one
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
# soft hyphens, and marks of width and direction
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")


def words_of(text: str) -> list[str]:
    """Return the words of a text in one form: NFKC, no case, no punctuation, nothing that can't be seen."""
    return _WORD.findall(_UNSEEN.sub("", unicodedata.normalize("NFKC", text)).casefold())


Item = tuple[str, str, str]  # evaluation collection, kind, id


@dataclass
class Probe:
    """What is looked for in training data: queries and passages of all evaluation collections at once."""

    n: int
    sizes: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    exact: dict[str, list[Item]] = field(default_factory=lambda: defaultdict(list))
    grams: dict[int, dict[str, list[Item]]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, item: Item, text: str) -> None:
        """Register one text: whole, and by all its n-grams (a shorter text of at least MIN_WORDS words as one)."""
        words = words_of(text)
        self.sizes[item[:2]] += 1
        self.exact[" ".join(words)].append(item)
        length = min(self.n, len(words))
        if length >= MIN_WORDS:
            for gram in set(_grams(words, length)):
                self.grams[length].setdefault(gram, []).append(item)

    def add_collection(self, name: str, collection: Collection) -> None:
        """Register a collection's test queries (all, where none is marked test) and their relevant passages."""
        queries = collection.queries_of("test") or collection.queries
        for identifier, query in queries.items():
            self.add((name, "query", identifier), query.text)
        relevant = {d for query in queries for d, grade in collection.qrels.get(query, {}).items() if grade > 0}
        for identifier in sorted(relevant):
            self.add((name, "passage", identifier), collection.corpus[identifier].text)

    def add_examples(self, name: str, path: Path) -> None:
        """Register the test part of a folder of task examples: as query the longest field of their own (the target
        where they have none, as in summarisation), as passages what their source document gives.

        A question or claim about a passage that is shorter than an n-gram is no query of its own and is not counted:
        "What did they win?" is asked of many passages, and what tells them apart is the passage, which is.
        """
        for row in iter_jsonl(path / "test.jsonl"):
            own = [text for key, text in row["fields"].items() if key not in SOURCE_FIELDS]
            given = " ".join(text for key, text in row["fields"].items() if key in SOURCE_FIELDS)
            query = max(own, key=len, default=row["target"])
            if not given or len(words_of(query)) >= self.n:
                self.add((name, "query", row["id"]), query)
            # a candidate that is not relevant is a passage of the corpus, which the splits share
            if given and row["meta"].get("grade", 1) > 0:
                self.add((name, "passage", row["id"]), given)

    def hits(self, text: str) -> Iterator[tuple[Item, str]]:
        """Yield (item, match) for one training text, where match is exact or ngram; may repeat."""
        for segment in segments(text):
            for item in self.exact.get(" ".join(words_of(segment)), ()):
                yield item, "exact"
        words = words_of(text)
        for length, table in self.grams.items():
            for gram in _grams(words, length):
                for item in table.get(gram, ()):
                    yield item, "ngram"


def _grams(words: list[str], length: int) -> Iterator[str]:
    for start in range(len(words) - length + 1):
        yield " ".join(words[start : start + length])


def segments(text: str) -> set[str]:
    """Return the parts of a rendered prompt that can be a whole query: the text, its lines, what follows a colon."""
    lines = [line for line in text.split("\n") if line.strip()]
    return {text, *lines, *(line.split(":", 1)[1] for line in lines if ":" in line)} - {""}


def training_texts(path: Path, corpus: Path | None = None) -> Iterator[tuple[str, str]]:
    """Yield (id, text) of a training artefact; nothing of one that a variant of a chain could not make.

    A collection gives its train queries and their relevant passages; a JSONL file, or a folder of
    them, gives every string of every row; split task examples give those of train.jsonl. Filtered synthetic queries
    name passages by id: with ``corpus``, the collection that holds them, these are given too. DataError if there
    is nothing to read.
    """
    if shortage_of(path):
        return
    if corpus:
        yield from _passages_of_queries(path, Collection.load(corpus))
    if path.is_dir() and (path / "corpus.jsonl").is_file():
        yield from _collection_texts(Collection.load(path))
        return
    if (path / "train.jsonl").is_file():
        path = path / "train.jsonl"
    files = sorted(p for p in path.rglob("*.jsonl*") if p.suffix in (".jsonl", ".gz")) if path.is_dir() else [path]
    if not files:
        raise DataError(f"{path}: nothing to audit; expected a collection, a .jsonl file or a folder of them")
    for file in files:
        for number, row in enumerate(iter_jsonl(file)):
            if row.get("part") == "held":
                continue  # synthetic queries that train nothing
            identifier = str(row.get("id", row.get("_id", number)))
            for text in _strings({k: v for k, v in row.items() if k not in ("id", "_id")}):
                yield identifier, text


def _collection_texts(collection: Collection) -> Iterator[tuple[str, str]]:
    queries = collection.queries_of("train")
    yield from ((identifier, query.text) for identifier, query in queries.items())
    relevant = {d for query in queries for d in collection.qrels.get(query, {})}
    yield from ((identifier, collection.corpus[identifier].text) for identifier in sorted(relevant))


def _passages_of_queries(path: Path, collection: Collection) -> Iterator[tuple[str, str]]:
    """Yield (id, text) of every passage that training on filtered queries can draw: sources and ranked candidates."""
    rows = [row for row in load_filtered(path) if row.part != "held"]
    drawn = {identifier for row in rows for identifier in (row.source, *row.candidates)}
    yield from ((identifier, collection.corpus[identifier].text) for identifier in sorted(drawn))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


@dataclass
class Scan:
    """What one training artefact shares with the evaluation data: item -> (match, training id)."""

    rows: int = 0
    found: dict[Item, tuple[str, str]] = field(default_factory=dict)
    articles: set[str] = field(default_factory=set)


def scan(path: Path, probe: Probe, corpus: Path | None = None) -> Scan:
    """Compare one training artefact (and its passages in ``corpus``, see :func:`training_texts`) with the probe; exact
    goes before ngram, the first training id is kept."""
    result = Scan(articles=articles_of(path, "train"))
    rows: set[str] = set()
    for train_id, text in training_texts(path, corpus):
        rows.add(train_id)
        for item, match in probe.hits(text):
            known = result.found.get(item)
            if known is None or (known[0] == "ngram" and match == "exact"):
                result.found[item] = (match, train_id)
    result.rows = len(rows)
    return result


def articles_of(path: Path, split: str) -> set[str]:
    """Return the normalised source articles of a collection's split; none for anything but a collection."""
    if not (path / "corpus.jsonl").is_file():
        return set()
    queries = Collection.load(path).queries_of(split).values()
    return {normalise_article(query.metadata["article"]) for query in queries if query.metadata.get("article")}


def name_of(path: Path) -> str:
    """Return the name of an artefact in reports: its folder and its own name, such as ``collections/amazon``."""
    return "/".join(path.parts[-2:])


@dataclass(frozen=True)
class Chain:
    """One model's chain: what it is trained on, what it is scored on, and the kinds of overlap that are refused."""

    name: str
    train: tuple[str, ...]
    eval: tuple[str, ...]
    kinds: tuple[str, ...]


def chains_of(params: Mapping[str, Any], train: Iterable[str], evaluated: Iterable[str]) -> list[Chain]:
    """Return the chains of the parameters; none given means one chain of everything, with every kind refused.

    ``params["chains"]``: name -> {train: [names], eval: [names], kinds: [query, passage, article]}.
    A chain that adapts to a corpus reads its passages by design and so refuses queries only.
    """
    known = {"train": sorted(set(train)), "eval": sorted(set(evaluated)), "kinds": list(KINDS)}
    chains = []
    for name, entry in (params.get("chains") or {"all": {}}).items():
        for key, names in known.items():
            for value in entry.get(key, names):
                if value not in names:
                    raise ConfigError(f"leakage chain {name!r}: unknown {key} {value!r}{nearest(value, names)}")
        chains.append(Chain(name, *(tuple(entry.get(key, names)) for key, names in known.items())))
    return chains


def report_pair(
    chain: Chain, train: str, evaluated: str, result: Scan, sizes: Mapping[tuple[str, str], int], max_share: float
) -> tuple[list[dict], list[dict]]:
    """Return the report rows (one a kind) and overlaps (one an item) of one training artefact and one collection."""
    pair = {"chain": chain.name, "train": train, "eval": evaluated}
    found = {item: match for item, match in sorted(result.found.items()) if item[0] == evaluated}
    rows = []
    for kind in KINDS:
        matches = [match for (_, k, _), (match, _) in found.items() if k == kind]
        size = sizes.get((evaluated, kind), 0)
        rows.append(
            {
                **pair,
                "kind": kind,
                "n_train": result.rows,
                "n_eval": size,
                "exact": matches.count("exact"),
                "ngram": len(matches),
                "share": len(matches) / size if size else 0.0,
                "max_share": max_share,
                "enforced": kind in chain.kinds,
            }
        )
    overlaps = [
        {**pair, "kind": kind, "eval_id": identifier, "match": match, "train_id": train_id}
        for (_, kind, identifier), (match, train_id) in found.items()
    ]
    return rows, overlaps


def refuse_leaks(rows: Iterable[dict], overlaps: list[dict], kept: Path) -> None:
    """Raise LeakageError for the first enforced pair whose share is above its limit, with example ids.

    The outputs of a job that fails are removed, so all overlaps are written to ``kept`` (jsonl), which the error names.
    """
    remove(kept)
    for row in rows:
        if not row["enforced"] or row["share"] <= row["max_share"]:
            continue
        write_jsonl(kept, overlaps)
        pair = ("chain", "train", "eval", "kind")
        ids = [f"{o['eval_id']} in {o['train_id']}" for o in overlaps if all(o[key] == row[key] for key in pair)]
        raise LeakageError(
            f"chain {row['chain']!r}: {row['ngram']} of {row['n_eval']} {row['kind']} texts of {row['eval']!r} "
            f"({row['share']:.1%}) occur in the training data {row['train']!r}; the limit is {row['max_share']:.1%}. "
            f"Examples (evaluation id in training id): {', '.join(ids[:_SHOWN])}; all overlaps: {kept}. "
            "Take them out of the training data, or split again by article"
        )


def run(job: Job) -> dict[str, Any]:
    """Stage ``audit.leakage``: inputs train, eval, corpora (lists); outputs report (tsv), overlaps (jsonl).

    An evaluation artefact is a collection, or a folder of task examples (test.jsonl: {id, fields, target, meta}).
    Params: n (words of an n-gram), max_share (0 to 1), chains (see :func:`chains_of`), corpora (training artefact ->
    the collection whose passages it names by id, and whose texts are compared too).
    """
    train, evaluated, corpora = (
        {name_of(path): path for path in _list(job.inputs.get(key, []))} for key in ("train", "eval", "corpora")
    )
    chains = chains_of(job.params, train, evaluated)
    probe, articles = Probe(job.params["n"]), {}
    for name, path in evaluated.items():
        if (path / "test.jsonl").is_file():
            probe.add_examples(name, path)
        else:
            probe.add_collection(name, Collection.load(path))
        articles[name] = articles_of(path, "test")
        probe.sizes[name, "article"] = len(articles[name])
    read_by = {name: corpora[corpus] for name, corpus in job.params.get("corpora", {}).items()}
    trained = sorted({name for chain in chains for name in chain.train})
    scans = {name: scan(train[name], probe, read_by.get(name)) for name in trained}
    for result in scans.values():
        result.found |= {
            (name, "article", article): ("exact", article)
            for name, mine in articles.items()
            for article in mine & result.articles
        }
    reports = [
        report_pair(chain, name, target, scans[name], probe.sizes, job.params["max_share"])
        for chain in chains
        for target in chain.eval
        for name in chain.train
    ]
    rows = [row for part, _ in reports for row in part]
    overlaps = [row for _, part in reports for row in part]
    write_tsv(job.outputs["report"], REPORT_COLUMNS, rows)
    write_jsonl(job.outputs["overlaps"], overlaps)
    refuse_leaks(rows, overlaps, _beside_log(job))
    return {"pairs": len(reports), "overlaps": len(overlaps)}


def _beside_log(job: Job) -> Path:
    """Return where overlaps stay when the job fails: beside its log, or in its work folder if it has none."""
    return (job.log_path or job.work / "audit.log").with_suffix(".overlaps.jsonl")


def _list(paths: Path | list[Path]) -> list[Path]:
    return paths if isinstance(paths, list) else [paths]
