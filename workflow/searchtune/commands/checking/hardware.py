"""Cores, memory, disk, GPU, and folders that are written to."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from searchtune.commands.checking.line import FAULT, OK, WARNING, Line, judged
from searchtune.commands.checking.software import installed
from searchtune.machine import memory_mb

GIB = 2**30
DISK_DEMO = 10 * GIB  # what `demo` takes with its environment
MEMORY_DEMO_MB = 7500  # of 8 GiB some belongs to the system
WAIT_S = 20


def cores(number: int | None = None) -> Line:
    """Say how many cores this process may use."""
    number = number or len(os.sched_getaffinity(0))
    return judged("cores", number >= 2, str(number), "The scale demo is planned for 2; it will take longer", WARNING)


def memory(found: int | None = None) -> Line:
    """Say how much memory processes may use, a container's limit counted."""
    found = memory_mb() if found is None else found
    fix = "The scale demo needs 8 GiB: set hardware.mem_mb lower at your own risk, or take another machine"
    return judged("memory", found >= MEMORY_DEMO_MB, f"{found:,} MiB", fix, WARNING)


def disk(root: Path, free: int | None = None) -> Line:
    """Say how much disk is free where results and resources go: the lesser, where links lead to two disks."""
    if free is None:
        places = (root / name if (root / name).exists() else root for name in ("results", "resources"))
        free = min(shutil.disk_usage(place).free for place in places)
    fix = "Free some, or link results/ and resources/ to another disk; `searchtune plan` tells how much a run takes"
    return judged("disk", free >= DISK_DEMO, f"{free / GIB:.1f} GiB free", fix, FAULT if free < GIB else WARNING)


def bfloat16(info: Path = Path("/proc/cpuinfo")) -> Line:
    """Say whether the CPU has units for bfloat16; without, models run in float32, two to three times slower."""
    flags = info.read_text(encoding="utf-8", errors="replace") if info.is_file() else ""
    there = re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", flags)
    return Line(
        "bfloat16", OK, there.group(1) if there else "no units: models run in float32, two to three times slower"
    )


def gpu(environment: Mapping[str, str] | None = None, has: Callable[[str], str | None] = installed) -> Line:
    """Say which GPUs the driver lists, and whether torch's build can use them. None is no fault: ci, demo, adapt and
    laptop need none.
    """
    path = (os.environ if environment is None else environment).get("PATH")
    tool = shutil.which("nvidia-smi", path=path)
    if tool is None:
        return Line("GPU", OK, "none (ci, demo, adapt and laptop need none)")
    command = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Line("GPU", WARNING, f"nvidia-smi did not answer ({type(error).__name__})", "Look at the driver")
    listed = "; ".join(line.strip() for line in done.stdout.splitlines() if line.strip())
    if done.returncode or not listed:
        return Line("GPU", WARNING, f"nvidia-smi ended with {done.returncode}", "Look at the driver")
    if (torch := has("torch") or "").endswith("+cpu"):
        fix = "`make GPU=1 TORCH_INDEX=<index of a build for its driver>` sets up torch and vllm for it"
        return Line("GPU", WARNING, f"{listed}; torch {torch} can't use it", fix)
    fix = "" if has("vllm") else ". `make GPU=1` sets up vllm for it"
    return Line("GPU", OK, f"{listed}{fix}")


def writable(name: str, path: Path) -> Line:
    """Say whether a folder, or the nearest one above it that is there, can be written to, by writing."""
    place = next((folder for folder in (path, *path.parents) if folder.is_dir()), Path("/"))
    try:
        with tempfile.TemporaryFile(dir=place) as handle:
            handle.write(b"x")
    except OSError as error:
        fix = f"Make it writable (chmod, chown), or set another place for it: {place}"
        return Line(name, FAULT, f"{path} can't be written to ({type(error).__name__})", fix)
    return Line(name, OK, f"{path} can be written to")


def folders(root: Path, environment: Mapping[str, str] | None = None) -> list[Line]:
    """Check the folders that a run writes to: results, resources, and the caches of libraries."""
    environment = os.environ if environment is None else environment
    home = Path(environment.get("HOME", "/"))
    cache = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
    places = {
        "results": root / "results",
        "resources": root / "resources",
        "cache": cache,
        "hub cache": Path(environment.get("HF_HOME") or cache / "huggingface"),
        "temporary files": Path(environment.get("TMPDIR") or tempfile.gettempdir()),
    }
    return [writable(name, path) for name, path in places.items()]
