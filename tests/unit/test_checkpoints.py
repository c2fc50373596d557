"""Preparing base models: copies, tiny builds, refusals."""

import json

import pytest

from searchtune.errors import ConfigError, DataError, ModelError
from searchtune.files import sha256_tree
from searchtune.stage import Job
from searchtune.training.arguments import model_args, model_artefacts
from searchtune.training.checkpoints import run
from searchtune.training.tiny import read_texts

TEXTS = ["The river runs past the old mill.", "Which bridge crosses the river?", "A mill grinds grain into flour."] * 3


@pytest.fixture
def raw(tmp_path):
    """A fetched artefact with our own small text in three formats."""
    folder = tmp_path / "raw/mini"
    folder.mkdir(parents=True)
    (folder / "a.json").write_text(json.dumps({"data": [{"title": "Mill", "paragraphs": TEXTS, "n": 3}]}))
    (folder / "b.txt").write_text("A last line.\n\n")
    (folder / "c.jsonl").write_text('{"q": "one"}\n{"q": "two"}\n')
    (folder / "d.bin").write_bytes(b"\xff\xfe\x00")
    return folder


def prepare(tmp_path, artefact, name="model", **params):
    target = tmp_path / name
    counts = run(Job("models.prepare", {"raw": [artefact]}, {"model": target}, {"id": name} | params, threads=1))
    return target, counts


def test_texts_are_json_strings_and_lines(raw):
    assert read_texts([raw]) == ["Mill", *TEXTS, "A last line.", "one", "two"]


def test_a_tokenizer_needs_text(tmp_path):
    with pytest.raises(DataError, match="no text in"):
        read_texts([tmp_path])


def test_arguments_of_the_rule():
    entry = {
        "source": "gguf",
        "raw": "llm-x/sub/file.gguf",
        "kind": "causal",
        "dtype": "bfloat16",
        "builder": {},
        "endpoint": {},
        "licence": "Apache-2.0",
        "seen": "",
        "form": "chatml",
        "trust_remote_code": False,
    }
    config = {"models": {"m": entry}}
    assert model_artefacts(config, "m") == ["llm-x"]
    assert model_args(config, "m") == {
        "id": "m",
        "seed": 0,
        "source": "gguf",
        "raw": "llm-x/sub/file.gguf",
        "kind": "causal",
        "dtype": "bfloat16",
        "builder": {},
        "endpoint": {},
        "licence": "Apache-2.0",
        "seen": "",
    }


def test_unknown_source_and_missing_file(tmp_path, raw):
    with pytest.raises(ConfigError, match=r"'model': unknown source 'ggu'; did you mean 'gguf'\?"):
        prepare(tmp_path, raw, source="ggu")
    with pytest.raises(ModelError, match=r"raw/mini/none\.gguf is missing; check 'raw'"):
        prepare(tmp_path, raw, name="other", source="gguf", raw="mini/none.gguf")


def test_pickled_weights_are_refused(tmp_path, raw):
    (raw / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"holds pickled weights only \(d.bin, pytorch_model.bin\)"):
        prepare(tmp_path, raw, source="folder", raw="mini")


def test_incomplete_folder_is_refused(tmp_path, raw):
    (raw / "d.bin").unlink()
    (raw / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"lacks tokenizer\.json, \*\.safetensors"):
        prepare(tmp_path, raw, source="hub", raw="mini")


def test_a_model_without_a_stated_licence_says_so(tmp_path, raw):
    """Nothing may leave that it wrote: the gate knows "not stated"."""
    endpoint = {"base_url": "http://localhost:1/v1", "model": "m"}
    assert prepare(tmp_path, raw, source="endpoint", endpoint=endpoint)[1]["licences"] == ["not stated"]
    counts = prepare(tmp_path, raw, name="other", source="endpoint", endpoint=endpoint, licence="Apache-2.0")[1]
    assert counts["licences"] == ["Apache-2.0"]


def test_endpoint_is_described_without_its_key(tmp_path, raw, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    target, _ = prepare(tmp_path, raw, source="endpoint", endpoint={"base_url": "http://localhost:1/v1", "model": "m"})
    assert json.loads((target / "endpoint.json").read_text()) == {
        "api": "chat",
        "key_env": "OPENAI_API_KEY",
        "base_url": "http://localhost:1/v1",
        "model": "m",
    }
    with pytest.raises(ConfigError, match="endpoint lacks model"):
        prepare(tmp_path, raw, name="other", source="endpoint", endpoint={"base_url": "x"})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["causal", "encoder"])
def test_built_models_have_the_same_bytes(tmp_path, raw, kind):
    sizes = {"layers": 2, "hidden": 64, "vocabulary": 320}
    made = [
        prepare(
            tmp_path,
            raw,
            name=name,
            source="built",
            kind=kind,
            raw="mini",
            builder=sizes,
            licence="CC0-1.0",
            seen="our texts",
        )
        for name in ("a", "b")
    ]
    assert sha256_tree(made[0][0]) == sha256_tree(made[1][0])
    assert made[0][1]["licences"] == ["CC0-1.0"] and made[0][1]["trained_on"] == ["our texts"]
    assert made[0][1]["parameters"] > 50_000


@pytest.mark.slow
def test_built_encoder_is_a_sentence_encoder_and_copies_whole(tmp_path, raw):
    import numpy
    from sentence_transformers import SentenceTransformer

    sizes = {"layers": 2, "hidden": 64, "vocabulary": 320}
    built, _ = prepare(tmp_path, raw, name="built", source="built", kind="encoder", raw="mini", builder=sizes)
    (built / "notes.md").write_text("left behind")
    copied, counts = prepare(tmp_path, built, name="copied", source="folder", kind="encoder", raw="built")
    encoders = [SentenceTransformer(str(folder), device="cpu") for folder in (built, copied)]
    vectors = [encoder.encode(["old mill", "river"]) for encoder in encoders]
    assert vectors[0].shape == (2, 64)
    assert numpy.allclose(numpy.linalg.norm(vectors[0], axis=1), 1.0, atol=1e-5)
    assert numpy.array_equal(*vectors)
    assert not (copied / "notes.md").exists() and counts["parameters"] > 50_000


@pytest.mark.slow
def test_weights_that_are_not_numbers_are_refused(tmp_path, raw):
    import torch
    from safetensors.torch import load_file, save_file

    built, _ = prepare(tmp_path, raw, name="built", source="built", kind="causal", raw="mini")
    weights = load_file(built / "model.safetensors")
    weights["model.norm.weight"][3] = torch.nan
    save_file(weights, built / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"tensor 'model\.norm\.weight' holds NaN or infinity"):
        prepare(tmp_path, built, name="copied", source="folder", kind="causal", raw="built")
