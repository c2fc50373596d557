"""What INTERS' released evaluation does to answers before any score (facts: known faults), rebuilt case by case.

B4 cuts an answer off by the characters of the prompt as it was before truncation; B5 pads answers with token id 2,
whatever the tokenizer; B9 divides 0 by 0 where all grades of a query are 0; B10 looks for "query_id" in a file's path,
not in its rows; B11 stacks texts of different lengths. B7 (one data set listwise, the others pointwise) is a choice of
``inters.strategies.modes`` here, and no table mixes them.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MAX_INPUT_TOKENS = 1792
PAD_ID = 2
BATCH = 2


def answer_after(prompt: str, truncated: str, generated: str, released: bool) -> str:
    """Return the new text of ``truncated + generated``; as released (B4), what stands after len(prompt) characters."""
    return (truncated + generated)[len(prompt) :] if released else generated


def padded(answers: Sequence[Sequence[int]], pad_id: int) -> list[list[int]]:
    """Return a batch of answers (token ids) as generation leaves it: short ones filled up with ``pad_id`` (B5)."""
    longest = max(map(len, answers), default=0)
    return [[*answer, *[pad_id] * (longest - len(answer))] for answer in answers]


def mean_of(values: Sequence[float], ideals: Sequence[float], released: bool) -> float:
    """Return the mean of DCG / ideal DCG over queries; a query without a relevant passage counts 0, or NaN (B9)."""
    shares = [v / i if i else (math.nan if released else 0.0) for v, i in zip(values, ideals, strict=True)]
    return sum(shares) / len(shares)


def query_key(path: Path, row: Mapping[str, Any], released: bool) -> str | None:
    """Return the id under which an answer is saved: of its row; as released (B10) only if the path says so."""
    return row.get("query_id") if not released or "query_id" in str(path) else None


def stacked(texts: Sequence[Sequence[int]], pad_id: int, released: bool) -> list[list[int]]:
    """Return token ids as one rectangle, padded on the left; as released (B11) ValueError where lengths differ."""
    longest = max(map(len, texts))
    if released and any(len(text) != longest for text in texts):
        raise ValueError(f"texts of {sorted({len(text) for text in texts})} tokens do not form one tensor")
    return [[*[pad_id] * (longest - len(text)), *text] for text in texts]


def cut_share(n_tokens: Sequence[int]) -> float:
    """Return the share of prompts that the released code truncates, and whose answers B4 therefore cuts."""
    return sum(n > MAX_INPUT_TOKENS for n in n_tokens) / len(n_tokens)


def stray_share(lengths: Sequence[int], pad_is_text: bool) -> float:
    """Return the share of answers that end in stray pad tokens (B5), batched by two in the given order.

    ``pad_is_text``: token id 2 is an ordinary token of this tokenizer, so decoding shows it.
    """
    if not pad_is_text:
        return 0.0
    batches = [lengths[i : i + BATCH] for i in range(0, len(lengths), BATCH)]
    return sum(n < max(batch) for batch in batches for n in batch) / len(lengths)


def unequal_share(lengths: Mapping[str, int]) -> float:
    """Return the share of comparisons whose two orders differ in length, which B11 can't stack.

    ``lengths``: call id (query, first and second passage, joined by tabs) -> prompt tokens.
    """
    found = []
    for key, n in lengths.items():
        query, first, second = key.split("\t")
        if first < second and (other := lengths.get(f"{query}\t{second}\t{first}")) is not None:
            found.append(n != other)
    return sum(found) / len(found) if found else 0.0
