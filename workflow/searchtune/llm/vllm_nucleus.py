"""Top-p for vLLM on CPU, whose own sorts the whole vocabulary at every step (see ``nucleus``)."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from vllm.v1.sample.logits_processor import AdapterLogitsProcessor

from searchtune.llm.nucleus import keep_nucleus

if TYPE_CHECKING:
    import torch
    from vllm import SamplingParams

# the key of SamplingParams.extra_args that carries p, with top_p itself left at 1
ARGUMENT = "nucleus"


class Nucleus(AdapterLogitsProcessor):
    """Cuts the logits of every request that asks for it, after the temperature."""

    def is_argmax_invariant(self) -> bool:
        """Say that the likeliest id stays, so that vLLM applies this after the temperature."""
        return True

    def new_req_logits_processor(
        self, params: "SamplingParams"
    ) -> "Callable[[list[int], torch.Tensor], torch.Tensor] | None":
        """Return the function for one request, or None where it asks for no nucleus."""
        p = (params.extra_args or {}).get(ARGUMENT)
        if p is None:
            return None
        return lambda _output_ids, logits: keep_nucleus(logits, p)
