"""Stage ``train.cross_encoder``: one reranker from the synthetic queries of one corpus-adapted prompt.

UDAPDR (arXiv 2303.00807), section 3.3: [CLS] and one linear unit, cross-entropy, one epoch, linear
warm-up and decay. The paper's learning rate of 5e-6 is for DeBERTa-v3 on tens of thousands of
queries; a MiniLM start on a few hundred needs more, and the configuration says how much.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from searchtune.collections.beir import Collection
from searchtune.collections.synthetic import Synthetic, load_filtered
from searchtune.errors import ConfigError, ModelError, ShortageError, nearest
from searchtune.evaluation.significance import paired_test
from searchtune.files import sha256_tree, stable_hash, write_json
from searchtune.llm.hardware import seeded
from searchtune.llm.room import named_shortage
from searchtune.reranking.cross_encoder import CrossEncoder, Row
from searchtune.stage import Job

if TYPE_CHECKING:
    import torch

POLICIES = ("top", "random", "spread")
LOSSES = ("pointwise", "listwise")


@dataclass(frozen=True)
class Group:
    """A query with its source passage and its negatives (passage ids, the source first)."""

    query: str
    passages: tuple[str, ...]


def learning_rate(step: int, total: int, warmup: int, peak: float) -> float:
    """Return the rate of optimiser step ``step`` (0-based) of ``total``: linear up over ``warmup`` steps, then
    linear down; the last step still learns. All counts are optimiser steps, never micro-batches (fault U13).
    """
    if not 0 <= step < total:
        raise ValueError(f"step {step} is outside a schedule of {total} steps")
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * (total - step) / (total - warmup)


def released_learning_rate(step: int, pairs: int, peak: float, warmup: int = 1000) -> float:
    """Return the rate of optimiser step ``step`` as the released code sets it (fault U13).

    The schedule is as long as the number of ``pairs`` (its micro-steps), but moves once an optimiser
    step of 32 pairs: warm-up takes 1,000 real steps, and hardly any decay follows.
    """
    if step < warmup:
        return peak * step / warmup
    return peak * max(0.0, (pairs - step) / max(1, pairs - warmup))


def choose_negatives(
    candidates: Sequence[str], source: str, policy: str, count: int, depth: int, rng: random.Random
) -> list[str]:
    """Return ``count`` negatives (fewer if there are fewer) from the first ``depth`` candidates without the source.

    ``top`` takes the best ranked, ``random`` draws without replacement, ``spread`` takes every n-th rank.
    """
    pool = [candidate for candidate in candidates[:depth] if candidate != source]
    if policy == "top":
        return pool[:count]
    if policy == "random":
        return rng.sample(pool, min(count, len(pool)))
    if policy == "spread":
        return [pool[i * len(pool) // count] for i in range(count)] if len(pool) >= count else pool
    raise ConfigError(f"negatives policy {policy!r} is unknown{nearest(policy, POLICIES)}")


def batches(lengths: Sequence[int], size: int, rng: random.Random, window: int = 8) -> Iterator[list[int]]:
    """Yield shuffled batches of positions whose lengths are alike.

    Positions are shuffled, sorted by length inside windows of ``window`` batches, and the batches
    are shuffled again: little padding, and no order by length. Every position appears once.
    """
    order = list(range(len(lengths)))
    rng.shuffle(order)
    found = []
    for start in range(0, len(order), size * window):
        part = sorted(order[start : start + size * window], key=lambda i: lengths[i])
        found += [part[i : i + size] for i in range(0, len(part), size)]
    rng.shuffle(found)
    yield from found


def released_batches(count: int, size: int) -> list[list[int]]:
    """Return batches of positions in file order, without the last one if it is not full (fault U13).

    Fewer than ``size`` positions are one batch: the released code would learn nothing from them.
    """
    full = [list(range(start, start + size)) for start in range(0, count - size + 1, size)]
    return full or [list(range(count))]


def make_groups(rows: Sequence[Synthetic], negatives: dict[str, Any], seed: int) -> list[Group]:
    """Return one group a query that has at least one negative."""
    rng = random.Random(seed)
    groups = []
    for row in rows:
        chosen = choose_negatives(
            row.candidates, row.source, negatives["policy"], negatives["count"], negatives["depth"], rng
        )
        if chosen:
            groups.append(Group(row.text, (row.source, *chosen)))
    return groups


def group_loss(logits: "torch.Tensor", sizes: Sequence[int], kind: str) -> "torch.Tensor":
    """Return the mean loss of groups whose logits follow each other, the source passage first in each.

    ``pointwise``: binary cross-entropy of every pair (the paper's). ``listwise``: cross-entropy of
    the source against its group.
    """
    import torch

    functional = torch.nn.functional
    parts = logits.split(list(sizes))
    if kind == "pointwise":
        labels = torch.cat([torch.nn.functional.one_hot(torch.tensor(0), size) for size in sizes]).float()
        return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.device))
    if kind == "listwise":
        return -torch.stack([functional.log_softmax(part, 0)[0] for part in parts]).mean()
    raise ConfigError(f"reranker loss {kind!r} is unknown{nearest(kind, LOSSES)}")


def reciprocal_ranks(
    model: CrossEncoder, rows: Sequence[Synthetic], collection: Collection, depth: int, batch_size: int
) -> tuple[list[float], float]:
    """Return, for each query, 1/rank of its source among itself and its first ``depth`` other candidates, and the
    mean spread (highest minus lowest score) within a query. Ties count against the source.
    """
    lists = [[row.source, *[c for c in row.candidates if c != row.source][:depth]] for row in rows]
    pairs = [(row.text, collection.passage_text(i)) for row, ids in zip(rows, lists, strict=True) for i in ids]
    scores = iter(model.score(pairs, batch_size))
    ranks, spreads = [], []
    for ids in lists:
        own, *others = [next(scores) for _ in ids]
        ranks.append(1 / (1 + sum(score >= own for score in others)))
        spreads.append(max(own, *others) - min(own, *others) if others else 0.0)
    return ranks, sum(spreads) / len(spreads)


def train(
    model: CrossEncoder, epochs: list[list[Group]], collection: Collection, params: dict[str, Any], log: Any
) -> list[dict[str, Any]]:
    """Train ``model`` in place on the groups of each epoch; return the loss curve: {step, pairs, loss, lr} a step."""
    import torch

    rng, size, plain = random.Random(params["seed"]), params["batch_size"], "U13" in params["faults"]
    plan = [batch for groups in epochs for batch in group_batches(model, groups, collection, size, rng, plain)]
    warmup = round(params["warmup_ratio"] * len(plan))
    pairs = sum(len(group.passages) for groups in epochs for group in groups)
    optimizer = torch.optim.AdamW(
        learnable(model.model), lr=params["lr"], weight_decay=params["weight_decay"], fused=True
    )
    curve: list[dict[str, Any]] = []
    seen = 0
    model.model.train()
    lower = "lower udapdr.reranker batch_size or max_length"
    with seeded(params["seed"], model.device), named_shortage("a training step of a reranker", lower):
        for step, batch in enumerate(plan):
            rate = optimizer.param_groups[0]["lr"] = (
                released_learning_rate(step, pairs, params["lr"])
                if plain
                else learning_rate(step, len(plan), warmup, params["lr"])
            )
            logits = model.forward([row for rows in batch for row in rows])
            loss = group_loss(logits, [len(rows) for rows in batch], params["loss"])
            take_step(loss, optimizer, model.model, params["max_grad_norm"])
            seen += len(logits)
            curve.append({"step": step + 1, "pairs": seen, "loss": round(loss.item(), 6), "lr": rate})
            if (step + 1) % 20 == 0 or step + 1 == len(plan):
                log(f"step {step + 1} of {len(plan)}, loss {loss.item():.4f}")
    model.model.eval()
    return curve


def group_batches(
    model: CrossEncoder,
    groups: Sequence[Group],
    collection: Collection,
    pairs: int,
    rng: random.Random,
    plain: bool = False,
) -> list[list[list[Row]]]:
    """Return shuffled batches of about ``pairs`` tokenised pairs: whole groups, each a list of rows.

    ``plain`` (fault U13): query by query, see :func:`released_batches`.
    """
    size = max(1, pairs // max(len(group.passages) for group in groups))
    rows = [model.tokenize([(group.query, collection.passage_text(i)) for i in group.passages]) for group in groups]
    lengths = [max(len(row.ids) for row in group) for group in rows]
    plan = released_batches(len(rows), size) if plain else batches(lengths, size, rng)
    return [[rows[i] for i in batch] for batch in plan]


def take_step(loss: "torch.Tensor", optimizer: Any, module: Any, max_norm: float) -> None:
    """Update ``module`` once; ModelError if the loss is not finite."""
    import torch

    if not torch.isfinite(loss):
        raise ModelError(f"training loss is {loss.item()}; lower the learning rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), max_norm)
    optimizer.step()


def learnable(module: Any) -> list["torch.Tensor"]:
    """Return the weights that training moves."""
    return [weight for weight in module.parameters() if weight.requires_grad]


def blend(module: Any, start: Sequence["torch.Tensor"], share: float) -> None:
    """Move the weights that learned to ``start`` + ``share`` x (learned - ``start``), in place.

    Halfway keeps what the start knew and averages out the noise of few steps: Wortsman et al. 2022 (arXiv 2109.01903).
    """
    import torch

    with torch.no_grad():
        for weight, first in zip(learnable(module), start, strict=True):
            weight.copy_(first + share * (weight - first))


def unseen(rows: Sequence[Synthetic], count: int) -> list[Synthetic]:
    """Return at most ``count`` queries that no reranker trained on, of all prompts: the held-out part first, then the
    part that rerankers will label. Their passages, too, are in no training query.
    """
    return [row for part in ("held", "label") for row in rows if row.part == part][:count]


def evaluation_of(
    held: Sequence[Synthetic], before: Sequence[float], after: Sequence[float], spread: float, params: dict[str, Any]
) -> dict[str, Any]:
    """Return what evaluation.json holds: reciprocal ranks before and after training, paired, and the score spread."""
    pairs = zip(held, before, after, strict=True)
    return {
        "prompt": params["prompt"],
        "metric": "RR",
        "n": len(held),
        "untrained": sum(before) / len(before),
        "trained": sum(after) / len(after),
        "p_value": paired_test(after, before, params["seed"]),
        "score_spread": spread,
        "per_query": [{"id": row.id, "untrained": b, "trained": a} for row, b, a in pairs],
    }


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Inputs: model (encoder folder), collection, queries (filtered folder). Output: model (folder with
    training.json and evaluation.json).

    Params: prompt (number, or empty for all prompts), head, n_queries (at most), negatives {policy, count, depth},
    loss, lr, epochs, batch_size (pairs), max_length, warmup_ratio, weight_decay, max_grad_norm, dropout,
    freeze_embeddings, blend, seed, precision, score_batch_size, held_depth, held_queries, faults (U13; of U15
    the seed alone tells). The same network with its untrained head is scored first on queries that nothing was trained
    on: sign of life 15.
    """
    params = job.params
    collection, rows = Collection.load(job.inputs["collection"]), load_filtered(job.inputs["queries"])
    mine = [row for row in rows if row.part == "train" and params["prompt"] in (None, row.prompt)][
        : params["n_queries"]
    ]
    # random negatives are drawn anew for every epoch
    epochs = [make_groups(mine, params["negatives"], params["seed"] + epoch) for epoch in range(params["epochs"])]
    held = unseen(rows, params["held_queries"])
    if not epochs[0] or not held:
        raise ShortageError(
            f"prompt {params['prompt']}: {len(epochs[0])} queries are left to train on and {len(held)} to "
            "test with after the filter; raise udapdr.scale_up.per_prompt (Z), udapdr.filter.k, or the "
            "share of the empty part (udapdr.filter.shares)"
        )
    settings = {key: params[key] for key in ("max_length", "precision", "seed", "dropout", "head")}
    model = CrossEncoder.load(job.inputs["model"], **settings, log=job.log)
    if params["freeze_embeddings"]:
        model.freeze_embeddings()
    rank = partial(reciprocal_ranks, model, held, collection, params["held_depth"], params["score_batch_size"])
    before, _ = rank()
    # a copy of a large encoder is memory: kept only where the weights are blended with it
    start = [weight.detach().clone() for weight in learnable(model.model)] if params["blend"] < 1 else []
    curve = train(model, epochs, collection, params, job.log)
    if start:
        blend(model.model, start, params["blend"])
    after, spread = rank()
    found = evaluation_of(held, before, after, spread, params)
    job.log(f"RR on {len(held)} unseen queries: {found['untrained']:.3f} untrained, {found['trained']:.3f} trained")
    model.save(job.outputs["model"])
    data = stable_hash([sha256_tree(job.inputs["queries"]), params["prompt"]])
    recorded = {key: value for key, value in params.items() if key != "seed"}
    write_json(
        job.outputs["model"] / "training.json",
        {"data": data, "settings": recorded, "seed": params["seed"], "queries": len(epochs[0]), "curve": curve},
    )
    write_json(job.outputs["model"] / "evaluation.json", found)
    return {
        "queries": len(epochs[0]),
        "pairs": curve[-1]["pairs"],
        "steps": len(curve),
        "tested_on": len(held),
        "rr_untrained": found["untrained"],
        "rr_trained": found["trained"],
    }
