"""Stage ``models.prune``: keep some layers of a causal language model and heal what is left.

Healing is next-token distillation from the full model at every place of packaged text (searchtune.training.pupil), as
in Muralidharan et al. 2024 (arXiv 2407.14679); no other loss is added.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchtune.errors import DataError
from searchtune.files import read_json, read_jsonl, sha256_tree, stable_hash, write_json
from searchtune.llm.base import check_model_dir, revision_of
from searchtune.llm.tokens import Tokens
from searchtune.prompts.chat import wrap
from searchtune.training.checkpoints import count_parameters, save_model
from searchtune.training.pruning import kept_layers
from searchtune.training.pupil import Pupil
from searchtune.training.resume import Curve, Keeper
from searchtune.training.sft import Settings, fit, recorded, settings_of
from searchtune.training.sft_data import Example, end_token
from searchtune.training.tokenized import eos_of

if TYPE_CHECKING:
    from searchtune.stage import Job


def run(job: "Job") -> dict:
    """Stage entry: inputs {full: model folder, text: folder of stage ``models.heal_text``}; outputs {model}.

    Params: id, of, layers, form, heal (tokens, lr, warmup_ratio, batch_size, max_length, held_tokens, dtype, seed),
    dtype (of the saved weights), licence, seen. training.json in the folder holds the layers, the loss curve and the
    held-out values before and after. Raises ModelError for too many layers or a loss that is not finite, DataError for
    too little text.
    """
    params, folder = job.params, check_model_dir(job.inputs["full"])
    total = read_json(folder / "config.json").get("num_hidden_layers") or 0
    kept = kept_layers(total, params["layers"], params["of"])
    settings = settings_from(params)
    train, held, available = text_of(job, folder, settings)
    record = {
        "base": {"model": folder.name, "revision": revision_of(folder)},
        "layers": kept,
        "layers_of_base": total,
        "text_sha256": sha256_tree(job.inputs["text"]),
        "text_tokens": available,
        **recorded(settings),
        "seed": settings.seed,
    }
    pupil = Pupil.load(folder, kept, settings, job.threads)
    job.log(f"{params['id']}: layers {kept} of {total}; {pupil.n_trainable:,} weights learn on {pupil.device}")
    keeper = Keeper(job.work, stable_hash([record, len(train)]), settings.save_every_s, job.log)
    curve, told, rates = heal(pupil, train, held, keeper, job)
    job.outputs["model"].mkdir(parents=True)
    save_model(pupil.model.cpu(), pupil.tokenizer, job.outputs["model"], params["dtype"])
    counts = {"tokens": curve.tokens, "steps": curve.loss[-1]["step"], **told}
    curves = {"loss_curve": curve.loss, "dev_loss": curve.dev_loss}
    write_json(job.outputs["model"] / "training.json", record | counts | curves)
    marks = {"licences": [params["licence"]] if params["licence"] else [], "trained_on": [params["seen"]]}
    return counts | rates | marks | {"layers": len(kept), "parameters": count_parameters(job.outputs["model"])}


def settings_from(params: dict[str, Any]) -> Settings:
    """Return a healing's settings as those of a training of all weights in one pass."""
    given = {key: value for key, value in params["heal"].items() if key not in ("tokens", "held_tokens")}
    return settings_of(given | {"form": params["form"], "full": True, "schedule": "cosine"})


def heal(
    pupil: Pupil, train: list[Example], held: list[Example], keeper: Keeper, job: "Job"
) -> tuple[Curve, dict[str, float], dict[str, float]]:
    """Train in place; return (curves, held-out divergence in nats a token and perplexities, seconds and rate).

    A held-out divergence that did not fall is told, not refused.
    """
    before = pupil.perplexities(held)
    started = time.time()
    curve = fit(pupil, train, held, pupil.settings, job.log, keeper)
    seconds = time.time() - started
    told = {
        "held_out_kl_before": curve.dev_loss[0]["loss"],
        "held_out_kl_after": curve.dev_loss[-1]["loss"],
        "perplexity_full": before["full"],
        "perplexity_before": before["pruned"],
        "perplexity_after": pupil.perplexities(held)["pruned"],
    }
    job.log(f"{job.params['id']}, held-out text: {', '.join(f'{key} {value:.4g}' for key, value in told.items())}")
    if told["held_out_kl_after"] >= told["held_out_kl_before"]:
        job.log(f"{job.params['id']}: the held-out divergence has NOT fallen; heal on more tokens or another heal.lr")
    return curve, told, {"train_s": round(seconds, 1), "tokens_per_s": round(curve.tokens / seconds, 1)}


def text_of(job: "Job", folder: Path, settings: Settings) -> tuple[list[Example], list[Example], int]:
    """Return (windows to learn from, held-out windows, tokens of text that there are to learn from).

    Where the text is shorter than the budget its windows come again. DataError where it fills no window.
    """
    tokens = Tokens(folder)
    end = end_token(tokens, settings.form, eos_of(folder))
    found = {}
    for name in ("train", "dev"):
        texts = [row["text"] for row in read_jsonl(job.inputs["text"] / f"{name}.jsonl")]
        found[name] = windows(texts, tokens, settings, end)
        if not found[name]:
            raise DataError(
                f"model {job.params['id']!r}: {name}.jsonl of {job.inputs['text']} fills no window of "
                f"{settings.max_length} tokens; give heal.raw more text or lower heal.max_length"
            )
    budget, train = job.params["heal"], found["train"]
    wanted = [train[i % len(train)] for i in range(budget["tokens"] // settings.max_length)]
    return wanted, found["dev"][: budget["held_tokens"] // settings.max_length], len(train) * settings.max_length


def windows(texts: Sequence[str], tokens: Tokens, settings: Settings, end: int) -> list[Example]:
    """Return texts one after another, each closed by the token ``end``, as windows of ``max_length`` tokens.

    What is left at the end is dropped. The loss counts every place of a window.
    """
    read = [as_read(text, number, settings.form) for number, text in enumerate(texts)]
    ids = [token for row in tokens.prompts(read) for token in (*row, end)]
    length = settings.max_length
    return [Example(tuple(ids[i : i + length]), 0) for i in range(0, len(ids) - length + 1, length)]


def as_read(text: str, number: int, form: str) -> str:
    """Return a text as it is, or (every second one) as a turn of the chat form: first half asked, second half answered.

    The model will be asked in that form, so the layers that are left have to learn its marks again.
    """
    if number % 2 == 0 or form == "plain":
        return text
    words = text.split()
    half = (len(words) + 1) // 2
    return wrap(" ".join(words[:half]), form) + " ".join(words[half:])
