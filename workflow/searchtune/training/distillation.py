"""Stage ``train.student``: distil reranker scores into a late-interaction student.

UDAPDR (arXiv 2303.00807), section 3.4; the loss is ColBERTv2's (arXiv 2112.01488): KL divergence
between the softmax of the teachers' scores and that of the student's MaxSim over an n-way tuple.
The released code does not shuffle the tuples (fault U4); its processes all read the same part of them (U14).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from searchtune.collections.beir import Collection
from searchtune.errors import ConfigError, DataError
from searchtune.files import read_jsonl, sha256_file, write_json
from searchtune.llm.hardware import autocast, seeded
from searchtune.llm.room import named_shortage
from searchtune.retrieval.late_interaction import (
    PROJECTION_FILE,
    LateInteractionModel,
    Projection,
    Settings,
    batch_maxsim,
)
from searchtune.stage import Job
from searchtune.training.cross_encoder import batches, learning_rate, take_step

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Tuple:
    """A query, its n passage ids (the source first) and the teachers' scores, aligned; ``phase`` orders training."""

    id: str
    query: str
    passages: tuple[str, ...]
    scores: tuple[float, ...]
    phase: int = 0


def load_tuples(path: Any) -> list[Tuple]:
    """Read scored tuples; DataError for an empty file or rows whose passages and scores do not match."""
    rows = [
        Tuple(r["id"], r["query"], tuple(r["passages"]), tuple(r["scores"]), r.get("phase", 0))
        for r in read_jsonl(path)
    ]
    if not rows:
        raise DataError(f"{path} holds no tuples; nothing can be distilled")
    for row in rows:
        if len(row.passages) != len(row.scores) or len(row.passages) < 2:
            raise DataError(f"{path}: tuple {row.id!r} has {len(row.passages)} passages and {len(row.scores)} scores")
    return rows


def shuffle_scores(rows: Sequence[Tuple], seed: int) -> list[Tuple]:
    """Return the tuples with the scores of each permuted: the same values, without their meaning.

    The control of sign of life 15: a student that learns as well from these learnt nothing from its teachers.
    """
    rng = random.Random(seed)
    return [replace(row, scores=tuple(rng.sample(row.scores, len(row.scores)))) for row in rows]


def seen_by_ranks(rows: Sequence[Tuple], batch_size: int, ranks: int) -> tuple[list[Tuple], int]:
    """Return the tuples, and how many different ones a step holds, when ``ranks`` processes train (fault U14).

    Each takes its share of the batch, but all take the same tuples, every ``ranks``-th: of 8 tuples in batches of 4,
    two processes see tuples 0, 2, 4, 6, two a step. One process (corrected) sees everything.
    """
    return list(rows[::ranks]), max(1, batch_size // ranks)


def kl_loss(
    student: "torch.Tensor", teacher: "torch.Tensor", student_temperature: float = 1.0, teacher_temperature: float = 1.0
) -> "torch.Tensor":
    """Return KL(teacher || student), summed over the n passages, mean over the B tuples; both inputs (B, n).

    Each side is a log-softmax of its scores divided by its temperature (ColBERT's ``batchmean``).
    """
    import torch

    functional = torch.nn.functional
    return functional.kl_div(
        functional.log_softmax(student / student_temperature, dim=-1),
        functional.log_softmax(teacher / teacher_temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )


class Student(LateInteractionModel):
    """A late-interaction model whose projection learns too."""

    def trainable(self, freeze_layers: int) -> list["torch.Tensor"]:
        """Return the parameters that learn: encoder above ``freeze_layers`` layers (0: all of it), and projection."""
        import torch

        if freeze_layers:
            layers = self.encoder.encoder.layer
            if freeze_layers > len(layers):
                raise ConfigError(
                    f"udapdr.student.freeze_layers is {freeze_layers}, but the encoder has {len(layers)} layers"
                )
            for module in [self.encoder.embeddings, *layers[:freeze_layers]]:
                module.requires_grad_(False)
        if self.weight is None:
            raise ConfigError("a student needs a projection; load it with projection 'untrained' or 'trained'")
        self.weight = torch.nn.Parameter(self.weight.clone())
        # a pooler plays no part in token vectors
        named = [p for n, p in self.encoder.named_parameters() if p.requires_grad and not n.startswith("pooler")]
        return [*named, self.weight]

    def scores(self, queries: list[list[int]], passages: list[list[int]], places: list[list[int]]) -> "torch.Tensor":
        """Return MaxSim scores (B, n): ``places[b]`` are the positions of tuple b's passages in ``passages``."""
        import torch

        query_ids, query_attention, query_mask = self.batch(queries, passage=False)
        ids, attention, mask = self.batch(passages, passage=True)
        query_vectors, vectors = self.forward(query_ids, query_attention), self.forward(ids, attention)
        chosen = torch.tensor(places, device=self.device)
        with torch.autocast(self.device.type, enabled=False):
            return batch_maxsim(query_vectors, query_mask, vectors[chosen], mask[chosen])


@dataclass
class Tokens:
    """Token ids of all queries and passages that the tuples name."""

    queries: list[list[int]]
    passages: dict[str, list[int]]

    @classmethod
    def of(cls, model: Student, rows: Sequence[Tuple], collection: Collection) -> "Tokens":
        """Tokenise every query and every distinct passage once."""
        ids = sorted({i for row in rows for i in row.passages})
        passages = model.tokenize([collection.passage_text(i) for i in ids], passage=True)
        queries = model.tokenize([row.query for row in rows], passage=False)
        return cls(queries, dict(zip(ids, passages, strict=True)))


def batch_loss(
    model: Student, rows: Sequence[Tuple], tokens: Tokens, batch: list[int], params: dict[str, Any]
) -> "torch.Tensor":
    """Return the loss of one batch: KL to the teachers, or (objective ``contrast``, direct fine-tuning) the
    cross-entropy of the source passage. A passage that several tuples share is encoded once.
    """
    import torch

    names = sorted({i for b in batch for i in rows[b].passages}, key=lambda i: (len(tokens.passages[i]), i))
    place = {name: position for position, name in enumerate(names)}
    with autocast(params["precision"], model.device.type):
        student = model.scores(
            [tokens.queries[b] for b in batch],
            [tokens.passages[i] for i in names],
            [[place[i] for i in rows[b].passages] for b in batch],
        )
    if params["objective"] == "contrast":
        # the source stands first; what the teachers think of the others is not looked at
        sources = torch.zeros(len(batch), dtype=torch.long, device=model.device)
        return torch.nn.functional.cross_entropy(student / params["student_temperature"], sources)
    teacher = torch.tensor([rows[b].scores for b in batch], device=model.device)
    return kl_loss(student, teacher, params["student_temperature"], params["teacher_temperature"])


def plan_batches(rows: Sequence[Tuple], tokens: Tokens, params: dict[str, Any]) -> list[list[int]]:
    """Return all batches of all epochs, phase after phase (one phase unless teachers follow each other).

    Batches hold tuples of one size; those of a phase are shuffled by the seed, or follow the file (fault U4).
    """
    size_of_batch = params["batch_size"]
    rng = random.Random(params["seed"])
    plan = []
    for phase in sorted({row.phase for row in rows}):
        sizes = sorted({len(row.passages) for row in rows if row.phase == phase})
        for _ in range(params["epochs"]):
            for size in sizes:
                chosen = [i for i, row in enumerate(rows) if row.phase == phase and len(row.passages) == size]
                if "U4" in params["faults"]:
                    plan += [chosen[i : i + size_of_batch] for i in range(0, len(chosen), size_of_batch)]
                    continue
                lengths = [max(len(tokens.passages[p]) for p in rows[i].passages) for i in chosen]
                plan += [[chosen[i] for i in batch] for batch in batches(lengths, size_of_batch, rng)]
    return plan


def rate_at(step: int, total: int, params: dict[str, Any]) -> float:
    """Return the learning rate of a step: constant as released, or linear warm-up and decay."""
    if params["schedule"] == "constant":
        return params["lr"]
    return learning_rate(step, total, round(params["warmup_ratio"] * total), params["lr"])


def train(
    model: Student, rows: Sequence[Tuple], collection: Collection, params: dict[str, Any], log: Any
) -> list[dict[str, Any]]:
    """Train ``model`` in place; return the loss curve: {step, tuples, loss, lr} a step."""
    import torch

    tokens = Tokens.of(model, rows, collection)
    plan = plan_batches(rows, tokens, params)
    optimizer = torch.optim.AdamW(
        model.trainable(params["freeze_layers"]), lr=params["lr"], weight_decay=params["weight_decay"], fused=True
    )
    learning = torch.nn.ParameterList(optimizer.param_groups[0]["params"])
    curve: list[dict[str, Any]] = []
    seen = 0
    model.encoder.train()
    lower = "lower udapdr.student batch_size or passage_length"
    with seeded(params["seed"], model.device), named_shortage("a training step of a student", lower):
        for step, batch in enumerate(plan):
            rate = rate_at(step, len(plan), params)
            optimizer.param_groups[0]["lr"] = rate
            loss = batch_loss(model, rows, tokens, batch, params)
            take_step(loss, optimizer, learning, params["max_grad_norm"])
            seen += len(batch)
            curve.append({"step": step + 1, "tuples": seen, "loss": round(loss.item(), 6), "lr": rate})
            if (step + 1) % 10 == 0 or step + 1 == len(plan):
                log(f"step {step + 1} of {len(plan)}, loss {loss.item():.4f}")
    model.encoder.eval()
    if model.weight is not None:
        model.weight = model.weight.detach()
    return curve


def load_student(path: Any, params: dict[str, Any]) -> Student:
    """Load a start: an encoder with a seeded orthonormal projection, or a model trained for late interaction (a
    ColBERT checkpoint, a student to go on with) with its own projection, and its settings but for those in params.
    """
    kind: Projection = "trained" if (path / PROJECTION_FILE).is_file() else "untrained"
    loaded = Student.load(path, kind, Settings.of(params), changes=Settings.named(params))
    rate = params["dropout"]
    if rate is not None:
        import torch

        for module in loaded.encoder.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = rate
    return loaded


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Inputs: model (start), tuples (scored tuples), collection. Output: model (late-interaction folder
    with training.json).

    Params: objective (distil | contrast), epochs, batch_size (tuples), lr, schedule (linear | constant),
    warmup_ratio, weight_decay, max_grad_norm, dropout, freeze_layers, student_temperature, teacher_temperature,
    max_tuples, shuffle_scores, seed, precision, faults (U4), ranks (processes of fault U14; 1 without it), and the
    fields of Settings (of a start with its own projection: those that are to differ from its own).
    """
    params = dict(job.params)
    rows = load_tuples(job.inputs["tuples"])[: params["max_tuples"]]
    rows, params["batch_size"] = seen_by_ranks(rows, params["batch_size"], params["ranks"])
    if params["shuffle_scores"]:
        rows = shuffle_scores(rows, params["seed"])
    collection = Collection.load(job.inputs["collection"])
    model = load_student(job.inputs["model"], params)
    curve = train(model, rows, collection, params, job.log)
    model.save(job.outputs["model"])
    settings = {key: value for key, value in job.params.items() if key != "seed"}
    write_json(
        job.outputs["model"] / "training.json",
        {
            "data": sha256_file(job.inputs["tuples"]),
            "settings": settings,
            "seed": params["seed"],
            "tuples": len(rows),
            "curve": curve,
        },
    )
    passages = len({i for row in rows for i in row.passages})
    return {
        "tuples": len(rows),
        "passages": passages,
        "steps": len(curve),
        "first_loss": curve[0]["loss"],
        "last_loss": curve[-1]["loss"],
    }
