"""TREC runs: order, ties, precision, refusals."""

import gzip
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchtune.collections.trec import rank_by_score, read_run, read_scores, scores_path, tie_share, write_run
from searchtune.errors import DataError

IDS = st.text("abcdef0123456789-_", min_size=1, max_size=6)
SCORES = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(-1e6, 1e6, allow_nan=False, allow_infinity=False))
RUNS = st.dictionaries(IDS, st.dictionaries(IDS, SCORES, min_size=1, max_size=12), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(run=RUNS)
def test_a_run_read_back_has_the_same_order_and_falls_strictly_in_32_bits(tmp_path_factory, run):
    path = tmp_path_factory.mktemp("run") / "x.run.gz"
    write_run(path, run, "tag")
    found = read_run(path)
    assert {q: [d for d, _ in r] for q, r in found.items()} == {
        q: [d for d, _ in rank_by_score(s)] for q, s in run.items()
    }
    for ranking in found.values():
        scores = [np.float32(score) for _, score in ranking]
        assert all(after < before for before, after in pairwise(scores))
    assert read_scores(scores_path(path)) == run


@settings(max_examples=60, deadline=None)
@given(scores=st.dictionaries(IDS, SCORES, min_size=1, max_size=12), random=st.randoms())
def test_the_order_does_not_depend_on_the_order_of_the_input(scores, random):
    items = list(scores.items())
    random.shuffle(items)
    assert rank_by_score(dict(items)) == rank_by_score(scores)


@given(run=RUNS)
@settings(max_examples=30, deadline=None)
def test_writing_twice_gives_the_same_bytes(tmp_path_factory, run):
    folder = tmp_path_factory.mktemp("twice")
    write_run(folder / "a.run.gz", run, "t")
    write_run(folder / "b.run.gz", dict(run), "t")
    assert (folder / "a.run.gz").read_bytes() == (folder / "b.run.gz").read_bytes()


def test_ties_are_broken_by_the_previous_rank_then_by_id():
    scores = {"a": 1.0, "b": 1.0, "c": 2.0, "d": 1.0, "e": 1.0}
    assert [d for d, _ in rank_by_score(scores)] == ["c", "a", "b", "d", "e"]
    assert [d for d, _ in rank_by_score(scores, ["d", "b"])] == ["c", "d", "b", "a", "e"]


def test_the_previous_run_may_hold_pairs(tmp_path):
    previous = {"q": [("b", 9.0), ("a", 8.0)]}
    share = write_run(tmp_path / "r.run.gz", {"q": {"a": 1.0, "b": 1.0, "c": 0.5}}, "t", previous)
    assert [d for d, _ in read_run(tmp_path / "r.run.gz")["q"]] == ["b", "a", "c"]
    assert share == pytest.approx(2 / 3)


def test_tie_share_counts_documents_that_share_their_score():
    run = {"q1": {"a": 1.0, "b": 1.0, "c": 0.5}, "q2": [("a", 0.0), ("b", 0.0), ("c", 0.0), ("d", 1.0)], "q3": {}}
    assert tie_share(run) == pytest.approx(5 / 7)
    assert tie_share({}) == 0.0


def test_the_written_form(tmp_path):
    write_run(tmp_path / "x.run.gz", {"7": {"d1": 0.25, "d0": 1.5}}, "bm25")
    assert gzip.decompress((tmp_path / "x.run.gz").read_bytes()).decode() == "7 Q0 d0 1 1.5 bm25\n7 Q0 d1 2 0.25 bm25\n"
    assert scores_path(tmp_path / "x.run.gz").name == "x.scores.tsv.gz"


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"q1": {"a": float("nan")}}, r"query 'q1': score of 'a' is nan"),
        ({"q1": {"a": float("inf")}}, r"score of 'a' is inf; every score must be a finite number"),
        ({"q1": [("a", 1.0), ("a", 0.5)]}, r"query 'q1': duplicate document 'a'"),
        ({"q1": {}}, r"query 'q1': no documents"),
        ({"q1": {"a b": 1.0}}, r"id 'a b' is empty or has white space"),
        ({"q 1": {"a": 1.0}}, r"id 'q 1' is empty or has white space"),
    ],
)
def test_what_cannot_be_a_run_is_refused_by_name_and_nothing_is_written(tmp_path, run, message):
    with pytest.raises(DataError, match=message):
        write_run(tmp_path / "x.run.gz", run, "t")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q Q0 a 1 0.5\n", r"line 1: not a TREC run line"),
        ("q Q0 a 1 0.5 t\nq Q0 b two 0.4 t\n", r"line 2: not a TREC run line"),
        ("q Q0 a 1 nan t\n", r"line 1: score of 'a' for query 'q' is NaN"),
        ("q Q0 a 1 0.5 t\nq Q0 a 2 0.4 t\n", r"query 'q': duplicate document 'a'"),
        ("q Q0 a 1 0.5 t\nq Q0 b 2 0.9 t\n", r"query 'q': scores rise with the rank"),
    ],
)
def test_a_broken_run_file_is_refused_by_line(tmp_path, text, message):
    (tmp_path / "bad.run").write_text(text)
    with pytest.raises(DataError, match=message):
        read_run(tmp_path / "bad.run")


def test_lines_in_any_order_are_read_in_rank_order(tmp_path):
    (tmp_path / "x.run").write_text("q Q0 b 2 0.4 t\nq Q0 a 1 0.5 t\n")
    assert read_run(tmp_path / "x.run") == {"q": [("a", 0.5), ("b", 0.4)]}
