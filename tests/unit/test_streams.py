"""Building from files in two passes: the same bytes as from dictionaries, whatever the corpus, and errors by line."""

import hashlib
import json
import random

import numpy as np
import pytest

from searchtune.collections import streams
from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.build import make_collection
from searchtune.collections.sources import read_beir
from searchtune.collections.splits import split_of
from searchtune.collections.streams import FilePassages, SourcePassage, sample, survey
from searchtune.errors import DataError
from searchtune.stage import run_job

SHARES = {"train": 0.5, "dev": 0.2, "test": 0.3}
NAMES = ("corpus.jsonl", "queries.jsonl", "qrels.tsv", "excluded.tsv")


def folder_of(path, documents, queries, judged):
    """Write a BEIR folder: documents (id, title, text, article), queries (id, text), judged (query, document)."""
    path.mkdir(parents=True)
    rows = [{"_id": i, "title": title, "text": text, "metadata": {"article": a}} for i, title, text, a in documents]
    (path / "corpus.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    (path / "queries.jsonl").write_text("".join(json.dumps({"_id": i, "text": text}) + "\n" for i, text in queries))
    lines = [f"{query}\t{document}\t1\n" for query, document in judged]
    (path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return path


def random_corpus(rng):
    """Return documents, queries and judgements; some texts have white space to clean, some queries are documents."""
    size = rng.randint(3, 40)
    documents = [
        (f"d{n}-{rng.randint(0, 9)}", rng.choice(["", " A  title"]), f"text é {n}\t {rng.random()}\n", f"Art {n // 2}")
        for n in range(size)
    ]
    queries = [(f"q{n}", f"what is {n}?") for n in range(rng.randint(1, 8))]
    queries += [(identifier, text) for identifier, _, text, _ in documents[: rng.randint(0, 2)]]
    judged = [(q, d) for q, _ in queries for d in rng.sample([d[0] for d in documents], rng.randint(1, 3))]
    return documents, queries, judged


def by_hand(documents, queries, judged, limit, n_test, seed):
    """Build the collection with dictionaries and whole sorted lists."""

    def order(ids):
        return sorted(ids, key=lambda i: hashlib.sha256(f"{seed}\x1f{i}".encode()).digest())

    corpus = {i: Passage(" ".join(title.split()), " ".join(text.split())) for i, title, text, _ in documents}
    article = {i: name for i, _, _, name in documents}
    texts = {i: " ".join(text.split()) for i, text in queries}
    relevant = {}
    for query, document in judged:
        relevant.setdefault(query, {})[document] = 1
    articles = {query: article[next(iter(relevant[query]))] for query in texts}
    splits = {query: split_of(articles[query], 3, SHARES) for query in texts}
    chosen = [q for s in SHARES for q in order(q for q in texts if splits[q] == s)[: n_test if s == "test" else None]]
    needed = {d for query in chosen for d in relevant[query]}
    kept = set(corpus)
    if limit is not None:
        kept = needed | set(order(i for i in corpus if i not in needed)[: limit - len(needed)])
    return Collection(
        {i: passage for i, passage in corpus.items() if i in kept},
        {q: Query(texts[q], metadata={"split": splits[q], "article": articles[q], "answers": []}) for q in chosen},
        {q: relevant[q] for q in chosen},
        {q: {q} for q in chosen if q in kept and corpus[q].text == texts[q]},
    )


def params(**changes):
    wanted = {"id": "c", "max_passages": None, "n_train": None, "n_dev": None, "n_test": None, "seed": 1}
    return wanted | {"split_seed": 3, "shares": SHARES} | changes


def stage(folder, out, **changes):
    """Run the stage on a BEIR folder; return the folder that it wrote."""
    run_job(
        {
            "stage": "collections.build",
            "inputs": {"raw": [str(folder)]},
            "outputs": {"collection": str(out)},
            "params": params(raw=[folder.name], reader="beir", licence="", canary=[], **changes),
        }
    )
    return out


@pytest.mark.parametrize("prefix", [8, 1, 0], ids=["whole keys", "many ties", "all tied"])
def test_the_stage_writes_the_bytes_that_dictionaries_give(tmp_path, monkeypatch, prefix):
    monkeypatch.setattr(streams, "PREFIX", prefix)
    limits = set()
    for number in range(12):
        rng = random.Random(number)
        documents, queries, judged = random_corpus(rng)
        needed = len({document for _, document in judged})
        limit = rng.choice([None, needed, min(needed + 2, len(documents)), len(documents), len(documents) + 5])
        n_test = rng.choice([None, 0])
        limits.add(limit is not None and limit < len(documents))
        folder = folder_of(tmp_path / f"raw{number}", documents, queries, judged)
        out = stage(folder, tmp_path / f"out{number}", max_passages=limit, n_test=n_test)
        by_hand(documents, queries, judged, limit, n_test, 1).save(tmp_path / f"hand{number}")
        for name in NAMES:
            assert (out / name).read_bytes() == (tmp_path / f"hand{number}" / name).read_bytes(), (number, name)
        loaded = Collection.load(out)
        assert loaded.manifest["available_passages"] == len(documents)
        assert loaded.manifest["counts"]["passages"] == len(loaded.corpus)
    assert limits == {True, False}


def test_in_memory_and_through_files_are_one_collection(tmp_path):
    documents, queries, judged = random_corpus(random.Random(5))
    folder = folder_of(tmp_path / "raw", documents, queries, judged)
    loaded = Collection.load(stage(folder, tmp_path / "out"))
    made = make_collection(read_beir([folder], "c"), params())
    assert (made.corpus, made.queries, made.qrels) == (loaded.corpus, loaded.queries, loaded.qrels)


def test_a_duplicate_id_is_named_by_file_and_line(tmp_path):
    documents = [("a", "", "one", "x"), ("b", "", "two", "x"), ("a", "", "three", "x")]
    folder = folder_of(tmp_path / "raw", documents, [("q", "what?")], [("q", "b")])
    with pytest.raises(DataError, match=r"raw/corpus\.jsonl, line 3: duplicate id 'a'"):
        stage(folder, tmp_path / "out")
    # empty lines are counted too
    (folder / "corpus.jsonl").write_text('{"_id": "a", "text": "1"}\n\n\n{"_id": "a", "text": "2"}\n')
    with pytest.raises(DataError, match=r"corpus\.jsonl, line 4: duplicate id 'a'"):
        stage(folder, tmp_path / "out")


def test_ids_of_one_hash_are_not_one_id():
    class Same(str):
        """Ids that all have one hash."""

        __slots__ = ()

        def __hash__(self):
            return 7

    rows = [(None, n, Same(n), SourcePassage("", "text", "")) for n in range(4)]
    assert survey(FilePassages(lambda: iter(rows)), (), {}, None).count == 4
    rows.append((None, 9, Same(2), SourcePassage("", "text", "")))
    with pytest.raises(DataError, match="line 9: duplicate id '2'"):
        survey(FilePassages(lambda: iter(rows)), (), {}, None)


def test_an_empty_document_is_refused_and_nothing_is_left(tmp_path):
    documents = [("a", "", "one", "x"), ("b", "A title", " \t", "x"), ("c", "", "", "x")]
    folder = folder_of(tmp_path / "raw", documents, [("q", "what?")], [("q", "a")])
    with pytest.raises(DataError, match="passages with empty text: 'b', 'c'"):
        stage(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # the corpus is cut before it is checked: what is left out may be empty
    kept = stage(folder, tmp_path / "out", max_passages=1)
    assert list(Collection.load(kept).corpus) == ["a"]


@pytest.mark.parametrize("row", ['{"text": "no id"}', '{"_id": "d"}', '{"_id": "d", "text": null}'])
def test_a_document_of_another_form_is_named_by_line(tmp_path, row):
    folder = folder_of(tmp_path / "raw", [("a", "", "one", "x")], [("q", "what?")], [("q", "a")])
    with open(folder / "corpus.jsonl", "a") as handle:
        handle.write(row + "\n")
    with pytest.raises(DataError, match=r"corpus\.jsonl, line 2: a document has an _id and a text"):
        stage(folder, tmp_path / "out")


def test_a_corpus_that_loses_what_is_needed_while_it_is_read_is_refused(tmp_path):
    found = Collection({}, {"q": Query("ask")}, {"q": {"a": 1}})
    with pytest.raises(DataError, match="qrels name unknown documents: 'a'"):
        found.save(tmp_path / "c", iter([("b", Passage("", "text"))]))
    with pytest.raises(DataError, match="the corpus is empty"):
        found.save(tmp_path / "c", iter([]))
    assert not (tmp_path / "c" / "corpus.jsonl").exists()


def test_a_sample_keeps_what_is_needed_and_the_first_of_the_rest():
    passages = {name: SourcePassage("", name, name) for name in "abcde"}
    prefixes = np.array([5, 1, 4, 1, 3], dtype=np.uint64)
    # needed: a (5). Two more: b and d have the smallest keys; of three more, e is the third
    assert sample(passages, prefixes, [0], 3, seed=0).tolist() == [True, True, False, True, False]
    assert sample(passages, prefixes, [0], 4, seed=0).tolist() == [True, True, False, True, True]
    assert sample(passages, prefixes, [0], 1, seed=0).tolist() == [True, False, False, False, False]
    # one place for two equal keys: the whole key decides
    first = min("bd", key=lambda i: hashlib.sha256(f"0\x1f{i}".encode()).digest())
    assert sample(passages, prefixes, [0], 2, seed=0).tolist() == [True, first == "b", False, first == "d", False]
