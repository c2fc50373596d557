"""A retrieval collection on disk: corpus, queries and relevance judgements in the layout of BEIR."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from searchtune.errors import DataError, malformed
from searchtune.files import iter_jsonl, read_json, read_tsv, sha256_file, write_json, write_jsonl, write_tsv

SPLITS = ("train", "dev", "test")
QRELS_COLUMNS = ["query-id", "corpus-id", "score"]
EXCLUDED_COLUMNS = ["query-id", "corpus-id"]
CANDIDATES = "candidates.tsv"
# what names queries and documents by their ids
_NAMING = ("qrels", "excluded", "candidates")
_SHOWN = 3
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Passage:
    """One retrievable text; ``title`` may be empty. ``file``: where a user's own text stands, for those who search."""

    title: str
    text: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """One query. ``metadata`` holds split (train, dev, test), article and answers, where the source gives them."""

    text: str
    instruction: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass
class Collection:
    """Corpus, queries, judgements and excluded documents, all keyed by string ids.

    ``candidates``: query -> the passages that are to be reranked, where the publisher says which.
    """

    corpus: dict[str, Passage]
    queries: dict[str, Query]
    qrels: dict[str, dict[str, int]]
    excluded: dict[str, set[str]] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    candidates: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "Collection":
        """Read a collection folder; DataError on an empty corpus, a duplicate id or a judgement of an unknown id."""
        path = Path(path)
        with malformed(path, "a collection in BEIR's layout"):
            return cls._load(path)

    @classmethod
    def judgements(cls, path: Path) -> "Collection":
        """Read a collection folder but for its passages, for steps that score runs; DataError as :meth:`load`."""
        path = Path(path)
        with malformed(path, "a collection in BEIR's layout"):
            collection = cls._of(path, {})
            collection._check_queries(str(path))
            return collection

    @classmethod
    def _load(cls, path: Path) -> "Collection":
        rows = ((str(r["_id"]), _passage(r)) for r in _rows(path / "corpus.jsonl", ("_id", "text")))
        collection = cls._of(path, _unique(path / "corpus.jsonl", rows))
        collection.check(str(path))
        return collection

    @classmethod
    def _of(cls, path: Path, corpus: dict[str, Passage]) -> "Collection":
        manifest = path / "manifest.json"
        return cls(
            corpus=corpus,
            queries=_unique(
                path / "queries.jsonl",
                ((str(r["_id"]), _query(r)) for r in _rows(path / "queries.jsonl", ("_id", "text"))),
            ),
            qrels=_read_qrels(path / "qrels.tsv"),
            excluded=_read_excluded(path / "excluded.tsv"),
            manifest=read_json(manifest) if manifest.is_file() else {},
            candidates=_read_candidates(path / CANDIDATES),
        )

    def save(self, path: Path, passages: Iterable[tuple[str, Passage]] | None = None) -> None:
        """Check the collection and write its folder; counts and file hashes are added to the manifest.

        ``passages``: a corpus too large to be held, in place of ``corpus``; it is checked while it is written.
        """
        path = Path(path)
        if passages is None:
            self.check(str(path))
            passages = self.corpus.items()
        else:
            self._check_queries(str(path))
        path.mkdir(parents=True, exist_ok=True)
        count = write_jsonl(path / "corpus.jsonl", self._corpus_rows(str(path), passages))
        write_jsonl(path / "queries.jsonl", (_query_row(i, q) for i, q in self.queries.items()))
        write_tsv(
            path / "qrels.tsv",
            QRELS_COLUMNS,
            ({"query-id": q, "corpus-id": d, "score": s} for q, ds in self.qrels.items() for d, s in ds.items()),
        )
        write_tsv(
            path / "excluded.tsv",
            EXCLUDED_COLUMNS,
            ({"query-id": q, "corpus-id": d} for q in sorted(self.excluded) for d in sorted(self.excluded[q])),
        )
        names = ["corpus.jsonl", "queries.jsonl", "qrels.tsv", "excluded.tsv"]
        if self.candidates:
            rows = ({"query-id": q, "corpus-id": d} for q, ds in self.candidates.items() for d in ds)
            write_tsv(path / CANDIDATES, EXCLUDED_COLUMNS, rows)
            names.append(CANDIDATES)
        self.manifest = {
            **self.manifest,
            "counts": self.counts() | {"passages": count},
            "sha256": {name: sha256_file(path / name) for name in names},
        }
        write_json(path / "manifest.json", self.manifest)

    def _corpus_rows(self, where: str, passages: Iterable[tuple[str, Passage]]) -> Iterator[dict]:
        """Yield the rows of corpus.jsonl; DataError at the end, before the file has its name, for a broken corpus."""
        named = {name: self._documents(name) for name in _NAMING}
        empty: list[str] = []
        count = 0
        for identifier, passage in passages:
            count += 1
            for documents in named.values():
                documents.discard(identifier)
            if not passage.text.strip():
                empty.append(identifier)
            row: dict[str, Any] = {"_id": identifier, "title": passage.title, "text": passage.text}
            yield row | ({"metadata": {"file": passage.file}} if passage.file else {})
        _refuse_empty(where, count)
        for name, documents in named.items():
            _refuse(where, f"{name} name unknown documents", documents)
        _refuse(where, "passages with empty text", empty)

    def _documents(self, name: str) -> set[str]:
        """Return the documents that ``qrels``, ``excluded`` or ``candidates`` name."""
        return {d for documents in getattr(self, name).values() for d in documents}

    def check(self, where: str) -> None:
        """Raise DataError, naming ``where``, if the collection breaks the contract of its form."""
        _refuse_empty(where, len(self.corpus))
        self._check_queries(where)
        for name in _NAMING:
            _refuse(where, f"{name} name unknown documents", self._documents(name).difference(self.corpus))
        _refuse(where, "passages with empty text", (i for i, p in self.corpus.items() if not p.text.strip()))

    def _check_queries(self, where: str) -> None:
        for name in _NAMING:
            _refuse(where, f"{name} name unknown queries", (q for q in getattr(self, name) if q not in self.queries))
        _refuse(where, "queries with empty text", (i for i, q in self.queries.items() if not q.text.strip()))

    @staticmethod
    def reader_of(path: Path) -> str:
        """Return the format that a collection folder was read from, without reading it; empty if it is not recorded."""
        manifest = Path(path) / "manifest.json"
        return str(read_json(manifest).get("reader", "")) if manifest.is_file() else ""

    @property
    def judged_by(self) -> str:
        """Return how a ranked passage is judged: by ``qrels``, or by ``answers`` (it holds one of the query's)."""
        return self.manifest.get("judged_by", "qrels")

    def counts(self) -> dict[str, Any]:
        """Return numbers of passages, queries (also by split) and judgements."""
        splits = {name: len(self.queries_of(name)) for name in SPLITS}
        return {
            "passages": len(self.corpus),
            "queries": len(self.queries),
            "queries_by_split": splits,
            "judgements": sum(map(len, self.qrels.values())),
        }

    def passage_text(self, passage_id: str) -> str:
        """Return ``title text`` of a passage; the text alone where it has no title."""
        passage = self.corpus[passage_id]
        return f"{passage.title} {passage.text}".strip()

    def queries_of(self, split: str) -> dict[str, Query]:
        """Return the queries of a split (train, dev, test), in file order."""
        if split not in SPLITS:
            raise DataError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
        return {i: query for i, query in self.queries.items() if query.metadata.get("split") == split}

    def qrels_of(self, split: str) -> dict[str, dict[str, int]]:
        """Return the judgements of the queries of a split; a query without any judgement has an empty dict."""
        return {i: self.qrels.get(i, {}) for i in self.queries_of(split)}


def _passage(row: dict[str, Any]) -> Passage:
    return Passage(row.get("title") or "", row["text"], (row.get("metadata") or {}).get("file", ""))


def _query(row: dict) -> Query:
    return Query(row["text"], row.get("instruction") or "", row.get("metadata") or {})


def _query_row(query_id: str, query: Query) -> dict:
    instruction = {"instruction": query.instruction} if query.instruction else {}
    return {"_id": query_id, "text": query.text, **instruction, "metadata": query.metadata}


def _rows(path: Path, keys: tuple[str, ...]) -> Iterator[dict]:
    for number, row in enumerate(iter_jsonl(path), 1):
        if missing := [key for key in keys if key not in row]:
            raise DataError(f"{path}, row {number}: no key {missing[0]!r}; expected {', '.join(keys)}")
        if not isinstance(row["text"], str):
            raise DataError(f"{path}, row {number}: 'text' is {type(row['text']).__name__}, expected text")
        yield row


def _unique(path: Path, items: Iterable[tuple[str, T]]) -> dict[str, T]:
    found: dict[str, T] = {}
    for key, value in items:
        if key in found:
            raise DataError(f"{path}: duplicate id {key!r}; ids must be unique within a file")
        found[key] = value
    return found


def _read_qrels(path: Path) -> dict[str, dict[str, int]]:
    qrels: dict[str, dict[str, int]] = {}
    for number, row in enumerate(_table(path, QRELS_COLUMNS), 2):
        documents = qrels.setdefault(row["query-id"], {})
        if row["corpus-id"] in documents:
            raise DataError(
                f"{path}, line {number}: duplicate judgement of {row['corpus-id']!r} for query {row['query-id']!r}"
            )
        try:
            documents[row["corpus-id"]] = int(row["score"])
        except ValueError as error:
            raise DataError(f"{path}, line {number}: score {row['score']!r} is not an integer") from error
    return qrels


def _read_excluded(path: Path) -> dict[str, set[str]]:
    excluded: dict[str, set[str]] = {}
    for row in _table(path, EXCLUDED_COLUMNS) if path.is_file() else []:
        excluded.setdefault(row["query-id"], set()).add(row["corpus-id"])
    return excluded


def _read_candidates(path: Path) -> dict[str, list[str]]:
    candidates: dict[str, list[str]] = {}
    for row in _table(path, EXCLUDED_COLUMNS) if path.is_file() else []:
        candidates.setdefault(row["query-id"], []).append(row["corpus-id"])
    return candidates


def _table(path: Path, columns: list[str]) -> list[dict[str, str]]:
    rows = read_tsv(path)
    if rows and list(rows[0]) != columns:
        raise DataError(f"{path}: columns {list(rows[0])}, expected {columns}")
    return rows


def _refuse_empty(where: str, count: int) -> None:
    if not count:
        raise DataError(f"{where}: the corpus is empty; check the raw files and max_passages")


def _refuse(where: str, what: str, ids: Iterable[str]) -> None:
    if found := sorted(set(ids)):
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise DataError(f"{where}: {what}: {', '.join(map(repr, found[:_SHOWN]))}{more}")
