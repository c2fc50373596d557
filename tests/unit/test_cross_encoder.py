"""Cross-encoders: schedule, negatives, batches, loss, scoring, and one small training."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.collections.synthetic import Synthetic
from searchtune.errors import ConfigError, DataError, ModelError
from searchtune.reranking.cross_encoder import mean_scores
from searchtune.reranking.teachers import combine, labelled, plan_windows, tuple_windows
from searchtune.training.cross_encoder import (
    batches,
    choose_negatives,
    learning_rate,
    make_groups,
    released_batches,
    released_learning_rate,
    unseen,
)

CANDIDATES = [f"d{i}" for i in range(10)]
TEXTS = {
    f"d{i}": f"passage {word} about the {word}"
    for i, word in enumerate(["river", "mill", "boat", "bridge", "grain", "forest", "candle", "copper"])
}


def row(query: str, source: str, part: str = "train", rank: int = 1, name: str = "y0-0") -> Synthetic:
    return Synthetic(name, query, source, 0, part, tuple(TEXTS), rank)


def test_warm_up_and_decay_by_hand():
    rates = [learning_rate(step, 8, 3, 4.0) for step in range(8)]
    assert rates == [1.0, 2.0, 3.0, 4.0, 3.2, pytest.approx(2.4), 1.6, 0.8]
    assert [learning_rate(s, 2, 0, 1.0) for s in range(2)] == [1.0, 0.5]
    with pytest.raises(ValueError, match="step 8 is outside a schedule of 8 steps"):
        learning_rate(8, 8, 3, 1.0)


@given(st.integers(1, 200), st.integers(0, 50))
def test_the_schedule_rises_then_falls_and_always_learns(total, warmup):
    warmup = min(warmup, total - 1)
    rates = [learning_rate(step, total, warmup, 1.0) for step in range(total)]
    assert all(0 < rate <= 1 for rate in rates) and max(rates) == 1.0
    assert rates[: warmup + 1] == sorted(rates[: warmup + 1]) and rates[warmup:] == sorted(rates[warmup:], reverse=True)


def test_the_released_schedule_hardly_decays():
    # fault U13: 320,000 pairs are 10,000 real steps; at the last one the rate is still 97% of the peak
    assert released_learning_rate(500, 320_000, 1.0) == 0.5
    assert released_learning_rate(9_999, 320_000, 1.0) == pytest.approx(0.9718, abs=1e-3)
    assert learning_rate(9_999, 10_000, 1_000, 1.0) < 0.001


def test_the_released_batches_follow_the_file_and_lose_the_last_step():
    # fault U13: seven queries, three a step; corrected, every query trains
    assert released_batches(7, 3) == [[0, 1, 2], [3, 4, 5]]
    assert released_batches(6, 3) == [[0, 1, 2], [3, 4, 5]]
    assert released_batches(2, 3) == [[0, 1]]
    assert sorted(i for batch in batches([1] * 7, 3, random.Random(0)) for i in batch) == list(range(7))


def test_negatives_follow_their_policy_and_never_hold_the_source():
    def chosen(policy: str, count: int = 3) -> list[str]:
        return choose_negatives(CANDIDATES, "d1", policy, count, 8, random.Random(0))

    assert chosen("top") == ["d0", "d2", "d3"]
    assert chosen("spread") == ["d0", "d3", "d5"]
    assert len(set(chosen("random"))) == 3 and "d1" not in chosen("random", 7)
    assert chosen("random", 7) != chosen("top", 7) and set(chosen("random", 7)) == set(chosen("top", 7))
    assert chosen("spread", 20) == chosen("top", 20) == ["d0", "d2", "d3", "d4", "d5", "d6", "d7"]
    with pytest.raises(ConfigError, match="did you mean 'spread'"):
        chosen("spred")


def test_batches_hold_every_position_once_and_like_lengths():
    lengths = [i % 40 for i in range(203)]
    plan = list(batches(lengths, 10, random.Random(1)))
    assert sorted(i for batch in plan for i in batch) == list(range(203))
    assert plan == list(batches(lengths, 10, random.Random(1)))
    spread = sum(max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in plan) / len(plan)
    assert spread < 12  # a random batch of ten spans about 33


def test_groups_start_with_the_source():
    groups = make_groups([row("q", "d2")], {"policy": "top", "count": 2, "depth": 5}, 0)
    assert groups[0].passages == ("d2", "d0", "d1")
    lonely = Synthetic("y", "q", "d0", 0, "train", ("d0",), 1)
    assert make_groups([lonely], {"policy": "top", "count": 2, "depth": 5}, 0) == []


def test_tuples_hold_the_source_once_and_keep_their_size():
    assert tuple_windows(CANDIDATES, "d1", 4, 2, 10) == [["d1", "d0", "d2", "d3"], ["d1", "d4", "d5", "d6"]]
    assert tuple_windows(CANDIDATES, "d1", 5, 1, 10) == [["d1", "d0", "d2", "d3", "d6"]]
    assert tuple_windows(CANDIDATES, "d1", 4, 9, 10) == [
        ["d1", "d0", "d2", "d3"],
        ["d1", "d4", "d5", "d6"],
        ["d1", "d7", "d8", "d9"],
    ]
    assert tuple_windows(CANDIDATES[:2], "d1", 4, 1, 10) == tuple_windows(CANDIDATES[:2], "d1", 4, 3, 10) == []


def test_the_source_stands_twice_where_the_fault_is_on():
    # fault U4: the source d1 keeps rank 2 of the first window, so that every later window starts one rank earlier
    assert tuple_windows(CANDIDATES, "d1", 4, 3, 10, twice=True) == [
        ["d1", "d0", "d1", "d2"],
        ["d1", "d3", "d4", "d5"],
        ["d1", "d6", "d7", "d8"],
    ]


def test_windows_of_a_query_are_shuffled_unless_the_fault_is_on():
    rows = [row("q", "d0", "label", 1, f"y0-{i}") for i in range(8)]
    params = {"nway": 3, "windows": 3, "depth": 8, "n_tuples": 99, "seed": 5, "faults": []}
    kept, plain = ([(r.id, n) for r, n, _ in plan_windows(rows, params | {"faults": f})] for f in ([], ["U4"]))
    assert plain == [(f"y0-{i}", n) for i in range(8) for n in range(3)]
    assert kept != plain and sorted(kept) == plain
    # the first tuples are those of the first queries: two of eight instead of any
    few = params | {"n_tuples": 6}
    assert {r.id for r, _, _ in plan_windows(rows, few | {"faults": ["U4"]})} == {"y0-0", "y0-1"}
    assert [(r.id, n) for r, n, _ in plan_windows(rows, few)] == kept[:6] and len({key for key, _ in kept[:6]}) > 2


def test_teachers_are_combined_as_asked():
    scores = [[1.0, 2.0], [3.0, 6.0]]
    assert mean_scores(scores) == [2.0, 4.0]
    assert combine(scores, "mean", 1) == ([2.0, 4.0], 0)
    assert combine(scores, "mixed", 1) == ([3.0, 6.0], 0)
    assert combine(scores, "sequential", 1) == ([3.0, 6.0], 1)
    with pytest.raises(ConfigError, match="did you mean 'mean'"):
        combine(scores, "meen", 0)


def test_rank_1_is_labelled_unless_the_fault_is_on():
    rows = [row("q", "d0", "label", rank, f"y0-{i}") for i, rank in enumerate([1, 1, 2, 6, 3])]
    rows.append(row("q", "d0", "train", 2, "y0-9"))
    assert [r.id for r in labelled(rows, [])] == ["y0-0", "y0-1", "y0-2", "y0-3", "y0-4"]
    assert [r.id for r in labelled(rows, ["U3"])] == ["y0-0", "y0-2"]


def test_rerankers_are_tested_on_queries_that_none_trained_on():
    rows = [
        row("q", "d0", part, name=f"y{i % 2}-{i}") for i, part in enumerate(["train", "label", "held", "label", "held"])
    ]
    assert [r.id for r in unseen(rows, 9)] == ["y0-2", "y0-4", "y1-1", "y1-3"]
    assert [r.id for r in unseen(rows, 3)] == ["y0-2", "y0-4", "y1-1"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    from searchtune.training.tiny import build_encoder

    path = tmp_path_factory.mktemp("cross") / "encoder"
    build_encoder([*TEXTS.values()] * 3, path, hidden=32, vocabulary=200)
    return path


@pytest.mark.slow
def test_losses_by_hand():
    import torch

    from searchtune.training.cross_encoder import group_loss

    logits = torch.tensor([0.0, 0.0, 2.0, 0.0])
    log = torch.log(torch.tensor(2.0))
    assert group_loss(logits[:2], [2], "pointwise").item() == pytest.approx(log.item())
    assert group_loss(logits, [2, 2], "listwise").item() == pytest.approx(
        ((log + torch.log(1 + torch.exp(torch.tensor(-2.0)))) / 2).item()
    )
    with pytest.raises(ConfigError, match="did you mean 'listwise'"):
        group_loss(logits, [4], "listwize")


@pytest.mark.slow
def test_scores_do_not_depend_on_batch_or_order_and_survive_saving(encoder, tmp_path):
    from searchtune.reranking.cross_encoder import CrossEncoder

    model = CrossEncoder.load(encoder, 24, seed=3)
    pairs = [("river", text) for text in TEXTS.values()] + [("a much longer query about boats", "grain")]
    together = model.score(pairs, 32)
    assert model.score(pairs, 1) == pytest.approx(together, abs=1e-5)
    assert model.score(pairs[::-1], 4)[::-1] == pytest.approx(together, abs=1e-5)
    assert CrossEncoder.load(encoder, 24, seed=3).score(pairs) == pytest.approx(together)
    assert CrossEncoder.load(encoder, 24, seed=4).score(pairs) != pytest.approx(together)
    assert model.score(pairs, noisy=True) != pytest.approx(together)  # fault U5
    assert model.score(pairs) == pytest.approx(together)
    model.save(tmp_path / "saved")
    assert CrossEncoder.load(tmp_path / "saved", 24, seed=9).score(pairs) == pytest.approx(together, abs=1e-5)


@pytest.mark.slow
def test_the_interaction_head_by_hand():
    import torch

    from searchtune.reranking.cross_encoder import interaction_scores

    vectors = torch.tensor([[[9.0, 9.0], [2.0, 0.0], [0.0, 3.0], [0.6, 0.8], [4.0, 0.0], [0.0, 1.0]]])
    query = torch.tensor([[False, True, True, False, False, False]])
    passage = torch.tensor([[False, False, False, True, True, False]])  # the last token is padding
    # query tokens along x and y; passage tokens (0.6, 0.8) and x: best cosines 1.0 and 0.8
    equal = torch.zeros(2)
    assert interaction_scores(vectors, query, passage, equal).tolist() == pytest.approx([0.9])
    # the token along y weighs e^(10 x 0.0693147) = 2 times the token along x: (1.0 + 2 x 0.8) / 3
    double = torch.tensor([0.0, 0.0693147])
    assert interaction_scores(vectors, query, passage, double).tolist() == pytest.approx([2.6 / 3])
    nobody = torch.zeros_like(query)
    assert interaction_scores(vectors, nobody, passage, equal).tolist() == [0.0]


@pytest.mark.slow
@pytest.mark.parametrize("head", ["cls", "interaction"])
def test_scores_are_those_of_the_plain_network(encoder, head):
    import torch

    from searchtune.reranking.cross_encoder import CrossEncoder

    model = CrossEncoder.load(encoder, 24, seed=3, head=head)
    pairs = [("river", text) for text in TEXTS.values()] + [("a much longer query about boats", "grain")]
    with torch.inference_mode():
        plain = model.forward(model.tokenize(pairs)).tolist()
    # abs: the interaction head multiplies cosines by 20
    assert model.score(pairs) == pytest.approx(plain, abs=1e-5 if head == "cls" else 1e-4)
    encoder_config = (model.model.encoder if head == "interaction" else model.model).config
    assert encoder_config._attn_implementation == "eager"  # training has its own


def test_scoring_batches_hold_few_tokens():
    from searchtune.llm.room import Room
    from searchtune.reranking.cross_encoder import BATCH_TOKENS, scored

    def scoring_batches(lengths, batch_size):
        room = Room("pairs", "cut them", BATCH_TOKENS)
        return [chosen for chosen, found in scored(room, lengths, batch_size, lambda chosen: chosen) if found == chosen]

    assert BATCH_TOKENS == 2048
    assert scoring_batches([5, 7, 6, 7], 3) == [[1, 3, 2], [0]]
    # 2048 // 1000 rows, then 2048 // 600; a row that is longer than a batch is alone
    assert scoring_batches([600, 1000, 3000, 900, 500, 10, 10], 16) == [[2], [1, 3], [0, 4, 5], [6]]
    assert scoring_batches([], 4) == []


@pytest.mark.slow
def test_the_interaction_head_ranks_before_training_and_survives_saving(encoder, tmp_path):
    import torch

    from searchtune.reranking.cross_encoder import CrossEncoder

    model = CrossEncoder.load(encoder, 24, head="interaction")
    pairs = [("river", text) for text in TEXTS.values()] + [("a much longer query about boats", "grain")]
    together = model.score(pairs, 32)
    assert together.index(max(together[:8])) == 0  # the passage that holds the word
    assert model.score(pairs, 1) == pytest.approx(together, abs=1e-4)
    with torch.no_grad():
        model.model.term.add_(torch.linspace(-1, 1, len(model.model.term)))
    weighted = model.score(pairs)
    assert weighted != pytest.approx(together, abs=1e-3)
    model.model.scale.data.mul_(2)
    model.save(tmp_path / "saved")
    doubled = CrossEncoder.load(tmp_path / "saved", 24)  # the folder says which head it has
    assert doubled.head == "interaction"
    assert doubled.score(pairs) == pytest.approx([2 * score for score in weighted], abs=1e-4)
    with pytest.raises(ConfigError, match="reranker head 'pooled' is unknown"):
        CrossEncoder.load(encoder, 24, head="pooled")


@pytest.mark.slow
def test_a_reranker_that_gives_nan_is_refused(encoder):
    import torch

    from searchtune.reranking.cross_encoder import CrossEncoder

    model = CrossEncoder.load(encoder, 24)
    torch.nn.init.constant_(model.model.classifier.bias, float("nan"))
    with pytest.raises(DataError, match="score that is not finite"):
        model.score([("a", "b")])


@pytest.mark.slow
def test_training_beats_the_untrained_head_and_repeats(encoder):
    from searchtune.reranking.cross_encoder import CrossEncoder
    from searchtune.training.cross_encoder import reciprocal_ranks, train

    collection = Collection({i: Passage("", t) for i, t in TEXTS.items()}, {"q": Query("x")}, {})
    rows = [row(text.split()[1], i) for i, text in TEXTS.items()]
    params = {
        "seed": 1,
        "batch_size": 16,
        "warmup_ratio": 0.1,
        "lr": 3e-3,
        "weight_decay": 0.0,
        "loss": "listwise",
        "max_grad_norm": 1.0,
        "faults": [],
    }
    groups = make_groups(rows, {"policy": "random", "count": 3, "depth": 8}, 1)
    curves = []
    for _ in range(2):
        model = CrossEncoder.load(encoder, 16, seed=1, dropout=0.0)
        before, _ = reciprocal_ranks(model, rows, collection, 7, 8)
        curves.append(train(model, [groups] * 30, collection, params, print))
    after, spread = reciprocal_ranks(model, rows, collection, 7, 8)
    assert curves[0] == curves[1]
    assert sum(after) > sum(before) + 1 and spread > 0
    assert [c["step"] for c in curves[0]] == list(range(1, 61)) and curves[0][-1]["pairs"] == 30 * 8 * 4
    with pytest.raises(ModelError, match="lower the learning rate"):
        train(model, [groups] * 3, collection, params | {"lr": 1e30}, print)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["cls", "interaction"])
def test_frozen_embeddings_stay_while_the_layers_learn(encoder, head):
    from searchtune.reranking.cross_encoder import CrossEncoder
    from searchtune.training.cross_encoder import make_groups, train

    collection = Collection({i: Passage("", t) for i, t in TEXTS.items()}, {"q": Query("x")}, {})
    groups = make_groups([row("d0", "d0")], {"policy": "random", "count": 3, "depth": 8}, 1)
    model = CrossEncoder.load(encoder, 16, seed=1, head=head)
    model.freeze_embeddings()
    before = {name: weight.clone() for name, weight in model.model.named_parameters()}
    settings = {"seed": 1, "batch_size": 16, "warmup_ratio": 0.0, "lr": 1e-2, "weight_decay": 0.1, "loss": "listwise"}
    train(model, [groups] * 2, collection, settings | {"max_grad_norm": 1.0, "faults": []}, print)
    moved = {name for name, weight in model.model.named_parameters() if not weight.equal(before[name])}
    assert moved and not any("word_embeddings" in name for name in moved)
    assert any("word_embeddings" in name for name in before)


@pytest.mark.slow
def test_blended_weights_lie_between_start_and_end():
    import torch

    from searchtune.training.cross_encoder import blend

    module = torch.nn.Linear(1, 1)
    module.bias.requires_grad_(False)
    with torch.no_grad():
        module.weight.fill_(6.0)
        module.bias.fill_(1.0)
    blend(module, [torch.tensor([[2.0]])], 1.0)
    assert module.weight.item() == 6.0
    blend(module, [torch.tensor([[2.0]])], 0.25)
    assert module.weight.item() == 3.0 and module.bias.item() == 1.0


@pytest.mark.slow
def test_a_reranker_with_one_score_for_all_ranks_its_source_last():
    from searchtune.training.cross_encoder import reciprocal_ranks

    class Constant:
        def score(self, pairs, batch_size):
            return [0.5] * len(pairs)

    collection = Collection({i: Passage("", t) for i, t in TEXTS.items()}, {"q": Query("x")}, {})
    ranks, spread = reciprocal_ranks(Constant(), [row("q", "d0")], collection, 7, 8)
    assert ranks == [1 / 8] and spread == 0.0


def test_the_best_rerankers_label_in_their_old_order(tmp_path):
    from searchtune.files import write_json
    from searchtune.reranking.teachers import best_rerankers

    folders = [tmp_path / str(number) for number in range(4)]
    for folder, quality in zip(folders, (0.5, 0.9, 0.7, 0.9), strict=True):
        write_json(folder / "evaluation.json", {"trained": quality})
    assert best_rerankers(folders, None) == folders
    assert best_rerankers(folders, 9) == folders
    assert best_rerankers(folders, 1) == [folders[1]]
    assert best_rerankers(folders, 3) == [folders[1], folders[2], folders[3]]
