"""What order faults do to a ranking: hand-computed cases."""

import math

import pytest

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.trec import write_run
from searchtune.evaluation.limrank_faults import fault_rows, ordered

PASSAGES = [f"d{i:02d}" for i in range(12)]


def ids(ranking):
    return [document for document, _ in ranking["q"]]


def test_depth_ten_drops_what_the_reranker_would_have_lifted():
    scores = {"q": {document: float(place) for place, document in enumerate(PASSAGES)}}
    candidates = {"q": PASSAGES}
    assert ids(ordered(scores, candidates, ()))[0] == "d11"
    assert ids(ordered(scores, candidates, ("L1",)))[0] == "d09"
    assert len(ids(ordered(scores, candidates, ("L1",)))) == 10


def test_ties_fall_by_the_earlier_rank_or_by_id():
    scores, candidates = {"q": {"z": 1.0, "a": 1.0}}, {"q": ["z", "a"]}
    assert ids(ordered(scores, candidates, ())) == ["z", "a"]
    assert ids(ordered(scores, candidates, ("L11",))) == ["a", "z"]


def test_unsorted_scores_undo_the_sorting():
    scores, candidates = {"q": {"a": 0.1, "b": 0.9, "c": 0.5}}, {"q": ["a", "b", "c"]}
    assert ids(ordered(scores, candidates, ())) == ["b", "c", "a"]
    # sorted: b c a; scores in the old order: 0.1 0.9 0.5
    assert ids(ordered(scores, candidates, ("L7",))) == ["c", "a", "b"]


@pytest.mark.parametrize("faults, rows", [([], 3), (["L7"], 0)])
def test_a_run_made_with_faults_is_not_priced(tmp_path, faults, rows):
    folder, first = tmp_path / "toy", tmp_path / "bm25.run.gz"
    Collection({d: Passage("", d) for d in PASSAGES}, {"q": Query("x", "", {"split": "test"})}, {"q": {"d11": 1}}).save(
        folder
    )
    write_run(first, {"q": [(d, -float(i)) for i, d in enumerate(PASSAGES)]}, "bm25")
    given = {"q": {d: float(i) for i, d in enumerate(PASSAGES)}}
    write_run(tmp_path / "r" / "direct" / "toy.run.gz", given, "m")
    manifest = {"system": "untuned", "modes": ["direct"], "faults": faults}
    found = fault_rows([folder], [first], [(tmp_path / "r", manifest)])
    assert len(found) == rows
    for row in found:
        assert row["corrected"] == 1.0
        # L1 loses the passage, L7 puts the best score last, no tie for L11 to touch
        place = {"L1": None, "L7": 12, "L11": 1}[row["fault"]]
        assert row["released"] == pytest.approx(1 / math.log2(place + 1) if place and place <= 10 else 0.0)
