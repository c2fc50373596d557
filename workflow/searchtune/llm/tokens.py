"""Tokens as all back ends and the trainer see them: one way to encode, to end and to decode."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from searchtune.errors import ModelError
from searchtune.files import read_json, stable_hash
from searchtune.llm.base import Sampling, check_fit
from searchtune.prompts.budget import load_tokenizer
from searchtune.prompts.chat import END

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Tokens:
    """A model's tokenizer with its beginning-of-sequence and stop tokens.

    Text is encoded without added special tokens (marks written in the text, such as <|im_start|>, count as the
    tokens they name); if the tokenizer opens every sequence with a token, a prompt opens with it too. Whether it also
    closes with one is up to the model (``closed``): an encoder reads whole texts, a decoder goes on where one ends.
    """

    def __init__(self, model_dir: Path, closed: bool = False) -> None:
        self.tokenizer = load_tokenizer(model_dir)
        self.opening, closing = added_tokens(self.tokenizer)
        if closed and not closing:
            raise ModelError(
                f"{model_dir}: tokenizer.json ends no text with a token, as an encoder expects; fetch again"
            )
        self.closing = closing if closed else []
        self.stop_ids = stop_tokens(Path(model_dir), self.tokenizer)

    def prompts(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of prompts; none at all for a prompt that would be nothing but a closing token."""
        batch = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        n = len(self.opening)
        rows = [list(encoding.ids) for encoding in batch]
        opened = [ids if ids[:n] == self.opening else self.opening + ids for ids in rows]
        end = self.closing
        return [ids + end if end and ids and ids[-len(end) :] != end else ids for ids in opened]

    def continuation(self, text: str) -> list[int]:
        """Return the token ids of a text that follows a prompt; ModelError if there are none."""
        ids = self.tokenizer.encode(text, add_special_tokens=False).ids
        if not ids:
            raise ModelError(f"continuation {text!r} has no tokens; a score needs at least one")
        return list(ids)

    def continuations(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of texts that follow prompts; ModelError for one without any."""
        batch = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        if empty := [text for text, encoding in zip(texts, batch, strict=True) if not encoding.ids]:
            raise ModelError(f"continuation {empty[0]!r} has no tokens; a score needs at least one")
        return [list(encoding.ids) for encoding in batch]

    def decode(self, ids: Sequence[int], stop: Sequence[str] = ()) -> tuple[str, bool]:
        """Return the text of generated ids without special tokens, cut before the first stop text (and if so)."""
        text = self.tokenizer.decode(list(ids), skip_special_tokens=True)
        cuts = [found for found in (text.find(mark) for mark in stop if mark) if found >= 0]
        return (text[: min(cuts)], True) if cuts else (text, False)


def added_tokens(tokenizer: "Tokenizer") -> tuple[list[int], list[int]]:
    """Return the tokens that the tokenizer puts before and after every text of its own accord.

    Llama 3 opens with <|begin_of_text|>, T5 closes with </s>.
    """
    with_marks = tokenizer.encode("a", add_special_tokens=True).ids
    plain = tokenizer.encode("a", add_special_tokens=False).ids
    for start in range(len(with_marks) - len(plain) + 1):
        if with_marks[start : start + len(plain)] == plain:
            return list(with_marks[:start]), list(with_marks[start + len(plain) :])
    return [], []


def stop_tokens(model_dir: Path, tokenizer: "Tokenizer") -> list[int]:
    """Return the ids that end an answer: the model's end-of-sequence ids, and ChatML's end mark if it is one token."""
    ids: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        if (model_dir / name).is_file():
            value = read_json(model_dir / name).get("eos_token_id")
            ids.update(value if isinstance(value, list) else [] if value is None else [value])
    mark = tokenizer.token_to_id(END["chatml"])
    return sorted(ids | ({mark} if mark is not None else set()))


def prompt_seed(sampling: Sampling, prompt: str) -> int:
    """Return the seed of one prompt's noise: the same whatever else is in the batch."""
    return int(stable_hash([sampling.seed, prompt], 8), 16) & 0x7FFFFFFF


def check_generation(ids: Sequence[Sequence[int]], samplings: Sequence[Sampling], limit: int) -> None:
    """Raise ModelError if a prompt is empty or does not fit with its max_tokens."""
    if empty := [i for i, row in enumerate(ids) if not row]:
        raise ModelError(f"{len(empty)} of {len(ids)} prompts are empty, the first is number {empty[0]}")
    check_fit([len(row) for row in ids], [s.max_tokens for s in samplings], limit)


def check_scoring(ids: Sequence[Sequence[int]], continuations: Sequence[Sequence[Sequence[int]]], limit: int) -> None:
    """Raise ModelError if a prompt is empty, has no continuation, or does not fit with its longest one."""
    if len(ids) != len(continuations):
        raise ModelError(f"score() got {len(ids)} prompts and {len(continuations)} lists of continuations")
    bad = [i for i, (row, texts) in enumerate(zip(ids, continuations, strict=True)) if not row or not texts]
    if bad:
        raise ModelError(f"{len(bad)} of {len(ids)} prompts are empty or have no continuation, first number {bad[0]}")
    check_fit([len(row) for row in ids], [max(map(len, texts)) for texts in continuations], limit)
