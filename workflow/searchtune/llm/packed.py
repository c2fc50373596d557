"""Matrix products by oneDNN on weights that it laid out beforehand, for scoring on a processor.

torch multiplies 32-bit matrices by MKL, which runs on processors of other makers than its own without their widest
units: on an AMD EPYC with AVX-512 about 98 GFLOP/s a core against 225 by oneDNN. The sums are the same up to the order
in which they are added. Nothing is learned through these products: they have no gradient.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# rows that the layout is chosen for; other numbers of rows work, too
_ROWS = 2048


def usable(module: Any) -> bool:
    """Say whether oneDNN's products are there and ``module`` lies on a processor."""
    import torch

    has = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return has and all(weight.device.type == "cpu" for weight in module.parameters())


@contextmanager
def packed_products(module: Any, dtype: "torch.dtype") -> Iterator[None]:
    """Run the linear units of ``module`` by oneDNN in ``dtype`` while the context lasts; unchanged where it can't.

    The weights are laid out at entry, which takes about as long as two pairs of 100 tokens: torch's fused optimisers
    do not count their changes as versions of a weight, so what was laid out earlier could be out of date.
    """
    import torch

    def multiply(weight: "torch.Tensor", bias: "torch.Tensor | None", rows: "torch.Tensor") -> "torch.Tensor":
        """Return ``rows`` times the weights, plus the bias, in ``dtype``."""
        return torch.ops.mkldnn._linear_pointwise(rows.to(dtype), weight, bias, "none", [], "")

    linears = [unit for unit in module.modules() if type(unit) is torch.nn.Linear] if usable(module) else []
    try:
        for unit in linears:
            weight = torch.ops.mkldnn._reorder_linear_weight(unit.weight.detach().to(dtype), _ROWS)
            bias = None if unit.bias is None else unit.bias.detach().to(dtype)
            vars(unit)["forward"] = partial(multiply, weight, bias)
        yield
    finally:
        for unit in linears:
            vars(unit).pop("forward", None)
