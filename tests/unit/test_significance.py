"""Intervals and tests, against values worked out by hand."""

import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchtune.errors import DataError
from searchtune.evaluation.significance import bootstrap_ci, compare, holm, paired_test, seed_interval, verdict


def test_three_equal_gains_have_the_exact_p_of_two_in_eight():
    # of the 8 sign patterns only +++ and --- are as extreme as the observed sum
    assert paired_test([1.0, 1.0, 1.0], [0.0, 0.0, 0.0], seed=0) == 2 / 8


def test_exact_p_of_differences_one_two_three():
    # observed -1 +2 +3 = 4; of the 8 patterns +-1 +-2 +-3 four reach it: 6, 4, -4, -6
    assert paired_test([0.0, 2.0, 3.0], [1.0, 0.0, 0.0], seed=0) == 4 / 8


def test_no_difference_has_p_one():
    assert paired_test([0.3] * 40, [0.3] * 40, seed=0) == 1.0
    assert paired_test([0.3] * 5, [0.3] * 5, seed=0) == 1.0


def test_rounding_does_not_decide_whether_a_pattern_is_as_extreme():
    a = [0.1, 0.2, 0.3, 0.7]
    assert paired_test(a, [0.0] * 4, seed=0) == paired_test([x * 3 for x in a], [0.0] * 4, seed=0) == 2 / 16


def test_sampled_p_agrees_with_the_exact_one():
    rng = np.random.default_rng(5)
    a, b = rng.normal(0.25, 1, 12), np.zeros(12)
    exact, sampled = paired_test(a, b, 0, n=5000), paired_test(a, b, 0, n=4000)
    assert exact * 4096 == pytest.approx(round(exact * 4096))
    assert sampled == pytest.approx(exact, abs=0.03)
    assert sampled != exact


def test_a_clear_difference_stands_among_a_thousand_comparisons():
    clear = paired_test([1.0] * 60, [0.0] * 60, seed=1)
    assert holm({"clear": clear} | dict.fromkeys(range(999), 1.0))["clear"] < 0.01


def test_sampled_p_is_never_zero_and_repeats_with_its_seed():
    a, b = [1.0] * 60, [0.0] * 60
    # none of 999 is as extreme, so twenty times as many are drawn
    assert paired_test(a, b, seed=1, n=999) == 1 / (1 + 20 * 999)
    mixed = list(np.linspace(-1, 1.3, 60))
    assert paired_test(mixed, b, seed=4) == paired_test(mixed, b, seed=4)
    assert paired_test(mixed, b, seed=4) == pytest.approx(paired_test(b, mixed, seed=4))


def test_under_the_null_p_is_uniform():
    rng = np.random.default_rng(0)
    ps = [paired_test(rng.normal(0, 1, 30), np.zeros(30), seed, n=500) for seed in range(300)]
    assert np.mean(np.array(ps) < 0.1) == pytest.approx(0.1, abs=0.05)
    assert np.mean(ps) == pytest.approx(0.5, abs=0.06)


def test_ten_thousand_flips_of_500_queries_are_quick():
    rng = np.random.default_rng(1)
    a, b = rng.random(500), rng.random(500)
    paired_test(a, b, 0)
    best = min(_seconds(lambda: paired_test(a, b, 0, n=10_000)) for _ in range(3))
    assert best < 0.2


def _seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


def test_bootstrap_interval_matches_the_normal_one_on_many_values():
    values = np.random.default_rng(2).normal(0.4, 0.2, 900)
    low, high = bootstrap_ci(values, seed=0)
    half = 1.96 * values.std(ddof=1) / 30
    assert low == pytest.approx(values.mean() - half, abs=0.003)
    assert high == pytest.approx(values.mean() + half, abs=0.003)


def test_bootstrap_of_two_values_spans_them():
    # means of two draws from {0, 1}: 0, 1/2, 1 with shares 1/4, 1/2, 1/4
    assert bootstrap_ci([0.0, 1.0], seed=0) == (0.0, 1.0)
    assert bootstrap_ci([0.0, 1.0], seed=0, level=0.4) == (0.5, 0.5)
    assert bootstrap_ci([0.7, 0.7, 0.7], seed=0) == (pytest.approx(0.7), pytest.approx(0.7))


def test_seeds_that_differ_widen_the_interval():
    queries = np.random.default_rng(3).random(200) * 0.1
    same = seed_interval([queries, queries, queries], seed=0)
    apart = seed_interval([queries, queries + 0.3, queries + 0.6], seed=0)
    assert apart[1] - apart[0] > 5 * (same[1] - same[0])


def test_holm_by_hand():
    # sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, made monotone: .04 .06 .06 .06
    assert holm({"a": 0.03, "b": 0.01, "c": 0.04, "d": 0.02}) == pytest.approx(
        {"a": 0.06, "b": 0.04, "c": 0.06, "d": 0.06}
    )
    assert list(holm({"z": 0.5, "a": 0.9})) == ["z", "a"]
    assert holm({"z": 0.6, "a": 0.9}) == {"z": 1.0, "a": 1.0}
    assert holm({}) == {}


@given(st.dictionaries(st.integers(), st.floats(0, 1), max_size=8))
@settings(max_examples=50, deadline=None)
def test_holm_keeps_the_order_and_never_lowers_a_p(pvalues):
    adjusted = holm(pvalues)
    assert all(adjusted[k] >= pvalues[k] and adjusted[k] <= 1 for k in pvalues)
    order = sorted(pvalues, key=lambda k: pvalues[k])
    assert all(adjusted[a] <= adjusted[b] for a, b in pairwise(order))


def test_compare_aligns_by_query():
    a = {"q1": 1.0, "q2": 0.5, "q3": 0.2}
    b = {"q3": 0.2, "q1": 0.0, "q2": 0.0}
    found = compare(a, b, seed=0)
    assert (found["n"], found["wins"], found["losses"], found["ties"]) == (3, 2, 0, 1)
    assert found["difference"] == pytest.approx(0.5)
    assert found["p_value"] == 4 / 8
    assert found["ci_low"] <= 0.5 <= found["ci_high"]


def test_verdicts():
    assert verdict(0.1, 0.01, 3) == "better"
    assert verdict(-0.1, 0.01, 3) == "worse"
    assert verdict(0.1, 0.2, 3) == "can't tell at this scale"
    assert verdict(0.1, 0.01, 1) == "better (one seed)"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap_ci([0.4], 0), r"too few queries: 1, at least 2"),
        (lambda: bootstrap_ci([], 0), r"too few queries: 0"),
        (lambda: bootstrap_ci([0.1, float("nan")], 0), r"1 of 2 values are not finite"),
        (lambda: paired_test([], [], 0), r"too few queries: 0"),
        (lambda: paired_test([1.0], [1.0, 2.0], 0), r"1 values against 2; align them"),
        (lambda: paired_test([1.0, float("nan")], [1.0, 2.0], 0), r"paired_test, a: 1 of 2 values are not finite"),
        (lambda: holm({"x": 1.2}), r"p-value of 'x' is 1.2"),
        (lambda: holm({"x": float("nan")}), r"p-value of 'x' is nan"),
        (lambda: compare({"q1": 1.0, "q2": 0.0}, {"q1": 1.0, "q3": 0.0}, 0), r"2 queries are in one system only"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(DataError, match=message):
        call()
