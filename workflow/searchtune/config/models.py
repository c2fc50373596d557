"""Configuration of the models: how each comes to lie in resources/models/<id>, and what it is called in results."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from searchtune.config.base import Section
from searchtune.errors import nearest

Share = Annotated[float, Field(ge=0, le=1)]
PRUNED = "pruned"
SEQ2SEQ = "seq2seq"
LATE_INTERACTION = "late_interaction"
ENDPOINT_KEYS = ("base_url", "model", "key_env", "api", "max_model_len")
# the only key that takes a model of that kind
_LATE_START = ("udapdr", "encoder")
# keys of the papers' sections that name the models which they start from
MODEL_KEYS = (
    *("base", "bases", "encoder", "writer", "judge", "strong_model", "cheap_model"),
    *("query_writer", "passage_writer", "leak_encoder"),
)
# what an encoder-decoder can't do: place of a model in the papers' sections -> why not
_NO_SEQ2SEQ: dict[tuple[str, ...], str] = {
    ("inters", "base"): "tuning reads prompt and answer as one sequence, as decoders do",
    ("inters", "bases"): "tuning reads prompt and answer as one sequence, as decoders do",
    ("limrank", "base"): "tuning reads prompt and answer as one sequence, as decoders do",
    ("limrank", "writer"): "it must answer in JSON, and T5's vocabulary has no braces",
    ("limrank", "query_writer"): "it must answer in JSON, and T5's vocabulary has no braces",
    ("limrank", "passage_writer"): "it must answer in JSON, and T5's vocabulary has no braces",
    ("limrank", "leak_encoder"): "texts are compared by a text encoder",
    ("limrank", "judge"): "its verdict goes on in a text that the prompt has begun, as decoders do",
    ("udapdr", "encoder"): "late interaction starts from a text encoder",
    ("udapdr", "reranker", "model"): "rerankers start from a text encoder",
}
# those that may be one, where it writes
_WRITERS = (("udapdr", "strong_model"), ("udapdr", "cheap_model"))


class Heal(Section):
    """Next-token distillation of a pruned model from its full model (rules of evidence, 8). All settings are ours."""

    raw: list[str] = Field(
        min_length=1,
        description="text that heals, relative to resources/raw: topic files, lists (id, tab, text), JSON or lines",
    )
    tokens: int = Field(
        512_000,
        ge=16,
        description="text seen in training, read again where there is less; cut to whole windows (tokens)",
    )
    lr: float = Field(5e-4, gt=0, description="peak learning rate; rises, then falls as a cosine")
    warmup_ratio: Share = Field(0.05, description="share of steps with rising learning rate")
    batch_size: int = Field(4, ge=1, description="windows a step (count)")
    max_length: int = Field(256, ge=8, description="window: texts one after another are cut into these (tokens)")
    held_tokens: int = Field(4096, ge=8, description="held-out text whose divergence and perplexity are told (tokens)")
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="number format of training; auto = bfloat16 where the machine has units for it"
    )
    seed: int = Field(0, ge=0, description="seed of the order of texts")

    @model_validator(mode="after")
    def _whole_windows(self) -> "Heal":
        for name in ("tokens", "held_tokens"):
            if (budget := getattr(self, name)) < self.max_length:
                raise ValueError(f"{name} is {budget}, less than one window of max_length {self.max_length}")
        return self


class ModelConfig(Section):
    """One model: how it comes to lie in resources/models/<id>."""

    source: Literal["gguf", "folder", "built", "hub", "endpoint", "pruned"] = Field(
        description="how the folder is made; pruned = some layers of another model of this list, then healed"
    )
    raw: str = Field("", description="file or folder that it is made from, relative to resources/raw")
    kind: Literal["causal", "seq2seq", "encoder", "late_interaction"] = Field(
        description="decoder language model, encoder-decoder language model (T5), text encoder, or ColBERT checkpoint "
        "(a text encoder with a projection, for udapdr.encoder alone)"
    )
    form: Literal["chatml", "plain"] = Field(
        "plain", description="prompt form that the model was tuned on; plain for encoder-decoders"
    )
    endpoint: dict[str, str | int | None] = Field(
        {},
        description="for source endpoint: base_url, model, key_env (name of the variable that holds the key; null: "
        "none), api (chat or completions), max_model_len",
    )
    builder: dict[str, int] = Field({}, description="sizes of a model built on the spot (layers, hidden, vocabulary)")
    of: str = Field("", description="for source pruned: id of the full model")
    layers: int | None = Field(
        None, ge=1, description="for source pruned: layers kept, the first, the last and evenly between them (count)"
    )
    heal: Heal | None = Field(None, description="for source pruned: how it learns again from its full model")
    dtype: Literal["float32", "bfloat16"] = Field("bfloat16", description="number format of the saved weights")
    licence: str = Field("", description="licence of the weights")
    seen: str = Field(
        "",
        description="what the checkpoint saw before us, printed where 'zero-shot' stands; of a pruned model: the text "
        "that healed it",
    )
    trust_remote_code: Literal[False] = Field(False, description="code that comes with a model is never run")

    @model_validator(mode="after")
    def _seq2seq_is_a_folder_of_plain_prompts(self) -> "ModelConfig":
        if self.kind == SEQ2SEQ and self.form != "plain":
            raise ValueError(f"a model of kind {SEQ2SEQ!r} has no chat marks, so its form is plain, not {self.form!r}")
        if self.kind == SEQ2SEQ and self.source not in ("folder", "hub", "built"):
            raise ValueError(
                f"a model of kind {SEQ2SEQ!r} comes from a folder, the hub or is built; source {self.source!r} gives "
                "decoders only"
            )
        return self

    @model_validator(mode="after")
    def _endpoint_is_described_without_its_key(self) -> "ModelConfig":
        if fault := endpoint_fault(self.endpoint):
            raise ValueError(fault)
        return self

    @model_validator(mode="after")
    def _late_interaction_is_a_folder(self) -> "ModelConfig":
        if self.kind == LATE_INTERACTION and self.source not in ("folder", "hub"):
            raise ValueError(
                f"a model of kind {LATE_INTERACTION!r} is a checkpoint as ColBERT saves it, so its source is folder or "
                f"hub, not {self.source!r}"
            )
        return self

    @model_validator(mode="after")
    def _pruned_of_something(self) -> "ModelConfig":
        given = [name for name in ("of", "layers", "heal") if getattr(self, name)]
        if self.source != PRUNED and given:
            raise ValueError(f"{given[0]} is for models of source {PRUNED!r}; the source here is {self.source!r}")
        if self.source == PRUNED and len(given) < 3:
            missing = next(name for name in ("of", "layers", "heal") if name not in given)
            raise ValueError(f"a model of source {PRUNED!r} needs {missing!r}: pruned of a full model, then healed")
        if self.source == PRUNED and (self.raw or self.kind != "causal"):
            raise ValueError(f"a model of source {PRUNED!r} is causal and has no 'raw'; its text is under heal.raw")
        return self


def endpoint_fault(described: dict[str, str | int | None]) -> str:
    """Say what is wrong with an endpoint's description, without showing its values: one of them may be a key."""
    if unknown := [key for key in described if key not in ENDPOINT_KEYS]:
        return f"endpoint has the unknown key {unknown[0]!r}{nearest(unknown[0], ENDPOINT_KEYS)}"
    variable, address = described.get("key_env"), urlsplit(str(described.get("base_url", "")))
    if variable is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(variable)):
        return "endpoint.key_env is no name of an environment variable: put the key into one, and its name here"
    if address.username or address.password or address.query:
        return "endpoint.base_url holds a user, a password or a query: put the key into the variable of key_env"
    return ""


def seq2seq_faults(config: dict[str, Any], place: tuple[str, ...], section: dict[str, Any]) -> Iterator[tuple]:
    """Yield (path of the key, fault) for what ``section`` asks of encoder-decoders and they can't do.

    ``section`` is a paper's section, or a part of one; ``place`` says where it stands, its first name being the paper.
    """
    for where, reason in (*_NO_SEQ2SEQ.items(), *((where, "") for where in _WRITERS)):
        value: Any = section if where[0] == place[0] else {}
        for key in where[1:]:
            value = value.get(key, {}) if isinstance(value, dict) else {}
        for name in [value] if isinstance(value, str) else value or []:
            if config["models"].get(name, {}).get("kind") != SEQ2SEQ:
                continue
            if reason:
                yield (*place, *where[1:]), f"names {name!r}, an encoder-decoder (kind {SEQ2SEQ}): {reason}"
            elif config["hardware"]["dtype"] == "float16":
                yield (
                    (*place, *where[1:]),
                    f"names {name!r}, an encoder-decoder (kind {SEQ2SEQ}), and hardware.dtype is float16, in which it "
                    "overflows: set hardware.dtype to auto, bfloat16 or float32",
                )


def late_interaction_fault(config: dict[str, Any], path: tuple[str, ...], model: str) -> str:
    """Return why the key at ``path``, its first name being the paper, can't name a model; empty where it can.

    ``path`` may stand below ``set`` of a variant of UDAPDR.
    """
    place = (path[0], *path[4:]) if path[1:2] == ("ablations",) else path
    if place == _LATE_START or config["models"].get(model, {}).get("kind") != LATE_INTERACTION:
        return ""
    return (
        f"names {model!r}, a ColBERT checkpoint (kind {LATE_INTERACTION}), which is for {'.'.join(_LATE_START)} alone: "
        "name a model of another kind"
    )


def pruned_models(config: dict[str, Any]) -> list[str]:
    """Return the ids of the models that are pruned of others."""
    return [name for name, entry in config["models"].items() if entry.get("source") == PRUNED]


def pruned_of_paper(config: dict[str, Any], paper: str) -> list[str]:
    """Return the ids of the pruned models that a paper starts from, its variants apart."""
    return pruned_of(config, config[paper])


def pruned_of(config: dict[str, Any], section: Any) -> list[str]:
    """Return the ids of the pruned models that a section names, its variants apart: not each of them runs."""
    used = set(_models_named(section))
    return [name for name in pruned_models(config) if name in used]


def _models_named(section: Any) -> Iterator[str]:
    """Yield every model that a section of the configuration names, at whatever depth (``rag.model``, baselines)."""
    if isinstance(section, list | tuple):
        for value in section:
            yield from _models_named(value)
    if isinstance(section, dict):
        for key, value in section.items():
            if key in (*MODEL_KEYS, "model"):
                yield from [value] if isinstance(value, str) else value or []
            if key != "ablations":
                yield from _models_named(value)


def healing_tokens(heal: dict[str, Any]) -> int:
    """Return the tokens that a pruned model is healed on: as many whole windows as its budget holds."""
    return heal["tokens"] // heal["max_length"] * heal["max_length"]


def seen_of(config: dict[str, Any], model: str) -> str:
    """Return what a model is and saw before us; of a pruned one: of what it is pruned, and how much text healed it."""
    entry = config["models"][model]
    if entry.get("source") != PRUNED:
        return entry["seen"]
    kept = f"{entry['layers']} layer{'s' if entry['layers'] > 1 else ''} of {entry['of']}"
    healed = f"{kept}, healed on {healing_tokens(entry['heal']):,} tokens"
    healed += f" of {entry['seen']}" if entry["seen"] else ""
    full = seen_of(config, entry["of"])
    return f"{healed}; {entry['of']}: {full}" if full else healed
