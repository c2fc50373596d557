"""What every back end shares: requests, answers, the Engine protocol, and checks of folders and lengths."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from searchtune.errors import ConfigError, ModelError
from searchtune.files import read_json, sha256_tree

PICKLED = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack")


@dataclass(frozen=True)
class Sampling:
    """How a text is drawn. ``temperature`` 0 is greedy; ``stop`` texts end the answer and are cut off.

    ``json_schema`` (JSON Schema, without free white space) or ``choice`` (list of texts) constrain the answer.
    The noise of a prompt depends on ``seed`` and the prompt alone, not on the batch that it falls into.
    """

    max_tokens: int = 64
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    json_schema: dict[str, Any] | None = None
    choice: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", tuple(self.stop))
        if self.choice is not None:
            object.__setattr__(self, "choice", tuple(self.choice))
        if self.max_tokens < 1:
            raise ConfigError(f"sampling: max_tokens is {self.max_tokens}; expected at least 1")
        if self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ConfigError(
                f"sampling: temperature {self.temperature}, top_p {self.top_p}; "
                "expected temperature >= 0 and 0 < top_p <= 1"
            )
        if self.json_schema is not None and self.choice is not None:
            raise ConfigError("sampling: give json_schema or choice, not both")


@dataclass(frozen=True)
class Completion:
    """An answer. ``finish_reason`` is "stop" or "length" (cut off at max_tokens); counts are in tokens.

    ``unstopped``: stop texts were given, and the model ended its answer by itself without any (endpoints don't tell).
    """

    text: str
    finish_reason: str
    n_prompt: int
    n_completion: int
    unstopped: bool = False


@dataclass(frozen=True)
class Scored:
    """Summed natural log-probability of a continuation's ``n_tokens`` tokens after its prompt."""

    logprob: float
    n_tokens: int

    @property
    def mean(self) -> float:
        """Log-probability a token."""
        return self.logprob / self.n_tokens


class Engine(Protocol):
    """A loaded model. ``revision`` identifies its weights, ``max_model_len`` is in tokens."""

    model: str
    revision: str
    max_model_len: int

    def generate(self, prompts: list[str], sampling: Sampling | Sequence[Sampling]) -> list[Completion]:
        """Return one completion a prompt, in order; ``sampling`` is shared, or one a prompt.

        Raises ModelError if a prompt and its max_tokens do not fit into ``max_model_len``.
        """

    def score(self, prompts: list[str], continuations: list[list[str]]) -> list[list[Scored]]:
        """Return the score of each prompt's continuations, in order.

        Prompt and continuation are tokenised apart, so the boundary between them is always a token boundary.
        Raises ModelError for an empty continuation or one that does not fit.
        """

    def count(self, prompts: list[str]) -> list[int]:
        """Return the number of tokens of each prompt."""

    def close(self) -> None:
        """Free the model's memory, whoever else still holds the engine; it answers nothing afterwards."""


def check_model_dir(folder: Path, endpoint: bool = False) -> Path:
    """Return ``folder`` if it holds a usable model; ModelError otherwise (missing, pickled weights, no tokenizer)."""
    wanted = ["endpoint.json"] if endpoint else ["config.json", "tokenizer.json"]
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"model folder {folder} lacks {', '.join(missing)}; prepare it (stage models.prepare)")
    if not endpoint and not any(folder.glob("*.safetensors")):
        raise ModelError(f"model folder {folder} holds no .safetensors file; pickled weights are refused, convert them")
    return folder


def refuse_pickles(folder: Path) -> None:
    """Raise ModelError if a folder's weights exist in pickled form only; those can run code when they are read."""
    pickled = sorted(p.name for p in folder.rglob("*") if p.suffix in PICKLED)
    if pickled and not any(folder.glob("*.safetensors")):
        raise ModelError(f"{folder} holds pickled weights only ({', '.join(pickled[:3])}); convert them to safetensors")


def is_seq2seq(folder: Path) -> bool:
    """Say whether a model folder holds an encoder-decoder, by its config.json."""
    return bool(read_json(folder / "config.json").get("is_encoder_decoder"))


def revision_of(folder: Path, adapter: Path | None = None) -> str:
    """Return hex digits that identify the content of a model folder (and adapter), from its provenance if any."""
    digests = []
    for path in (folder, *([adapter] if adapter else [])):
        record = path.with_name(path.name + ".prov.json")
        digests.append(read_json(record)["output"]["sha256"] if record.is_file() else sha256_tree(path))
    return "+".join(digest[:16] for digest in digests)


def per_prompt(prompts: list[str], sampling: Sampling | Sequence[Sampling]) -> list[Sampling]:
    """Return one Sampling a prompt; ModelError if their numbers differ."""
    if isinstance(sampling, Sampling):
        return [sampling] * len(prompts)
    if len(sampling) != len(prompts):
        raise ModelError(f"generate() got {len(prompts)} prompts and {len(sampling)} samplings")
    return list(sampling)


def check_fit(lengths: Sequence[int], extra: Sequence[int], limit: int, names: Sequence[str] | None = None) -> None:
    """Raise ModelError, naming the longest, if a prompt's tokens plus what is to follow exceed ``limit``."""
    over = [(n + e, i) for i, (n, e) in enumerate(zip(lengths, extra, strict=True)) if n + e > limit]
    if over:
        total, worst = max(over)
        name = names[worst] if names else f"number {worst}"
        raise ModelError(
            f"{len(over)} of {len(lengths)} prompts are too long; the longest, {name}, has "
            f"{lengths[worst]} tokens and may add {total - lengths[worst]}, max_model_len is {limit}: "
            "cut its parts (searchtune.prompts.budget) or raise max_model_len"
        )
