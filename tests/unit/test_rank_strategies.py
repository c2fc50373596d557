"""Listwise windows and pairwise bubble sort, with rankers whose answers are known."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchtune.reranking.duels import bubble, rank_by_duels
from searchtune.reranking.windows import parse_order, rank_by_windows, shuffled, windows


def test_windows_overlap_from_the_bottom_to_the_top():
    assert windows(20, 10, 5) == [(10, 20), (5, 15), (0, 10)]
    assert windows(10, 5, 5) == [(5, 10), (0, 5)]
    assert windows(7, 10, 5) == [(0, 7)]
    assert windows(12, 10, 5) == [(2, 12), (0, 7)]
    assert windows(0, 10, 5) == []
    with pytest.raises(ValueError, match="stride is 6, window 5"):
        windows(10, 5, 6)


def test_an_order_is_read_leniently_and_said_to_be_broken():
    assert parse_order("[2] > [1] > [3]", 3) == ([1, 0, 2], True)
    assert parse_order("3, 3, 9, 1", 3) == ([2, 0, 1], False)
    assert parse_order("", 2) == ([0, 1], False)
    assert parse_order("1" * 5000, 2) == ([0, 1], False)


def oracle(relevant):
    """Order each window with the relevant passages first."""

    def ask(batch):
        answers = []
        for _, documents in batch:
            best = sorted(range(len(documents)), key=lambda place: documents[place] not in relevant)
            answers.append(" > ".join(f"[{place + 1}]" for place in best))
        return answers

    return ask


def test_a_perfect_ranker_lifts_the_last_passage_with_overlap_and_cannot_without():
    # fault B6: 100 candidates, the relevant one last
    candidates = {"q": [f"d{i}" for i in range(100)]}
    order, asked, broken = rank_by_windows(candidates, oracle({"d99"}), 10, 5)
    assert (order["q"][0], asked, broken) == ("d99", 19, 0)
    order, asked, _ = rank_by_windows(candidates, oracle({"d99"}), 5, 5)
    assert (order["q"].index("d99"), asked) == (95, 20)


def test_released_windows_give_the_known_mean_ndcg():
    # one relevant passage at every place in turn: rank 1 from the first window of five, else ranks 6, 11, ...
    import math

    def ndcg(place):
        rank = 5 * (place // 5) + 1
        return 1 / math.log2(rank + 1) if rank <= 10 else 0.0

    values = []
    for place in range(100):
        order, *_ = rank_by_windows({"q": [f"d{i}" for i in range(100)]}, oracle({f"d{place}"}), 5, 5)
        rank = order["q"].index(f"d{place}") + 1
        values.append(1 / math.log2(rank + 1) if rank <= 10 else 0.0)
        assert values[-1] == pytest.approx(ndcg(place))
    assert sum(values) / 100 == pytest.approx(0.068, abs=5e-4)


def test_queries_of_different_lengths_are_asked_in_step():
    sizes = []

    def ask(batch):
        sizes.append(len(batch))
        return oracle({"x"})(batch)

    order, asked, _ = rank_by_windows({"a": ["1", "2", "3", "x"], "b": ["x"], "c": []}, ask, 2, 1)
    assert order == {"a": ["x", "1", "2", "3"], "b": ["x"], "c": []}
    assert sizes == [2, 1, 1]
    assert asked == 4


def test_shuffling_hangs_on_query_and_seed_alone():
    candidates = {"a": list("abcdefgh"), "b": list("abcdefgh")}
    assert shuffled(candidates, 42) == shuffled({"a": candidates["a"]}, 42) | {"b": shuffled(candidates, 42)["b"]}
    assert shuffled(candidates, 42)["a"] != shuffled(candidates, 42)["b"]
    assert sorted(shuffled(candidates, 1)["a"]) == candidates["a"]


@given(st.permutations(range(9)), st.integers(1, 9))
def test_bubble_sort_brings_the_best_to_the_front(order, top):
    values = {str(n): n for n in order}
    documents = [str(n) for n in order]
    ranked, asked = rank_by_duels({"q": documents}, lambda b: [values[low] > values[up] for _, up, low in b], top)
    assert ranked["q"][:top] == sorted(documents, key=lambda d: -values[d])[:top]
    assert sorted(ranked["q"]) == sorted(documents)
    assert asked <= sum(len(documents) - 1 - place for place in range(top))


def test_narrowing_skips_what_is_known():
    # in order already: one pass of three comparisons, then the sort ends
    ranked, asked = rank_by_duels({"q": list("abcd")}, lambda b: [False] * len(b), 4)
    assert (ranked, asked) == ({"q": list("abcd")}, 3)
    # c and b change places at index 1: the next pass begins at index 2 and asks one pair less than a full one
    rank = {"a": 3, "c": 1, "b": 2, "d": 0}
    pairs = []

    def prefer(batch):
        pairs.extend((up, low) for _, up, low in batch)
        return [rank[low] > rank[up] for _, up, low in batch]

    ranked, _ = rank_by_duels({"q": list("acbd")}, prefer, 4)
    assert ranked["q"] == list("abcd")
    assert pairs == [("b", "d"), ("c", "b"), ("a", "b"), ("c", "d"), ("b", "c")]


def test_the_sort_of_one_query_does_not_wait_for_another():
    rng = random.Random(0)
    candidates = {f"q{n}": [f"{n}-{i}" for i in range(rng.randint(0, 7))] for n in range(20)}
    value = {d: rng.random() for documents in candidates.values() for d in documents}
    ranked, _ = rank_by_duels(candidates, lambda b: [value[low] > value[up] for _, up, low in b], 3)
    alone = {
        q: rank_by_duels({q: ds}, lambda b: [value[low] > value[up] for _, up, low in b], 3)[0][q]
        for q, ds in candidates.items()
    }
    assert ranked == alone


def test_a_sorter_yields_upper_and_lower():
    sorter = bubble(["a", "b"], 1)
    assert next(sorter) == ("a", "b")
    with pytest.raises(StopIteration) as end:
        sorter.send(True)
    assert end.value.value == ["b", "a"]
