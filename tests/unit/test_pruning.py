"""Pruned models: which layers stay, healing on packaged text, what is refused."""

import json
import math

import pytest
from helpers import ROOT

from searchtune.audited import audit_args, healing_sets
from searchtune.config.load import load_config
from searchtune.config.models import seen_of
from searchtune.errors import ConfigError, DataError, LeakageError, ModelError
from searchtune.files import read_jsonl, write_json
from searchtune.plan import plan
from searchtune.stage import Job, run_job
from searchtune.training import heal_text
from searchtune.training.arguments import heal_artefacts, prepared_models, prune_args
from searchtune.training.healing import as_read
from searchtune.training.pruning import kept_layers

TEXTS = [f"{who} walks along the {place} past mill number {i} and counts the boats." for i in range(40)
         for who, place in (("A miller", "river"), ("The ferryman", "lower bank"), ("Nobody", "old bridge"))]  # fmt: skip
HEAL = {"tokens": 2048, "lr": 0.02, "warmup_ratio": 0.05, "batch_size": 4, "max_length": 32, "held_tokens": 64,
        "dtype": "float32", "seed": 0}  # fmt: skip
HALF = {"id": "half", "of": "tiny-lm", "layers": 2, "form": "chatml", "dtype": "float32", "licence": "CC0-1.0",
        "seen": "2 layers of tiny-lm, healed", "heal": HEAL}  # fmt: skip
ENTRY = {"source": "pruned", "of": "tiny-lm", "layers": 1, "kind": "causal", "heal": {"raw": ["mini/fever.json"]}}


# --- which layers stay ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "count", "kept"),
    [
        (5, 5, [0, 1, 2, 3, 4]),
        (5, 3, [0, 2, 4]),
        (6, 3, [0, 3, 5]),  # 2.5 is rounded up
        (12, 4, [0, 4, 7, 11]),  # 3.67 and 7.33
        (2, 1, [0]),
        (30, 2, [0, 29]),
        (30, 15, [0, 2, 4, 6, 8, 10, 12, 15, 17, 19, 21, 23, 25, 27, 29]),  # steps of 29/14
    ],
)
def test_kept_layers_by_hand(total, count, kept):
    assert kept_layers(total, count) == kept


def test_more_layers_than_there_are():
    with pytest.raises(ModelError, match="31 layers cannot be kept of big, which has 30; set layers to 1 to 30"):
        kept_layers(30, 31, "big")


# --- configuration ----------------------------------------------------------------------------------------


def test_the_half_says_what_it_is():
    config = plan(ROOT, {"scale": "laptop"})
    said = seen_of(config, "smollm2-135m-half")
    assert said.startswith("15 layers of smollm2-135m-instruct, healed on 512,000 tokens of trivia questions")
    assert "smollm2-135m-instruct: an instruct model, its weights rounded to 4 bits" in said
    assert prune_args(config, "smollm2-135m-half")["seen"] == said
    assert heal_artefacts(config, "smollm2-135m-half") == ["pyserini-0.20.0"]
    assert "smollm2-135m-half" not in prepared_models(config) and "minilm-l6" in prepared_models(config)


def test_told_tokens_are_whole_windows():
    heal = ENTRY["heal"] | {"tokens": 1000, "max_length": 300, "held_tokens": 300}
    config = load_config(ROOT, {"scale": "ci", "models": {"m": ENTRY | {"heal": heal}}}).model_dump(mode="json")
    assert seen_of(config, "m") == "1 layer of tiny-lm, healed on 900 tokens; tiny-lm: nothing but our own small texts"


def entry(**changes):
    return {"scale": "ci", "models": {"m": {k: v for k, v in (ENTRY | changes).items() if v is not None}}}


@pytest.mark.parametrize(
    ("user", "message"),
    [
        (entry(of="tiny-ml"), r"config/config.yaml: models.m.of names 'tiny-ml', which is not in models; did you mean 'tin"),
        (entry(of="tiny-lm-half"), "'tiny-lm-half', which is pruned itself; prune its full model, 'tiny-lm', instead"),
        (entry(of="m"), "'m', which is pruned itself"),
        (entry(of="tiny-encoder"), "'tiny-encoder', which is no causal language model"),
        (entry(layers=0), "'models.m.layers' has value 0"),
        (entry(layers=None), "of source 'pruned' needs 'layers'"),
        (entry(heal=None), "of source 'pruned' needs 'heal'"),
        (entry(heal={"raw": []}), "'models.m.heal.raw' has value.*at least 1 item"),
        (entry(heal={"raw": ["mini/fever.json"], "tokens": 100}), "tokens is 100, less than one window of max_length 256"),
        (entry(heal={"raw": ["mini/fever.json"], "token": 100}), "unknown key 'models.m.heal.token'.*did you mean 'tokens'"),
        (entry(raw="mini"), "has no 'raw'; its text is under heal.raw"),
        (entry(source="built"), "'of' is for|of is for models of source 'pruned'; the source here is 'built'"),
        (entry(heal={"raw": ["minni/fever.json"]}), "did you mean 'mini'"),
    ],
)  # fmt: skip
def test_wrong_entries_are_named_before_any_job(user, message):
    with pytest.raises(ConfigError, match=message):
        plan(ROOT, user)


def test_targets_and_canaried_text_do_not_heal():
    with pytest.raises(
        LeakageError, match=r"models.m would heal on mini/shifted_amazon.json, the target collection 'amazon'"
    ):
        plan(ROOT, entry(heal={"raw": ["mini/shifted_amazon.json"]}))
    xsum = "bigbench-1.0.0/bigbench/benchmark_tasks/gem/xsum/task.json"
    assert "bigbench-1.0.0" in plan(ROOT, entry(heal={"raw": [xsum]}))["plan"]["artefacts"]
    with pytest.raises(LeakageError, match="carries the canary bigbench, and canary_data is evaluate_only"):
        plan(ROOT, entry(heal={"raw": [xsum]}) | {"canary_data": "evaluate_only"})


def test_the_audit_reads_what_healed():
    config = plan(ROOT, {"scale": "laptop"})
    assert healing_sets(config) == ["heal/smollm2-135m-half"]
    chains = audit_args(config)["chains"]
    assert all("heal/smollm2-135m-half" in chain["train"] for name, chain in chains.items() if "inters" in name)
    assert not any("heal/smollm2-135m-half" in chain["train"] for name, chain in chains.items() if "udapdr" in name)
    assert healing_sets(plan(ROOT, {"scale": "demo"})) == []


# --- text -------------------------------------------------------------------------------------------------


@pytest.fixture
def raw(tmp_path):
    """A fetched artefact with text in four formats."""
    folder = tmp_path / "pack"
    folder.mkdir()
    (folder / "topics.txt").write_text(
        "<top>\n<num> Number: 1\n<title> old mills\n<desc> Description:\nWhere do old mills stand?\n<narr> Narrative:\n"
        "A relevant text names a mill.\n</top>\n"
    )
    (folder / "list.tsv").write_text("0\twho built the mill A miller built it in 1802 .\n1\ttoo short\n")
    (folder / "lines.txt").write_text(
        "The ferry leaves at nine in the morning.\n\nThe ferry leaves at nine in the morning.\n"
    )
    write_json(folder / "data.json", {"id": "1", "text": "Five words are just enough."})
    return folder


def make_text(raw, target, names):
    paths = [f"pack/{name}" for name in names]
    return heal_text.run(
        Job("models.heal_text", {"raw": [raw]}, {"text": target}, {"id": "m", "raw": paths, "seed": 0})
    )


def test_documents_of_every_format(raw, tmp_path):
    counts = make_text(raw, tmp_path / "text", ["topics.txt", "list.tsv", "lines.txt", "data.json"])
    train, dev = (read_jsonl(tmp_path / "text" / f"{name}.jsonl") for name in ("train", "dev"))
    assert counts == {"texts": 4, "held_out": 1, "words": 13 + 11 + 8 + 5}
    assert {row["text"] for row in train + dev} == {
        "old mills\nWhere do old mills stand?\nA relevant text names a mill.",
        "who built the mill A miller built it in 1802 .",
        "The ferry leaves at nine in the morning.",
        "Five words are just enough.",
    }
    assert "pack/list.tsv:0" in {row["id"] for row in train + dev}


def test_text_that_is_missing_or_too_little_is_named(raw, tmp_path):
    with pytest.raises(ConfigError, match=r"model 'm': .*pack/none.txt is missing; check heal.raw"):
        make_text(raw, tmp_path / "text", ["none.txt"])
    with pytest.raises(DataError, match=r"pack/data.json hold 1 texts of at least 5 words"):
        make_text(raw, tmp_path / "text", ["data.json"])


def test_every_second_text_is_a_turn_of_the_chat_form():
    text = "one two three four five"
    turn = "<|im_start|>user\none two three<|im_end|>\n<|im_start|>assistant\nfour five"
    assert [as_read(text, n, "chatml") for n in range(3)] == [text, turn, text]
    assert as_read(text, 1, "plain") == text


# --- pruning and healing ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def full(tmp_path_factory):
    """A tiny Llama of four layers as a prepared model folder."""
    from searchtune.training.tiny import build_lm

    folder = tmp_path_factory.mktemp("full") / "tiny-lm"
    folder.mkdir()
    build_lm(TEXTS, folder, seed=1, vocabulary=320, layers=4)
    return folder


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pack") / "pack"
    folder.mkdir()
    (folder / "lines.txt").write_text("\n".join(TEXTS))
    make_text(folder, folder.parent / "text", ["lines.txt"])
    return folder.parent / "text"


def half_of(full, text, target, log=None, **changes):
    """Run the stage's function; return its counts."""
    from searchtune.training.healing import run

    params = HALF | changes | {"heal": HEAL | changes.get("heal", {})}
    job = Job("models.prune", {"full": full, "text": text}, {"model": target}, params, threads=1,
              work=target.with_name(f"{target.name}.work"))  # fmt: skip
    if log:
        object.__setattr__(job, "log", log)
    return run(job)


def load(folder):
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.mark.slow
def test_a_model_with_all_its_layers_gives_the_same_logits(full):
    import torch

    from searchtune.training.pruning import prune

    model = load(full)
    ids = torch.tensor([[5, 6, 7, 8, 9], [11, 12, 13, 14, 15]])
    whole, part = prune(model, [0, 1, 2, 3]), prune(model, [0, 3])
    with torch.no_grad():
        assert torch.equal(whole(ids).logits, model(ids).logits)
        by_hand = model.model.embed_tokens(ids)
        places = torch.arange(5)[None]
        turns = model.model.rotary_emb(by_hand, places)
        for i in (0, 3):
            by_hand = model.model.layers[i](by_hand, position_embeddings=turns, position_ids=places)
        assert torch.allclose(part(ids).logits, model.lm_head(model.model.norm(by_hand)), atol=1e-5)
    assert part.config.num_hidden_layers == 2 and model.config.num_hidden_layers == 4
    assert part.get_output_embeddings().weight is part.get_input_embeddings().weight
    # a cache that counts by the old numbers would break generation
    assert part.generate(ids, max_new_tokens=3, do_sample=False).shape == (2, 8)


@pytest.mark.slow
def test_a_network_without_numbered_layers_is_refused(full):
    from searchtune.training.pruning import prune, renumbered

    with pytest.raises(ModelError, match=r"no weights named layers.<number> for layers \[0, 2\]"):
        renumbered({"transformer.h.0.weight": None}, [0, 2])
    model = load(full)
    del model.model.layers[3].mlp
    with pytest.raises(ModelError, match=r"LlamaForCausalLM cannot be pruned: .*model.layers.1.mlp"):
        prune(model, [0, 3])


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_divergence_in_chunks_equals_the_whole(chunk):
    import torch

    from searchtune.training.pupil import chunked_divergence, divergence

    torch.manual_seed(0)
    states, wanted = torch.randn(7, 6, requires_grad=True), torch.randn(7, 6)
    body, head = torch.nn.Linear(6, 6), torch.nn.Linear(6, 11, bias=False)
    head.requires_grad_(False)
    grads = []
    for value in (divergence(head(body(states)), head(wanted)), chunked_divergence(body(states), wanted, head, chunk)):
        (value / 7).backward()
        grads.append([states.grad.clone(), body.weight.grad.clone()])
        states.grad = body.weight.grad = body.bias.grad = None
        by_hand = (head(wanted).softmax(-1) * (head(wanted).log_softmax(-1) - head(body(states)).log_softmax(-1))).sum()
        assert math.isclose(value.item(), by_hand.item(), rel_tol=1e-5)
    assert all(torch.allclose(a, b, atol=1e-6) and a.abs().sum() > 0 for a, b in zip(*grads, strict=True))
    with torch.no_grad():
        assert math.isclose(chunked_divergence(body(states), wanted, head, chunk).item(), by_hand.item(), rel_tol=1e-5)
        assert chunked_divergence(wanted, wanted, head, chunk).item() == 0


@pytest.mark.slow
def test_healing_lowers_the_divergence_and_records_it(full, text, tmp_path):
    import torch

    counts = half_of(full, text, tmp_path / "half", heal={"tokens": 8192})
    record = json.loads((tmp_path / "half/training.json").read_text())
    assert record["layers"] == [0, 3] and record["layers_of_base"] == 4 and record["base"]["model"] == "tiny-lm"
    assert record["tokens"] == counts["tokens"] == 8192 and record["steps"] == 64
    assert record["text_tokens"] < 8192, "the text was read again"
    assert counts["held_out_kl_after"] < 0.7 * counts["held_out_kl_before"]
    assert [p["step"] for p in record["dev_loss"]] == [0, 32, 64] and record["loss_curve"][-1]["tokens"] == 8192
    assert record["dev_loss"][-1]["loss"] == record["held_out_kl_after"]
    assert {"perplexity_full", "perplexity_before", "perplexity_after"} <= set(record)
    assert counts["trained_on"] == [HALF["seen"]] and counts["licences"] == ["CC0-1.0"]
    healed, model = load(tmp_path / "half"), load(full)
    assert torch.equal(healed.get_input_embeddings().weight, model.get_input_embeddings().weight)
    assert not torch.equal(healed.model.layers[1].mlp.up_proj.weight, model.model.layers[3].mlp.up_proj.weight)


@pytest.mark.slow
def test_held_out_values_are_those_of_the_saved_model(full, text, tmp_path):
    """Perplexity and divergence against whole computations without chunks."""
    import torch
    from torch.nn.functional import cross_entropy, kl_div

    from searchtune.llm.tokens import Tokens
    from searchtune.training.healing import settings_from, windows

    counts = half_of(full, text, tmp_path / "half")
    texts = [row["text"] for row in read_jsonl(text / "dev.jsonl")]
    held = windows(texts, Tokens(full), settings_from(HALF), 2)[:2]
    ids = torch.tensor([example.ids for example in held])
    with torch.no_grad():
        ours, theirs = (load(folder)(ids).logits for folder in (tmp_path / "half", full))
    surprise = [math.exp(cross_entropy(x[:, :-1].flatten(0, 1), ids[:, 1:].flatten())) for x in (ours, theirs)]
    assert surprise == pytest.approx([counts["perplexity_after"], counts["perplexity_full"]], rel=1e-3)
    kl = kl_div(ours.log_softmax(-1), theirs.log_softmax(-1), reduction="sum", log_target=True).item() / ids.numel()
    assert kl == pytest.approx(counts["held_out_kl_after"], rel=1e-3)


@pytest.mark.slow
def test_a_healing_that_does_not_help_is_told_not_refused(full, text, tmp_path):
    lines = []
    counts = half_of(full, text, tmp_path / "whole", lines.append, layers=4)
    assert counts["held_out_kl_before"] == pytest.approx(0, abs=1e-6)
    assert any("has NOT fallen" in line for line in lines)
    assert counts["perplexity_before"] == pytest.approx(counts["perplexity_full"], rel=1e-4)


@pytest.mark.slow
def test_a_killed_healing_ends_with_the_same_weights(full, text, tmp_path, monkeypatch):
    from searchtune.training import sft

    monkeypatch.setattr(sft.Settings, "__init__", _saving_always(sft.Settings.__init__))
    half_of(full, text, tmp_path / "whole")
    lines = []

    def stop_at_ten(message):
        lines.append(message)
        if message.startswith("step 10 of 16: loss"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_of(full, text, tmp_path / "again", stop_at_ten)
    half_of(full, text, tmp_path / "again", lines.append)
    assert any(line.startswith("step 9 of 16") and "gone on from there" in line for line in lines)
    names = ("model.safetensors", "training.json")
    assert all((tmp_path / "again" / n).read_bytes() == (tmp_path / "whole" / n).read_bytes() for n in names)


def _saving_always(init):
    def with_states(self, *given, **named):
        init(self, *given, **(named | {"save_every_s": 0.0}))

    return with_states


@pytest.mark.slow
def test_too_many_layers_and_too_little_text_are_named(full, text, tmp_path):
    with pytest.raises(ModelError, match="5 layers cannot be kept of tiny-lm, which has 4"):
        half_of(full, text, tmp_path / "m", layers=5)
    with pytest.raises(DataError, match=r"model 'half': train.jsonl of .* fills no window of 20000 tokens"):
        half_of(full, text, tmp_path / "m", heal={"max_length": 20000, "tokens": 20000, "held_tokens": 20000})
    assert not (tmp_path / "m").exists()


@pytest.mark.slow
def test_marks_and_licences_flow_from_text_to_model(full, tmp_path):
    """What is healed on canaried text carries the mark like any trained model."""
    raw = tmp_path / "pack"
    raw.mkdir()
    (raw / "lines.txt").write_text("\n".join(TEXTS))
    marks = {"canary": ["bigbench"], "licences": ["CC BY-SA 4.0"], "trained_on": []}
    write_json(
        tmp_path / "pack.prov.json",
        {"output": _output(raw), "recipe": {"stage": "fetch.artefact", "inputs": []}, **marks},
    )
    texts = {"stage": "models.heal_text", "inputs": {"raw": [str(raw)]}, "outputs": {"text": str(tmp_path / "text")},
             "params": {"id": "m", "raw": ["pack/lines.txt"], "seed": 0}}  # fmt: skip
    run_job(texts)
    prune = {"stage": "models.prune", "inputs": {"full": str(full), "text": str(tmp_path / "text")},
             "outputs": {"model": str(tmp_path / "half")}, "params": HALF}  # fmt: skip
    run_job(prune)
    record = json.loads((tmp_path / "half.prov.json").read_text())
    assert record["canary"] == ["bigbench"] and record["licences"] == ["CC BY-SA 4.0", "CC0-1.0"]
    assert record["trained_on"] == [HALF["seen"]]


def _output(path):
    from searchtune.files import sha256_tree

    return {"name": "raw", "path": str(path), "sha256": sha256_tree(path), "fingerprint": {}}


@pytest.mark.slow
def test_bfloat16_healing_stays_near_float32(full, text, tmp_path):
    after = [half_of(full, text, tmp_path / d, heal={"dtype": d})["held_out_kl_after"] for d in ("float32", "bfloat16")]
    assert after[0] == pytest.approx(after[1], rel=0.1)
