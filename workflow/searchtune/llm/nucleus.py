"""Nucleus (top-p) sampling without a sort of the whole vocabulary (Holtzman et al. 2020, arXiv 1904.09751).

Sorting 49,152 logits takes about 3 ms on one core, at every step of every sequence: a quarter of the time that a
model of 135M needs to write. The nucleus is nearly always among the few hundred likeliest ids.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

FIRST = 256


def keep_nucleus(logits: "torch.Tensor", p: float, first: int = FIRST) -> "torch.Tensor":
    """Return ``logits`` (vocabulary,) with -inf outside the smallest set of likeliest ids whose mass reaches ``p``.

    The set holds at least one id. Looks among the ``first`` likeliest ids, and at all if their mass is below ``p``.
    """
    import torch

    total = logits.logsumexp(0)
    for count in (min(first, len(logits)), len(logits)):
        top, ids = logits.topk(count)
        shares = (top - total).exp()
        reached = shares.cumsum(0)
        if reached[-1] >= p:
            break
    # an id stays if the mass before it is below p; the likeliest always stays
    kept = max(1, int((reached - shares < p).sum()))
    return torch.full_like(logits, -torch.inf).scatter_(0, ids[:kept], top[:kept])
