"""What torch is asked for: number formats and the device."""

from functools import cache
from typing import TYPE_CHECKING, Any

from searchtune.errors import ConfigError, nearest

if TYPE_CHECKING:
    import torch

DTYPES = ("bfloat16", "float16", "float32")
AUTO = "auto"


def dtype_name(asked: str) -> str:
    """Return a number format by name: ``auto`` becomes bfloat16 where the hardware multiplies in it, else float32.

    A processor without bfloat16 units emulates them: matrix products take three to four times as long as in float32.
    ConfigError for an unknown name.
    """
    if asked == AUTO:
        return "bfloat16" if multiplies_bfloat16() else "float32"
    if asked not in DTYPES:
        raise ConfigError(f"dtype {asked!r} is unknown{nearest(asked, (AUTO, *DTYPES))}")
    return asked


def dtype_of(name: str) -> "torch.dtype":
    """Return the torch dtype of that name (see :func:`dtype_name`)."""
    import torch

    return getattr(torch, dtype_name(name))


@cache
def multiplies_bfloat16() -> bool:
    """Say whether the GPU, or without one the processor, has units for bfloat16 matrix products."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(has is True for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))


def device() -> "torch.device":
    """Return the GPU if there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(precision: str) -> Any:
    """Return the context in which matrix products run in ``precision`` (a number format; float32: unchanged)."""
    import contextlib

    import torch

    if dtype_name(precision) == "float32":
        return contextlib.nullcontext()
    return torch.autocast("cpu", dtype=dtype_of(precision))


# tokens; measured on batches of about 100 tokens a row, where plain attention trains faster than the fused kernel on a
# processor. Its memory grows with the square of the length, so long rows keep the fused one
SHORT = 256

# encoders run on processors and read a few hundred tokens: the fused kernel gains nothing forward there, and its
# backward pass makes training a third slower
ENCODER_ATTENTION = "eager"


def attention(device_type: str, width: int) -> Any:
    """Return the context in which attention over ``width`` tokens is fastest.

    On a processor the fused kernel's backward pass costs more than it saves while sequences are short.
    """
    import contextlib

    if device_type != "cpu" or width > SHORT:
        return contextlib.nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH)
