"""Stage ``models.prepare``: turn what was fetched into a model folder of safetensors with its tokenizer.

Sources: ``gguf`` (weights packed for llama.cpp, here SmolLM2), ``folder`` and ``hub`` (a model folder as it was
fetched, here MiniLM), ``built`` (tiny models made on the spot for tests, see searchtune.training.tiny) and
``endpoint`` (a service, described only). Pickled weights are refused.
"""

import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from searchtune.errors import ConfigError, ModelError, nearest
from searchtune.files import read_json, write_json
from searchtune.llm.base import is_seq2seq, refuse_pickles
from searchtune.llm.hardware import dtype_of
from searchtune.stage import inherited

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from searchtune.stage import Job

KEPT = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "tokenizer.model",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
)


def run(job: "Job") -> dict:
    """Stage entry: inputs {raw: fetched artefact}; outputs {model}; params: an entry of config/models.yaml and its id.

    Of the entry: source, kind (causal, seq2seq or encoder), raw (path relative to resources/raw, its first part being
    the artefact), dtype, builder (sizes of a built model), seed, licence, seen (what the checkpoint saw before us).
    Raises ModelError for pickled weights, NaN or missing files, or weights of another kind; ConfigError for an unknown
    source.
    """
    source = job.params["source"]
    if source not in SOURCES:
        raise ConfigError(f"model {job.params['id']!r}: unknown source {source!r}{nearest(source, SOURCES)}")
    target = job.outputs["model"]
    target.mkdir(parents=True)
    stats = SOURCES[source](job, target)
    make_readable(target)
    job.log(f"{job.params['id']}: prepared from {source}, {stats}")
    return stats | marks_of(job)


def marks_of(job: "Job") -> dict[str, list[str]]:
    """Return a prepared model's licence (its entry's, else its packages', else ``not stated``) and what it saw."""
    licence, seen = job.params.get("licence"), job.params.get("seen")
    raw = job.inputs.get("raw", [])
    stated = inherited(raw if isinstance(raw, list) else [raw], "licences")
    return {
        "licences": [licence] if licence else [] if stated else ["not stated"],
        "trained_on": [seen] if seen else [],
    }


def raw_path(job: "Job") -> Path:
    """Return the file or folder named by ``params['raw']``, found below the fetched artefact; ModelError if missing."""
    inside = PurePosixPath(job.params.get("raw", "")).parts[1:]
    roots = job.inputs.get("raw", [])
    roots = roots if isinstance(roots, list) else [roots]
    path = roots[0].joinpath(*inside) if roots else None
    if path is None or not path.exists():
        raise ModelError(
            f"model {job.params['id']!r}: {path or 'its raw input'} is missing; check 'raw' in "
            "config/models.yaml, then fetch again"
        )
    return path


def make_readable(folder: Path) -> None:
    """Let others read the weights: the safetensors library writes files that only their owner can read."""
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)


def copy_model_files(source: Path, target: Path) -> int:
    """Copy configuration, tokenizer, pooling folders and safetensors of a model folder; return the bytes copied."""
    names = [p for p in sorted(source.iterdir()) if p.name in KEPT or ".safetensors" in p.name]
    names += [p / "config.json" for p in sorted(source.iterdir()) if p.is_dir() and (p / "config.json").is_file()]
    for path in names:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, copy)
    return sum(p.stat().st_size for p in names)


def _from_folder(job: "Job", target: Path) -> dict:
    source = raw_path(job)
    refuse_pickles(source)
    missing = [name for name in ("config.json", "tokenizer.json") if not (source / name).is_file()]
    missing += [] if list(source.glob("*.safetensors")) else ["*.safetensors"]
    if missing:
        raise ModelError(f"{source} lacks {', '.join(missing)}; fetch the whole model")
    check_kind(job.params["id"], job.params.get("kind", ""), source)
    copied = copy_model_files(source, target)
    _make_pooling_folders(target)
    return {"bytes": copied, "parameters": count_parameters(target)}


def check_kind(model: str, kind: str, folder: Path) -> None:
    """Raise ModelError where a model is said to be an encoder-decoder and its folder holds none, or the reverse."""
    if (kind == "seq2seq") != is_seq2seq(folder):
        raise ModelError(
            f"models.{model}.kind is {kind!r}, but config.json in {folder} "
            f"{'says' if is_seq2seq(folder) else 'does not say'} is_encoder_decoder: "
            f"set kind to {'seq2seq' if is_seq2seq(folder) else 'causal or encoder'}"
        )


def _make_pooling_folders(target: Path) -> None:
    # a module without settings (Normalize) is an empty folder, which packages and copies lose
    if (target / "modules.json").is_file():
        for module in read_json(target / "modules.json"):
            if module["path"]:
                (target / module["path"]).mkdir(exist_ok=True)


def count_parameters(folder: Path) -> int:
    """Return the number of parameters in a model folder; ModelError names a tensor that holds NaN or infinity."""
    import torch
    from safetensors import safe_open

    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as handle:
            for name in handle.keys():  # noqa: SIM118 (safe_open is no dictionary)
                tensor = handle.get_tensor(name)
                total += tensor.numel()
                if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                    raise ModelError(f"{path}: tensor {name!r} holds NaN or infinity; fetch or train the model again")
    return total


def _from_gguf(job: "Job", target: Path) -> dict:
    """Dequantise a GGUF file; the saved weights stay rounded to the 4-bit grid they came from."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    file = raw_path(job)
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, trust_remote_code=False)
    packed = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, trust_remote_code=False
    )
    model = _plain_copy(packed)
    save_model(model, tokenizer, target, job.params.get("dtype", "bfloat16"))
    return {"parameters": count_parameters(target), "tied": int(bool(model.config.tie_word_embeddings))}


def _plain_copy(packed: "PreTrainedModel") -> "PreTrainedModel":
    """Return the same network without the mark of quantisation, which forbids saving it."""
    import copy

    from transformers import AutoModelForCausalLM

    config = copy.deepcopy(packed.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(packed.state_dict())
    model.tie_weights()
    model.generation_config = packed.generation_config
    return model


def save_model(model: Any, tokenizer: Any, target: Path, dtype: str) -> None:
    """Write a causal language model with its tokenizer as safetensors in ``dtype``; ModelError if it does not reload.

    Checks that weights are finite and that tied input and output embeddings are one tensor.
    """
    import torch

    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ModelError(f"weights {name!r} hold NaN or infinity; nothing was saved")
    output = model.get_output_embeddings()
    if model.config.tie_word_embeddings and output is not None:
        model.tie_weights()
        if output.weight.data_ptr() != model.get_input_embeddings().weight.data_ptr():
            raise ModelError("config says that input and output embeddings are tied, but they are two tensors")
    model.to(dtype_of(dtype)).save_pretrained(target, safe_serialization=True)
    tokenizer.save_pretrained(target)
    make_readable(target)
    if not (target / "tokenizer.json").is_file():
        raise ModelError("the tokenizer has no fast form (tokenizer.json); convert it first")


def _endpoint(job: "Job", target: Path) -> dict:
    """Describe a service instead of weights: {base_url, model, key_env, api}; the key itself is never written."""
    described = job.params.get("endpoint") or {}
    if missing := [key for key in ("base_url", "model") if not described.get(key)]:
        raise ConfigError(f"model {job.params['id']!r}: endpoint lacks {', '.join(missing)}")
    write_json(target / "endpoint.json", {"api": "chat", "key_env": "OPENAI_API_KEY"} | described)
    return {"parameters": 0}


def _built(job: "Job", target: Path) -> dict:
    from searchtune.training.tiny import build_encoder, build_lm, build_seq2seq, read_texts

    texts = read_texts([raw_path(job)])
    build = {"encoder": build_encoder, "seq2seq": build_seq2seq}.get(job.params.get("kind", ""), build_lm)
    build(texts, target, seed=job.params.get("seed", 0), **(job.params.get("builder") or {}))
    return {"parameters": count_parameters(target), "texts": len(texts)}


SOURCES: dict[str, Callable[["Job", Path], dict]] = {
    "gguf": _from_gguf,
    "folder": _from_folder,
    "hub": _from_folder,
    "built": _built,
    "endpoint": _endpoint,
}
