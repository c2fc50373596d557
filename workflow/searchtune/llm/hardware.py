"""What torch is asked for: number formats and the device."""

from typing import TYPE_CHECKING

from searchtune.errors import ConfigError, nearest

if TYPE_CHECKING:
    import torch

DTYPES = ("bfloat16", "float16", "float32")


def dtype_of(name: str) -> "torch.dtype":
    """Return the torch dtype of that name; ConfigError for an unknown one."""
    import torch

    if name not in DTYPES:
        raise ConfigError(f"dtype {name!r} is unknown{nearest(name, DTYPES)}")
    return getattr(torch, name)


def device() -> "torch.device":
    """Return the GPU if there is one, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
