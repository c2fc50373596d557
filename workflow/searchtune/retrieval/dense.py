"""Dense first-stage retrieval: mean-pooled, encoder vectors, exact cosine search; stage ``retrieve.dense``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking, write_run
from searchtune.errors import DataError, ModelError
from searchtune.llm.base import refuse_pickles
from searchtune.llm.hardware import autocast, device
from searchtune.llm.room import Room
from searchtune.retrieval.first_stage import splits_queries
from searchtune.stage import Job

_QUERY_BLOCK = 256  # queries scored at once


class DenseEncoder:
    """A sentence encoder: transformer, mean over the tokens that are not padding, length 1."""

    def __init__(
        self, model_dir: Path, max_length: int = 256, batch_size: int = 32, precision: str = "float32"
    ) -> None:
        """Load an encoder folder, on the GPU if there is one; ModelError if it is not loadable, or holds pickles only.

        ``max_length`` cuts texts (tokens); ``precision`` is the number format of matrix products, vectors are float32.
        """
        from transformers import AutoModel, AutoTokenizer

        refuse_pickles(Path(model_dir))
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model_dir, trust_remote_code=False)
            model = AutoModel.from_pretrained(model_dir, use_safetensors=True, trust_remote_code=False)
            self._model = model.float().to(device()).eval()
        except (OSError, ValueError) as error:
            raise ModelError(f"{model_dir} is not an encoder folder that transformers can load: {error}") from error
        limit = getattr(self._model.config, "max_position_embeddings", max_length)
        self._max_length, self._batch_size = min(max_length, limit), batch_size
        self._precision = precision
        self.room = Room("texts of a dense encoder", "lower retrieval.dense_max_length", unit="characters")

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit vectors (texts, dimensions), float32, in the order of ``texts``.

        Batches hold texts of similar length, so little padding is computed; the result does not
        depend on the order of the texts beyond rounding.
        """
        if not texts:
            raise DataError("dense encoder: no texts to encode")
        order = sorted(range(len(texts)), key=lambda position: (len(texts[position]), texts[position]))
        # characters in place of tokens: batches are by texts, and only one that did not fit is measured
        batches = self.room.batches(
            order,
            lambda position: len(texts[position]),
            self._batch_size,
            lambda batch: self._encode_batch([texts[position] for position in batch]),
        )
        vectors = np.concatenate([block for _, block in batches])
        result = np.empty_like(vectors)
        result[order] = vectors
        return result

    def _encode_batch(self, texts: list[str]) -> np.ndarray:
        import torch

        batch = self._tokenizer(texts, padding=True, truncation=True, max_length=self._max_length, return_tensors="pt")
        batch = batch.to(self._model.device)
        with torch.inference_mode():
            with autocast(self._precision, self._model.device.type):
                states = self._model(**batch).last_hidden_state
            states = states.float()
            mask = batch["attention_mask"].unsqueeze(-1).to(states.dtype)
            pooled = (states * mask).sum(dim=1) / mask.sum(dim=1)
            return torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()


def search(
    queries: np.ndarray, passages: np.ndarray, ids: Sequence[str], k: int, excluded: Sequence[set[str]] | None = None
) -> list[Ranking]:
    """Return for each query vector the ``k`` nearest (id, cosine), ties by id.

    ``queries`` (Q, d) and ``passages`` (N, d) hold unit vectors; ``excluded`` is aligned with the queries.
    """
    order = np.argsort(np.array(ids))
    sorted_ids, sorted_passages = [ids[position] for position in order], passages[order]
    left_out = excluded or [set()] * len(queries)
    rankings: list[Ranking] = []
    for start in range(0, len(queries), _QUERY_BLOCK):
        scores = queries[start : start + _QUERY_BLOCK] @ sorted_passages.T
        rankings += [
            _top(row, sorted_ids, k, out)
            for row, out in zip(scores, left_out[start : start + _QUERY_BLOCK], strict=True)
        ]
    return rankings


def _top(scores: np.ndarray, ids: list[str], k: int, excluded: set[str]) -> Ranking:
    wanted = min(k + len(excluded), len(scores))
    threshold = np.partition(scores, -wanted)[-wanted]
    candidates = np.flatnonzero(scores >= threshold)
    ranked = candidates[np.argsort(-scores[candidates], kind="stable")]
    found = ((ids[position], float(scores[position])) for position in ranked)
    return [pair for pair in found if pair[0] not in excluded][:k]


def run(job: Job) -> dict[str, Any]:
    """Stage ``retrieve.dense``: inputs collection, encoder; outputs run, scores.

    Params: depth (passages a query), splits, batch_size (texts), max_length (tokens), precision.
    """
    import torch

    torch.set_num_threads(job.threads)
    collection = Collection.load(job.inputs["collection"])
    queries = splits_queries(collection, job.params["splits"])
    encoder = DenseEncoder(
        job.inputs["encoder"], job.params["max_length"], job.params["batch_size"], job.params["precision"]
    )
    encoder.room.log = job.log
    ids = list(collection.corpus)
    job.log(f"encoding {len(ids)} passages and {len(queries)} queries")
    passages = encoder.encode([collection.passage_text(i) for i in ids])
    excluded = [collection.excluded.get(query, set()) for query in queries]
    found = search(encoder.encode(list(queries.values())), passages, ids, job.params["depth"], excluded)
    ties = write_run(job.outputs["run"], dict(zip(queries, found, strict=True)), "dense", scores=job.outputs["scores"])
    return {"queries": len(queries), "passages": len(ids), "dimensions": passages.shape[1], "tie_share": ties}
