"""Stage ``train.sft``: supervised fine-tuning of a causal language model on instructions, by LoRA or in full.

The loss counts completions only, and the output layer runs at their positions only: with a vocabulary of 49,152 it
is a third of a small model's work. Weights that learn are float32; bfloat16 enters by autocast. Padding stands on
the right, where causal attention never looks, so no mask is needed. What several processes do is in ``sharded``.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from searchtune.errors import ConfigError, DataError, ModelError, nearest
from searchtune.files import read_jsonl, sha256_file, stable_hash, write_json
from searchtune.llm.base import check_model_dir, revision_of
from searchtune.llm.hardware import AUTO, attention, device, dtype_name, dtype_of
from searchtune.llm.room import Room, named_shortage, to_stderr
from searchtune.llm.tokens import Tokens
from searchtune.training.added_tokens import add_tokens, check_mode, peft_arguments
from searchtune.training.checkpoints import save_model
from searchtune.training.resume import Curve, Keeper, random_state, set_random_state
from searchtune.training.sft_data import Example, end_token, plan_batches, prefix, rate_at, tokenize
from searchtune.training.tokenized import TokenSet

if TYPE_CHECKING:
    import torch

    from searchtune.stage import Job

Made = TypeVar("Made")


@dataclass(frozen=True)
class Lora:
    """Low-rank adapters on the linear layers named by ``targets`` ("all-linear", or module names such as q_proj)."""

    r: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"


@dataclass(frozen=True)
class Settings:
    """What one training depends on. ``batch_size`` is in examples an optimiser step, ``max_length`` in tokens.
    ``micro_batch_tokens``: padded tokens in memory at once.

    ``steps_per_epoch`` takes the place of ``batch_size``. ``save_every_s``: seconds between saved states, from which a
    killed training goes on. ``new_token_mode``: rows | embeddings, what learns of the tables where ``add_tokens`` are
    given. ``processes`` train together, one a GPU, with the model sharded over them.
    """

    form: str = "chatml"
    fraction: float = 1.0
    lora: Lora = field(default_factory=Lora)
    full: bool = False
    lr: float = 5e-4
    epochs: float = 1.0
    max_steps: int | None = None
    batch_size: int = 16
    micro_batch_tokens: int = 2048
    max_length: int = 512
    warmup_ratio: float = 0.05
    schedule: str = "linear"
    seed: int = 0
    dtype: str = "auto"
    save_dtype: str = "bfloat16"
    save_adapter: bool = False
    gradient_checkpointing: bool = False
    add_tokens: tuple[str, ...] = ()
    new_token_mode: str = "rows"
    dev_examples: int = 64
    log_steps: int = 10
    save_every_s: float = 300.0
    steps_per_epoch: int | None = None
    processes: int = 1


def settings_of(params: dict[str, Any]) -> Settings:
    """Return the settings of a job's params; ConfigError names an unknown key and the nearest known one."""
    values = dict(params)
    lora = dict(values.pop("lora", None) or {})
    for given, known, where in (
        (values, Settings.__dataclass_fields__, "train.sft"),
        (lora, Lora.__dataclass_fields__, "train.sft, lora"),
    ):
        for key in given:
            if key not in known:
                raise ConfigError(f"{where}: unknown parameter {key!r}{nearest(key, known)}")
    if isinstance(lora.get("targets"), list):
        lora["targets"] = tuple(lora["targets"])
    values["add_tokens"] = tuple(values.get("add_tokens") or ())
    check_mode(values.get("new_token_mode", "rows"))
    values["dtype"] = dtype_name(values.get("dtype", AUTO))
    if values.get("processes", 1) < 1:
        raise ConfigError(f"train.sft: processes is {values['processes']}; expected at least 1")
    return Settings(lora=Lora(**lora), **values)


def run(job: "Job") -> dict:
    """Stage entry: inputs {model, train, dev}, or {model, tokens} of stage ``train.tokenize``, and paced_by (tokens of
    another mixture, whose steps an epoch are taken); outputs {model}: the merged model, its tokenizer, training.json.

    Raises ModelError for a loss that is not finite, an unknown LoRA target or missing end token; DataError if no
    example is short enough; ConfigError for more processes than GPUs.
    """
    settings = settings_of(job.params)
    if settings.processes > 1:
        from searchtune.training.processes import run_together
        from searchtune.training.sharded import run_rank

        return run_together(job, settings.processes, run_rank)
    network = Network.load(check_model_dir(job.inputs["model"]), settings, job.threads)
    return tune(job, settings, network, Keeper)


def tune(job: "Job", settings: Settings, network: "Network", keeper_class: type[Keeper]) -> dict:
    """Train a loaded network on a job's data and write its output folder; return the counts of :func:`run`."""
    base = job.inputs["model"]
    train, dev, dropped, data = _sets(job, network, settings)
    if "paced_by" in job.inputs:
        paced = len(TokenSet(job.inputs["paced_by"] / "train", settings.fraction))
        settings = replace(settings, steps_per_epoch=-(-paced // settings.batch_size))
    job.log(
        f"{len(train)} examples, {dropped} dropped as longer than {settings.max_length} tokens; "
        f"{network.n_trainable:,} weights learn on {network.device}"
    )
    started = time.time()
    keeper = keeper_class(job.work, stable_hash([asdict(settings), data, len(train)]), settings.save_every_s, job.log)
    curve = fit(network, train, dev[: settings.dev_examples], settings, job.log, keeper)
    seconds = time.time() - started
    network.save(job.outputs["model"])
    counts = {
        "examples": len(train),
        "dropped_too_long": dropped,
        "steps": curve.loss[-1]["step"],
        "tokens": curve.tokens,
        "completion_tokens": curve.completion_tokens,
        "padding_share": round(1 - curve.tokens / curve.padded, 4),
    }
    if network.leads:
        write_json(
            job.outputs["model"] / "training.json",
            {
                "base": {"model": base.name, "revision": revision_of(base)},
                "data_sha256": data,
                **recorded(settings),
                "seed": settings.seed,
                **counts,
                "loss_curve": curve.loss,
                "dev_loss": curve.dev_loss,
            },
        )
    # the rate counts training and dev loss, not the loading of the model
    return counts | {
        "dev_loss_first": curve.dev_loss[0]["loss"],
        "dev_loss_last": curve.dev_loss[-1]["loss"],
        "train_s": round(seconds, 1),
        "tokens_per_s": round(curve.tokens / seconds, 1),
    }


def recorded(settings: Settings) -> dict[str, Any]:
    """Return the settings as training.json has them; how many processes trained stands beside, where several did.

    How new tokens learn is said only where there are any.
    """
    values = asdict(settings)
    if not settings.add_tokens:
        del values["new_token_mode"]
    processes = values.pop("processes")
    return {"settings": values} | ({"processes": processes} if processes > 1 else {})


def _sets(
    job: "Job", network: "Network", settings: Settings
) -> tuple[Sequence[Example], list[Example], int, dict[str, str]]:
    """Return (training examples, dev examples, number dropped as too long, sha256 of the instruction files)."""
    if "tokens" in job.inputs:
        train = TokenSet(job.inputs["tokens"] / "train", settings.fraction)
        dev = TokenSet(job.inputs["tokens"] / "dev", 1.0)
        return train, dev[: settings.dev_examples], train.dropped, {"train": train.sha256, "dev": dev.sha256}
    examples, dropped = _examples(job.inputs["train"], network, settings, settings.fraction)
    held, _ = _examples(job.inputs["dev"], network, settings, 1.0)
    return examples, held, dropped, {name: sha256_file(job.inputs[name]) for name in ("train", "dev")}


def lengths_of(examples: Sequence[Example]) -> list[int]:
    """Return the number of tokens of each example, without reading those that lie on disk."""
    return examples.lengths if isinstance(examples, TokenSet) else [len(e.ids) for e in examples]


def _examples(path: Path, network: "Network", settings: Settings, fraction: float) -> tuple[list[Example], int]:
    rows = prefix(read_jsonl(path), fraction)
    end = end_token(network.tokens, settings.form, network.eos)
    examples, dropped = tokenize(rows, network.tokens, settings.form, end, settings.max_length)
    if not examples:
        raise DataError(
            f"{path}: none of its {len(rows)} instructions has at most max_length={settings.max_length} "
            "tokens; raise max_length or shorten the prompts"
        )
    return examples, dropped


class Learner(ABC):
    """What :func:`fit` trains: a network, what of it learns, and its loss."""

    model: Any
    alone = True  # whether no other process waits in the middle of this one's passes

    @property
    def weights(self) -> list["torch.nn.Parameter"]:
        """The parameters that learn."""
        return [p for p in self.model.parameters() if p.requires_grad]

    @property
    def n_trainable(self) -> int:
        """How many numbers learn."""
        return sum(p.numel() for p in self.weights)

    @abstractmethod
    def loss(self, batch: list[Example]) -> tuple["torch.Tensor", int]:
        """Return the summed loss (nats) of a micro-batch, and the number of places that it counts."""

    def deal(self, parts: list[list[Example]]) -> list[tuple[list[Example], int]]:
        """Return the micro-batches that this process does, each with its weight in the loss: here all, once each."""
        return [(part, 1) for part in parts]

    def summed(self, *numbers: float) -> tuple[float, ...]:
        """Return numbers summed over the processes that train together: here there is one."""
        return numbers


class Network(Learner):
    """The model under training: its body (up to the last hidden state), its output layer, what of it learns."""

    leads = True  # of several processes that train together, only one writes files

    def __init__(
        self, model: Any, tokenizer: Any, tokens: Tokens, settings: Settings, place: "torch.device | None" = None
    ) -> None:
        """``model`` is a causal language model, with LoRA layers wrapped around it unless trained in full.

        ``place``: where it goes; the GPU if there is one, else the CPU.
        """
        self.model, self.tokenizer, self.tokens, self.settings = model, tokenizer, tokens, settings
        causal = model if settings.full else model.get_base_model()
        self.device = place or device()
        model.to(self.device)
        self.body, self.head = causal.base_model, causal.get_output_embeddings()
        eos = causal.config.eos_token_id
        self.eos = eos[0] if isinstance(eos, list) else eos
        if settings.gradient_checkpointing:
            causal.config.use_cache = False
            causal.enable_input_require_grads()
            causal.gradient_checkpointing_enable({"use_reentrant": False})

    @classmethod
    def load(cls, base: Path, settings: Settings, threads: int, place: "torch.device | None" = None) -> Self:
        """Read a model folder and make it ready to be trained as ``settings`` say, on the device ``place``."""
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        torch.set_num_threads(threads)
        torch.manual_seed(settings.seed)
        tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            base, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
        )
        tokens = Tokens(base)
        added = add_tokens(model, tokenizer, tokens, settings.add_tokens)
        if not settings.full:
            model = _with_lora(model, settings.lora, peft_arguments(model, added, settings.new_token_mode))
            if settings.dtype == "bfloat16":
                halve_frozen(model)
        return cls(model, tokenizer, tokens, settings, place)

    def loss(self, batch: list[Example]) -> tuple["torch.Tensor", int]:
        """Return the summed negative log-likelihood (nats) of the batch's completion tokens, and their number.

        Only hidden states that predict a completion token reach the output layer.
        """
        import torch

        width = max(len(example.ids) for example in batch)
        ids = torch.tensor([list(e.ids) + [0] * (width - len(e.ids)) for e in batch], device=self.device)
        places = torch.tensor([[e.n_prompt <= t < len(e.ids) for t in range(width)] for e in batch], device=self.device)
        half = self.settings.dtype != "float32"
        with (
            torch.autocast(self.device.type, dtype=dtype_of(self.settings.dtype) if half else None, enabled=half),
            # what is computed again must be computed alike, so checkpointing keeps torch's own choice
            nullcontext() if self.settings.gradient_checkpointing else attention(self.device.type, width),
        ):
            loss = self.loss_at(ids, places)
        return loss, sum(example.n_completion for example in batch)

    def loss_at(self, ids: "torch.Tensor", places: "torch.Tensor") -> "torch.Tensor":
        """Return the summed loss (nats) of the tokens at ``places`` (bool) of ``ids`` (both examples x tokens)."""
        import torch

        hidden = self.body(input_ids=ids, use_cache=False).last_hidden_state
        logits = self.head(hidden[:, :-1][places[:, 1:]])
        return torch.nn.functional.cross_entropy(logits.float(), ids[places], reduction="sum")

    def save(self, target: Path) -> None:
        """Merge the adapters (in float32) and write model and tokenizer; the adapter beside them if asked for."""
        target.mkdir(parents=True)
        model = self.model
        if not self.settings.full:
            if self.settings.save_adapter:
                model.save_pretrained(target / "adapter")
            model = model.float().merge_and_unload()
        save_model(model.cpu(), self.tokenizer, target, self.settings.save_dtype)


def _with_lora(model: Any, lora: Lora, tables: dict[str, Any]) -> Any:
    """Wrap LoRA layers around a model; ``tables`` says what learns of the embeddings (see ``added_tokens``).

    ModelError for a target that does not exist.
    """
    import torch
    from peft import LoraConfig, get_peft_model

    if lora.targets != "all-linear":
        linear = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
        known = {name.rsplit(".", 1)[-1] for name in linear}
        for target in [lora.targets] if isinstance(lora.targets, str) else lora.targets:
            if target not in known:
                raise ModelError(f"LoRA target {target!r} is no linear layer of this model{nearest(target, known)}")
    targets = lora.targets if lora.targets == "all-linear" or isinstance(lora.targets, tuple) else (lora.targets,)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        task_type="CAUSAL_LM",
        target_modules=targets if isinstance(targets, str) else list(targets),
        **tables,
    )
    return get_peft_model(model, config)


def halve_frozen(model: Any) -> None:
    """Hold frozen linear layers in bfloat16 where that loses nothing: half the memory, and no cast in every step.

    Embeddings (and an output layer tied to them) stay float32, and with them the sum that runs through the layers.
    """
    import torch

    tied = {id(p) for p in (model.get_input_embeddings().weight, model.get_output_embeddings().weight)}
    weights = [module.weight for module in model.modules() if isinstance(module, torch.nn.Linear)]
    for weight in weights:
        half = weight.data.bfloat16()
        if not weight.requires_grad and id(weight) not in tied and torch.equal(half.float(), weight.data):
            weight.data = half


def fit(
    network: Learner,
    train: Sequence[Example],
    dev: list[Example],
    settings: Settings,
    log: Callable[[str], None],
    keeper: Keeper | None = None,
) -> Curve:
    """Train ``network`` in place: AdamW without weight decay, gradients clipped to norm 1; return the curves.

    Dev loss is taken before the first step, in the middle and at the end. A state that ``keeper`` holds is gone on
    from. Micro-batches that the GPU's memory does not hold are made smaller, for good. Raises ModelError when a loss is
    not finite, and where the memory does not hold one example.
    """
    import torch

    room = room_of(settings, log)
    plan = plan_batches(
        lengths_of(train),
        settings.batch_size,
        settings.seed,
        settings.epochs,
        settings.max_steps,
        settings.steps_per_epoch,
    )
    warmup = round(settings.warmup_ratio * len(plan))
    optimizer = torch.optim.AdamW(network.weights, lr=settings.lr, weight_decay=0.0, fused=True)
    kept = keeper.restore(network.weights, optimizer) if keeper else None
    start, curve = kept or (0, Curve(dev_loss=[{"step": 0, "loss": dev_loss(network, dev, settings, room)}]))
    resumed = ", gone on from there" if kept else ""
    log(f"step {start} of {len(plan)}: dev loss {curve.dev_loss[-1]['loss']:.4f}{resumed}")
    for step in range(start, len(plan)):
        rate = settings.lr * rate_at(step, len(plan), warmup, settings.schedule)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = [train[i] for i in plan[step]]
        loss, n = train_step(network, optimizer, batch, settings, step, room)
        _count(curve, batch, room)
        curve.total, curve.count = curve.total + loss, curve.count + n
        _note(curve, step + 1, len(plan), rate, settings, log)
        if step + 1 in (len(plan) // 2, len(plan)):
            curve.dev_loss.append({"step": step + 1, "loss": dev_loss(network, dev, settings, room)})
            log(f"step {step + 1} of {len(plan)}: dev loss {curve.dev_loss[-1]['loss']:.4f}")
        if keeper:
            keeper.offer(step + 1, network.weights, optimizer, curve)
    return curve


def _note(curve: Curve, done: int, steps: int, rate: float, settings: Settings, log: Callable[[str], None]) -> None:
    """Add a point to the loss curve every ``log_steps`` steps and at the end."""
    if done % settings.log_steps and done != steps:
        return
    loss = curve.total / curve.count
    curve.loss.append({"step": done, "tokens": curve.tokens, "loss": round(loss, 6), "lr": rate})
    log(f"step {done} of {steps}: loss {loss:.4f}, {curve.tokens:,} tokens")
    curve.total, curve.count = 0.0, 0


def room_of(settings: Settings, log: Callable[[str], None]) -> Room:
    """Return what a micro-batch of a training may hold at first."""
    lower = "lower max_length, train LoRA weights in place of all, set gradient_checkpointing"
    return Room("examples in training", lower, settings.micro_batch_tokens, log)


def train_step(
    network: Learner,
    optimizer: "torch.optim.Optimizer",
    batch: list[Example],
    settings: Settings,
    step: int,
    room: Room | None = None,
) -> tuple[float, int]:
    """Do one optimiser step over a batch, in micro batches; every completion token weighs the same.

    Return the summed loss (nats) and the number of completion tokens. Where ``room`` (without it: as settings say) is
    too much for the memory, the step begins anew in smaller micro batches, with the same random numbers.
    """
    import torch

    network.model.train()
    n_tokens = sum(e.n_completion for e in batch)
    room = room or room_of(settings, to_stderr)
    random = random_state()

    def gradient(parts: list[list[Example]]) -> float:
        """Sum the gradient of all parts from nothing; return the loss."""
        optimizer.zero_grad(set_to_none=True)
        set_random_state(random)
        return gradient_of(network, parts, settings, step, n_tokens)

    total = in_parts(network, batch, room, gradient)
    torch.nn.utils.clip_grad_norm_(network.weights, 1.0)
    # AdamW takes the memory of its moments in its first step, which can't be cut
    with named_shortage("an optimiser step", "tune with LoRA, a smaller model, or more GPUs (inters.train.processes)"):
        optimizer.step()
    return network.summed(total)[0], n_tokens


def in_parts(network: Learner, batch: list[Example], room: Room, work: Callable[[list[list[Example]]], Made]) -> Made:
    """Return what ``work`` makes of a batch's parts, cut smaller until the memory holds each of them.

    ModelError where it does not hold one example, and in any case where other processes take part: they wait in the
    middle of an exchange, and nobody can ask them to begin again.
    """
    while True:
        parts = parts_of(batch, room.tokens or 0)
        made = room.tried(work, parts)
        if made:
            return made[0]
        if not network.alone:
            raise ModelError(
                f"micro-batches of up to {room.tokens} tokens do not fit into the GPU's memory. Lower "
                "micro_batch_tokens (or max_length): with several processes it is not halved by itself, for the "
                "others can't begin the step anew"
            )
        # which part was too much is not known: the largest one is taken for it, if it can be cut
        largest = max([part for part in parts if len(part) > 1] or parts, key=padded)
        room.shrink(padded(largest), len(largest))


def gradient_of(network: Learner, parts: list[list[Example]], settings: Settings, step: int, n_tokens: int) -> float:
    """Add the gradient of the mean loss of ``n_tokens`` to the weights'; return the summed loss (nats)."""
    import torch

    total = 0.0
    for part, weight in network.deal(parts):
        loss, _ = network.loss(part)
        if not torch.isfinite(loss):
            raise ModelError(
                f"the training loss is {loss.item()} at step {step + 1}; lower lr (now {settings.lr}) or "
                "use dtype float32"
            )
        (loss * weight / n_tokens).backward()
        total += loss.item() * weight
    return total


def parts_of(batch: list[Example], tokens: int) -> list[list[Example]]:
    """Return a batch, sorted by length, in parts of at most ``tokens`` tokens with padding (one example at least).

    Parts by tokens, not by examples: short examples fill a matrix product, long ones do not fill the memory.
    """
    parts: list[list[Example]] = []
    for example in sorted(batch, key=lambda e: len(e.ids)):
        if parts and (len(parts[-1]) + 1) * len(example.ids) <= tokens:
            parts[-1].append(example)
        else:
            parts.append([example])
    return parts


def padded(part: list[Example]) -> int:
    """Return the tokens of a micro-batch, padding counted."""
    return len(part) * max(len(example.ids) for example in part)


def _count(curve: Curve, batch: list[Example], room: Room) -> None:
    curve.tokens += sum(len(e.ids) for e in batch)
    curve.completion_tokens += sum(e.n_completion for e in batch)
    curve.padded += sum(map(padded, parts_of(batch, room.tokens or 0)))


def dev_loss(network: Learner, dev: list[Example], settings: Settings, room: Room | None = None) -> float:
    """Return the mean loss (nats a completion token) over held-out examples; ModelError if it is not finite."""
    import torch

    network.model.eval()

    def losses(parts: list[list[Example]]) -> tuple[float, float]:
        """Return the summed loss of all parts, and the number of places that it counts."""
        total, count = 0.0, 0.0
        for part, weight in network.deal(parts):
            loss, n = network.loss(part)
            total, count = total + loss.item() * weight, count + n * weight
        return total, count

    with torch.no_grad():
        total, count = in_parts(network, dev, room or room_of(settings, to_stderr), losses)
    total, count = network.summed(total, count)
    if not total < float("inf"):  # NaN compares false
        raise ModelError(f"the dev loss is {total / count}; lower lr (now {settings.lr}) or use dtype float32")
    return round(total / count, 6)
