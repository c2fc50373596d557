"""Structured output where we hold the logits: token masks from the same grammars that vLLM uses (xgrammar)."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from searchtune.errors import ModelError
from searchtune.llm.base import Sampling

if TYPE_CHECKING:
    import torch


def choice_grammar(choices: Sequence[str]) -> str:
    """Return an EBNF grammar that accepts exactly these texts (a JSON string is a valid EBNF literal)."""
    return "root ::= " + " | ".join(json.dumps(text, ensure_ascii=False) for text in choices)


class Grammars:
    """Compiles the constraint of a Sampling once and starts a matcher for every answer."""

    def __init__(self, tokenizer: Any, vocab_size: int, stop_ids: Sequence[int]) -> None:
        """``tokenizer`` is a transformers tokenizer; ``vocab_size`` the number of logits."""
        import xgrammar

        info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=vocab_size)
        self._compiler = xgrammar.GrammarCompiler(info, max_threads=1)
        self._stop_ids = list(stop_ids)
        self._compiled: dict[str, Any] = {}

    def matcher(self, sampling: Sampling) -> Any | None:
        """Return a fresh matcher for the constraint of ``sampling``; None if it has none."""
        import xgrammar

        if sampling.json_schema is None and sampling.choice is None:
            return None
        key = json.dumps([sampling.json_schema, sampling.choice])
        if key not in self._compiled:
            self._compiled[key] = self._compile(sampling)
        return xgrammar.GrammarMatcher(self._compiled[key], override_stop_tokens=self._stop_ids)

    def _compile(self, sampling: Sampling) -> Any:
        try:
            if sampling.choice is not None:
                return self._compiler.compile_grammar(choice_grammar(sampling.choice))
            return self._compiler.compile_json_schema(
                json.dumps(sampling.json_schema), any_whitespace=False, separators=(",", ":")
            )
        except RuntimeError as error:
            raise ModelError(f"the answer's JSON schema or choice list cannot be made a grammar: {error}") from error


def mask_logits(logits: "torch.Tensor", matchers: Sequence[Any | None]) -> None:
    """Set the logits of forbidden tokens to minus infinity, in place; ``logits`` is (rows, vocabulary).

    ModelError where every token is forbidden: the vocabulary lacks a character that the answer needs (T5's has no
    braces, so no JSON).
    """
    import xgrammar

    bound = [(row, matcher) for row, matcher in enumerate(matchers) if matcher is not None]
    if not bound:
        return
    mask = xgrammar.allocate_token_bitmask(len(matchers), logits.shape[-1])
    for row, matcher in bound:
        matcher.fill_next_token_bitmask(mask, row)
        if not mask[row].any():
            raise ModelError(
                "the answer's JSON schema or choice list needs a character that the model's vocabulary lacks; ask "
                "another model, or for plain text"
            )
    xgrammar.apply_token_bitmask_inplace(logits, mask.to(logits.device), indices=[row for row, _ in bound])
