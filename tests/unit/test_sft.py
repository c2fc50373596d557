"""Supervised fine-tuning: data, schedule, masks, and whole small trainings."""

import json
import math

import pytest

from searchtune.errors import ConfigError, DataError, ModelError
from searchtune.files import sha256_tree, write_json, write_jsonl
from searchtune.stage import Job
from searchtune.training.sft import Lora, parts_of, settings_of
from searchtune.training.sft_data import Example, epoch_batches, plan_batches, prefix, rate_at, tokenize

TEXTS = ["The river runs past the old mill.", "Which bridge crosses the river?", "A mill grinds grain into flour."] * 3
ROWS = [
    {"id": f"r{i}", "prompt": f"Where is mill number {i}?" + " It is old." * (i % 4), "completion": f"By river {i}."}
    for i in range(12)
]
QUICK = {"lr": 5e-3, "batch_size": 4, "max_steps": 3, "dtype": "float32", "save_dtype": "float32", "log_steps": 1}


def test_settings_refuse_unknown_keys():
    assert settings_of({"lr": 1e-4, "lora": {"r": 8, "targets": ["q_proj"]}}).lora == Lora(r=8, targets=("q_proj",))
    with pytest.raises(ConfigError, match=r"train.sft: unknown parameter 'epoch'; did you mean 'epochs'\?"):
        settings_of({"epoch": 3})
    with pytest.raises(ConfigError, match=r"lora: unknown parameter 'rank'"):
        settings_of({"lora": {"rank": 8}})


def test_rates_by_hand():
    assert [rate_at(s, 6, 2, "linear") for s in range(6)] == [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]
    assert [round(rate_at(s, 6, 2, "cosine"), 4) for s in (2, 4, 5)] == [1.0, 0.5, round(0.5 - 0.5 * 0.5**0.5, 4)]
    assert rate_at(5, 6, 0, "constant") == 1.0
    with pytest.raises(ConfigError, match="schedule 'step' is unknown"):
        rate_at(3, 6, 0, "step")


def test_an_epoch_holds_every_example_once_in_batches_of_like_length():
    lengths = [i % 50 + 1 for i in range(200)]
    batches = epoch_batches(lengths, 10, seed=1, epoch=0)
    assert sorted(i for batch in batches for i in batch) == list(range(200))
    spread = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches]
    assert sum(spread) / len(spread) < 10
    assert batches == epoch_batches(lengths, 10, seed=1, epoch=0)
    assert batches != epoch_batches(lengths, 10, seed=1, epoch=1) != epoch_batches(lengths, 10, seed=2, epoch=1)


def test_plan_counts_steps_or_epochs():
    assert len(plan_batches([5] * 10, 4, 0, epochs=2, max_steps=None)) == 6
    assert len(plan_batches([5] * 10, 4, 0, epochs=1, max_steps=7)) == 7
    assert len(plan_batches([5] * 10, 4, 0, epochs=0.5, max_steps=None)) == 2


def test_parts_hold_at_most_so_many_padded_tokens():
    batch = [Example(tuple(range(n)), 1) for n in (9, 2, 3, 3, 4, 12)]
    sizes = [[len(e.ids) for e in part] for part in parts_of(batch, 12)]
    # 4 x 3 = 12 fits, 4 x 4 does not; what is longer than the limit stands alone
    assert sizes == [[2, 3, 3], [4], [9], [12]]
    assert [len(part) for part in parts_of(batch, 1)] == [1] * 6 and parts_of([], 5) == []


def test_even_batches_take_exactly_so_many_steps():
    lengths = [i % 30 + 1 for i in range(315)]
    plan = plan_batches(lengths, 8, 0, 1.0, None, steps_per_epoch=70)
    assert len(plan) == 70 and sorted(i for batch in plan for i in batch) == list(range(315))
    assert {len(batch) for batch in plan} == {4, 5}
    assert len(plan_batches(lengths, 8, 0, 2.0, None, steps_per_epoch=70)) == 140
    assert len(plan_batches([5, 5], 8, 0, 1.0, None, steps_per_epoch=3)) == 3, "fewer examples than steps: again"


def test_smaller_volumes_are_prefixes_of_larger_ones():
    assert prefix(list("abcdefgh"), 0.25) == ["a", "b"]
    assert prefix(["a"], 0.1) == ["a"]
    with pytest.raises(ConfigError, match="fraction is 0"):
        prefix(["a"], 0)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A tiny Llama as a prepared model folder."""
    from searchtune.training.tiny import build_lm

    folder = tmp_path_factory.mktemp("base") / "tiny-lm"
    folder.mkdir()
    build_lm(TEXTS, folder, seed=1, vocabulary=320)
    return folder


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_jsonl(folder / "train.jsonl", ROWS[:8])
    write_jsonl(folder / "dev.jsonl", ROWS[8:])
    return folder


def train(base, data, target, **params):
    """Run the stage's function; return its counts."""
    from searchtune.training.sft import run

    inputs = {"model": base, "train": data / "train.jsonl", "dev": data / "dev.jsonl"}
    return run(
        Job(
            "train.sft",
            inputs,
            {"model": target},
            QUICK | params,
            threads=1,
            work=target.with_name(f"{target.name}.work"),
        )
    )


@pytest.mark.slow
def test_tokenize_counts_what_is_too_long_and_ends_completions(base):
    from searchtune.llm.tokens import Tokens

    tokens = Tokens(base)
    whole, none = tokenize(ROWS, tokens, "chatml", 2, max_length=500)
    limit = sorted(len(e.ids) for e in whole)[5]
    examples, dropped = tokenize(ROWS, tokens, "chatml", 2, max_length=limit)
    assert none == 0 and dropped == sum(len(e.ids) > limit for e in whole) > 0
    assert len(examples) + dropped == 12
    first = whole[0]
    text = tokens.tokenizer.decode(list(first.ids), skip_special_tokens=False)
    assert text == "<|im_start|>user\nWhere is mill number 0?<|im_end|>\n<|im_start|>assistant\nBy river 0.<|im_end|>"
    assert tokens.tokenizer.decode(first.ids[first.n_prompt :], skip_special_tokens=False) == "By river 0.<|im_end|>"
    with pytest.raises(DataError, match=r"instruction 2 \(id 'x'\) lacks its prompt or its completion"):
        tokenize([ROWS[0], {"id": "x", "prompt": "p", "completion": ""}], tokens, "chatml", 2, 80)


@pytest.mark.slow
def test_loss_equals_the_full_computation_with_masked_labels(base):
    import torch

    from searchtune.training.sft import Network

    network = Network.load(base, settings_of({"dtype": "float32", "full": True}), 1)
    batch = [Example((5, 6, 7, 8, 9), 2), Example((5, 6, 7), 1), Example((9, 8, 7, 6), 3)]
    loss, n = network.loss(batch)
    ids = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, 2, 2], [9, 8, 7, 6, 2]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
    labels = torch.tensor([[-100, -100, 7, 8, 9], [-100, 6, 7, -100, -100], [-100, -100, -100, 6, -100]])
    full = network.model(input_ids=ids, attention_mask=mask, labels=labels).loss
    assert n == 6
    assert math.isclose(loss.item() / n, full.item(), rel_tol=1e-5)


@pytest.mark.slow
def test_moments_that_the_memory_does_not_hold_are_named(base, monkeypatch):
    """AdamW takes the memory of its moments in the first step, after every micro batch had room."""
    import torch

    from searchtune.training.sft import Network, train_step

    def refuse():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    settings = settings_of({"dtype": "float32", "batch_size": 1})
    network = Network.load(base, settings, 1)
    optimizer = torch.optim.AdamW(network.weights)
    monkeypatch.setattr(optimizer, "step", refuse)
    with pytest.raises(ModelError, match=r"an optimiser step: the GPU's memory does not suffice .*2.00 GiB.*LoRA"):
        train_step(network, optimizer, [Example((5, 6, 7), 1)], settings, 0)


@pytest.mark.slow
def test_micro_batches_give_the_gradient_of_the_whole_batch(base):
    import torch

    from searchtune.training.sft import Network, train_step

    gradients = []
    for size in (2048, 1):
        settings = settings_of({"dtype": "float32", "batch_size": 3, "micro_batch_tokens": size})
        network = Network.load(base, settings, 1)
        batch = [Example((5, 6, 7, 8, 9), 2), Example((5, 6, 7), 1), Example((9, 8, 7, 6), 3)]
        train_step(network, torch.optim.SGD(network.weights, lr=0.0), batch, settings, 0)
        gradients.append(torch.cat([p.grad.flatten() for p in network.weights]))
    assert gradients[0].abs().sum() > 0
    assert torch.allclose(*gradients, atol=1e-6)


@pytest.mark.slow
def test_training_learns_and_records_it(base, data, tmp_path):
    counts = train(base, data, tmp_path / "model", max_steps=30, lr=2e-2, save_adapter=True)
    record = json.loads((tmp_path / "model/training.json").read_text())
    assert [p["step"] for p in record["dev_loss"]] == [0, 15, 30]
    assert record["loss_curve"][-1]["loss"] < 0.5 * record["loss_curve"][0]["loss"]
    assert record["dev_loss"][-1]["loss"] < 0.85 * record["dev_loss"][0]["loss"]
    assert record["tokens"] == counts["tokens"] == record["loss_curve"][-1]["tokens"]
    assert record["seed"] == 0 and record["base"]["model"] == "tiny-lm" and counts["dropped_too_long"] == 0
    assert (tmp_path / "model/adapter/adapter_model.safetensors").is_file()


@pytest.mark.slow
def test_merged_model_equals_base_with_adapter(base, data, tmp_path):
    from searchtune.llm.engine import Sampling, open_engine

    train(base, data, tmp_path / "model", lr=2e-2, save_adapter=True)
    prompts = ["<|im_start|>user\nWhere is mill number 1?<|im_end|>\n<|im_start|>assistant\n"]
    options = {"dtype": "float32", "threads": 1, "max_model_len": 128}
    merged = open_engine(tmp_path / "model", "transformers", **options)
    stacked = open_engine(base, "transformers", adapter=tmp_path / "model/adapter", **options)
    plain = open_engine(base, "transformers", **options)
    scores = [e.score(prompts, [["By river 1."]])[0][0].logprob for e in (merged, stacked, plain)]
    assert math.isclose(scores[0], scores[1], abs_tol=1e-3)
    assert scores[0] > scores[2] + 1
    assert merged.generate(prompts, Sampling(max_tokens=6)) == stacked.generate(prompts, Sampling(max_tokens=6))


@pytest.mark.slow
@pytest.mark.parametrize("params", [{}, {"full": True}, {"lora": {"r": 4, "dropout": 0.1, "targets": ["q_proj"]}}])
def test_two_trainings_give_the_same_bytes(base, data, tmp_path, params):
    for name in ("a", "b"):
        train(base, data, tmp_path / name, **params)
    assert sha256_tree(tmp_path / "a") == sha256_tree(tmp_path / "b")
    train(base, data, tmp_path / "c", seed=1, **params)
    assert sha256_tree(tmp_path / "a") != sha256_tree(tmp_path / "c")


@pytest.mark.slow
def test_gradient_checkpointing_changes_memory_only(base, data, tmp_path):
    for name, on in (("a", False), ("b", True)):
        train(base, data, tmp_path / name, gradient_checkpointing=on)
    curves = [json.loads((tmp_path / name / "training.json").read_text())["loss_curve"] for name in ("a", "b")]
    assert [p["loss"] for p in curves[0]] == pytest.approx([p["loss"] for p in curves[1]], abs=1e-5)


@pytest.mark.slow
def test_added_tokens_learn_and_are_saved(base, data, tmp_path):
    import torch
    from safetensors.torch import load_file
    from transformers import AutoTokenizer

    train(base, data, tmp_path / "model", add_tokens=["<|passage|>"])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert len(tokenizer("<|passage|>").input_ids) == 1
    before = load_file(base / "model.safetensors")["model.embed_tokens.weight"]
    after = load_file(tmp_path / "model/model.safetensors")["model.embed_tokens.weight"]
    token = tokenizer.convert_tokens_to_ids("<|passage|>")
    old = [i for i in range(min(len(before), len(after))) if i != token]
    assert torch.equal(before[old], after[old])


@pytest.mark.slow
def test_faults_are_named(base, data, tmp_path):
    with pytest.raises(ModelError, match="LoRA target 'q_prj' is no linear layer of this model; did you mean 'q_pr"):
        train(base, data, tmp_path / "m", lora={"targets": ["q_prj"]})
    with pytest.raises(DataError, match=r"none of its 8 instructions has at most max_length=5 tokens"):
        train(base, data, tmp_path / "m", max_length=5)
    with pytest.raises(ModelError, match="the training loss is nan at step 2; lower lr"):
        train(base, data, tmp_path / "m", lr=float("inf"), warmup_ratio=0.0, max_steps=6)
    assert not (tmp_path / "m").exists()


@pytest.mark.slow
def test_a_base_without_chat_marks_or_padding_is_trained_plain_or_refused(base, data, tmp_path):
    """No padding token is needed, since padding is never read; the end mark is."""
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(base, bare)
    tokenizer = json.loads((bare / "tokenizer.json").read_text())
    settings = json.loads((bare / "tokenizer_config.json").read_text())
    for token in tokenizer["added_tokens"]:
        token["content"] = token["content"].replace("im_", "x_")
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {name.replace("<|im_", "<|x_"): i for name, i in vocabulary.items()}
    for key in ("bos_token", "eos_token", "pad_token"):
        settings.pop(key)
    write_json(bare / "tokenizer.json", tokenizer)
    write_json(bare / "tokenizer_config.json", settings)
    with pytest.raises(ModelError, match=r"no token '<\|im_end\|>'; use form 'plain' or add it"):
        train(bare, data, tmp_path / "m")
    assert train(bare, data, tmp_path / "plain", form="plain")["steps"] == 3
    assert train(bare, data, tmp_path / "added", add_tokens=["<|im_start|>", "<|im_end|>"])["steps"] == 3


@pytest.mark.slow
def test_bfloat16_training_stays_near_float32_and_keeps_what_learns_in_float32(base, data, tmp_path):
    import torch

    from searchtune.training.checkpoints import save_model
    from searchtune.training.sft import Network

    full = Network.load(base, settings_of({"dtype": "float32", "full": True}), 1)
    save_model(full.model, full.tokenizer, tmp_path / "half", "bfloat16")
    network = Network.load(tmp_path / "half", settings_of({"dtype": "bfloat16"}), 1)
    kinds = {name: p.dtype for name, p in network.model.named_parameters()}
    assert {kinds[n] for n in kinds if "lora_" in n or "embed" in n or "norm" in n} == {torch.float32}
    assert {kinds[n] for n in kinds if "base_layer" in n} == {torch.bfloat16}
    losses = [
        train(tmp_path / "half", data, tmp_path / d, dtype=d, max_steps=10, lr=1e-2)["dev_loss_last"]
        for d in ("float32", "bfloat16")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(base, data, tmp_path):
    """The second attempt starts after the last saved step and ends with the bytes of an unbroken run."""
    from searchtune.training import sft

    params = {"max_steps": 6, "save_every_s": 0.0, "lora": {"dropout": 0.1}}
    train(base, data, tmp_path / "whole", **params)

    def job(target, work):
        inputs = {"model": base, "train": data / "train.jsonl", "dev": data / "dev.jsonl"}
        return Job("train.sft", inputs, {"model": target}, QUICK | params, threads=1, work=work)

    broken = job(tmp_path / "resumed", tmp_path / "work")
    lines = []

    def stop_at_four(message):
        lines.append(message)
        if message.startswith("step 4"):
            raise KeyboardInterrupt

    object.__setattr__(broken, "log", stop_at_four)
    with pytest.raises(KeyboardInterrupt):
        sft.run(broken)
    again = job(tmp_path / "resumed", tmp_path / "work")
    object.__setattr__(again, "log", lines.append)
    sft.run(again)
    assert any("gone on from there" in line for line in lines)
    weights = "model.safetensors"
    assert (tmp_path / "resumed" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    # a state with one bit that flipped is told of, and not gone on from
    state = tmp_path / "work/training.state"
    data_of = bytearray(state.read_bytes())
    data_of[len(data_of) // 2] ^= 1
    state.write_bytes(data_of)
    flipped = job(tmp_path / "flipped", tmp_path / "work")
    lines.clear()
    object.__setattr__(flipped, "log", lines.append)
    sft.run(flipped)
    assert any("its content is not what was written" in line for line in lines)
    assert (tmp_path / "flipped" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    first, second = (json.loads((tmp_path / n / "training.json").read_text()) for n in ("whole", "resumed"))
    assert first["loss_curve"] == second["loss_curve"] and first["dev_loss"] == second["dev_loss"]
    # another training does not take the state
    other = job(tmp_path / "other", tmp_path / "work")
    other.params["lr"] = 1e-3
    lines.clear()
    object.__setattr__(other, "log", lines.append)
    sft.run(other)
    assert not any("gone on from there" in line for line in lines)


@pytest.mark.slow
def test_token_sets_train_like_the_instructions_that_they_hold(base, data, tmp_path):
    from searchtune.training import sft, tokenized

    inputs = {"model": base, "train": data / "train.jsonl", "dev": data / "dev.jsonl"}
    settings = {"form": "chatml", "max_length": 512}
    counts = tokenized.run(
        Job("train.tokenize", inputs, {"tokens": tmp_path / "t"}, settings, threads=1, work=tmp_path / "w")
    )
    assert (counts["train_rows"], counts["train_dropped"], counts["dev_rows"]) == (8, 0, 4)
    train(base, data, tmp_path / "a", fraction=0.5)
    params = QUICK | {"fraction": 0.5}
    inputs = {"model": base, "tokens": tmp_path / "t"}
    sft.run(Job("train.sft", inputs, {"model": tmp_path / "b"}, params, threads=1, work=tmp_path / "w2"))
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_share_of_a_token_set_is_a_share_of_its_rows(base, data, tmp_path):
    """Dropping an over-long row must not pull a later one into the first half of the mixture."""
    from searchtune.llm.tokens import Tokens
    from searchtune.training import tokenized

    lengths = [len(e.ids) for e in tokenize(ROWS[:8], Tokens(base), "chatml", 2, 500)[0]]
    limit = sorted(lengths)[5]
    inputs = {"model": base, "train": data / "train.jsonl", "dev": data / "dev.jsonl"}
    job = Job(
        "train.tokenize",
        inputs,
        {"tokens": tmp_path / "t"},
        {"form": "chatml", "max_length": limit},
        threads=1,
        work=tmp_path / "w",
    )
    tokenized.run(job)
    half = tokenized.TokenSet(tmp_path / "t/train", 0.5)
    assert half.limit == 4 and half.lengths == [n for n in lengths[:4] if n <= limit]
    assert half.dropped == sum(n > limit for n in lengths[:4])
    assert [len(e.ids) for e in half[0:2]] == half.lengths[:2]
    (tmp_path / "t/train/state.json").unlink()
    with pytest.raises(DataError, match="is no token set; run train.tokenize again"):
        tokenized.TokenSet(tmp_path / "t/train", 1.0)
