"""Decoders with a relevance head (RankLLaMA): the last token's state of a (query, passage) pair, times one vector."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchtune.errors import DataError, ModelError
from searchtune.files import read_json
from searchtune.llm.hardware import device, dtype_of
from searchtune.llm.room import Room, to_stderr
from searchtune.prompts.budget import load_tokenizer
from searchtune.reranking.cross_encoder import BATCH_TOKENS, scored

if TYPE_CHECKING:
    import torch

Pair = tuple[str, str]
_HEADED = "ForSequenceClassification"


def check_headed(folder: Path) -> None:
    """Raise ModelError for a folder whose model has no relevance head: one drawn by chance would rank by chance."""
    classes = read_json(folder / "config.json").get("architectures") or []
    if not (folder / "cross_encoder.json").is_file() and not any(name.endswith(_HEADED) for name in classes):
        raise ModelError(
            f"model folder {folder} has no relevance head (its config.json names {', '.join(classes) or 'no class'}, "
            f"a reranker's ends with {_HEADED}); name a model that was tuned to rerank"
        )


class ScalarHead:
    """A decoder with one score a sequence. The pair is written as RankLLaMA was tuned on it (facts: its model card)."""

    def __init__(
        self, folder: Path, max_length: int, dtype: str, threads: int, log: Callable[[str], None] = to_stderr
    ) -> None:
        """Load a folder; ``max_length`` in tokens, of which the passage loses what is over."""
        import torch
        from transformers import AutoModelForSequenceClassification
        from transformers.utils import logging

        check_headed(folder)
        logging.disable_progress_bar()
        torch.set_num_threads(threads)
        self.device = device()
        model: Any = AutoModelForSequenceClassification.from_pretrained(
            folder, num_labels=1, dtype=dtype_of(dtype), trust_remote_code=False, use_safetensors=True
        )
        self.model = model.to(self.device).eval()
        self.tokenizer = load_tokenizer(folder)
        self.max_length = max_length
        self.room = Room("pairs of a relevance head", "lower limrank.baselines max_length", BATCH_TOKENS, log)

    def tokenize(self, pairs: Sequence[Pair]) -> list[list[int]]:
        """Return the token ids of each pair."""
        rows = self.tokenizer.encode_batch([(f"query: {query}", f"document: {text}") for query, text in pairs])
        long = [row for row in rows if len(row.ids) > self.max_length]
        if long:
            raise DataError(
                f"{len(long)} of {len(pairs)} pairs have more than max_length={self.max_length} tokens, the longest "
                f"{max(len(row.ids) for row in long)}: raise limrank.baselines max_length or cut the passages shorter"
            )
        return [list(row.ids) for row in rows]

    def score(self, pairs: Sequence[Pair], batch_size: int = 32) -> list[float]:
        """Return one raw score a pair, in order; pairs run longest first. DataError for one that is not finite."""
        import torch

        rows = self.tokenize(pairs)
        scores = [0.0] * len(rows)
        with torch.inference_mode():
            lengths = [len(row) for row in rows]
            for chosen, found in scored(
                self.room, lengths, batch_size, lambda chosen: self._forward([rows[i] for i in chosen]).tolist()
            ):
                for position, value in zip(chosen, found, strict=True):
                    scores[position] = value
        if not all(abs(score) < float("inf") for score in scores):
            raise DataError("a relevance head gave a score that is not finite; use another dtype")
        return scores

    def _forward(self, rows: list[list[int]]) -> "torch.Tensor":
        """Return the scores (rows,); padding stands on the right, where causal attention never looks."""
        import torch

        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=self.device)
        hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        last = torch.tensor([len(row) - 1 for row in rows], device=self.device)
        return self.model.score(hidden[torch.arange(len(rows), device=self.device), last])[:, 0].float()
