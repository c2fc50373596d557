"""p-MRR by hand-computed values."""

import pytest

from searchtune.errors import DataError
from searchtune.evaluation.pmrr import document_shift, p_mrr, p_mrr_per_query, rank_of


@pytest.mark.parametrize(
    "original,changed,expected",
    [
        (1, 1, 0.0),  # stayed
        (4, 1, -0.75),  # moved up: 1/4 - 1
        (1, 4, 0.75),  # moved down: 1 - 1/4
        (10, 5, -0.5),
        (5, 10, 0.5),
        (2, 3, 1 / 3),
    ],
)
def test_shift_of_one_document(original, changed, expected):
    assert document_shift(original, changed) == pytest.approx(expected)


def test_rank_of_an_absent_document_is_list_length_plus_one():
    assert rank_of("b", ["a", "b", "c"]) == 2
    assert rank_of("z", ["a", "b", "c"]) == 4


def test_mean_over_documents_then_over_queries():
    changed_documents = {"q1": ["a", "b"], "q2": ["x"]}
    original = {"q1": ["a", "b", "c"], "q2": ["x", "y"]}
    changed = {"q1": ["c", "a", "b"], "q2": ["x", "y"]}
    # q1: a 1 -> 2: 1/2; b 2 -> 3: 1/3; mean 5/12. q2: 0. A mean over the three documents would be 27.8
    assert p_mrr_per_query(changed_documents, original, changed) == pytest.approx({"q1": 500 / 12, "q2": 0.0})
    assert p_mrr(changed_documents, original, changed) == pytest.approx(250 / 12)


def test_a_document_outside_both_short_lists_does_not_move():
    assert p_mrr({"q": ["z"]}, {"q": ["a"]}, {"q": ["b"]}) == 0.0


def test_a_document_that_falls_out_of_the_list():
    # rank 1 of 2, then absent: rank 3; 1 - 1/3
    assert p_mrr({"q": ["a"]}, {"q": ["a", "b"]}, {"q": ["b", "c"]}) == pytest.approx(200 / 3)


def test_bounds_are_reached_only_in_the_limit():
    many = [f"d{i}" for i in range(999)]
    assert 99 < p_mrr({"q": ["a"]}, {"q": ["a", *many]}, {"q": [*many, "a"]}) < 100
    assert -100 < p_mrr({"q": ["a"]}, {"q": [*many, "a"]}, {"q": ["a", *many]}) < -99


def test_short_runs_and_empty_sets_are_errors():
    with pytest.raises(DataError, match="changed run lacks query 'q'"):
        p_mrr({"q": ["a"]}, {"q": ["a"]}, {})
    with pytest.raises(DataError, match="no newly non-relevant document"):
        p_mrr({"q": []}, {"q": ["a"]}, {"q": ["a"]})
    with pytest.raises(DataError, match="of no queries"):
        p_mrr({}, {}, {})
    with pytest.raises(DataError, match="1-based"):
        document_shift(0, 1)
