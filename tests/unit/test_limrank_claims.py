"""LimRank's depth sweep, ablations, power, denominators and verdicts, by hand."""

import math

import numpy as np
import pytest
from helpers import ROOT

from searchtune.errors import DataError
from searchtune.evaluation.claims import claims_of
from searchtune.evaluation.limrank_ablations import CONFIGURED, NO_REASONING, ablation_rows
from searchtune.evaluation.limrank_books import Book, cut
from searchtune.evaluation.limrank_carried import carried
from searchtune.evaluation.limrank_comparisons import comparisons, of_answers, of_changes
from searchtune.evaluation.limrank_data_share import share_rows
from searchtune.evaluation.limrank_paired import change, paired
from searchtune.evaluation.limrank_power import detectable, power_rows, queries_needed, spread
from searchtune.evaluation.limrank_published import Published
from searchtune.evaluation.limrank_verdicts import MIXED, Comparisons, claim_rows, settled
from searchtune.evaluation.proportions import difference_interval
from searchtune.files import write_tsv

PARAMS = {"seed": 0, "bootstrap_samples": 200, "permutations": 1000, "level": 0.95}
EXPECTED = ROOT / "config/expected"
QUERIES = [f"q{i:02d}" for i in range(12)]


def test_a_smaller_depth_is_cut_from_the_scores_of_a_larger_one():
    first = {"q": [(d, -float(i)) for i, d in enumerate("axbcd")]}
    # x was excluded before reranking: the first three candidates are a, b, c
    run = {"q": [("d", 9.0), ("c", 7.0), ("a", 3.0), ("b", 1.0)]}
    assert cut(run, first, 3) == {"q": [("c", 7.0), ("a", 3.0), ("b", 1.0)]}
    assert cut(run, first, 1) == {"q": [("a", 3.0)]}
    assert cut(run, first, 100) == run


def test_queries_needed_by_hand():
    # (1.959964 + 0.841621) * 20 / 1 = 56.03, squared 3139.5
    assert queries_needed(20.0, 1.0) == 3140
    assert queries_needed(20.0, 4.0) == 197
    assert queries_needed(0.0, 1.0) == 2
    assert detectable(20.0, 3140) == pytest.approx(1.0, abs=1e-3)
    assert spread([1.0, 2.0, 3.0, 6.0]) == pytest.approx(math.sqrt(14 / 3))
    # by Holm's first step over ten tests: z(1 - 0.0025) = 2.807034, (3.648655 * 20)^2 = 5325.1
    assert queries_needed(20.0, 1.0, 0.05 / 10) == 5326


def book(**systems: list[list[float]]) -> Book:
    """One collection; system_mode -> values of every query, one list a seed."""
    found = Book()
    for name, seeds in systems.items():
        system, mode = ("bm25", "") if name == "bm25" else name.rsplit("__", 1)
        for number, values in enumerate(seeds):
            table = dict(zip(QUERIES, values, strict=True))
            found.add(("c", system, mode), {"nDCG@10": table, "R@5": table}, 0.0, 5, 13 + number)
    return found


def test_power_is_by_the_spread_of_paired_differences():
    values = [0.5] * 12
    found = book(bm25=[values], tuned_direct__direct=[[0.5 + 0.1 * (-1) ** i for i in range(12)]])
    rows = power_rows([(found, "nDCG@10")], 4)
    assert [row["alpha"] for row in rows] == [0.05, 0.0125] and {row["against"] for row in rows} == {"bm25"}
    sd = 10 * math.sqrt(12 / 11)  # points
    assert rows[0]["sd"] == pytest.approx(sd) and rows[0]["gap"] == pytest.approx(0.0)
    assert rows[0]["queries_4"] == math.ceil((2.801585 * sd / 4) ** 2)
    assert rows[1]["queries_4"] > rows[0]["queries_4"]


def test_pairs_are_seed_by_seed_and_on_the_same_queries():
    ours, base = [{"a": 3.0, "b": 1.0}, {"a": 5.0, "b": 1.0}], [{"a": 1.0, "b": 2.0}]
    assert paired(ours, base).tolist() == [[2.0, -1.0], [4.0, -1.0]]
    assert change([np.array([[1.0, 1.0]]), np.array([[3.0, 3.0, 3.0]])], PARAMS)["change"] == pytest.approx(2.0)
    with pytest.raises(DataError, match="different queries"):
        paired(ours, [{"a": 1.0}])
    with pytest.raises(DataError, match="2 and 3 training seeds"):
        paired(ours, [base[0]] * 3)


CHANGES = {
    "less": {"kind": "components", "label": "without it", "x": None, "mode": "direct"},
    "short": {"kind": "components", "label": "none left", "x": None, "mode": "direct"},
    "budget": {"kind": "reasoning", "label": "4 tokens", "x": 4, "mode": "reasoning"},
}


def ablations() -> list[dict]:
    low, mid, high = ([value] * 12 for value in (0.2, 0.4, 0.6))
    base = book(tuned_direct__direct=[mid, high], tuned_reasoning__reasoning=[mid, mid])
    changed = book(less__direct=[low, mid], budget__reasoning=[high, high])
    params = PARAMS | {"changes": CHANGES, "axes": {"reasoning": 8}}
    sizes = ({"direct": 10, "reasoning": 10}, {"less": 8, "budget": 10})
    return ablation_rows([(base, changed)], params, {"short": "not possible: no rows"}, sizes)


def test_a_change_is_compared_seed_by_seed_with_the_chain_as_configured():
    rows = {(row["kind"], row["label"]): row for row in ablations()}
    assert rows["components", CONFIGURED]["value"] == pytest.approx(0.5)
    less = rows["components", "without it"]
    assert (less["value"], less["baseline_value"], less["difference"]) == pytest.approx((0.3, 0.5, -0.2))
    assert (less["difference_low"], less["difference_high"]) == pytest.approx((-0.2, -0.2))
    assert (less["rows"], less["seeds"], less["n"]) == (8, 2, 12) and less["p_value"] < 0.01
    assert rows["components", "none left"]["note"] == "not possible: no rows"
    assert rows["reasoning", NO_REASONING]["x"] == 0
    assert rows["reasoning", NO_REASONING]["difference"] == pytest.approx(0.1)
    assert rows["reasoning", "4 tokens"]["difference"] == pytest.approx(0.2)
    assert all(row.get("metric") != "R@5" for row in rows.values())


def test_changes_are_corrected_with_all_other_comparisons():
    rows = of_changes(ablations())
    assert [row["system"] for row in rows] == ["less", NO_REASONING, "budget"]
    other = rows[0] | {"table": "rerank", "p_value": 0.04}
    found = comparisons({}, [*rows, other])
    assert found[-1]["p_holm"] == pytest.approx(0.04)
    # two seeds are fewer than three
    assert found[0]["verdict"] == "worse (one seed)"
    alone = comparisons({}, [other | {"seeds": 3}, other | {"p_value": 0.03, "seeds": 3}])
    assert [row["p_holm"] for row in alone] == pytest.approx([0.06, 0.06])
    assert {row["verdict"] for row in alone} == {"can't tell at this scale"}


def test_answered_questions_belong_to_the_same_family():
    test = {"collection": "nq", "system": "bm25", "mode": "", "k": 3, "against": "closed_book", "metric": "accuracy",
            "change": 25.0, "n": 40, "seeds": 3, "p_value": 0.03}  # fmt: skip
    [row] = of_answers([test])
    assert (row["table"], row["system"], row["difference"]) == ("rag_tests", "bm25, top 3", 0.25)
    ours, _ = comparisons({}, [row, row | {"table": "rerank", "p_value": 0.5}])
    assert ours["p_holm"] == pytest.approx(0.06) and ours["verdict"] == "can't tell at this scale"


def test_under_five_percent_depends_on_the_denominator():
    rows = share_rows(Published.load(EXPECTED / "limrank.tsv"))
    # 20,000 of 635,264, of 700,000, of 386,336; 20,000 x 7 of 386,336 x 2
    assert [row["share"] for row in rows] == pytest.approx([0.031483, 0.028571, 0.051768, 0.181189], abs=1e-6)
    assert [row["under_5_percent"] for row in rows] == [True, True, False, False]


def test_published_numbers_that_cannot_carry_their_claim():
    published = Published.load(EXPECTED / "limrank.tsv")

    def said(before: str, after: str, metric: str, sd: float | None) -> str:
        return carried(published, published.row(before, metric), published.row(after, metric), sd)

    gpqa = said("gpqa_rag rank1-7b", "gpqa_rag limrank-7b", "accuracy", None)
    assert gpqa.startswith("no: 60 against 56 of 198, 95% interval of the gap -6.9 to 10.9 points")
    # 0.02 points at a spread of 10: (2.801585 * 10 / 0.02)^2 = 1,962,219
    mrr = said("ablation_synthesizer without_long_reasoning", "ablation_synthesizer full", "p-mrr_x100", 10.0)
    assert "0.02 points take 1,962,2" in mrr and mrr.startswith("no:") and mrr.endswith("the set has 104")
    mixed = said("bright_average rankllama-7b", "bright_average limrank-7b", "ndcg@10", 30.0)
    assert mixed.startswith("yes:") and "rankllama-7b has 23.9 here and 13.9 at depth=100" in mixed
    # Rank1's value is that of its own paper at depth 100
    assert "mixed" not in said("bright_average rank1-7b", "bright_average limrank-7b", "ndcg@10", 30.0)
    assert said("", "", "ndcg@10", 1.0) == "no number published"


def test_interval_of_a_difference_of_shares():
    # Newcombe 1998, table II, method 10: 56/70 against 48/80
    assert difference_interval(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_every_claim_names_published_values_that_are_there():
    published = Published.load(EXPECTED / "limrank.tsv")
    for claim in claims_of(EXPECTED / "claims.tsv", "limrank"):
        if claim["scope"] != "data":
            assert claim["scope"] in ("mean", "followir")
            for key in ("published_before", "published_after"):
                assert published.row(claim[key], claim["metric"]) or not claim[key]


def test_verdicts_say_what_was_run_and_what_it_shows(tmp_path):
    low, high = ([value] * 12 for value in (0.2, 0.6))
    base = book(bm25=[low], tuned_reasoning__reasoning=[high], untuned__reasoning=[high], tuned_direct__direct=[high])
    books = {"mean": (base, book(less__direct=[low])), "followir": (Book(), Book())}
    columns = "paper item claim ours against scope direction trust metric published_before published_after note"
    rows = [
        ("bm25", "tuned_reasoning reasoning", "bm25", "mean", "up", "ndcg@10"),
        ("untuned", "tuned_reasoning reasoning", "untuned reasoning", "mean", "up", "ndcg@10"),
        ("worse", "bm25", "tuned_reasoning reasoning", "mean", "up", "ndcg@10"),
        ("change", "configured", "configured in components:each", "mean", "up", "ndcg@10"),
        ("absent", "tuned_reasoning reasoning", "rank1 reasoning", "mean", "up", "ndcg@10"),
        ("data", "", "", "data", "same", "rows"),
    ]
    keys = ("item", "ours", "against", "scope", "direction", "metric")
    write_tsv(
        tmp_path / "claims.tsv", columns.split(), [{"paper": "limrank"} | dict(zip(keys, r, strict=True)) for r in rows]
    )
    published = Published.load(EXPECTED / "limrank.tsv")
    changes = {name: CHANGES[name] for name in ("less",)}
    against = Comparisons(books, PARAMS | {"changes": changes})
    claims = claim_rows(against, tmp_path / "claims.tsv", published, share_rows(published))
    adjusted = [row["p"] for row in claims if "p" in row]
    assert len(adjusted) == 4
    found = {row["item"]: row for row in settled(claims, adjusted)}
    assert {item: row["verdict"] for item, row in found.items()} == {
        "bm25": "same direction",
        "untuned": "can't tell at this scale",
        "worse": "differs",
        "change": "same direction",
        "absent": "not run",
        "data": MIXED,
    }
    assert (found["bm25"]["before"], found["bm25"]["after"], found["bm25"]["change"]) == pytest.approx((20, 60, 40))
    assert found["change"]["compared"] == "tuned_direct direct against without it"
    # one p-value that does not survive the correction decides nothing
    assert settled(claims, [0.06, 1.0, 0.01, 0.01])[0]["verdict"] == "can't tell at this scale"
