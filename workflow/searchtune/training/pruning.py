"""Depth pruning: a causal language model made of some layers of another one, all else taken over as it is."""

import copy
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from searchtune.errors import ModelError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

LAYER = re.compile(r"^(.*\blayers\.)(\d+)(\..+)$")


def kept_layers(total: int, count: int, full: str = "the full model") -> list[int]:
    """Return which ``count`` of ``total`` layers stay: the first, the last, and evenly spaced ones between them.

    Places are rounded half up; one layer is the first. ModelError, which names ``full``, if it has not so many.
    """
    if not 1 <= count <= total:
        raise ModelError(f"{count} layers cannot be kept of {full}, which has {total}; set layers to 1 to {total}")
    gaps = max(1, count - 1)
    return [(2 * i * (total - 1) + gaps) // (2 * gaps) for i in range(count)]


def prune(full: "PreTrainedModel", kept: list[int]) -> "PreTrainedModel":
    """Return a new model of the layers ``kept`` of ``full``, with its embeddings, last norm and output layer.

    The weights are copies in the same number format. ModelError for a network whose layers are not found by name.
    """
    from transformers import AutoModelForCausalLM

    weights = renumbered(full.state_dict(), kept)
    pruned = AutoModelForCausalLM.from_config(_shorter(full.config, kept)).to(full.dtype)
    missing, unknown = pruned.load_state_dict(weights, strict=False)
    if missing or unknown:
        raise ModelError(
            f"{type(full).__name__} cannot be pruned: its weights do not fit a shorter network of the same kind "
            f"({', '.join([*missing, *unknown][:3])})"
        )
    pruned.tie_weights()
    pruned.generation_config = copy.deepcopy(full.generation_config)
    return pruned.eval()


def renumbered(weights: Mapping[str, "torch.Tensor"], kept: list[int]) -> dict[str, "torch.Tensor"]:
    """Return the weights without those of layers that go; the others are numbered as the shorter network has them.

    ModelError if a kept layer has no weights.
    """
    places = {old: new for new, old in enumerate(kept)}
    found: dict[str, torch.Tensor] = {}
    layers = set()
    for name, tensor in weights.items():
        match = LAYER.match(name)
        number = int(match[2]) if match else None
        if match and number in places:
            layers.add(number)
            found[f"{match[1]}{places[number]}{match[3]}"] = tensor
        elif not match:
            found[name] = tensor
    if lost := set(kept) - layers:
        raise ModelError(f"no weights named layers.<number> for layers {sorted(lost)}; this network cannot be pruned")
    return found


def _shorter(config: Any, kept: list[int]) -> Any:
    """Return a copy of a model's configuration with fewer layers; a list of layers' kinds is cut alike."""
    shorter = copy.deepcopy(config)
    shorter.num_hidden_layers = len(kept)
    if getattr(config, "layer_types", None):
        shorter.layer_types = [config.layer_types[i] for i in kept]
    return shorter
