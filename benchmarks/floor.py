"""Measure what this machine can do at best: matrix products in float32 and bfloat16, by threads.

    python benchmarks/floor.py

Every heavy step here is matrix products: a decoder of P parameters costs about 2P operations a token read or
written, training with LoRA about 4P to 6P. Compare a step's time with these rates before making it faster.
"""

import os
import time

import torch

SHAPE = (2048, 1536, 1536)


def rate(dtype: torch.dtype, threads: int, seconds: float = 2.0) -> float:
    """Return GFLOP/s of a product of ``SHAPE`` (rows, inner, columns), the mean over about ``seconds``."""
    torch.set_num_threads(threads)
    rows, inner, columns = SHAPE
    left, right = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
    left @ right
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        left @ right
        count += 1
    return 2 * rows * inner * columns * count / (time.perf_counter() - started) / 1e9


def main() -> None:
    """Print one line a number format and thread count."""
    units = [name for name, has in torch.cpu.get_capabilities().items() if has is True and name.endswith("bf16")]
    print(f"units for bfloat16: {', '.join(units) or 'none'}")
    print("threads\tdtype\tGFLOP/s")
    for threads in sorted({1, os.cpu_count() or 1}):
        for dtype in (torch.float32, torch.bfloat16):
            print(f"{threads}\t{str(dtype).removeprefix('torch.')}\t{rate(dtype, threads):.0f}")


if __name__ == "__main__":
    main()
