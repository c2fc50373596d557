"""transformers back end: batches of similar length, left padding, one KV cache a batch, shared beginnings once.

The decoding loop is our own, so that every row has its own noise, stop texts and grammar, finished rows leave the
batch, and the last layer runs in float32 (bfloat16 logits of likely tokens are 0.06 apart: scores would tie).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchtune.llm.base import Completion, Sampling, Scored, per_prompt, revision_of
from searchtune.llm.hardware import device, dtype_of
from searchtune.llm.nucleus import keep_nucleus
from searchtune.llm.room import Room, free_memory, to_stderr
from searchtune.llm.structured import Grammars, mask_logits
from searchtune.llm.tokens import Tokens, check_generation, check_scoring, prompt_seed

if TYPE_CHECKING:
    import torch

# a shared beginning shorter than this is not worth a pass of its own
MIN_SHARED = 32


@dataclass
class Row:
    """One answer in the making; ``index`` is its place in the caller's list."""

    index: int
    ids: list[int]
    sampling: Sampling
    noise: Any = None
    matcher: Any = None
    answer: list[int] = field(default_factory=list)
    reason: str = ""

    def restart(self) -> None:
        """Begin anew, with the first noise and at the grammar's start: a batch may be done a second time."""
        self.answer, self.reason = [], ""
        if self.noise is not None:
            self.noise.manual_seed(self.noise.initial_seed())
        if self.matcher is not None:
            self.matcher.reset()


@dataclass
class Batch:
    """State after reading a batch's prompts: last hidden states (rows, width), cache, mask (rows, cached tokens)."""

    hidden: "torch.Tensor"
    cache: Any
    mask: "torch.Tensor"
    lengths: "torch.Tensor"

    def keep(self, rows: "torch.Tensor") -> None:
        """Keep these rows (numbers; one may come up more than once) of all that later steps read."""
        self.cache.batch_select_indices(rows)
        self.mask, self.lengths = self.mask[rows], self.lengths[rows]


class TransformersEngine:
    """A causal language model of transformers on the GPU if there is one, else on the CPU."""

    def __init__(
        self,
        model_dir: Path,
        *,
        dtype: str = "auto",
        max_model_len: int = 2048,
        threads: int = 2,
        seed: int = 0,
        adapter: Path | None = None,
        batch_size: int = 32,
        batch_tokens: int = 16384,
        log: Callable[[str], None] = to_stderr,
    ) -> None:
        """Load the folder. A batch holds at most ``batch_size`` prompts and ``batch_tokens`` tokens with padding, or
        fewer where the GPU's memory does not hold them.
        """
        import torch
        from transformers.utils import logging

        logging.disable_progress_bar()
        torch.set_num_threads(threads)
        self.device = device()
        self._model = self._load(Path(model_dir), dtype, adapter).to(self.device).eval()
        self._body = self._model.base_model
        self._head: Any = self._model.get_output_embeddings().weight.detach().float()
        self.model, self.revision = Path(model_dir).name, revision_of(Path(model_dir), adapter)
        self.max_model_len = max_model_len
        self.tokens = self._tokens(Path(model_dir))
        self._folder, self._seed = Path(model_dir), seed
        self._batch_size = batch_size
        self.room = Room(f"{self.model}, prompts", "lower max_model_len or max_tokens", batch_tokens, log)
        self._grammars: Grammars | None = None

    def _load(self, folder: Path, dtype: str, adapter: Path | None) -> Any:
        """Return the network of a folder, with an adapter merged into it if one is given."""
        from transformers import AutoModelForCausalLM

        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype_of(dtype), use_safetensors=True, trust_remote_code=False
        )
        if adapter is not None:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
        return model

    def _tokens(self, folder: Path) -> Tokens:
        """Return the folder's tokenizer as this kind of model reads prompts."""
        return Tokens(folder)

    def count(self, prompts: list[str]) -> list[int]:
        """Return the number of tokens of each prompt."""
        return [len(ids) for ids in self.tokens.prompts(prompts)]

    def generate(self, prompts: list[str], sampling: Sampling | Sequence[Sampling]) -> list[Completion]:
        """See :class:`searchtune.llm.base.Engine`."""
        import torch

        samplings = per_prompt(prompts, sampling)
        ids = self.tokens.prompts(prompts)
        check_generation(ids, samplings, self.max_model_len)
        rows = [
            Row(i, row, s, self._noise(s, p), self._matcher(s))
            for i, (row, s, p) in enumerate(zip(ids, samplings, prompts, strict=True))
        ]
        with torch.inference_mode():
            for _ in self.room.batches(
                longest_first(rows), lambda row: len(row.ids) + row.sampling.max_tokens, self._batch_size, self._decode
            ):
                pass  # answers are in the rows
        return [self._completion(row) for row in rows]

    def score(self, prompts: list[str], continuations: list[list[str]]) -> list[list[Scored]]:
        """See :class:`searchtune.llm.base.Engine`. Every prompt is read once, however many continuations it has."""
        import torch

        ids = self.tokens.prompts(prompts)
        texts = [[self.tokens.continuation(text) for text in row] for row in continuations]
        check_scoring(ids, texts, self.max_model_len)
        rows = [Row(i, row, Sampling()) for i, row in enumerate(ids)]
        results: list[list[Scored]] = [[] for _ in rows]
        with torch.inference_mode():
            for batch, scores in self.room.batches(
                longest_first(rows),
                lambda row: len(row.ids) + max(map(len, texts[row.index])),
                self._batch_size,
                lambda batch: self._score_batch(batch, [texts[row.index] for row in batch]),
            ):
                for row, values in zip(batch, scores, strict=True):
                    results[row.index] = values
        return results

    def close(self) -> None:
        """See :class:`searchtune.llm.base.Engine`."""
        self._model = self._body = self._head = None
        free_memory()

    def _noise(self, sampling: Sampling, prompt: str) -> Any:
        import torch

        if sampling.temperature == 0:
            return None
        return torch.Generator().manual_seed(prompt_seed(sampling, prompt))

    def _matcher(self, sampling: Sampling) -> Any:
        if sampling.json_schema is None and sampling.choice is None:
            return None
        if self._grammars is None:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(self._folder, trust_remote_code=False)
            self._grammars = Grammars(tokenizer, self._head.shape[0], self.tokens.stop_ids)
        return self._grammars.matcher(sampling)

    def _logits(self, hidden: "torch.Tensor") -> "torch.Tensor":
        import torch

        return torch.nn.functional.linear(hidden.float(), self._head)

    def _read(self, ids: list[list[int]]) -> Batch:
        """Read a batch of prompts: the beginning that they share once, the rest padded on the left after it."""
        import torch
        from transformers import DynamicCache

        shared = shared_length(ids)
        cache: Any = DynamicCache(config=self._model.config)
        if shared:
            beginning = torch.tensor([ids[0][:shared]], device=self.device)
            self._body(input_ids=beginning, past_key_values=cache, use_cache=True)
            cache.batch_repeat_interleave(len(ids))
        width = max(len(row) for row in ids) - shared
        pads = [width - len(row) + shared for row in ids]
        padded = [[0] * pad + row[shared:] for pad, row in zip(pads, ids, strict=True)]
        tokens = torch.tensor(padded, device=self.device)
        mask = torch.tensor([[1] * shared + [0] * pad + [1] * (width - pad) for pad in pads], device=self.device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)[:, shared:]
        hidden = self._body(
            input_ids=tokens, attention_mask=mask, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state[:, -1]
        return Batch(hidden, cache, mask, mask.sum(-1))

    def _step(self, state: Batch, tokens: "torch.Tensor", mask: "torch.Tensor") -> "torch.Tensor":
        """Read ``tokens`` (rows, n), of which ``mask`` counts, after what the cache holds; return hidden states."""
        import torch

        state.mask = torch.cat([state.mask, mask], dim=1)
        positions = state.lengths[:, None] + torch.arange(tokens.shape[1], device=self.device)
        hidden = self._body(
            input_ids=tokens,
            attention_mask=state.mask,
            position_ids=positions,
            past_key_values=state.cache,
            use_cache=True,
        ).last_hidden_state
        state.lengths = state.lengths + mask.sum(-1)
        return hidden

    def _decode(self, rows: list[Row]) -> None:
        import torch

        for row in rows:
            row.restart()
        state = self._read([row.ids for row in rows])
        live = list(rows)
        while True:
            logits = self._logits(state.hidden)
            mask_logits(logits, [row.matcher for row in live])
            for row, token in zip(live, self._draw(logits, live), strict=True):
                self._accept(row, token)
            going = [i for i, row in enumerate(live) if not row.reason]
            if not going:
                return
            if len(going) < len(live):
                state.keep(torch.tensor(going, device=self.device))
                live = [live[i] for i in going]
            last = torch.tensor([[row.answer[-1]] for row in live], device=self.device)
            state.hidden = self._step(state, last, torch.ones_like(last))[:, -1]

    def _draw(self, logits: "torch.Tensor", rows: list[Row]) -> list[int]:
        greedy = logits.argmax(-1).tolist()
        drawn = logits.cpu() if any(row.noise is not None for row in rows) else logits  # one copy for all rows
        return [
            token if row.noise is None else sample(drawn[i], row.sampling, row.noise)
            for i, (row, token) in enumerate(zip(rows, greedy, strict=True))
        ]

    def _accept(self, row: Row, token: int) -> None:
        """Add a token to an answer and decide whether it ends there."""
        row.answer.append(token)
        if row.matcher is not None:
            row.matcher.accept_token(token)
        stopped = token in self.tokens.stop_ids or (row.matcher is not None and row.matcher.is_terminated())
        if stopped or (row.sampling.stop and self.tokens.decode(row.answer, row.sampling.stop)[1]):
            row.reason = "stop"
        elif len(row.answer) == row.sampling.max_tokens:
            row.reason = "length"

    def _completion(self, row: Row) -> Completion:
        text, stopped = self.tokens.decode(row.answer, row.sampling.stop)
        unstopped = row.reason == "stop" and bool(row.sampling.stop) and not stopped
        return Completion(text, row.reason, len(row.ids), len(row.answer), unstopped)

    def _score_batch(self, rows: list[Row], texts: list[list[list[int]]]) -> list[list[Scored]]:
        """Score the continuations of a batch: first tokens from the prompts' pass, the others in a second pass."""
        import torch

        state = self._read([row.ids for row in rows])
        first = self._logits(state.hidden).log_softmax(-1)
        sums = [[first[i, text[0]].item() for text in row] for i, row in enumerate(texts)]
        longer = [(i, j) for i, row in enumerate(texts) for j, text in enumerate(row) if len(text) > 1]
        if longer:
            rest = [texts[i][j] for i, j in longer]
            width = max(map(len, rest)) - 1
            state.keep(torch.tensor([i for i, _ in longer], device=self.device))
            tokens = torch.tensor([t[:-1] + [0] * (width + 1 - len(t)) for t in rest], device=self.device)
            mask = torch.tensor([[1] * (len(t) - 1) + [0] * (width + 1 - len(t)) for t in rest], device=self.device)
            hidden = self._step(state, tokens, mask)
            for (i, j), text, states in zip(longer, rest, hidden, strict=True):
                logprobs = self._logits(states[: len(text) - 1]).log_softmax(-1)
                wanted = torch.tensor(text[1:], device=self.device)
                sums[i][j] += logprobs.gather(1, wanted[:, None]).sum().item()
        return [
            [Scored(value, len(text)) for value, text in zip(values, row, strict=True)]
            for values, row in zip(sums, texts, strict=True)
        ]


def longest_first(rows: list[Row]) -> list[Row]:
    """Return rows in the order of their batches: one that needs too much memory shows at once."""
    return sorted(rows, key=lambda row: (-len(row.ids), row.index))


def shared_length(ids: list[list[int]]) -> int:
    """Return how many tokens all rows begin with in common, leaving each row at least one; 0 if it is not worth it."""
    if len(ids) == 1:
        return 0
    low, high = min(ids), max(ids)  # the beginning that the first and the last in order share, all share
    common = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    common = min(common, min(map(len, ids)) - 1)
    return common if common >= MIN_SHARED else 0


def sample(logits: "torch.Tensor", sampling: Sampling, noise: Any) -> int:
    """Draw a token id from one row of logits (vocabulary): temperature, then the smallest set of mass ``top_p``."""
    import torch

    scaled = logits.float().cpu() / sampling.temperature
    if sampling.top_p < 1:
        scaled = keep_nucleus(scaled, sampling.top_p)
    return int(torch.multinomial(scaled.softmax(-1), 1, generator=noise))
