"""Late interaction: token vectors of queries and passages, exact MaxSim search, and the stage ``retrieve.late``.

A query and a passage are scored by the sum, over the query's tokens, of the largest dot product with
any token of the passage (ColBERT, arXiv 2004.12832; ColBERTv2, arXiv 2112.01488). Token vectors have
unit length. ColBERT's markers of queries and passages and its augmentation of queries by [MASK] tokens are
settings, off unless asked for: a MiniLM start has never seen them, a ColBERT checkpoint (see
searchtune.training.colbert_checkpoint) was trained with them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking, write_run
from searchtune.errors import ConfigError, DataError, ModelError, nearest
from searchtune.files import read_json, write_json
from searchtune.llm.base import refuse_pickles
from searchtune.llm.hardware import ENCODER_ATTENTION, autocast, device, dtype_of
from searchtune.llm.room import Room
from searchtune.retrieval import plaid
from searchtune.retrieval.token_index import PIECE, VECTORS_FILE, TokenIndex, VectorWriter, unit
from searchtune.stage import Job

if TYPE_CHECKING:
    import torch

Projection = Literal["none", "untrained", "trained"]
PROJECTIONS = ("none", "untrained", "trained")
SETTINGS_FILE = "late_interaction.json"
PROJECTION_FILE = "projection.safetensors"
MASK = "[MASK]"
# what one call of the similarity product may hold (32-bit numbers); 64 Mi of them are 256 MiB
_CELLS = 1 << 26


@dataclass(frozen=True)
class Settings:
    """How texts become token vectors; saved beside a trained student, so that training and search agree.

    A marker stands behind [CLS] (empty: none) and counts in the length. Augmentation fills queries with [MASK] up to
    their length; these count in MaxSim, and the encoder's attention leaves them out unless ``attend_to_augmentation``.
    """

    dim: int = 128
    query_length: int = 32
    passage_length: int = 128
    skip_punctuation: bool = False
    keep_special: bool = True
    projection_seed: int = 0
    query_marker: str = ""
    passage_marker: str = ""
    query_augmentation: bool = False
    attend_to_augmentation: bool = False

    @classmethod
    def named(cls, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of a stage's params that are settings and have a value."""
        return {key: params[key] for key in cls.__dataclass_fields__ if params.get(key) is not None}

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> "Settings":
        """Pick this class's keys out of a stage's params; every other key is left alone."""
        return cls(**cls.named(params))


def orthonormal_projection(hidden: int, dim: int, seed: int) -> "torch.Tensor":
    """Return a seeded (dim, hidden) matrix with orthonormal rows: the honest untrained start, which keeps most of
    the geometry, where a random initialisation would throw it away. ModelError if dim > hidden.
    """
    import torch

    if dim > hidden:
        raise ModelError(
            f"projection to {dim} dimensions is wider than the encoder's {hidden}; lower udapdr.student.dim"
        )
    square, upper = np.linalg.qr(np.random.default_rng(seed).standard_normal((hidden, dim)))
    # QR leaves the signs of the columns open; fixing them makes the matrix the same on every machine
    return torch.tensor((square * np.sign(np.diag(upper))).T.copy(), dtype=torch.float32)


def maxsim(query: "torch.Tensor", passages: "torch.Tensor", lengths: Sequence[int]) -> "torch.Tensor":
    """Return the MaxSim scores (n passages) of one query.

    ``query`` (Tq, d); ``passages`` (sum of lengths, d), token vectors one passage after the other;
    ``lengths`` (n), each at least 1. Source: ColBERT, equation 3.
    """
    import torch

    similarity = passages @ query.T
    best = torch.segment_reduce(similarity, "max", lengths=torch.as_tensor(lengths, dtype=torch.int64), axis=0)
    return best.sum(dim=1)


def batch_maxsim(
    queries: "torch.Tensor", query_mask: "torch.Tensor", passages: "torch.Tensor", passage_mask: "torch.Tensor"
) -> "torch.Tensor":
    """Return MaxSim scores (B, n) for padded tensors, differentiable.

    ``queries`` (B, Tq, d), ``passages`` (B, n, Td, d); masks (B, Tq), (B, n, Td) are true where a
    token counts. A padded query token adds 0; a padded passage token is never the best.
    """
    similarity = queries.unsqueeze(1) @ passages.transpose(-1, -2)  # (B, n, Tq, Td)
    similarity = similarity.masked_fill(~passage_mask.unsqueeze(2), float("-inf"))
    best = similarity.max(dim=-1).values
    return best.masked_fill(~query_mask.unsqueeze(1), 0.0).sum(dim=-1)


class LateInteractionModel:
    """An encoder with an optional linear projection. Load it with :meth:`load`."""

    def __init__(
        self,
        encoder: Any,
        tokenizer: Any,
        weight: "torch.Tensor | None",
        settings: Settings,
        precision: str = "float32",
    ) -> None:
        self.encoder = encoder
        self.device: torch.device = next(encoder.parameters()).device
        self.tokenizer = tokenizer
        self.weight = None if weight is None else weight.to(self.device)
        self.settings = settings
        self.precision = precision
        self.room = Room("texts of a late-interaction encoder", "lower udapdr.student.passage_length")
        self._skipped = _skipped_ids(tokenizer, settings)
        self._markers = {
            False: _token_id(tokenizer, settings.query_marker, "query_marker"),
            True: _token_id(tokenizer, settings.passage_marker, "passage_marker"),
        }
        self._mask = _token_id(tokenizer, MASK if settings.query_augmentation else "", "query_augmentation")

    @classmethod
    def load(
        cls,
        path: Path,
        projection: Projection = "trained",
        settings: Settings | None = None,
        precision: str = "float32",
        changes: Mapping[str, Any] | None = None,
    ) -> Self:
        """Load a model folder; it goes to the GPU if there is one.

        ``projection``: ``trained`` reads the folder's own (and its saved settings, but for ``changes``); ``untrained``
        makes the seeded orthonormal one; ``none`` keeps the encoder's own token vectors. ``settings`` are those of
        an encoder without a projection of its own. ConfigError for another name or another ``dim`` than the trained
        projection has, ModelError for pickled weights, a folder without a trained projection or a marker that is no
        token.
        """
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModel

        if projection not in PROJECTIONS:
            raise ConfigError(f"unknown projection {projection!r}{nearest(projection, PROJECTIONS)}")
        refuse_pickles(Path(path))
        encoder = AutoModel.from_pretrained(
            path,
            dtype=torch.float32,
            attn_implementation=ENCODER_ATTENTION,
            use_safetensors=True,
            trust_remote_code=False,
        )
        encoder = encoder.to(device()).eval()
        weight: torch.Tensor | None
        if projection == "trained":
            weight, settings = _trained(Path(path), changes or {})
        else:
            settings = settings or Settings()
            weight = _untrained(projection, settings, encoder.config.hidden_size)
        return cls(encoder, Tokenizer.from_file(str(Path(path) / "tokenizer.json")), weight, settings, precision)

    def save(self, path: Path) -> None:
        """Write encoder, tokenizer, projection and settings as a folder that :meth:`load` reads."""
        from safetensors.torch import save_file

        if self.weight is None:
            raise ModelError("a late-interaction model without a projection is its encoder; there is nothing to save")
        path.mkdir(parents=True, exist_ok=True)
        self.encoder.save_pretrained(path, safe_serialization=True)
        self.tokenizer.save(str(path / "tokenizer.json"))
        save_file({"weight": self.weight.detach().cpu().clone().contiguous()}, path / PROJECTION_FILE)
        for file in path.glob("*.safetensors"):
            file.chmod(0o644)
        write_json(path / SETTINGS_FILE, asdict(self.settings))

    def tokenize(self, texts: Sequence[str], passage: bool) -> list[list[int]]:
        """Return token ids of each text, special tokens and marker included, cut to the length of the settings.

        The marker stands second. Source: ColBERT's ``tensorize`` (stanford-futuredata/ColBERT,
        colbert/modeling/tokenization/query_tokenization.py and doc_tokenization.py), where it takes the place of a
        full stop that is put before the text. The [MASK] tokens of a query come with :meth:`batch`.
        """
        marker = self._markers[passage]
        length = self.settings.passage_length if passage else self.settings.query_length
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(length if marker is None else length - 1)
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        return rows if marker is None else [[*row[:1], marker, *row[1:]] for row in rows]

    def kept(self, ids: "torch.Tensor", passage: bool) -> "torch.Tensor":
        """Return a mask over token ids (any shape): false for tokens that never count in MaxSim.

        Padding is not known here; punctuation is skipped in passages only, as ColBERT does.
        """
        import torch

        skipped = self._skipped["passage" if passage else "query"]
        if not len(skipped):
            return torch.ones_like(ids, dtype=torch.bool)
        return ~torch.isin(ids, skipped.to(ids.device))

    def forward(self, ids: "torch.Tensor", attention: "torch.Tensor") -> "torch.Tensor":
        """Return unit-length token vectors (B, T, d) in 32-bit precision, projected if there is a projection."""
        import torch

        hidden = self.encoder(input_ids=ids, attention_mask=attention).last_hidden_state.float()
        # the projection costs little, and scores in half precision tie
        with torch.autocast(hidden.device.type, enabled=False):
            return unit(hidden if self.weight is None else hidden @ self.weight.T)

    def pad(self, rows: list[list[int]]) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Return (ids, attention mask) on the encoder's device, both (B, longest), padded on the right."""
        import torch

        width = max(map(len, rows))
        pad = self.encoder.config.pad_token_id or 0
        ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=self.device)
        attention = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self.device)
        return ids, attention

    def batch(self, rows: list[list[int]], passage: bool) -> tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]:
        """Return (ids, attention mask, mask of what counts in MaxSim), all (B, T), of tokenised queries or passages.

        A text of skipped tokens only keeps its first one, so that it still has a score.
        """
        ids, attention = self.pad(rows)
        counted = attention.bool()
        if self._mask is not None and not passage:
            ids, attention = self._augmented(rows, self._mask)
            counted = attention.new_ones(attention.shape).bool()
        counted = counted & self.kept(ids, passage)
        counted[:, 0] |= ~counted.any(dim=1)
        return ids, attention, counted

    def _augmented(self, rows: list[list[int]], mask: int) -> tuple["torch.Tensor", "torch.Tensor"]:
        """Return (ids, attention mask), both (B, query_length), filled with [MASK] tokens on the right.

        Source: ColBERT, section 3.2, and query_tokenization.py of its repository.
        """
        import torch

        width, seen = self.settings.query_length, int(self.settings.attend_to_augmentation)
        ids = torch.tensor([row + [mask] * (width - len(row)) for row in rows], device=self.device)
        attention = torch.tensor([[1] * len(row) + [seen] * (width - len(row)) for row in rows], device=self.device)
        return ids, attention

    def encode_queries(self, texts: Sequence[str], batch_size: int = 64) -> list["torch.Tensor"]:
        """Return one (Tq, d) tensor of token vectors a query, in the processor's memory."""
        return self._encode(texts, batch_size, passage=False)

    def encode_passages(self, texts: Sequence[str], batch_size: int = 32) -> list["torch.Tensor"]:
        """Return one (Td, d) tensor of token vectors a passage, in the processor's memory."""
        return self._encode(texts, batch_size, passage=True)

    def index(self, ids: Sequence[str], texts: Sequence[str], batch_size: int = 32) -> TokenIndex:
        """Encode a corpus (``ids`` and ``texts`` aligned); DataError if it is empty."""
        import torch

        if not ids:
            raise DataError("late interaction: the corpus is empty; there is nothing to index")
        rows = self.tokenize(texts, True)
        lengths = self._lengths(rows)
        # filled as they come: collected first, the vectors would stand in memory twice
        vectors = torch.empty((sum(lengths), self.width), dtype=torch.float32)
        ends = np.cumsum(lengths)
        for position, found in self._encoded(rows, batch_size, True):
            vectors[ends[position] - lengths[position] : ends[position]] = found
        return TokenIndex(list(ids), vectors, lengths)

    @property
    def width(self) -> int:
        """The numbers of a token vector."""
        return int(self.encoder.config.hidden_size if self.weight is None else len(self.weight))

    def _lengths(self, rows: list[list[int]], at_once: int = 1024) -> list[int]:
        """Return the tokens of each passage that count in MaxSim."""
        return [
            length
            for start in range(0, len(rows), at_once)
            for length in self.batch(rows[start : start + at_once], True)[2].sum(dim=1).tolist()
        ]

    def _encode(self, texts: Sequence[str], batch_size: int, passage: bool) -> list["torch.Tensor"]:
        rows = self.tokenize(texts, passage)
        found = dict(self._encoded(rows, batch_size, passage))
        return [found[position] for position in range(len(rows))]

    def _encoded(self, rows: list[list[int]], batch_size: int, passage: bool) -> Iterator[tuple[int, "torch.Tensor"]]:
        """Yield (position, token vectors) of each row."""
        import torch

        def encode(chosen: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
            """Return the vectors of the rows at these positions, and what counts of them, in the processor's memory."""
            ids, attention, counts = self.batch([rows[i] for i in chosen], passage)
            with torch.inference_mode(), autocast(self.precision, self.device.type):
                return self.forward(ids, attention).cpu(), counts.cpu()

        # longest first: batches hold texts of like length, and a lack of memory shows at once
        order = sorted(range(len(rows)), key=lambda i: (-len(rows[i]), i))
        for chosen, (vectors, counts) in self.room.batches(order, lambda i: len(rows[i]), batch_size, encode):
            for position, vector, mask in zip(chosen, vectors, counts, strict=True):
                yield position, vector[mask]


def _skipped_ids(tokenizer: Any, settings: Settings) -> dict[str, "torch.Tensor"]:
    import string

    import torch

    special = [] if settings.keep_special else [tokenizer.token_to_id(t) for t in ("[CLS]", "[SEP]")]
    marks = [tokenizer.token_to_id(mark) for mark in string.punctuation] if settings.skip_punctuation else []

    def tensor(ids: list[int | None]) -> "torch.Tensor":
        """Return the ids that the vocabulary has, sorted."""
        return torch.tensor(sorted({i for i in ids if i is not None}), dtype=torch.int64)

    return {"query": tensor(special), "passage": tensor(special + marks)}


def _token_id(tokenizer: Any, token: str, setting: str) -> int | None:
    """Return the id of a token that a setting asks for, None for no token; ModelError if it isn't in the vocabulary."""
    found: int | None = tokenizer.token_to_id(token) if token else None
    if token and found is None:
        raise ModelError(
            f"{setting} asks for the token {token!r}, which the encoder's vocabulary lacks; set "
            f"udapdr.student.{setting} to a token that it has, or leave it out"
        )
    return found


def _untrained(projection: str, settings: Settings, hidden: int) -> "torch.Tensor | None":
    if projection == "none":
        return None
    return orthonormal_projection(hidden, settings.dim, settings.projection_seed)


def _trained(path: Path, changes: Mapping[str, Any]) -> tuple["torch.Tensor", Settings]:
    """Return a folder's own projection, and its settings but for ``changes``."""
    from safetensors.torch import load_file

    if not (path / PROJECTION_FILE).is_file():
        raise ModelError(
            f"{path} holds no trained projection ({PROJECTION_FILE}); train a student, or ask for "
            "projection 'untrained' or 'none'"
        )
    weight = load_file(path / PROJECTION_FILE)["weight"]
    settings = replace(Settings(**read_json(path / SETTINGS_FILE)), **changes)
    if settings.dim != len(weight):
        raise ConfigError(
            f"udapdr.student.dim is {settings.dim}, but the projection in {path} has {len(weight)} dimensions; "
            "leave dim empty to take them"
        )
    return weight, settings


def search(
    index: TokenIndex,
    queries: list["torch.Tensor"],
    k: int,
    excluded: Sequence[set[str]] | None = None,
    precision: str = "float32",
) -> list[Ranking]:
    """Return, for each query's token vectors, the best ``k`` (id, score): exact MaxSim, ties by id.

    A large index is read from disk part by part, once for all queries.
    ``precision`` is the number format of the products: bfloat16 is three times faster where the machine has units for
    it, and keeps about two digits of a cosine (steps of 0.004 near 1).
    """
    left_out = excluded or [set()] * len(queries)
    best: list[Ranking] = [[] for _ in queries]
    for part in index.parts():
        scored = (scores for piece in _pieces(part, queries, precision) for scores in piece)
        found = [_top(part.ids, scores, k, out) for scores, out in zip(scored, left_out, strict=True)]
        best = [sorted(a + b, key=lambda pair: (-pair[1], pair[0]))[:k] for a, b in zip(best, found, strict=True)]
    return best


def _pieces(index: TokenIndex, queries: list["torch.Tensor"], precision: str) -> Iterator["torch.Tensor"]:
    """Yield scores (queries of the piece, passages); several queries share one product with the corpus."""
    import torch

    vectors = index.vectors.to(dtype_of(precision, index.vectors.device.type))
    # where each passage's columns begin
    firsts = np.concatenate([[0], np.cumsum(index.lengths)[:-1]])
    start = 0
    while start < len(queries):
        end, tokens = start, 0
        while end < len(queries) and (end == start or (tokens + len(queries[end])) * len(vectors) <= _CELLS):
            tokens += len(queries[end])
            end += 1
        piece = queries[start:end]
        similarity = torch.cat(piece).to(vectors.dtype) @ vectors.T
        # one call for all passages; for one query, too, faster than torch's segmented maximum or a call a passage
        best = torch.from_numpy(np.maximum.reduceat(similarity.float().numpy(), firsts, axis=1))
        yield torch.stack([part.sum(dim=0) for part in best.split([len(query) for query in piece])])
        start = end


def _top(ids: list[str], scores: "torch.Tensor", k: int, excluded: set[str]) -> Ranking:
    values = scores.numpy()
    wanted = min(len(values), k + len(excluded))
    threshold = np.partition(values, -wanted)[-wanted]
    pairs = sorted(
        ((ids[i], float(values[i])) for i in np.flatnonzero(values >= threshold)), key=lambda pair: (-pair[1], pair[0])
    )
    return [pair for pair in pairs if pair[0] not in excluded][:k]


def load_model(job: Job, projection: Projection) -> LateInteractionModel:
    """Return the model given as input; the settings in the job's params are an encoder's, or change a trained one's."""
    params = job.params
    model = LateInteractionModel.load(
        job.inputs["model"], projection, Settings.of(params), params["precision"], Settings.named(params)
    )
    model.room.log = job.log
    return model


def load_index(job: Job, collection: Collection, model: LateInteractionModel) -> TokenIndex:
    """Return the index given as input, or encode the collection's corpus: a large one part by part, into the output
    index or, if none is asked for, the working folder."""
    if "index" in job.inputs:
        return TokenIndex.load(job.inputs["index"])
    ids, size = list(collection.corpus), job.params["batch_size"]
    if len(ids) <= PIECE:
        return model.index(ids, [collection.passage_text(i) for i in ids], size)
    folder = job.outputs.get("index", job.work / "index")
    with VectorWriter(folder) as writer:
        for start in range(0, len(ids), PIECE):
            part = ids[start : start + PIECE]
            writer.add(model.index(part, [collection.passage_text(i) for i in part], size))
            job.log(f"{start + len(part)} of {len(ids)} passages encoded")
    return TokenIndex.load(folder)


def run(job: Job) -> dict[str, Any]:
    """Stage ``retrieve.late``: search a collection with one encoder under one or several projections.

    Inputs: collection, model, optionally index (of the same encoder, before any projection that
    params ask for). Outputs: runs (folder with ``<system>.run.gz`` and ``<system>.scores.tsv.gz``; may be
    left out where systems is empty), optionally index. Params: systems {name: none|untrained|trained},
    depth, splits, batch_size, precision, the fields of :class:`Settings` (of a trained model: those that are to differ
    from its own), and optionally search {method, exact_passages, plaid} (without it: exact) and projection
    (``trained``: the corpus is encoded with the model's own, though no system searches it). The corpus is encoded once:
    several systems may share it only if none of them is trained. A PLAID index of the vectors of the output index is
    kept in its folder ``plaid``.
    """
    systems: dict[str, Projection] = job.params["systems"]
    base: Projection = job.params.get("projection") or ("trained" if "trained" in systems.values() else "none")
    if base == "trained" and set(systems.values()) - {"trained"}:
        raise ConfigError(f"retrieve.late: systems {systems} mix trained and untrained encoders; give each its own job")
    collection = Collection.load(job.inputs["collection"])
    model = load_model(job, base)
    index = load_index(job, collection, model)
    job.log(f"{len(index.ids)} passages, {len(index.vectors)} token vectors")
    if "index" in job.outputs and index.folder is None:
        index.save(job.outputs["index"])
    counts: dict[str, Any] = {"passages": len(index.ids), "vectors": len(index.vectors)}
    for name, projection in systems.items():
        counts |= _search_system(job, collection, model, index, name, projection)
    return counts


def _search_system(
    job: Job, collection: Collection, model: LateInteractionModel, index: TokenIndex, name: str, projection: Projection
) -> dict[str, Any]:
    """Search all queries of the asked splits with one system; write its run; return its counts."""
    if projection == "untrained":
        weight = orthonormal_projection(
            model.encoder.config.hidden_size, model.settings.dim, model.settings.projection_seed
        )
        model.weight = weight.to(model.device)
        index = index.projected(weight, job.work / f"{name}.vectors")
    queries = {i: q.text for split in job.params["splits"] for i, q in collection.queries_of(split).items()}
    if not queries:
        raise DataError(f"retrieve.late: no queries in the splits {', '.join(job.params['splits'])}")
    excluded = [collection.excluded.get(query, set()) for query in queries]
    # an output index holds what was encoded; projected vectors are others
    kept = job.outputs["index"] if "index" in job.outputs and projection != "untrained" else None
    vectors = model.encode_queries(list(queries.values()))
    found = ranked(job, index, vectors, job.params["depth"], excluded, name, kept)
    folder = job.outputs["runs"]
    ties = write_run(folder / f"{name}.run.gz", dict(zip(queries, found, strict=True)), name)
    model.weight = model.weight if projection == "trained" else None
    return {f"{name}_queries": len(queries), f"{name}_tie_share": ties}


def ranked(
    job: Job,
    index: TokenIndex,
    queries: list["torch.Tensor"],
    depth: int,
    excluded: Sequence[set[str]] | None = None,
    name: str = "late",
    kept: Path | None = None,
    precision: str = "float32",
) -> list[Ranking]:
    """Search exactly (``precision``: see :func:`search`) or with PLAID, as the job's params and the corpus' size say.

    ``kept``: the folder where the vectors lie already; PLAID's index of them is kept in it.
    """
    how = job.params.get("search")
    if not how or not plaid.chooses_plaid(how["method"], len(index.ids), how["exact_passages"]):
        return search(index, queries, depth, excluded, precision)
    job.log(f"{name}: PLAID with {how['plaid']}")
    saved = kept or index.folder or job.work / f"{name}.vectors"
    folder = kept / "plaid" if kept else job.work / f"{name}.plaid"
    if not kept and index.folder is None:
        index.save(saved)
    excluded = excluded or [set() for _ in queries]
    settings = plaid.settings_of(how)
    return plaid.search(saved / VECTORS_FILE, index.ids, queries, depth, excluded, settings, folder, job.threads)
