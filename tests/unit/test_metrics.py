"""Metrics against values worked out by hand, and what is refused."""

import json
from math import log2

import pytest

from searchtune.errors import ConfigError, DataError
from searchtune.evaluation.metrics import evaluate, means, missing_queries, write_metrics

QRELS = {"q1": {"d1": 1}, "q2": {"d2": 2, "d3": 1, "d9": 0}}


def test_values_by_hand():
    run = {"q1": [("d5", 3.0), ("d1", 2.0)], "q2": [("d3", 9.0), ("d9", 8.0), ("d2", 7.0)]}
    found = evaluate(QRELS, run, ["nDCG@10", "RR", "Success@1", "Success@5", "R@1", "AP"])
    ideal = 2 + 1 / log2(3)
    assert found["nDCG@10"] == pytest.approx({"q1": 1 / log2(3), "q2": (1 + 2 / log2(4)) / ideal}, abs=1e-6)
    assert found["RR"] == pytest.approx({"q1": 0.5, "q2": 1.0})
    assert found["Success@1"] == {"q1": 0.0, "q2": 1.0}
    assert found["Success@5"] == {"q1": 1.0, "q2": 1.0}
    assert found["R@1"] == {"q1": 0.0, "q2": 0.5}
    assert found["AP"] == pytest.approx({"q1": 0.5, "q2": (1 + 2 / 3) / 2})
    assert means(found)["RR"] == pytest.approx(0.75)


def test_ties_of_a_mapping_go_by_id_not_by_the_library():
    # trec_eval alone would put d9 before d1 at equal scores
    assert evaluate({"q1": {"d1": 1}}, {"q1": {"d9": 1.0, "d1": 1.0}}, ["RR"]) == {"RR": {"q1": 1.0}}
    assert evaluate({"q1": {"d9": 1}}, {"q1": {"d9": 1.0, "d1": 1.0}}, ["RR"]) == {"RR": {"q1": 0.5}}


def test_a_ranking_keeps_its_order_even_where_32_bits_see_a_tie():
    ranking = [("a", 1.0), ("z", 1.0 - 1e-12)]
    assert evaluate({"q": {"a": 1}}, {"q": ranking}, ["RR"])["RR"]["q"] == 1.0


def test_queries_outside_the_qrels_do_not_count():
    run = {"q1": [("d1", 1.0)], "q2": [("d2", 1.0)], "other": [("d1", 1.0)]}
    assert set(evaluate(QRELS, run, ["RR"])["RR"]) == {"q1", "q2"}


def test_a_short_run_is_refused_with_the_missing_queries_and_counts_as_zero_when_allowed():
    run = {"q1": [("d1", 1.0)]}
    with pytest.raises(DataError, match=r"too few queries: the run lacks 1 of 2 queries of the qrels \(q2\)"):
        evaluate(QRELS, run, ["RR"])
    assert missing_queries(QRELS, run) == ["q2"]
    assert evaluate(QRELS, run, ["RR"], allow_missing=True) == {"RR": {"q1": 1.0, "q2": 0.0}}
    assert evaluate(QRELS, {}, ["RR"], allow_missing=True) == {"RR": {"q1": 0.0, "q2": 0.0}}


@pytest.mark.parametrize(
    ("qrels", "run", "message"),
    [
        ({"q": {"a": 1}}, {"q": {"a": float("nan"), "b": 1.0}}, r"score of 'a' is nan"),
        ({"q": {"a": 1}}, {"q": [("b", float("nan"))]}, r"query 'q': score of 'b' is nan"),
        ({"q": {"a": 1}}, {"q": [("a", 1.0), ("a", 0.0)]}, r"query 'q': duplicate document 'a'"),
        ({}, {"q": {"a": 1.0}}, r"the qrels are empty"),
        ({"q": {}}, {"q": {"a": 1.0}}, r"1 queries of the qrels have no judgement, such as 'q'"),
    ],
)
def test_refusals(qrels, run, message):
    with pytest.raises(DataError, match=message):
        evaluate(qrels, run, ["RR"])


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown metric 'nDGC@10'; did you mean 'nDCG@10'\?"):
        evaluate({"q": {"a": 1}}, {"q": {"a": 1.0}}, ["nDGC@10"])


def test_metrics_file_says_what_computed_it(tmp_path):
    write_metrics(tmp_path / "metrics.json", {"quality": [{"metric": "RR", "value": 0.75, "n": 4}]})
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["tables"]["quality"] == [{"metric": "RR", "value": 0.75, "n": 4}]
    assert set(found["libraries"]) == {"ir-measures", "pytrec-eval-terrier", "sacrebleu", "rouge-score"}
