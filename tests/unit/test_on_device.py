"""UDAPDR's networks work where they lie: batches are made there, and number formats are that device's.

No GPU is needed: torch's device `meta` has shapes but no numbers, and every product of a tensor there with one in the
processor's memory is refused by the fixture below. That it is also fast, or right to the last digit, on a real GPU is
not shown here.
"""

import contextlib

import pytest

from searchtune.collections.beir import Collection, Passage, Query
from searchtune.llm import hardware

TEXTS = ["The river runs past the old mill.", "Which bridge crosses the river?", "A mill grinds grain into flour."] * 4
COLLECTION = Collection({f"d{i}": Passage("", text) for i, text in enumerate(TEXTS)}, {"q": Query("x")}, {})
COPIES = ("_to_copy", "copy_")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    from searchtune.training.tiny import build_encoder

    path = tmp_path_factory.mktemp("device") / "encoder"
    build_encoder(TEXTS, path, hidden=32, vocabulary=200)
    return path


@pytest.fixture
def elsewhere(monkeypatch):
    """Load on device `meta`; return the kinds of device that autocast was asked for."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class OneDevice(TorchDispatchMode):
        """Refuses operations over several devices; single numbers may come from anywhere, as on a GPU."""

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor) and t.dim()]
            kinds, name = {t.device.type for t in tensors}, function.overloadpacket.__name__
            assert len(kinds) < 2 or name in COPIES, f"{function}: {kinds}"
            if name in ("_local_scalar_dense", "is_nonzero") and args[0].is_meta:
                return False  # whether a mask is all true, which transformers asks
            return function(*args, **(kwargs or {}))

    asked = []

    def autocast(kind, **_):
        asked.append(kind)
        return contextlib.nullcontext()

    monkeypatch.setattr(torch, "autocast", autocast)
    for name in ("reranking.cross_encoder", "retrieval.late_interaction", "retrieval.dense"):
        monkeypatch.setattr(f"searchtune.{name}.device", lambda: torch.device("meta"))
    with OneDevice():
        yield asked


@pytest.mark.slow
@pytest.mark.parametrize("head", ["cls", "interaction"])
@pytest.mark.parametrize("loss", ["pointwise", "listwise"])
def test_a_reranker_learns_where_it_lies(encoder, elsewhere, head, loss):
    from searchtune.reranking.cross_encoder import CrossEncoder
    from searchtune.training.cross_encoder import group_loss

    model = CrossEncoder.load(encoder, 24, "bfloat16", head=head)
    logits = model.forward(model.tokenize([("river", text) for text in TEXTS[:4]]))
    assert logits.device.type == "meta" and set(elsewhere) == {"meta"}
    group_loss(logits, [2, 2], loss).backward()
    learnt = [w for w in model.model.parameters() if w.grad is not None]
    assert learnt and all(w.grad.device.type == "meta" for w in learnt)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["distil", "contrast"])
def test_a_student_learns_where_it_lies(encoder, elsewhere, objective):
    from searchtune.training.distillation import Tokens, Tuple, batch_loss, load_student

    params = {"dim": 8, "passage_length": 16, "query_length": 8, "skip_punctuation": True, "query_augmentation": True}
    params |= {"dropout": 0.1, "precision": "bfloat16", "objective": objective}
    params |= {"student_temperature": 1.0, "teacher_temperature": 1.0}
    model = load_student(encoder, params)
    learns = model.trainable(0)
    rows = [Tuple(f"t{i}", TEXTS[i], (f"d{i}", f"d{i + 1}"), (2.0, 1.0)) for i in range(3)]
    batch_loss(model, rows, Tokens.of(model, rows, COLLECTION), [0, 1, 2], params).backward()
    assert model.weight.grad.device.type == "meta" and set(elsewhere) == {"meta"}
    assert {w.device.type for w in learns} == {"meta"}


@pytest.mark.slow
def test_results_come_back_to_the_processor(encoder, elsewhere):
    """Numbers do not come back from `meta`: torch refuses, at the very place where they would have to."""
    from searchtune.retrieval.dense import DenseEncoder
    from searchtune.retrieval.late_interaction import LateInteractionModel, Settings

    late = LateInteractionModel.load(encoder, "untrained", Settings(dim=8))
    assert late.weight.device.type == "meta"
    dense = DenseEncoder(encoder, 32, precision="bfloat16")
    for made in (lambda: late.encode_queries(TEXTS), lambda: dense.encode(TEXTS)):
        with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
            made()
    assert set(elsewhere) == {"meta"}


def test_the_number_format_follows_the_device(monkeypatch):
    """A processor without bfloat16 units does not emulate them because a GPU beside it has some."""
    import torch

    for units in (True, False):
        hardware.multiplies_bfloat16.cache_clear()
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda units=units: {"avx512_bf16": units})
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, units=units: not units)
        assert hardware.dtype_name("auto", "cpu") == ("bfloat16" if units else "float32")
        assert hardware.dtype_name("auto", "cuda") == ("float32" if units else "bfloat16")
        assert isinstance(hardware.autocast("auto", "cpu"), torch.autocast) == units
    hardware.multiplies_bfloat16.cache_clear()


def test_seeded_draws_leave_no_trace():
    import torch

    place = torch.device("cpu")
    torch.manual_seed(1)
    plain = torch.rand(4)
    torch.manual_seed(1)
    with hardware.seeded(9, place):
        first = torch.rand(4)
    assert torch.rand(4).equal(plain)
    with hardware.seeded(9, place):
        assert torch.rand(4).equal(first)
