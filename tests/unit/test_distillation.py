"""Distillation: the loss by hand, shuffled scores, batches, and a student that follows its teacher."""

import math

import pytest

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.errors import ConfigError, DataError
from searchtune.files import write_jsonl
from searchtune.training.distillation import (
    Tokens,
    Tuple,
    load_tuples,
    plan_batches,
    rate_at,
    seen_by_ranks,
    shuffle_scores,
)

TEXTS = {f"d{i}": f"{word} by the old {word}" for i, word in enumerate(["river", "mill", "boat", "bridge", "grain"])}
PARAMS = {
    "seed": 1,
    "objective": "distil",
    "epochs": 1,
    "batch_size": 2,
    "lr": 3e-3,
    "schedule": "linear",
    "warmup_ratio": 0.1,
    "weight_decay": 0.0,
    "max_grad_norm": 2.0,
    "dropout": 0.0,
    "freeze_layers": 0,
    "student_temperature": 1.0,
    "teacher_temperature": 1.0,
    "precision": "float32",
    "dim": 16,
    "passage_length": 16,
    "query_length": 8,
    "faults": [],
}


def some_tuples() -> list[Tuple]:
    ids = list(TEXTS)
    return [
        Tuple(f"t{i}", TEXTS[s].split()[0], (s, *[d for d in ids if d != s][:3]), (4.0, 0.0, 0.0, 0.0))
        for i, s in enumerate(ids)
    ]


def test_shuffled_scores_are_the_same_values_in_another_order():
    rows = [Tuple("a", "q", tuple("wxyz"), (4.0, 3.0, 2.0, 1.0)) for _ in range(20)]
    shuffled = shuffle_scores(rows, 5)
    assert all(sorted(r.scores) == [1.0, 2.0, 3.0, 4.0] for r in shuffled)
    assert shuffled == shuffle_scores(rows, 5) and len({r.scores for r in shuffled}) > 5
    assert [r.passages for r in shuffled] == [r.passages for r in rows]


def test_tuples_that_do_not_match_are_refused(tmp_path):
    path = tmp_path / "t.jsonl"
    write_jsonl(path, [])
    with pytest.raises(DataError, match="holds no tuples"):
        load_tuples(path)
    write_jsonl(path, [{"id": "a", "query": "q", "passages": ["x", "y"], "scores": [1.0]}])
    with pytest.raises(DataError, match="tuple 'a' has 2 passages and 1 scores"):
        load_tuples(path)


def test_phases_follow_each_other_and_each_tuple_comes_once_an_epoch():
    rows = [
        Tuple(f"t{i}", "q", ("a", "b") if i % 3 else ("a", "b", "c"), (1.0,) * (2 if i % 3 else 3), i % 2)
        for i in range(12)
    ]
    tokens = Tokens([[1]] * 12, {"a": [1], "b": [1, 2], "c": [1, 2, 3]})
    plan = plan_batches(rows, tokens, PARAMS | {"epochs": 2})
    order = [i for batch in plan for i in batch]
    assert sorted(order) == sorted(list(range(12)) * 2)
    assert {rows[i].phase for i in order[:12]} == {0} and {rows[i].phase for i in order[12:]} == {1}
    assert all(len({len(rows[i].passages) for i in batch}) == 1 for batch in plan)


def test_tuples_follow_the_file_where_the_fault_is_on():
    # fault U4: five tuples, two a step
    rows = [Tuple(f"t{i}", "q", ("a", "b"), (1.0, 0.0)) for i in range(5)]
    tokens = Tokens([[1]] * 5, {"a": [1], "b": [1, 2]})
    assert plan_batches(rows, tokens, PARAMS | {"faults": ["U4"]}) == [[0, 1], [2, 3], [4]]
    shuffled = plan_batches(rows, tokens, PARAMS)
    assert [i for batch in shuffled for i in batch] != list(range(5))
    assert sorted(i for batch in shuffled for i in batch) == list(range(5))


def test_several_processes_see_one_part_of_the_tuples():
    # fault U14: of 10 tuples in batches of 4, two processes both read 0, 2, 4, 6, 8, and two a step
    rows = [Tuple(f"t{i}", "q", ("a", "b"), (1.0, 0.0)) for i in range(10)]
    seen, size = seen_by_ranks(rows, 4, 2)
    assert [row.id for row in seen] == ["t0", "t2", "t4", "t6", "t8"] and size == 2
    assert seen_by_ranks(rows, 4, 1) == (rows, 4)
    # the paper's 100K tuples on four GPUs: a quarter, in steps of 4 different ones instead of 16
    quarter, size = seen_by_ranks(rows * 10_000, 16, 4)
    assert (len(quarter), size) == (25_000, 4)
    assert seen_by_ranks(rows, 2, 4)[1] == 1


def test_the_rate_is_constant_as_released_or_warms_up():
    assert (
        rate_at(0, 10, PARAMS | {"schedule": "constant"}) == rate_at(9, 10, PARAMS | {"schedule": "constant"}) == 3e-3
    )
    assert rate_at(0, 10, PARAMS) == 1.5e-3 and rate_at(1, 10, PARAMS) == 3e-3


@pytest.mark.slow
def test_kl_by_hand():
    import torch

    from searchtune.training.distillation import kl_loss

    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])
    wanted = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert kl_loss(student, teacher).item() == pytest.approx(wanted)
    assert kl_loss(teacher, teacher).item() == pytest.approx(0.0, abs=1e-7)
    assert kl_loss(torch.cat([student, teacher]), torch.cat([teacher, teacher])).item() == pytest.approx(wanted / 2)
    # a constant added to all scores of a side changes nothing; temperatures divide each side
    assert kl_loss(student + 7, teacher - 2).item() == pytest.approx(wanted)
    assert kl_loss(3 * teacher, 5 * teacher, 3.0, 5.0).item() == pytest.approx(0.0, abs=1e-6)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    from searchtune.training.tiny import build_encoder

    path = tmp_path_factory.mktemp("distil") / "encoder"
    build_encoder([*TEXTS.values()] * 3, path, hidden=32, vocabulary=200)
    return path


@pytest.fixture(scope="module")
def collection():
    return Collection({i: Passage("", t) for i, t in TEXTS.items()}, {"q": Query("x")}, {})


@pytest.mark.slow
def test_training_scores_are_those_of_search(encoder, collection):
    import torch

    from searchtune.retrieval.late_interaction import maxsim
    from searchtune.training.distillation import load_student

    rows = some_tuples()
    model = load_student(encoder, PARAMS | {"skip_punctuation": True})
    tokens = Tokens.of(model, rows, collection)
    names = sorted(tokens.passages)
    place = {name: n for n, name in enumerate(names)}
    with torch.no_grad():
        scores = model.scores(
            tokens.queries, [tokens.passages[n] for n in names], [[place[i] for i in r.passages] for r in rows]
        )
    vectors = dict(zip(names, model.encode_passages([TEXTS[n] for n in names]), strict=True))
    for row, query, found in zip(rows, model.encode_queries([r.query for r in rows]), scores, strict=True):
        wanted = [maxsim(query, vectors[i], [len(vectors[i])]).item() for i in row.passages]
        assert found.tolist() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.slow
def test_a_student_follows_its_teacher_and_repeats(encoder, collection):
    import torch

    from searchtune.training.distillation import load_student, train

    curves, weights = [], []
    for _ in range(2):
        model = load_student(encoder, PARAMS)
        start = model.weight.clone()
        curves.append(train(model, some_tuples(), collection, PARAMS | {"epochs": 15}, print))
        weights.append(model.weight)
    assert curves[0] == curves[1] and torch.equal(*weights)
    assert curves[0][-1]["loss"] < 0.6 * curves[0][0]["loss"]
    assert not torch.allclose(weights[0], start)  # the projection learns too
    assert curves[0][-1]["tuples"] == 15 * 5


@pytest.mark.slow
def test_direct_fine_tuning_looks_at_the_source_alone(encoder, collection):
    from searchtune.training.distillation import load_student, train

    rows = some_tuples()
    params = PARAMS | {"objective": "contrast", "epochs": 6}
    curves = []
    for tuples in (rows, shuffle_scores(rows, 3)):
        model = load_student(encoder, params)
        curves.append([step["loss"] for step in train(model, tuples, collection, params, print)])
    # whatever the teachers said
    assert curves[0] == curves[1]
    assert curves[0][-1] < 0.7 * curves[0][0]
    # by hand: before the first step the loss is the cross-entropy of the source, which stands first
    start = load_student(encoder, params)
    tokens = Tokens.of(start, rows, collection)
    (batch, *_) = plan_batches(rows, tokens, params)
    ids = sorted({p for i in batch for p in rows[i].passages})
    scores = start.scores(
        [tokens.queries[i] for i in batch],
        [tokens.passages[p] for p in ids],
        [[ids.index(p) for p in rows[i].passages] for i in batch],
    )
    by_hand = [math.log(sum(math.exp(v - row[0]) for v in row)) for row in scores.tolist()]
    assert curves[0][0] == pytest.approx(sum(by_hand) / len(by_hand), abs=1e-4)


@pytest.mark.slow
def test_frozen_layers_stay_as_they_were(encoder, collection):
    import torch

    from searchtune.training.distillation import load_student, train

    model = load_student(encoder, PARAMS)
    before = {name: p.clone() for name, p in model.encoder.named_parameters()}
    train(model, some_tuples(), collection, PARAMS | {"freeze_layers": 1}, print)
    moved = {name for name, p in model.encoder.named_parameters() if not torch.equal(p, before[name])}
    assert moved and all(name.startswith("encoder.layer.1") for name in moved)
    with pytest.raises(ConfigError, match="freeze_layers is 9, but the encoder has 2 layers"):
        train(load_student(encoder, PARAMS), some_tuples(), collection, PARAMS | {"freeze_layers": 9}, print)


@pytest.mark.slow
def test_training_goes_on_from_a_trained_student(encoder, collection, tmp_path):
    import torch

    from searchtune.training.distillation import load_student, train

    model = load_student(encoder, PARAMS)
    train(model, some_tuples(), collection, PARAMS, print)
    model.save(tmp_path / "student")
    again = load_student(tmp_path / "student", PARAMS)
    assert torch.equal(again.weight, model.weight)
