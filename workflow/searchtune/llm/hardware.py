"""What torch is asked for: number formats and the device."""

import contextlib
import os
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from searchtune.devices import LEASED
from searchtune.errors import ConfigError, nearest

if TYPE_CHECKING:
    import torch

DTYPES = ("bfloat16", "float16", "float32")
AUTO = "auto"


def dtype_name(asked: str, device_type: str | None = None) -> str:
    """Return a number format by name: ``auto`` becomes bfloat16 where the hardware multiplies in it, else float32.

    ``device_type``: where the products are made (cpu, cuda); None: on :func:`device`. A processor without bfloat16
    units emulates them: matrix products take three to four times as long as in float32. ConfigError for an unknown
    name.
    """
    if asked == AUTO:
        return "bfloat16" if multiplies_bfloat16(device_type or device().type) else "float32"
    if asked not in DTYPES:
        raise ConfigError(f"dtype {asked!r} is unknown{nearest(asked, (AUTO, *DTYPES))}")
    return asked


def dtype_of(name: str, device_type: str | None = None) -> "torch.dtype":
    """Return the torch dtype of that name (see :func:`dtype_name`)."""
    import torch

    return getattr(torch, dtype_name(name, device_type))


@cache
def multiplies_bfloat16(device_type: str) -> bool:
    """Say whether the GPU (cuda) or the processor has units for bfloat16 matrix products."""
    import torch

    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(has is True for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))


def device() -> "torch.device":
    """Return the GPU if there is one, else the CPU; ConfigError in a job that was given a GPU which torch can't use: it
    would work for days on a processor while the GPU stands still.
    """
    import torch

    if torch.cuda.is_available():
        return torch.device("cuda")
    if given := os.environ.get(LEASED):
        raise ConfigError(
            f"this job was given GPU {given}, and torch {torch.__version__} can't use it: install a build of torch for "
            "its driver (`make GPU=1 TORCH_INDEX=<url>`; `searchtune doctor` looks at both), or set hardware.gpus to 0"
        )
    return torch.device("cpu")


def autocast(precision: str, device_type: str) -> Any:
    """Return the context in which a device's matrix products run in a number format (float32: unchanged)."""
    import torch

    if dtype_name(precision, device_type) == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device_type, dtype=dtype_of(precision, device_type))


@contextlib.contextmanager
def seeded(seed: int, place: "torch.device") -> Iterator[None]:
    """Draw from ``seed`` while the context lasts, on the processor and on ``place``; then as if nothing was drawn."""
    import torch

    with torch.random.fork_rng([torch.cuda.current_device()] if place.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


# tokens; measured on batches of about 100 tokens a row, where plain attention trains faster than the fused kernel on a
# processor. Its memory grows with the square of the length, so long rows keep the fused one
SHORT = 256

# encoders read a few hundred tokens: on a processor the fused kernel gains nothing forward there, and its backward pass
# makes training a third slower; on a GPU neither was measured
ENCODER_ATTENTION = "eager"


def attention(device_type: str, width: int) -> Any:
    """Return the context in which attention over ``width`` tokens is fastest.

    On a processor the fused kernel's backward pass costs more than it saves while sequences are short.
    """
    if device_type != "cpu" or width > SHORT:
        return contextlib.nullcontext()
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH)
