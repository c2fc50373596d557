"""Instructions as token ids, and the order in which training sees them."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from searchtune.errors import ConfigError, DataError, ModelError
from searchtune.llm.tokens import Tokens
from searchtune.prompts.chat import END, check_form, wrap

# batches are cut from pieces of this many batches sorted by length: little padding, still well mixed
SORTED_BATCHES = 16


@dataclass(frozen=True)
class Example:
    """Token ids of one instruction; the loss counts ``ids[n_prompt:]`` only (completion and end token)."""

    ids: tuple[int, ...]
    n_prompt: int

    @property
    def n_completion(self) -> int:
        """Number of tokens that the loss counts."""
        return len(self.ids) - self.n_prompt


def end_token(tokens: Tokens, form: str, eos: int | None) -> int:
    """Return the id that ends a completion: ChatML's end mark, or the model's end of sequence for ``plain``.

    Raises ModelError if the model has no such token.
    """
    if check_form(form) == "plain":
        if eos is None:
            raise ModelError("form 'plain' ends completions with the model's eos token, but its config names none")
        return eos
    mark = tokens.tokenizer.token_to_id(END[form])
    if mark is None:
        raise ModelError(f"the tokenizer has no token {END[form]!r}; use form 'plain' or add it with add_tokens")
    return mark


def encode(rows: Sequence[dict], tokens: Tokens, form: str, end: int) -> list[Example]:
    """Return the examples of instruction rows {id, prompt, completion}, in order and whatever their length.

    Raises DataError for a row without prompt or completion.
    """
    for number, row in enumerate(rows, 1):
        if not row.get("prompt") or not row.get("completion"):
            raise DataError(f"instruction {number} (id {row.get('id')!r}) lacks its prompt or its completion")
    prompts = tokens.prompts([wrap(row["prompt"], form) for row in rows])
    answers = tokens.continuations([row["completion"] for row in rows])
    return [Example((*prompt, *answer, end), len(prompt)) for prompt, answer in zip(prompts, answers, strict=True)]


def tokenize(rows: Sequence[dict], tokens: Tokens, form: str, end: int, max_length: int) -> tuple[list[Example], int]:
    """Return the examples of instruction rows and the number dropped as too long.

    An example of more than ``max_length`` tokens is dropped, never cut: a cut prompt would teach to answer unread text.
    """
    kept = [example for example in encode(rows, tokens, form, end) if len(example.ids) <= max_length]
    return kept, len(rows) - len(kept)


def epoch_batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return one epoch's batches as lists of example numbers: shuffled, then grouped by length, then shuffled again."""
    order = list(range(len(lengths)))
    shuffler = random.Random(f"{seed}-{epoch}")
    shuffler.shuffle(order)
    piece = batch_size * SORTED_BATCHES
    batches = []
    for start in range(0, len(order), piece):
        ordered = sorted(order[start : start + piece], key=lambda i: lengths[i])
        batches += [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)]
    shuffler.shuffle(batches)
    return batches


def even_batches(lengths: Sequence[int], steps: int, seed: int, epoch: int) -> list[list[int]]:
    """Return one epoch in ``steps`` batches whose sizes differ by one at most, grouped and shuffled as above.

    A variant with shorter instructions has more of them in as many tokens; this keeps its optimiser steps equal.
    """
    order = list(range(len(lengths)))
    shuffler = random.Random(f"{seed}-{epoch}")
    shuffler.shuffle(order)
    cuts = [round(i * len(order) / steps) for i in range(steps + 1)]
    batches = []
    for first in range(0, steps, SORTED_BATCHES):
        last = min(first + SORTED_BATCHES, steps)
        ordered = sorted(order[cuts[first] : cuts[last]], key=lambda i: lengths[i])
        batches += [ordered[a - cuts[first] : b - cuts[first]] for a, b in pairwise(cuts[first : last + 1])]
    shuffler.shuffle(batches)
    return [batch for batch in batches if batch]


def plan_batches(
    lengths: Sequence[int],
    batch_size: int,
    seed: int,
    epochs: float,
    max_steps: int | None,
    steps_per_epoch: int | None = None,
) -> list[list[int]]:
    """Return the batches of a whole training: ``max_steps`` of them if given, else ``epochs`` passes over the data.

    ``steps_per_epoch`` spreads the data over so many batches in place of ``batch_size`` examples each.
    """
    per_epoch = steps_per_epoch or -(-len(lengths) // batch_size)
    total = max_steps or max(1, round(per_epoch * epochs))
    plan: list[list[int]] = []
    epoch = 0
    while len(plan) < total:
        plan += (
            even_batches(lengths, steps_per_epoch, seed, epoch)
            if steps_per_epoch
            else epoch_batches(lengths, batch_size, seed, epoch)
        )
        epoch += 1
    return plan[:total]


def prefix(rows: Sequence[Any], fraction: float) -> list[Any]:
    """Return the first ``fraction`` (0 < f <= 1) of the rows, at least one: volumes are nested in one another."""
    if not 0 < fraction <= 1:
        raise ConfigError(f"fraction is {fraction}; expected more than 0 and at most 1")
    return list(rows[: max(1, round(len(rows) * fraction))])


def rate_at(step: int, total: int, warmup: int, schedule: str) -> float:
    """Return the share of the peak learning rate for optimiser step ``step`` (from 0) of ``total``.

    Rises over ``warmup`` steps (the first is already above 0), then ``linear`` or ``cosine`` towards 0 after the last
    step, or ``constant``.
    """
    import math

    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, total - warmup)
    if schedule == "linear":
        return 1.0 - done
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * done))
    raise ConfigError(f"schedule {schedule!r} is unknown; known: constant, cosine, linear")
