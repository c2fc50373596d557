"""Verdicts on published claims and levels."""

import pytest

from searchtune.evaluation.claims import claims_of, level_verdict, sign_of, verdict


@pytest.mark.parametrize(
    ("direction", "low", "high", "published", "value", "said"),
    [
        (1, 0.5, 2.0, None, 1.0, "same direction"),
        (-1, 0.5, 2.0, None, 1.0, "differs"),
        (1, -0.5, 2.0, None, 1.0, "can't tell at this scale"),
        (1, -0.5, 2.0, 1.05, 1.0, "can't tell at this scale"),
        (1, 0.5, 2.0, 1.05, 1.0, "within tolerance"),
        (1, 0.5, 2.0, 10.0, 1.0, "same direction"),
    ],
)
def test_verdicts_go_by_the_interval(direction, low, high, published, value, said):
    assert verdict(direction, low, high, published, value) == said


@pytest.mark.parametrize(
    ("low", "high", "difference", "said"),
    [
        (-0.4, 1.9, 0.9, "within tolerance"),
        (0.2, 1.8, 1.0, "within tolerance"),
        (0.2, 2.6, 1.4, "differs"),
        (-2.4, -0.4, -1.4, "differs"),
        (-0.2, 3.0, 1.4, "can't tell at this scale"),
    ],
)
def test_a_level_is_reproduced_within_its_tolerance(low, high, difference, said):
    assert level_verdict(low, high, difference, 1.0) == said


def test_claims_of_one_paper_in_order(tmp_path):
    path = tmp_path / "claims.tsv"
    path.write_text("paper\titem\tdirection\na\t1\tup\nb\t2\tup\na\t3\tdown\n")
    found = claims_of(path, "a")
    assert [row["item"] for row in found] == ["1", "3"] and [sign_of(row) for row in found] == [1.0, -1.0]
