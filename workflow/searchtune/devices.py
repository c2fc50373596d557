"""A lease of GPUs: jobs of one workstation that run side by side each get devices of their own.

Snakemake counts GPUs but does not say which one a job has. So a job takes as many lock files as it asked for GPUs and
sets ``CUDA_VISIBLE_DEVICES`` to their devices before torch is imported. The kernel gives a lock back when its process
ends, however it ends; the lock files are empty and stay. Inside a SLURM job the same is done among the devices that
SLURM gave it: a job that the SLURM plugin submitted has them to itself and takes all at once, jobs that run side by
side in an allocation (salloc, groups) divide them.
"""

import contextlib
import itertools
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from searchtune.errors import ConfigError
from searchtune.locks import take

VISIBLE = "CUDA_VISIBLE_DEVICES"
# the devices that a job of ours was given, for searchtune.llm.hardware
LEASED = "SEARCHTUNE_LEASED"
# where every process of the machine looks, whatever its TMPDIR says
SHARED = Path("/tmp")
JOB = "SLURM_JOB_ID"
# what stands in it for no device; SLURM writes the second
NOTHING = ("", "NoDevFiles")


def present(folder: Path = Path("/dev")) -> list[str]:
    """Return the ids of the GPUs that may be used: those named in CUDA_VISIBLE_DEVICES, else all of this machine."""
    if VISIBLE in os.environ:
        named = [name for part in os.environ[VISIBLE].split(",") if (name := part.strip()) not in NOTHING]
        # CUDA sees none from the first name on that no device has
        return list(itertools.takewhile(lambda name: not name.startswith("-"), named))
    if JOB in os.environ:
        return []  # files of devices are there whether they are this job's or not
    found = [re.fullmatch(r"nvidia(\d+)", path.name) for path in folder.glob("nvidia*")]
    return [str(number) for number in sorted(int(match.group(1)) for match in found if match)]


def lock_folder() -> Path:
    """Return where this user's lock files are: shared by all workflows of the machine, or of the SLURM job, in which
    device 0 may be another one than outside it.
    """
    names = ["searchtune-gpus", str(os.getuid()), *filter(None, [os.environ.get(JOB)])]
    return (SHARED if os.access(SHARED, os.W_OK) else Path(tempfile.gettempdir())) / "-".join(names)


def _take_any(count: int, devices: list[str], folder: Path) -> dict[str, int]:
    """Lock ``count`` of the devices, or none of them: who waits holds nothing."""
    taken: dict[str, int] = {}
    for device in devices:
        if len(taken) < count and (descriptor := take(folder / f"{device.replace('/', '_')}.lock")) is not None:
            taken[device] = descriptor
    if len(taken) < count:
        _give_back(taken)
        return {}
    return taken


def _give_back(taken: dict[str, int]) -> None:
    for descriptor in taken.values():
        os.close(descriptor)


@contextlib.contextmanager
def leased(count: int, folder: Path | None = None, poll: float = 1.0) -> Iterator[list[str]]:
    """Wait for ``count`` free GPUs, show this process no others, and yield their ids; give them back at the end.

    Nothing is leased, and no device yielded, where ``count`` is 0, and on a machine or in a SLURM job without a GPU,
    whose jobs run on its processors. ConfigError if the machine has GPUs but fewer than ``count``; a SLURM job has what
    SLURM gave it, and is content with that.
    """
    devices = present() if count else []
    if not devices:
        yield []
        return
    if JOB in os.environ:
        count = min(count, len(devices))
    if count > len(devices):
        raise ConfigError(
            f"a job asks for {count} GPUs and this machine offers {len(devices)} ({', '.join(devices)}): "
            "set hardware.gpus (or inters.train.processes) to at most that"
        )
    folder = folder or lock_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    while not (taken := _take_any(count, devices, folder)):
        time.sleep(poll)
    before = os.environ.get(VISIBLE)
    os.environ[VISIBLE] = os.environ[LEASED] = ",".join(taken)
    try:
        yield list(taken)
    finally:
        os.environ.pop(VISIBLE)
        os.environ.pop(LEASED)
        if before is not None:
            os.environ[VISIBLE] = before
        _give_back(taken)
