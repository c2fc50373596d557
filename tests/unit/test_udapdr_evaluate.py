"""UDAPDR's tables: comparisons, signs of life, the released nDCG, latency."""

import math
from pathlib import Path

import pytest

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.trec import write_run
from searchtune.errors import DataError
from searchtune.evaluation import latency
from searchtune.evaluation.udapdr import comparators, p_values, quality_rows
from searchtune.evaluation.udapdr_ablations import CONFIGURED, ablation_rows
from searchtune.evaluation.udapdr_failures import failure_rows
from searchtune.evaluation.udapdr_released import (
    RELEASED,
    WITHOUT_LAST,
    add_released,
    add_without_last,
    fault_rows,
    released_ndcg,
    unscored_rows,
    without_last,
)
from searchtune.evaluation.udapdr_runs import Run, by_seed, runs_of, score_runs
from searchtune.evaluation.udapdr_signs import filter_sign, reranker_signs, spread_sign, teacher_sign
from searchtune.files import write_json

PARAMS = {"judge": "", "seed": 0, "permutations": 1000, "bootstrap_samples": 200, "level": 0.95}


def flat(value: float, n: int = 12) -> dict[str, dict[str, float]]:
    return {"nDCG@10": {f"q{i:02d}": value + 0.01 * (i % 3) for i in range(n)}}


def test_released_ndcg_forgives_what_was_missed():
    # fault U9: ten relevant passages, found at ranks 1 and 4
    gains = [1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert released_ndcg(gains) == pytest.approx(0.877, abs=5e-4)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, 11))
    assert (1 + 1 / math.log2(5)) / ideal == pytest.approx(0.315, abs=5e-4)
    assert released_ndcg([0, 0]) == 0.0


def test_the_released_metric_stands_beside_the_standard_one(tmp_path):
    collection = Collection(
        {f"d{i}": Passage("", "x") for i in range(12)},
        {"q": Query("x", "", {"split": "test"})},
        {"q": {f"d{i}": 1 for i in range(10)}},
    )
    write_run(tmp_path / "r.run.gz", {"q": [("d0", 4.0), ("d10", 3.0), ("d11", 2.0), ("d1", 1.0)]}, "r")
    run = Run("toy", "", "bm25", None, tmp_path / "r.run.gz")
    scored = score_runs([run], {"toy": collection}, ["test"])
    tables = scored[0][1]
    assert tables["nDCG@10"]["q"] == pytest.approx(0.315, abs=5e-4)
    assert RELEASED not in tables
    (priced,) = fault_rows(collection, "toy", {"bm25": run.path}, {"bm25": tables})
    assert priced["corrected"] == pytest.approx(0.315, abs=5e-4)
    assert priced["released"] == pytest.approx(0.877, abs=5e-4)
    add_released(collection, scored)
    assert tables[RELEASED]["q"] == pytest.approx(0.877, abs=5e-4)


def test_the_last_query_of_a_reranker_is_lost_where_the_fault_is_on():
    # fault U10: three queries, 1.0, 0.5 and 0.0; their mean is 0.5, without the last one 0.75
    values = {"b": 0.5, "a": 1.0, "c": 0.0}
    assert without_last(values, ["a", "b", "c", "not judged"]) == {"a": 1.0, "b": 0.5}
    assert without_last({"a": 1.0}, ["a"]) == {}
    collection = Collection({"d": Passage("", "x")}, {q: Query("x", "", {"split": "test"}) for q in "abc"}, {})
    scores = {"nDCG@10": values, "Success@5": {"a": 1.0, "b": 1.0, "c": 0.0}}
    rows = unscored_rows(collection, "toy", {"bm25_reranked": scores})
    assert [(r["metric"], r["corrected"], r["released"]) for r in rows] == [
        ("Success@5", pytest.approx(2 / 3), 1.0),
        ("nDCG@10", 0.5, 0.75),
    ]
    assert {(r["fault"], r["system"]) for r in rows} == {("U10", "bm25_reranked")}


def test_only_rerankers_get_the_metric_without_the_last_query():
    tables = {name: {m: flat(0.5)["nDCG@10"] for m in ("Success@5", "nDCG@10")} for name in ("bm25", "bm25_reranked")}
    collection = Collection({"d": Passage("", "x")}, {f"q{i:02d}": Query("x") for i in range(12)}, {})
    scored = [(Run("toy", "", name, None, Path("r")), scores) for name, scores in tables.items()]
    add_without_last(collection, scored)
    assert "nDCG@10" + WITHOUT_LAST not in tables["bm25"]
    lacking = tables["bm25_reranked"]["nDCG@10" + WITHOUT_LAST]
    assert list(lacking) == [f"q{i:02d}" for i in range(11)]
    rows = quality_rows("toy", {name: [scores] for name, scores in tables.items()}, "", PARAMS)
    (row,) = [row for row in rows if row["metric"] == "nDCG@10" + WITHOUT_LAST]
    assert (row["system"], row["n"], row["p_vs_bm25"]) == ("bm25_reranked", 11, None)


def test_a_folder_without_a_system_gives_all_its_runs(tmp_path):
    for name in ("b", "a"):
        write_run(tmp_path / "zero" / f"{name}.run.gz", {"q": [("d", 1.0)]}, name)
    write_run(tmp_path / "late" / "student.run.gz", {"q": [("d", 1.0)]}, "student")
    row = {"collection": "toy", "variant": "", "seed": None}
    found = runs_of([tmp_path / "zero", tmp_path / "late"], [row | {"system": ""}, row | {"system": "student"}])
    assert [run.system for run in found] == ["a", "b", "student"]
    assert found[2].path == tmp_path / "late" / "student.run.gz"


def test_a_missing_system_is_named():
    with pytest.raises(DataError, match="no run of bm25 on amazon"):
        by_seed([], "amazon", "", ["bm25"])


def made(variant: str, seed: int, value: float) -> tuple[Run, dict[str, dict[str, float]]]:
    return Run("amazon", variant, "student_adapted", seed, Path("r")), flat(value)


def test_ablations_stand_beside_the_chain_as_configured_seed_by_seed():
    scored = [made("", 13, 0.4), made("", 14, 0.5), made("few", 13, 0.3), made("few", 14, 0.3)]
    variants = {"few": {"kind": "tuples", "label": "few tuples", "x": 8}}
    base, few = ablation_rows(scored, "amazon", PARAMS | {"variants": variants, "axes": {"tuples": 100}}, {})
    assert (base["label"], base["x"], base["variant"], "difference" in base) == (CONFIGURED, 100, "", False)
    assert base["value"] == pytest.approx(0.46) and base["seeds"] == 2
    assert (few["label"], few["x"], few["baseline"]) == ("few tuples", 8, CONFIGURED)
    assert few["value"] == pytest.approx(0.31) and few["baseline_value"] == pytest.approx(0.46)
    # seed 13 loses 0.1 on every query, seed 14 loses 0.2
    assert few["difference"] == pytest.approx(-0.15)
    assert (few["difference_low"], few["difference_high"]) == (pytest.approx(-0.2), pytest.approx(-0.1))
    assert few["p_value"] < 0.01


def test_the_best_unadapted_system_is_chosen_per_metric():
    scores = {
        "bm25": flat(0.4),
        "student_off_domain": flat(0.5),
        "student_adapted": flat(0.6),
        "bm25_reranked": flat(0.7),
    }
    assert comparators(scores, "nDCG@10") == {
        "p_vs_bm25": "bm25",
        "p_vs_best_unadapted": "student_off_domain",
        "p_vs_reranked": "bm25_reranked",
    }


def test_one_test_serves_both_directions_and_both_columns():
    scores = {"bm25": flat(0.5), "minilm_dense": flat(0.4), "student_adapted": flat(0.6), "bm25_reranked": flat(0.6)}
    found = p_values(scores, 0, 1000)
    # BM25 is the best unadapted system: the same test stands in both columns
    assert (
        found["student_adapted", "nDCG@10", "p_vs_bm25"] == found["student_adapted", "nDCG@10", "p_vs_best_unadapted"]
    )
    assert found["bm25", "nDCG@10", "p_vs_reranked"] == found["bm25_reranked", "nDCG@10", "p_vs_bm25"]
    assert ("bm25", "nDCG@10", "p_vs_bm25") not in found
    # no difference on any query: p = 1 whatever the correction
    assert found["student_adapted", "nDCG@10", "p_vs_reranked"] == 1.0
    assert found["student_adapted", "nDCG@10", "p_vs_bm25"] < 0.05


def test_quality_rows_carry_interval_n_and_note():
    rows = quality_rows(
        "amazon", {"bm25": [flat(0.5)], "minilm_dense": [flat(0.4)], "bm25_reranked": [flat(0.6)]}, "web", PARAMS
    )
    assert [row["system"] for row in rows] == ["bm25", "minilm_dense", "bm25_reranked"]
    assert rows[0]["value"] == pytest.approx(0.51) and rows[0]["ci_low"] <= 0.51 <= rows[0]["ci_high"]
    assert (rows[0]["n"], rows[0]["p_vs_bm25"]) == (12, None)
    assert [row["note"] for row in rows] == ["", "web", "one seed"]
    several = quality_rows("amazon", {"bm25": [flat(0.5)], "bm25_reranked": [flat(0.5), flat(0.7)]}, "", PARAMS)[1]
    assert several["value"] == pytest.approx(0.61) and several["note"] == "2 seeds"
    # seeds are resampled, too
    assert several["ci_low"] < 0.56 and several["ci_high"] > 0.66


def test_signs_fail_when_nothing_was_learned(tmp_path):
    same = {"student_adapted": flat(0.5), "student_shuffled_teacher": flat(0.5)}
    assert teacher_sign(same, 0, 1000)["passed"] is False
    worse = {"student_adapted": flat(0.5), "student_shuffled_teacher": flat(0.1)}
    assert teacher_sign(worse, 0, 1000)["passed"] is True
    assert (
        teacher_sign({"student_adapted": flat(0.1), "student_shuffled_teacher": flat(0.5)}, 0, 1000)["passed"] is False
    )
    folder = tmp_path / "amazon" / "rerankers" / "0"
    for trained, p, passed in ((0.8, 0.01, True), (0.2, 0.01, False), (0.8, 0.2, False)):
        write_json(folder / "evaluation.json", {"untrained": 0.4, "trained": trained, "p_value": p, "n": 20})
        (row,) = reranker_signs([folder])
        assert row["passed"] is passed and row["sign"] == "reranker amazon/0 beats its untrained head"


@pytest.mark.parametrize(("kept", "passed"), [("0", False), ("5", False), ("6", True), ("94", True), ("95", False)])
def test_a_filter_that_keeps_all_or_nothing_fails_its_sign(kept, passed):
    rows = [{"stage": "clean", "in": "100", "out": "100"}, {"stage": "filter", "in": "100", "out": kept}]
    assert filter_sign(rows)["passed"] is passed


def test_scores_must_vary_within_every_query():
    assert spread_sign({"q1": {"a": 1.0, "b": 2.0}, "q2": {"a": 1.0}})["passed"] is True
    assert spread_sign({"q1": {"a": 1.0, "b": 2.0}, "q2": {"a": 1.0, "b": 1.0}})["passed"] is False


def test_failures_are_answers_without_a_usable_question():
    rows = [
        {"stage": "seed", "in": "10", "out": "9"},
        {"stage": "seed", "in": "10", "out": "5"},
        {"stage": "scale_up", "in": "50", "out": "50"},
        {"stage": "clean", "in": "50", "out": "40"},
    ]
    assert [(r["step"], r["calls"], r["failed"]) for r in failure_rows(rows)] == [("seed", 20, 6), ("scale_up", 50, 10)]


def test_percentiles_by_hand():
    assert latency.percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert latency.percentile([0.0, 10.0], 0.95) == pytest.approx(9.5)
    with pytest.raises(DataError, match="no time was measured"):
        latency.percentile([], 0.5)


def test_warm_up_batches_run_but_do_not_count():
    calls: list[int] = []
    times = latency.time_calls(lambda group: calls.append(len(group)), ["a", "b", "c", "d"], 2, warm_up=1)
    assert calls == [2, 2, 2] and len(times) == 2
    assert all(time >= 0 for time in times)
