"""Stage ``models.colbert``: a published ColBERT checkpoint as a folder of our late-interaction models.

The checkpoint (stanford-futuredata/ColBERT, class HF_ColBERT in colbert/modeling/hf_colbert.py): one set of weights,
the encoder's below the prefix of its family (``bert.``) and ``linear.weight`` (dim, hidden), which has no bias;
``artifact.metadata``, the training's settings as JSON, alone or under ``config`` (colbert/infra/config/base_config.py);
configuration and tokenizer as the library transformers saves them. PyLate reads the same files
(lightonai/pylate, pylate/models/Dense.py, ``from_stanford_weights``).
"""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchtune.errors import ModelError
from searchtune.files import read_json, write_json
from searchtune.llm.base import refuse_pickles
from searchtune.retrieval.late_interaction import PROJECTION_FILE, SETTINGS_FILE, LateInteractionModel, Settings
from searchtune.training.checkpoints import KEPT, count_parameters, make_readable, marks_of, raw_path

if TYPE_CHECKING:
    import torch

    from searchtune.stage import Job

METADATA_FILE = "artifact.metadata"
PROJECTION = "linear.weight"
# metadata's key -> setting, and the value where the metadata have no such key (colbert/infra/config/settings.py)
_KEYS: dict[str, tuple[str, Any]] = {
    "query_maxlen": ("query_length", 32),
    "doc_maxlen": ("passage_length", 220),
    "mask_punctuation": ("skip_punctuation", True),
    "attend_to_mask_tokens": ("attend_to_augmentation", False),
    "query_token_id": ("query_marker", "[unused0]"),
    "doc_token_id": ("passage_marker", "[unused1]"),
}
# what else the metadata may say, and the only value that is understood here
_FIXED = {"similarity": "cosine", "interaction": "colbert"}
# heads of pre-training, and a buffer that older versions of transformers saved
_UNUSED = ("cls.", "embeddings.position_ids")


def settings_from(path: Path, dim: int) -> Settings:
    """Return the settings of a checkpoint's metadata, whose projection has ``dim`` rows.

    ModelError, naming the key, for a value of another type, another dim, or a similarity or interaction that is not
    ColBERTv2's.
    """
    given = read_json(path)
    given = given.get("config", given)
    for key, wanted in (_FIXED | {"dim": dim}).items():
        if given.get(key, wanted) != wanted:
            raise ModelError(f"{path}: {key} is {given[key]!r}; only {wanted!r} can be used with these weights")
    found = {}
    for key, (setting, default) in _KEYS.items():
        value = given.get(key, default)
        if type(value) is not type(default):
            raise ModelError(f"{path}: {key} is {value!r}, which is no {type(default).__name__}")
        found[setting] = value
    return Settings(dim=dim, query_augmentation=True, **found)


def read_weights(source: Path) -> dict[str, "torch.Tensor"]:
    """Return all tensors of a folder's safetensors; ModelError where they hold no projection, or one with a bias."""
    from safetensors.torch import load_file

    tensors = {
        name: tensor for path in sorted(source.glob("*.safetensors")) for name, tensor in load_file(path).items()
    }
    if PROJECTION not in tensors:
        raise ModelError(
            f"{source} holds no {PROJECTION}, the projection of a ColBERT checkpoint; a text encoder is of kind encoder"
        )
    if "linear.bias" in tensors:
        raise ModelError(f"{source} holds linear.bias; the projection of a ColBERT checkpoint has none")
    return tensors


def encoder_weights(source: Path, tensors: dict[str, "torch.Tensor"]) -> dict[str, "torch.Tensor"]:
    """Return the encoder's tensors under the names that it has alone; ModelError names one that lacks or is unknown.

    A pooler plays no part in token vectors: where the checkpoint has none it is 0.
    """
    import torch
    from transformers import AutoConfig, AutoModel

    with torch.device("meta"):
        network = AutoModel.from_config(AutoConfig.from_pretrained(source, trust_remote_code=False))
    wanted, prefix = network.state_dict(), f"{network.base_model_prefix}."
    own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name != PROJECTION}
    if unknown := sorted(name for name in own.keys() - wanted.keys() if not name.startswith(_UNUSED)):
        raise ModelError(f"{source} holds {unknown[0]}, which the network of its config.json does not have")
    missing = sorted(wanted.keys() - own.keys())
    if lacking := [name for name in missing if not name.startswith("pooler.")]:
        raise ModelError(f"{source} lacks {prefix}{lacking[0]}, a tensor of the encoder; fetch the whole checkpoint")
    found = {name: own[name].contiguous() for name in wanted if name in own}
    return found | {name: torch.zeros(wanted[name].shape) for name in missing}


def write_tokenizer(source: Path, target: Path) -> None:
    """Make tokenizer.json out of vocab.txt where the checkpoint comes without; ModelError where it has neither."""
    from transformers import AutoTokenizer

    if (target / "tokenizer.json").is_file():
        return
    if not (source / "vocab.txt").is_file():
        raise ModelError(f"{source} lacks tokenizer.json and vocab.txt; fetch the whole checkpoint")
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    tokenizer.backend_tokenizer.save(str(target / "tokenizer.json"))


def convert(source: Path, target: Path) -> None:
    """Write a checkpoint as a folder that :meth:`LateInteractionModel.load` reads with projection ``trained``.

    ModelError, naming the file, tensor or key, for a checkpoint that is pickled (pytorch_model.bin alone), incomplete,
    or not of the form that ColBERTv2 has.
    """
    from safetensors.torch import save_file

    refuse_pickles(source)
    if missing := [name for name in ("config.json", METADATA_FILE) if not (source / name).is_file()]:
        raise ModelError(f"{source} lacks {', '.join(missing)}; a ColBERT checkpoint has both: fetch the whole of it")
    tensors = read_weights(source)
    weight, hidden = tensors[PROJECTION], read_json(source / "config.json")["hidden_size"]
    if weight.dim() != 2 or weight.shape[1] != hidden:
        raise ModelError(f"{source}: {PROJECTION} is {tuple(weight.shape)}, but the encoder has {hidden} dimensions")
    settings = settings_from(source / METADATA_FILE, len(weight))
    # transformers reads only files that say which library wrote them
    save_file(encoder_weights(source, tensors), target / "model.safetensors", metadata={"format": "pt"})
    save_file({"weight": weight.float().contiguous()}, target / PROJECTION_FILE)
    write_json(target / SETTINGS_FILE, asdict(settings))
    for name in KEPT:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    write_tokenizer(source, target)
    # a marker that is no token shows here, not in the chain
    LateInteractionModel.load(target)


def run(job: "Job") -> dict[str, Any]:
    """Stage entry: inputs {raw: fetched artefact}; outputs {model}; params: an entry of kind late_interaction and its
    id, as ``models.prepare`` takes. Errors: see :func:`convert`.
    """
    target = job.outputs["model"]
    target.mkdir(parents=True)
    convert(raw_path(job), target)
    make_readable(target)
    stats = {"parameters": count_parameters(target)}
    job.log(f"{job.params['id']}: prepared from a ColBERT checkpoint, {stats}")
    return stats | marks_of(job)
