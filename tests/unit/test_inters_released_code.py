"""Faults B4, B5, B9, B10 and B11 of INTERS' released evaluation on the cases of their description."""

import math
from pathlib import Path

import pytest

from searchtune.tasks.released_code import (
    answer_after,
    cut_share,
    mean_of,
    padded,
    query_key,
    stacked,
    stray_share,
    unequal_share,
)


def test_b4_a_truncated_prompt_loses_its_answer():
    prompt, truncated = "a long question about rivers? ", "a long question "
    assert answer_after(prompt, truncated, "The Rhine flows north.", released=True) == "s north."
    assert answer_after(prompt, truncated, "Rhine", released=True) == ""
    assert answer_after(prompt, truncated, "Rhine", released=False) == "Rhine"
    assert answer_after(prompt, prompt, "Rhine", released=True) == "Rhine", "no harm without truncation"
    assert cut_share([1792, 1793, 10, 4000]) == 0.5


def test_b5_short_answers_end_in_token_2():
    assert padded([[7, 8, 9], [7]], 2) == [[7, 8, 9], [7, 2, 2]]
    assert padded([], 2) == []
    # batches (3, 1), (2, 2), (5): one answer of five is shorter than its neighbour
    assert stray_share([3, 1, 2, 2, 5], True) == 0.2 and stray_share([3, 1], False) == 0.0


def test_b9_one_query_without_relevant_passages_makes_the_mean_nan():
    assert math.isnan(mean_of([1.0, 0.0], [1.0, 0.0], released=True))
    assert mean_of([1.0, 0.0], [1.0, 0.0], released=False) == 0.5


def test_b10_the_saver_looks_for_the_id_in_the_path():
    row = {"query_id": "q7"}
    assert query_key(Path("out/dbpedia.jsonl"), row, released=True) is None
    assert query_key(Path("out/query_id/dbpedia.jsonl"), row, released=True) == "q7"
    assert query_key(Path("out/dbpedia.jsonl"), row, released=False) == "q7"


def test_b11_texts_of_other_lengths_do_not_stack():
    with pytest.raises(ValueError, match=r"texts of \[1, 2\] tokens"):
        stacked([[1, 2], [3]], 0, released=True)
    assert stacked([[1, 2], [3]], 0, released=False) == [[1, 2], [0, 3]]
    assert unequal_share({"q\ta\tb": 9, "q\tb\ta": 10, "q\ta\tc": 8, "q\tc\ta": 8, "q\tc\td": 5}) == 0.5
