"""UDAPDR's published values beside ours: claims, levels, times."""

from pathlib import Path

import pytest
from helpers import ROOT

from searchtune.config.udapdr import KINDS
from searchtune.errors import DataError
from searchtune.evaluation.claims import claims_of
from searchtune.evaluation.udapdr_latency import latency_rows
from searchtune.evaluation.udapdr_published import Published
from searchtune.evaluation.udapdr_runs import Run, paired
from searchtune.evaluation.udapdr_verdicts import Comparisons, verdict_rows
from searchtune.files import write_tsv

CLAIMS, VALUES = ROOT / "config/expected/claims.tsv", ROOT / "config/expected/udapdr.tsv"
COLUMNS = [
    *("paper", "item", "claim", "ours", "against", "scope", "direction", "trust", "metric"),
    *("published_before", "published_after", "note"),
]
LOTTE, SEARCH, OWN = "lotte_lifestyle_test_forum", "lotte_lifestyle_test_search", "amazon"


def flat(value: float, n: int = 12, wave: float = 0.0) -> dict[str, dict[str, float]]:
    queries = {f"q{i:02d}": value + wave * (1 if i % 2 else -1) for i in range(n)}
    return {"Success@5": queries, "nDCG@10": dict(queries)}


def comparisons(scores, scored=(), latency=(), **params) -> Comparisons:
    given = {"seed": 0, "permutations": 1000, "bootstrap_samples": 200, "level": 0.95, "variants": {}, "axes": {}}
    names = {LOTTE: "lotte/lifestyle/test/forum", SEARCH: "lotte/lifestyle/test/search"}
    datasets = {name: names[name] for name in scores if name in names}
    return Comparisons(scores, scored, latency, given | {"datasets": datasets, "published_start": False} | params)


def claim(tmp_path: Path, **cells) -> Path:
    row = {
        "paper": "udapdr",
        "item": "table5",
        "claim": "it helps",
        "ours": "student_adapted",
        "against": "zero_shot",
        "scope": "each *",
        "direction": "up",
        "trust": "paper text",
        "metric": "success@5",
        "published_before": "table5 colbertv2_zero_shot",
        "published_after": "table5 udapdr_y5_z20k",
    } | cells
    write_tsv(tmp_path / "claims.tsv", COLUMNS, [row])
    return tmp_path / "claims.tsv"


def rows_of(found: Comparisons, path: Path) -> list[dict]:
    return verdict_rows(found, path, Published.load(VALUES))


def target(before: float, *after: float) -> dict:
    return {"student_untrained_projection": [flat(before)], "student_adapted": [flat(value) for value in after]}


def test_published_means_are_those_of_the_paper():
    found = Published.load(VALUES)
    # recomputed by hand: 64.86 -> 72.46 (Table 1), 48.9 -> 54.1 (Table 6), 70.08 -> 70.66 (Table 7), 66.74 -> 70.89
    assert found.mean("table1 colbertv2_zero_shot", "success@5") == pytest.approx(64.86, abs=0.01)
    assert found.mean("table1 udapdr_y5_z20k", "success@5") == pytest.approx(72.46, abs=0.01)
    assert found.mean("table1 colbertv2_plus_reranker_100k", "success@5") == pytest.approx(71.69, abs=0.01)
    assert found.mean("table6 colbertv2_zero_shot", "ndcg@10") == pytest.approx(48.9, abs=0.05)
    assert found.mean("table6 udapdr_y5_z20k", "ndcg@10") == pytest.approx(54.1, abs=0.05)
    assert found.mean("table7 all5_of_5", "success@5") == pytest.approx(70.08, abs=0.01)
    assert found.mean("table8 triples_100000", "success@5") == pytest.approx(70.89, abs=0.01)
    forum = [f"lotte/{d}/test/forum" for d in ("lifestyle", "technology", "writing", "recreation", "science", "pooled")]
    gain = [found.mean(f"table5 {name}", "success@5", forum) for name in ("udapdr_y5_z20k", "colbertv2_zero_shot")]
    assert gain[0] - gain[1] == pytest.approx(7.08, abs=0.01)
    with pytest.raises(DataError, match="no success@5 of 'table1 colbert'"):
        found.mean("table1 colbert", "success@5")


def test_every_claim_of_the_project_can_be_read():
    claims, found = claims_of(CLAIMS, "udapdr"), Published.load(VALUES)
    for row in claims:
        assert row["direction"] in ("up", "down", "same"), row
        assert row["scope"].split(" ")[0] in ("each", "mean", "first", "time"), row
        assert (
            found.values(row["published_after"], row["metric"]) or row["trust"] == "ours" or not row["published_before"]
        )
        found.values(row["published_before"], row["metric"])
        for side in (row["ours"], row["against"]):
            kind = side.partition(" in ")[2].partition(":")[0]
            assert not kind or kind in KINDS or kind == "depth", side
    systems = ("bm25", "minilm_dense", "maxsim_no_projection", "student_off_domain", "bm25_reranked")
    ours = {OWN: target(0.5, 0.6) | {system: [flat(0.4)] for system in systems}}
    rows = verdict_rows(comparisons(ours), CLAIMS, found)
    judged = [row for row in rows if row["verdict"] != "not run"]
    assert {row["item"] for row in claims} == {row["item"] for row in rows}
    assert [(row["compared"], row["verdict"]) for row in judged] == [
        ("student_adapted against zero_shot", "same direction"),
        ("student_adapted against best_unadapted", "same direction"),
        ("student_adapted against bm25_reranked", "same direction"),
    ]


def test_of_a_stand_in_the_direction_alone_is_judged(tmp_path):
    # published: 76.2 -> 84.9; ours: 50 -> 59 is within a tenth of +8.7
    given = {LOTTE: target(0.5, 0.59)}
    (row,) = rows_of(comparisons(given), claim(tmp_path))
    assert (row["published_before"], row["published_after"], row["verdict"]) == (76.2, 84.9, "same direction")
    assert (row["before"], row["after"], row["change"]) == tuple(map(pytest.approx, (50, 59, 9)))
    assert (row["n"], row["seeds"], row["collection"]) == (12, 1, LOTTE)
    (row,) = rows_of(comparisons(given, published_start=True), claim(tmp_path))
    assert row["verdict"] == "within tolerance"
    (row,) = rows_of(comparisons({LOTTE: target(0.5, 0.4)}), claim(tmp_path))
    assert row["verdict"] == "differs" and row["change"] == pytest.approx(-10)


def test_seeds_and_queries_are_resampled_and_an_untrained_side_stands_for_every_seed(tmp_path):
    (row,) = rows_of(comparisons({LOTTE: target(0.5, 0.4, 0.7)}), claim(tmp_path))
    # one seed loses 10 points, the other gains 20: nothing can be said
    assert row["change"] == pytest.approx(5) and (row["ci_low"], row["ci_high"]) == (
        pytest.approx(-10),
        pytest.approx(20),
    )
    assert row["seeds"] == 2 and row["verdict"] == "can't tell at this scale"
    with pytest.raises(DataError, match="3 seeds against 2"):
        paired([flat(0.1)] * 3, [flat(0.1)] * 2, "nDCG@10")
    with pytest.raises(DataError, match="other queries"):
        paired([flat(0.1, 4)], [flat(0.1, 5)], "nDCG@10")


def test_holm_over_the_claims_takes_a_lonely_find_back(tmp_path):
    # seven queries: the smallest p is 2/128; alone it counts, among four claims (p x 4 > 0.05) it does not
    better = {"student_untrained_projection": [flat(0.5, 7)], "student_adapted": [flat(0.6, 7)]}
    one = claim(tmp_path)
    (row,) = rows_of(comparisons({LOTTE: better}), one)
    assert row["p_adjusted"] == pytest.approx(2 / 128) and row["verdict"] == "same direction"
    head, line = one.read_text().splitlines()
    one.write_text("\n".join([head, *[line] * 4]) + "\n")
    rows = rows_of(comparisons({LOTTE: better}), one)
    assert [r["p_adjusted"] for r in rows] == [pytest.approx(8 / 128)] * 4
    assert {r["verdict"] for r in rows} == {"can't tell at this scale"} and rows[0]["ci_low"] > 0


def test_a_mean_weighs_collections_not_queries(tmp_path):
    few = {"student_untrained_projection": [flat(0.5, 4)], "student_adapted": [flat(0.9, 4)]}
    many = {"student_untrained_projection": [flat(0.5, 12)], "student_adapted": [flat(0.5, 12)]}
    path = claim(tmp_path, scope="mean lotte/*")
    (row,) = rows_of(comparisons({LOTTE: few, SEARCH: many, OWN: many}), path)
    assert row["change"] == pytest.approx(20) and row["n"] == 16
    assert row["collection"] == f"{LOTTE}, {SEARCH}"
    # of the paper only what is here: lifestyle forum 76.2, search 82.4
    assert row["published_before"] == pytest.approx((76.2 + 82.4) / 2)


def test_a_target_with_published_values_belongs_to_its_own_table(tmp_path):
    path = claim(
        tmp_path, item="table1", published_before="table1 colbertv2_zero_shot", published_after="table1 udapdr_y5_z20k"
    )
    rows = rows_of(comparisons({LOTTE: target(0.5, 0.6), OWN: target(0.5, 0.6)}), path)
    assert [row["collection"] for row in rows] == [OWN]
    assert rows[0]["published_before"] == pytest.approx(64.86, abs=0.01)


def test_variants_are_found_by_kind_and_count(tmp_path):
    def run(variant, value):
        return Run(OWN, variant, "student_adapted", 13, Path("r")), flat(value)

    scored = [run("few", 0.4), run("fewer", 0.3), run("vanilla", 0.5)]
    variants = {
        "few": {"kind": "tuples", "label": "20 tuples", "x": 20},
        "fewer": {"kind": "tuples", "label": "10 tuples", "x": 10},
        "vanilla": {"kind": "strategies", "label": "InPars alone", "x": None},
    }
    found = comparisons({OWN: target(0.5, 0.6)}, scored, variants=variants, axes={"tuples": 100})
    said = {
        against: rows_of(found, claim(tmp_path, against=against, scope="first"))
        for against in (
            *("student_adapted in tuples:least", "student_adapted in tuples:each"),
            *("student_adapted in strategies:vanilla", "student_adapted in strategies:guided"),
        )
    }
    compared = {key: [(r["compared"], r["before"], r["verdict"]) for r in rows] for key, rows in said.items()}
    ten = ("student_adapted against student_adapted, 10 tuples", pytest.approx(30), "same direction")
    assert compared["student_adapted in tuples:least"] == [ten]
    assert len(compared["student_adapted in tuples:each"]) == 2
    assert compared["student_adapted in strategies:vanilla"][0][1] == pytest.approx(50)
    (missing,) = said["student_adapted in strategies:guided"]
    assert missing["verdict"] == "not run" and missing["published_before"] is not None
    # where nothing is smaller than what is configured there is no smallest
    assert Comparisons.sides(comparisons({OWN: {}}, variants=variants, axes={"tuples": 10}), "x in tuples:least") == []


def test_levels_are_compared_where_the_model_is_the_papers_own(tmp_path):
    # published: ColBERTv2 76.9 on LoTTE lifestyle test forum, BM25 60.6
    path = claim(tmp_path, ours="zero_shot", against="published", published_before="", direction="same",
                 published_after="table5 colbertv2_published")  # fmt: skip
    near, far = ({LOTTE: target(value, 0.9) | {"bm25": [flat(0.606)]}} for value in (0.762, 0.75))
    (row,) = rows_of(comparisons(near, published_start=True), path)
    assert row["verdict"] == "within tolerance" and row["change"] == pytest.approx(-0.7)
    assert "own zero-shot column: 76.2" in row["note"] and row["published_before"] is None
    (row,) = rows_of(comparisons(far, published_start=True), path)
    assert row["verdict"] == "differs"
    # a start that was trained for late interaction is a system of its own
    trained = {LOTTE: {"zero_shot": [flat(0.762)], "student_adapted": [flat(0.9)], "bm25": [flat(0.606)]}}
    (row,) = rows_of(comparisons(trained, published_start=True), path)
    assert row["verdict"] == "within tolerance" and row["compared"] == "zero_shot against the paper"
    # another start is no re-run of ColBERTv2, BM25 needs none
    (row,) = rows_of(comparisons(near), path)
    assert row["verdict"] == "not run"
    bm25 = claim(tmp_path, ours="bm25", against="published", published_before="", published_after="table5 bm25")
    (row,) = rows_of(comparisons(near), bm25)
    assert row["verdict"] == "within tolerance" and row["change"] == pytest.approx(0, abs=1e-9)


def timed(system: str, depth: int, batch: int, p50: float, p95: float, n: int = 8) -> dict[str, str]:
    row = {"system": system, "depth": depth, "batch": batch, "p50_ms": p50, "p95_ms": p95, "n": n, "p99_ms": p95}
    return {key: str(value) for key, value in row.items()}


def test_times_stand_beside_the_papers(tmp_path):
    measured = [timed("bm25", 100, 1, 1, 2), timed("student_adapted", 100, 1, 25, 30, 96),
                timed("bm25_reranked", 20, 1, 300, 400, 20), timed("bm25_reranked", 20, 8, 200, 300),
                timed("bm25_reranked", 50, 1, 700, 900)]  # fmt: skip
    rows = latency_rows(measured, Published.load(VALUES))
    assert [row["published_ms"] for row in rows] == [None, 35.0, 412.0, None, None]
    assert [row["ms_per_pair"] for row in rows] == [None, None, 15.0, 10.0, 14.0]
    cells = {
        "item": "table2",
        "scope": "time",
        "direction": "down",
        "metric": "ms_per_query",
        "published_before": "table2 depth=20 colbertv2_plus_reranker",
        "published_after": "table2 udapdr_y5_z20k",
        "against": "bm25_reranked in depth:20",
    }
    (row,) = rows_of(comparisons({OWN: {}}, latency=rows), claim(tmp_path, **cells))
    assert (row["published_before"], row["published_after"], row["change"]) == (412, 35, -275)
    assert row["verdict"] == "same direction"
    # timed on 96 queries and on 20
    assert row["n"] == 20
    # as text "100" would be less than "20"
    many = [timed("student_adapted", 100, 1, 25, 30, 20), timed("bm25_reranked", 20, 1, 300, 400, 100)]
    assert rows_of(comparisons({OWN: {}}, latency=many), claim(tmp_path, **cells))[0]["n"] == 20
    slow = [timed("student_adapted", 100, 1, 250, 310), timed("bm25_reranked", 20, 1, 300, 400)]
    (row,) = rows_of(comparisons({OWN: {}}, latency=slow), claim(tmp_path, **cells))
    assert row["verdict"] == "can't tell at this scale"
    (row,) = rows_of(
        comparisons({OWN: {}}, latency=rows), claim(tmp_path, **cells | {"against": "bm25_reranked in depth:1000"})
    )
    assert row["verdict"] == "not run"
