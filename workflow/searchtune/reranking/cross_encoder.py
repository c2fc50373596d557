"""Cross-encoders: score (query, passage) pairs read together, and the stage ``rerank.cross_encoder``.

Two heads. ``cls`` is the usual one: a linear unit on the [CLS] output; it needs thousands of pairs.
``interaction`` is ours, for small data: the weighted mean over query tokens of their best cosine with
a passage token, both encoded together, times a learned scale, plus a linear unit on [CLS]. Tokens
start with equal weights and the unit at zero, so that a sentence encoder ranks usefully from the
first step, as its [CLS] does not; that "name" says less than "muffin" is then quickly learned.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from searchtune.collections.beir import Collection
from searchtune.collections.trec import read_run, write_run
from searchtune.errors import ConfigError, DataError, nearest
from searchtune.files import read_json, write_json
from searchtune.llm.base import refuse_pickles
from searchtune.llm.hardware import ENCODER_ATTENTION, autocast, device, dtype_of
from searchtune.llm.packed import packed_products
from searchtune.llm.room import Room, to_stderr
from searchtune.stage import Job

if TYPE_CHECKING:
    import torch

Pair = tuple[str, str]
HEADS = ("cls", "interaction")
HEAD_WEIGHTS = ("scale", "term", "cls")
HEAD_FILE, KIND_FILE = "head.safetensors", "cross_encoder.json"
# what a cosine is multiplied by before training: differences of a few hundredths become differences of logits
START_SCALE = 20.0
# moves a token's weight by tens of percent in the steps in which a rate for encoders moves a vector by hundredths
TERM_GAIN = 10.0
# what a batch of scoring holds at most: more tokens leave the processor's cache, and each pair takes up to 1.5 times
# as long
BATCH_TOKENS = 2048
# forward, the fused kernel saves the passes over all token pairs that plain attention makes through memory
SCORING_ATTENTION = "sdpa"
# pairs: fewer are scored before the weights would be laid out for faster products
PACK_FROM = 8


class Row(NamedTuple):
    """A tokenised pair: token ids, segments (0 query, 1 passage), and 1 where a token is special."""

    ids: list[int]
    segments: list[int]
    special: list[int]


def interaction_scores(
    vectors: "torch.Tensor", query: "torch.Tensor", passage: "torch.Tensor", term: "torch.Tensor"
) -> "torch.Tensor":
    """Return (B,) the weighted mean over query tokens of their largest cosine with a passage token.

    ``vectors`` (B, T, d); masks ``query`` and ``passage`` (B, T) are true for the tokens of each side. A token of
    unit vector u weighs exp(TERM_GAIN u.``term``), ``term`` (d,): all alike where it is zero. No query token: 0.
    """
    import torch

    unit = torch.nn.functional.normalize(vectors, dim=-1)
    best = (unit @ unit.transpose(1, 2)).masked_fill(~passage.unsqueeze(1), -1.0).max(dim=-1).values
    weights = (TERM_GAIN * (unit @ term)).exp() * query
    return (best * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def interaction_network(encoder: Any) -> Any:
    """Return ``encoder`` under the interaction head, as a module that takes :meth:`CrossEncoder.fields`."""
    import torch

    class Interaction(torch.nn.Module):
        """Encoder, learned scale of the cosines, weights of query tokens, and the linear unit on [CLS]."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.config = encoder, encoder.config
            self.scale = torch.nn.Parameter(torch.tensor(START_SCALE))
            self.term = torch.nn.Parameter(torch.zeros(encoder.config.hidden_size))
            self.cls = torch.nn.Parameter(torch.zeros(encoder.config.hidden_size))

        def forward(self, query: "torch.Tensor", passage: "torch.Tensor", **fields: "torch.Tensor") -> "torch.Tensor":
            """Return the scores of a batch of pairs."""
            vectors = self.encoder(**fields).last_hidden_state.float()
            with torch.autocast(vectors.device.type, enabled=False):
                matched = interaction_scores(vectors, query, passage, self.term)
                return self.scale * matched + vectors[:, 0] @ self.cls

    return Interaction()


class CrossEncoder:
    """An encoder with one of the two heads. Load it with :meth:`load`."""

    def __init__(self, model: Any, tokenizer: Any, max_length: int, precision: str, head: str = "cls") -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.precision = precision
        self.head = head
        self.room = Room("pairs of a cross-encoder", "lower its max_length", BATCH_TOKENS)
        self.device: torch.device = next(model.parameters()).device
        # DeBERTa and ModernBERT know no segments
        self.segments = getattr(model.config, "type_vocab_size", 0) > 1

    @classmethod
    def load(
        cls,
        path: Path,
        max_length: int,
        precision: str = "float32",
        seed: int = 0,
        dropout: float | None = None,
        head: str = "cls",
        log: Callable[[str], None] = to_stderr,
    ) -> "CrossEncoder":
        """Load a folder; where it is an encoder without a head, ``head`` is put on it (``cls``: drawn from ``seed``).

        It goes to the GPU if there is one. ``dropout`` replaces the model's own. ``log`` is told where batches had to
        be made smaller. ConfigError for an unknown head, ModelError for pickled weights.
        """
        from tokenizers import Tokenizer

        kind = read_json(path / KIND_FILE)["head"] if (path / KIND_FILE).is_file() else head
        if kind not in HEADS:
            raise ConfigError(f"reranker head {kind!r} is unknown{nearest(kind, HEADS)}")
        refuse_pickles(Path(path))
        rates = {} if dropout is None else {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
        model = _load_cls(path, seed, rates) if kind == "cls" else _load_interaction(path, rates)
        tokenizer = Tokenizer.from_file(str(Path(path) / "tokenizer.json"))
        loaded = cls(model.to(device()).eval(), tokenizer, max_length, precision, kind)
        loaded.room.log = log
        return loaded

    def save(self, path: Path) -> None:
        """Write model, head and tokenizer as a folder that :meth:`load` reads."""
        path.mkdir(parents=True, exist_ok=True)
        if self.head == "interaction":
            from safetensors.torch import save_file

            self.model.encoder.save_pretrained(path, safe_serialization=True)
            weights = {name: getattr(self.model, name).detach().cpu().clone() for name in HEAD_WEIGHTS}
            save_file(weights, path / HEAD_FILE)
        else:
            self.model.save_pretrained(path, safe_serialization=True)
        write_json(path / KIND_FILE, {"head": self.head})
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        self.tokenizer.save(str(path / "tokenizer.json"))
        for file in path.glob("*.safetensors"):
            file.chmod(0o644)

    def freeze_embeddings(self) -> None:
        """Keep the token embeddings as they are in training: few queries show few of the vocabulary's words, and the
        table is half of a small encoder.
        """
        encoder = self.model.encoder if self.head == "interaction" else self.model
        encoder.get_input_embeddings().requires_grad_(False)

    def tokenize(self, pairs: Sequence[Pair]) -> list[Row]:
        """Return the tokens of each pair, cut to ``max_length``: the longer text loses its end first."""
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.max_length, strategy="longest_first")
        return [Row(e.ids, e.type_ids, e.special_tokens_mask) for e in self.tokenizer.encode_batch(list(pairs))]

    def fields(self, rows: Sequence[Row]) -> dict[str, "torch.Tensor"]:
        """Return the padded inputs of the network on its device, each (B, longest)."""
        import torch

        width = max(len(row.ids) for row in rows)

        def padded(values: list[list[int]], fill: int) -> "torch.Tensor":
            """Return rows of one width."""
            return torch.tensor([value + [fill] * (width - len(value)) for value in values], device=self.device)

        found = {
            "input_ids": padded([row.ids for row in rows], self.model.config.pad_token_id or 0),
            "attention_mask": padded([[1] * len(row.ids) for row in rows], 0),
        }
        segments, text = padded([row.segments for row in rows], 0), padded([row.special for row in rows], 1) == 0
        if self.segments:
            found["token_type_ids"] = segments
        if self.head == "interaction":
            found |= {"query": text & (segments == 0), "passage": text & (segments == 1)}
        return found

    def forward(self, rows: Sequence[Row]) -> "torch.Tensor":
        """Return the logits (B,) of tokenised pairs in 32-bit precision; padding changes nothing."""
        with autocast(self.precision, self.device.type):
            found = self.model(**self.fields(rows))
        return found if self.head == "interaction" else found.logits[:, 0].float()

    def score(self, pairs: Sequence[Pair], batch_size: int = 32, noisy: bool = False) -> list[float]:
        """Return one raw logit a pair, in order; pairs run longest first, so that a batch holds like lengths.

        A batch holds at most ``batch_size`` pairs and about ``BATCH_TOKENS`` tokens. ``noisy`` scores in training
        mode, as the released UDAPDR code does (fault U5): dropout makes the scores random. DataError for a score
        that is not finite.
        """
        import torch

        rows = self.tokenize(pairs)
        scores = [0.0] * len(rows)

        def score_batch(chosen: list[int]) -> list[float]:
            """Return the logits of the pairs at these positions."""
            logits = self.forward([rows[i] for i in chosen])
            if not torch.isfinite(logits).all():
                raise DataError("a cross-encoder gave a score that is not finite; train it again with a lower rate")
            return logits.tolist()

        self.model.train(noisy)
        self._attend_by(ENCODER_ATTENTION if noisy else SCORING_ATTENTION)
        try:
            with torch.inference_mode(), self._products(len(rows)):
                for chosen, found in scored(self.room, [len(row.ids) for row in rows], batch_size, score_batch):
                    for position, logit in zip(chosen, found, strict=True):
                        scores[position] = logit
        finally:
            self._attend_by(ENCODER_ATTENTION)
            self.model.eval()
        return scores

    def _products(self, pairs: int) -> AbstractContextManager[None]:
        return (
            nullcontext()
            if pairs < PACK_FROM
            else packed_products(self.model, dtype_of(self.precision, self.device.type))
        )

    def _attend_by(self, name: str) -> None:
        encoder = self.model.encoder if self.head == "interaction" else self.model
        # DeBERTa has no fused attention
        if getattr(encoder, "_supports_sdpa", False):
            encoder.set_attn_implementation(name)


def scored(
    room: Room, lengths: Sequence[int], batch_size: int, score: Callable[[list[int]], list[float]]
) -> Iterator[tuple[list[int], list[float]]]:
    """Yield (positions, their scores), the longest first, in batches of at most ``batch_size`` rows and the tokens that
    ``room`` has, padding counted; a longer row is alone.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    return room.batches(order, lengths.__getitem__, batch_size, score)


def _load_cls(path: Path, seed: int, rates: dict[str, Any]) -> Any:
    import torch
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity_error()  # a missing head is expected of a start
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_pretrained(
            path,
            num_labels=1,
            dtype=torch.float32,
            attn_implementation=ENCODER_ATTENTION,
            use_safetensors=True,
            trust_remote_code=False,
            **rates,
        )
    logging.set_verbosity(level)
    return model


def _load_interaction(path: Path, rates: dict[str, Any]) -> Any:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel

    encoder = AutoModel.from_pretrained(
        path,
        dtype=torch.float32,
        attn_implementation=ENCODER_ATTENTION,
        use_safetensors=True,
        trust_remote_code=False,
        **rates,
    )
    model = interaction_network(encoder)
    if (path / HEAD_FILE).is_file():
        model.load_state_dict(load_file(path / HEAD_FILE), strict=False)
    return model


def mean_scores(teachers: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean over teachers of aligned score lists."""
    return [sum(column) / len(column) for column in zip(*teachers, strict=True)]


def run(job: Job) -> dict[str, Any]:
    """Stage ``rerank.cross_encoder``: rerank the top of a run by the mean of Y rerankers.

    Inputs: collection, run, models (list). Outputs: run, scores (raw means). Params: depth, splits,
    max_length, batch_size, precision, tag. Each query's list is its top ``depth``, no more.
    """
    collection, depth = Collection.load(job.inputs["collection"]), job.params["depth"]
    first = read_run(job.inputs["run"])
    asked = [i for split in job.params["splits"] for i in collection.queries_of(split)]
    if missing := [query for query in asked if query not in first]:
        raise DataError(
            f"{job.inputs['run']} lacks {len(missing)} of {len(asked)} queries, such as {missing[0]!r}; "
            "retrieve them first"
        )
    top = {query: [document for document, _ in first[query][:depth]] for query in asked}
    keys = [(query, document) for query, documents in top.items() for document in documents]
    pairs = [(collection.queries[query].text, collection.passage_text(document)) for query, document in keys]
    scores = mean_scores([_score_with(job, path, pairs) for path in _as_list(job.inputs["models"])])
    reranked: dict[str, list[tuple[str, float]]] = {query: [] for query in top}
    for (query, document), score in zip(keys, scores, strict=True):
        reranked[query].append((document, score))
    ties = write_run(job.outputs["run"], reranked, job.params.get("tag", "reranked"), top, job.outputs["scores"])
    flat = sum(len({round(score, 6) for _, score in rows}) < 2 for rows in reranked.values() if len(rows) > 1)
    return {"queries": len(top), "pairs": len(pairs), "tie_share": ties, "queries_with_one_score": flat}


def _as_list(paths: Path | list[Path]) -> list[Path]:
    return paths if isinstance(paths, list) else [paths]


def _score_with(job: Job, path: Path, pairs: list[Pair]) -> list[float]:
    model = CrossEncoder.load(path, job.params["max_length"], job.params["precision"], log=job.log)
    job.log(f"{len(pairs)} pairs with {path.name}")
    return model.score(pairs, job.params["batch_size"])
