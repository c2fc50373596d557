"""Answers and scores by hand-computed values; each scorer fault on the case of the fact sheet."""

import pytest

from searchtune.tasks.answers import active_faults, best_label, parse_label, parse_numbered
from searchtune.tasks.scorers import (
    bleu,
    corpus_bleu,
    exact_match,
    rouge,
    score_text,
    set_scores,
    token_f1,
    weighted_f1,
)

ELEVEN = "\n".join(f"{i}. item {i}" for i in range(1, 12))


def fault(*names):
    return frozenset(names)


def test_b1_counts_characters():
    assert token_f1("listen", ["silent"]) == 0.0
    assert token_f1("listen", ["silent"], fault("B1")) == 1.0
    pair = ("the capital of france is paris", ["treaty of versailles"])
    assert token_f1(*pair) == pytest.approx(2 * 1 / (5 + 3))
    assert token_f1(*pair, fault("B1")) == pytest.approx(0.61, abs=0.005)


def test_b2_makes_characters_of_an_unnumbered_answer():
    assert parse_numbered("cats\ndogs") == (["cats", "dogs"], False)
    assert set_scores("cats\ndogs", "1. dogs\n2. cats")["F1"] == 1.0
    assert set_scores("cats\ndogs", "1. dogs\n2. cats", fault("B2"))["F1"] == 0.0


def test_b3_knows_one_digit_numbers_only():
    assert parse_numbered(ELEVEN) == ([f"item {i}" for i in range(1, 12)], True)
    released = parse_numbered(ELEVEN, fault("B3"))[0]
    assert released[8:10] == ["item 9 1", "item 10 1"]
    assert parse_numbered("1. use 8.1 now")[0] == ["use 8.1 now"]
    assert parse_numbered("1. use 8.1 now", fault("B3"))[0] == ["use", "1 now"]


def test_b12_favours_short_labels():
    scores = [
        {"text": "other", "logprob": -2.0, "n_tokens": 1},
        {"text": "not enough information", "logprob": -3.0, "n_tokens": 3},
    ]
    assert best_label(scores) == "not enough information"
    assert best_label(scores, fault("B12")) == "other"


def test_faults_in_force():
    assert active_faults("corrected", []) == frozenset()
    assert active_faults("corrected", ["B3", "U1"]) == {"B3"}
    assert active_faults("released", []) == {"B1", "B2", "B3", "B12"}


def test_generated_labels_are_read_from_the_opening_or_refused():
    labels = ["supported", "refuted", "not enough information"]
    assert parse_label(" Refuted. The evidence ...", labels) == "refuted"
    assert parse_label("The claim is supported by it", labels) == "supported"
    assert parse_label("supported or refuted?", labels) == "supported", "what the answer opens with counts"
    assert parse_label("either supported or refuted", labels) is None
    assert parse_label("I do not know", labels) is None
    assert parse_label("yesterday", ["yes", "no"]) is None


def test_exact_match_and_token_f1_take_the_best_reference():
    assert exact_match("The  Cat!", ["dog", "cat"]) == 1.0
    assert token_f1("a black cat", ["dog", "black cat sat"]) == pytest.approx(2 * 2 / (2 + 3))
    assert token_f1("", ["cat"]) == 0.0


def test_set_scores():
    found = set_scores("1. A cat.\n2. a dog\n3. a cat", "1. a cat\n2. a cow\n3. a hen\n4. an owl")
    assert found["precision"] == 0.5 and found["recall"] == 0.25 and found["F1"] == pytest.approx(1 / 3)


def test_overlap_metrics():
    assert bleu("the cat", ["the cat"], 2) == pytest.approx(1.0)
    assert bleu("the dog", ["the cat"], 1) == pytest.approx(0.5)
    assert bleu("cat", ["cat"], 2) == pytest.approx(1.0), "a one-word answer has no bigrams to miss"
    assert bleu("  ", ["cat"], 1) == 0.0
    # LCS of 2 words: precision 2/3, recall 2/2
    assert rouge("cats often purr", ["cats purr"], "rougeL") == pytest.approx(0.8)
    assert corpus_bleu(["the cat", "a dog"], ["the cat", "a cow"], 1) == pytest.approx(0.75)


def test_weighted_f1():
    # a: 2 of 3 found, said twice -> 0.8; b: found once, said twice -> 2/3
    assert weighted_f1(["a", "a", "b", "b"], ["a", "a", "a", "b"]) == pytest.approx((3 * 0.8 + 2 / 3) / 4)
    assert weighted_f1([None, "b"], ["a", "b"]) == pytest.approx(0.5)


def test_score_text_uses_references_and_names_every_metric():
    row = {"target": "cat", "references": ["a big dog"]}
    assert score_text("big dog", row, ("token F1", "EM")) == {"token F1": 1.0, "EM": 1.0}
