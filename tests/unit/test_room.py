"""Where a GPU's memory does not suffice, smaller batches give what large ones would have given."""

import pytest

from searchtune.errors import ModelError
from searchtune.llm.engine import Sampling, open_engine
from searchtune.llm.room import Room, named_shortage
from searchtune.training.sft_data import Example

TEXTS = ["The river runs past the old mill.", "Which bridge crosses the river?", "A mill grinds grain into flour."] * 4
PROMPTS = [f"Question {i} is about the {'very ' * (i % 4)}old mill" for i in range(9)]


def shortage():
    """What torch raises where a GPU has no memory left."""
    import torch

    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class Small:
    """Stands before a network (or a part of one) and has no memory for batches of more than ``most`` tokens.

    It fails after the work, so that caches and gradients of the failed attempt are there.
    """

    def __init__(self, inner, most):
        self.inner, self.most, self.failed, self.seen = inner, most, 0, []

    def __call__(self, *given, **named):
        ids = named["input_ids"] if "input_ids" in named else given[0]
        made = self.inner(*given, **named)
        if ids.numel() > self.most:
            self.failed += 1
            raise shortage()
        self.seen.append(ids.numel())
        return made

    def __getattr__(self, name):
        return getattr(self.inner, name)


def test_batches_are_cut_until_they_fit_and_stay_so():
    said, tried = [], []

    def work(batch):
        tried.append(list(batch))
        if sum(batch) > 10:
            raise shortage()
        return sum(batch)

    room = Room("numbers", "lower them", log=said.append)
    found = list(room.batches([6, 5, 4, 3, 2, 1], lambda n: n, 4, work))
    assert [batch for batch, _ in found] == [[6], [5], [4], [3, 2], [1]] and [n for _, n in found] == [6, 5, 4, 5, 1]
    # 4 x 6 failed, then at most 12 tokens: 2 x 6 failed, at most 6
    assert tried[:3] == [[6, 5, 4, 3], [6, 5], [6]] and room.tokens == 6
    assert said == ["numbers: 24 tokens at once do not fit into the GPU's memory; halved until they do"]
    with pytest.raises(
        ModelError, match=r"numbers: the GPU's memory does not hold a single one of 11 tokens; lower them"
    ):
        list(room.batches([11], lambda n: n, 4, work))


def test_items_without_a_length_are_cut_too():
    def work(batch):
        if len(batch) > 1:
            raise shortage()
        return batch[0]

    assert [one for _, one in Room("texts", "").batches(["", "", ""], len, 3, work)] == ["", "", ""]


def test_other_errors_pass_and_what_cannot_be_cut_is_named():
    def work(batch):
        raise ValueError("no shortage")

    with pytest.raises(ValueError, match="no shortage"):
        list(Room("texts", "").batches(["a", "b"], len, 2, work))
    with (
        pytest.raises(ModelError, match=r"a step: the GPU's memory does not suffice \(CUDA out of memory"),
        named_shortage("a step", "lower batch_size"),
    ):
        raise shortage()


@pytest.fixture(scope="module")
def tiny_lm(tmp_path_factory):
    from searchtune.training.tiny import build_lm

    folder = tmp_path_factory.mktemp("room") / "tiny-lm"
    folder.mkdir()
    build_lm(TEXTS, folder, seed=3, vocabulary=400)
    return folder


def engine_of(folder, said):
    return open_engine(folder, "transformers", dtype="float32", threads=1, max_model_len=256, log=said.append)


@pytest.mark.slow
def test_answers_do_not_depend_on_the_memory(tiny_lm):
    """Drawn answers, and answers held to a grammar: a row that is done again has its first noise and grammar."""
    said = []
    whole, small = engine_of(tiny_lm, said), engine_of(tiny_lm, said)
    small._body = Small(small._body, 60)
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}, "b": {"type": "integer"}}}
    schema |= {"required": ["a"], "additionalProperties": False}
    samplings = [
        Sampling(max_tokens=12, temperature=1.0, top_p=0.9, seed=5, json_schema=schema if i % 3 == 0 else None)
        for i in range(len(PROMPTS))
    ]
    assert small.generate(PROMPTS, samplings) == whole.generate(PROMPTS, samplings)
    assert small._body.failed and len(said) == 1 and "tiny-lm, prompts" in said[0]
    failed = small._body.failed
    assert small.generate(PROMPTS, samplings) == whole.generate(PROMPTS, samplings)
    assert small._body.failed == failed, "the smaller size is kept"
    texts = [[" yes", " no mill at all"]] * len(PROMPTS)
    for mine, theirs in zip(small.score(PROMPTS, texts), whole.score(PROMPTS, texts), strict=True):
        assert [s.logprob for s in mine] == pytest.approx([s.logprob for s in theirs], abs=1e-4)


@pytest.mark.slow
def test_noise_and_grammar_of_a_broken_batch_start_anew(tiny_lm):
    """The failure comes in the middle of an answer, when tokens have been drawn and accepted."""
    said = []
    whole, small = engine_of(tiny_lm, said), engine_of(tiny_lm, said)
    body, steps = small._body, []

    def breaks_once(**named):
        steps.append(len(named["input_ids"]))
        if len(steps) == 6:
            raise shortage()
        return body(**named)

    small._body = breaks_once
    samplings = Sampling(max_tokens=12, temperature=1.0, seed=7, choice=("a river", "a mill", "no such thing"))
    assert small.generate(PROMPTS, samplings) == whole.generate(PROMPTS, samplings)
    assert len(said) == 1 and max(steps[6:]) < steps[0]


@pytest.mark.slow
def test_a_prompt_that_does_not_fit_alone_is_named(tiny_lm):
    engine = engine_of(tiny_lm, [])
    engine._body = Small(engine._body, 3)
    with pytest.raises(ModelError, match=r"tiny-lm, prompts: .* not hold a single one of \d+ tokens; lower max_model"):
        engine.generate(PROMPTS, Sampling(max_tokens=4))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    from searchtune.training.tiny import build_encoder

    path = tmp_path_factory.mktemp("room") / "encoder"
    build_encoder(TEXTS, path, hidden=32, vocabulary=200)
    return path


@pytest.mark.slow
def test_encoders_and_rerankers_give_the_same_in_smaller_batches(encoder):
    import numpy as np
    import torch

    from searchtune.reranking.cross_encoder import CrossEncoder
    from searchtune.retrieval.dense import DenseEncoder
    from searchtune.retrieval.late_interaction import LateInteractionModel, Settings

    pairs = [(text, PROMPTS[i % 9]) for i, text in enumerate(TEXTS)]
    whole, small = (CrossEncoder.load(encoder, 40, seed=3, log=print) for _ in range(2))
    network, sizes = small.model.forward, []

    def narrow(**fields):
        sizes.append(fields["input_ids"].numel())
        if sizes[-1] > 100:
            raise shortage()
        return network(**fields)

    small.model.forward = narrow
    assert small.score(pairs) == pytest.approx(whole.score(pairs), abs=1e-5)
    assert sizes[0] > 100 and small.room.shrunk

    whole, small = (LateInteractionModel.load(encoder, "untrained", Settings(dim=8)) for _ in range(2))
    small.encoder = Small(small.encoder, 40)
    for mine, theirs in zip(small.encode_passages(TEXTS), whole.encode_passages(TEXTS), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)
    assert small.encoder.failed

    whole, small = DenseEncoder(encoder, 32), DenseEncoder(encoder, 32)
    small._model = Small(small._model, 40)
    assert np.allclose(small.encode(TEXTS), whole.encode(TEXTS), atol=1e-5)
    assert small._model.failed


class Counted:
    """A network under training that has no memory for micro-batches of more than ``most`` tokens, from step ``first``.

    It fails after a micro-batch's backward pass has begun: gradients and random numbers have moved.
    """

    def __init__(self, network, most):
        self.network, self.most, self.failed = network, most, 0

    def __call__(self, batch):
        loss, n = type(self.network).loss(self.network, batch)
        if len(batch) * max(len(e.ids) for e in batch) > self.most:
            self.failed += 1
            raise shortage()
        return loss, n


def training(tiny_lm, most=None, **params):
    """Train; return the weights that learn, the curve, the room's words and the failures."""
    from searchtune.training.sft import Network, fit, settings_of

    given = {"lr": 5e-3, "batch_size": 6, "max_steps": 4, "dtype": "float32", "log_steps": 1}
    settings = settings_of(given | {"lora": {"r": 4, "dropout": 0.3}} | params)
    network = Network.load(tiny_lm, settings, 1)
    counted = Counted(network, most or 10**9)
    network.loss = counted
    train = [Example(tuple(range(5, 5 + n)), n // 2) for n in (8, 9, 20, 11, 21, 12, 7, 15, 22, 10, 9, 8)]
    said = []
    curve = fit(network, train, train[:4], settings, said.append)
    return [w.detach().clone() for w in network.weights], curve, said, counted.failed


@pytest.mark.slow
def test_a_step_that_did_not_fit_leaves_no_trace(tiny_lm):
    """Dropout and weights are those of a training whose micro-batches were small from the start."""
    from searchtune.training.sft import parts_of

    broken, curve, said, failed = training(tiny_lm, most=45, micro_batch_tokens=400)
    assert failed and sum("do not fit" in line for line in said) == 1
    # 4 examples of the dev set, 80 tokens, are the first to fail: 40 are left
    whole, plain, *_ = training(tiny_lm, micro_batch_tokens=40)
    assert all(a.equal(b) for a, b in zip(broken, whole, strict=True))
    assert (curve.loss, curve.dev_loss, curve.padded) == (plain.loss, plain.dev_loss, plain.padded)
    other, *_ = training(tiny_lm, micro_batch_tokens=400)
    assert not all(a.equal(b) for a, b in zip(broken, other, strict=True)), "dropout tells the sizes apart"
    assert len(parts_of([Example((1,) * 9, 1)] * 4, 40)) == 1


@pytest.mark.slow
def test_a_step_that_fails_in_its_middle_begins_anew(tiny_lm, monkeypatch):
    """The second micro-batch of a step fails: the first one's gradient is there, and dropout has drawn."""
    import torch

    from searchtune.training.sft import Network, room_of, settings_of, train_step

    settings = settings_of({"lora": {"r": 4, "dropout": 0.3}, "dtype": "float32", "micro_batch_tokens": 40})
    batch = [Example(tuple(range(5, 5 + n)), n // 2) for n in (8, 9, 20, 19)]
    gradients = []
    for fails in (False, True):
        network = Network.load(tiny_lm, settings, 1)
        counted = Counted(network, 39 if fails else 10**9)
        network.loss = counted
        room = room_of(settings, print)
        if not fails:
            room.tokens = 20  # what is left of 40 after the failure
        optimizer = torch.optim.SGD(network.weights, lr=0.1)
        torch.manual_seed(11)
        train_step(network, optimizer, batch, settings, 0, room)
        gradients.append([w.grad.clone() for w in network.weights] + [torch.get_rng_state()])
        assert bool(counted.failed) == fails and room.tokens == 20
    assert all(a.equal(b) for a, b in zip(*gradients, strict=True))


@pytest.mark.slow
def test_an_example_too_large_alone_and_several_processes_are_refused(tiny_lm):
    from searchtune.training.sft import Network, in_parts, room_of, settings_of

    with pytest.raises(ModelError, match=r"does not hold a single one of \d+ tokens; lower max_length"):
        training(tiny_lm, most=5)
    settings = settings_of({"dtype": "float32"})
    network = Network.load(tiny_lm, settings, 1)
    network.alone = False
    room = room_of(settings, print)

    def fails(parts):
        raise shortage()

    with pytest.raises(ModelError, match=r"Lower micro_batch_tokens .* with several processes"):
        in_parts(network, [Example((1, 2, 3), 1)] * 3, room, fails)
    assert room.tokens == settings.micro_batch_tokens
