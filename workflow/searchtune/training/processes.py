"""Several processes that do one stage together: started, watched, and all ended as soon as one of them fails.

Each runs ``python -m searchtune.training.processes FOLDER RANK``. The folder, inside the job's work folder, holds the
job, the file by which the processes find each other, what a failed one says and what the first one returns. These are
no children of ``multiprocessing``: those run the main script again, and under Snakemake that script is the job.
"""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searchtune import errors
from searchtune.errors import ConfigError
from searchtune.files import read_json, remove, write_json
from searchtune.stage import Job, limit_threads

ORDER = "job.json"
RESULT = "result.json"
MEETING = "meeting"
POLL_S = 0.1


@dataclass(frozen=True)
class Seat:
    """One process's place among those that work together: number ``rank`` (from 0) of ``size``, met at ``meeting``."""

    rank: int
    size: int
    meeting: Path


class SilentJob(Job):
    """A job whose log another process writes."""

    def log(self, message: str) -> None:
        """Drop a line."""


def run_together(job: Job, processes: int, work: Callable[[Job, Seat], dict]) -> dict:
    """Run ``work``, a function of a module, in that many processes; return what the first one returns.

    Each gets its share of the job's threads. When one fails, the others are ended and the job's outputs removed; a
    SearchtuneError is raised again as it was, anything else as a RuntimeError that holds its text and traceback.
    ConfigError where there are GPUs but fewer than processes.
    """
    check_devices(processes)
    folder = job.work / "processes"
    remove(folder)
    order = _written(job, processes) | {"function": [work.__module__, work.__name__]}
    write_json(folder / ORDER, order)
    job.log(f"{processes} processes, threads of each: {order['threads']}")
    group: list[subprocess.Popen] = []
    try:
        for rank in range(processes):
            group.append(_start(folder, rank))
        codes = _wait(group)
    finally:
        _end(group)
    if any(codes):
        for path in job.outputs.values():
            remove(path)
        raise _failure(folder, codes)
    return read_json(folder / RESULT)


def check_devices(processes: int) -> None:
    """Raise ConfigError where there are GPUs, but not one for each process."""
    import torch

    found = torch.cuda.device_count() if torch.cuda.is_available() else processes
    if processes > found:
        raise ConfigError(
            f"processes is {processes}, but only {found} GPU(s) are here; set processes to at most {found}"
        )


def _written(job: Job, processes: int) -> dict[str, Any]:
    def plain(value: Any) -> Any:
        """Return paths as text."""
        return [str(path) for path in value] if isinstance(value, list) else str(value)

    return {
        "stage": job.stage,
        "inputs": {name: plain(value) for name, value in job.inputs.items()},
        "outputs": {name: str(path) for name, path in job.outputs.items()},
        "params": job.params,
        "threads": max(1, job.threads // processes),
        "work": str(job.work),
        "log": str(job.log_path) if job.log_path else None,
        "processes": processes,
    }


def _read(order: dict[str, Any], rank: int) -> Job:
    kind = SilentJob if rank else Job
    return kind(
        stage=order["stage"],
        inputs={k: [Path(p) for p in v] if isinstance(v, list) else Path(v) for k, v in order["inputs"].items()},
        outputs={name: Path(path) for name, path in order["outputs"].items()},
        params=order["params"],
        threads=order["threads"],
        work=Path(order["work"]),
        log_path=Path(order["log"]) if order["log"] else None,
    )


def _start(folder: Path, rank: int) -> subprocess.Popen:
    """Start one process. Its standard input is a pipe that closes when this process dies, however it dies."""
    package = str(Path(errors.__file__).parents[1])
    search = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", "searchtune.training.processes", str(folder), str(rank)],
        stdin=subprocess.PIPE,
        stdout=2,  # standard output is the parent's own
        env=os.environ | {"PYTHONPATH": os.pathsep.join(search)},
    )


def _wait(group: list[subprocess.Popen]) -> list[int | None]:
    """Return the exit codes when all have ended well or any has not; None for one that still runs."""
    while True:
        codes = [process.poll() for process in group]
        if any(codes) or None not in codes:
            return codes
        time.sleep(POLL_S)


def _end(group: list[subprocess.Popen]) -> None:
    for process in group:
        if process.poll() is None:
            process.kill()
    for process in group:
        process.wait()
        if process.stdin:
            process.stdin.close()


def _failure(folder: Path, codes: list[int | None]) -> Exception:
    """Return the error that ended the group: the first one told, for when one process is gone the others fail too.

    A process that was killed tells nothing, so its end counts before what others said of a broken connection.
    """
    told = sorted((read_json(path) for path in folder.glob("error-*.json")), key=lambda error: error["time"])
    for error in told:
        kind = getattr(errors, error["type"], None)
        if isinstance(kind, type) and issubclass(kind, errors.SearchtuneError):
            return kind(error["message"])
    for rank, code in enumerate(codes):
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            why = "; the system does that when memory runs out" if name == "SIGKILL" else ""
            return RuntimeError(f"process {rank} of {len(codes)} was ended by {name}{why}")
    for error in told:
        text = "process {rank} of {size}: {type}: {message}\n{traceback}"
        return RuntimeError(text.format(size=len(codes), **error))
    return RuntimeError(f"a process ended without a word; exit codes {codes}")


def _end_with_parent() -> None:
    """End this process when its parent is gone: reading standard input returns then."""

    def watch() -> None:
        """Wait for the end of the pipe from the parent."""
        os.read(0, 1)  # not sys.stdin, whose lock would hold up the interpreter's end
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(folder: Path, rank: int) -> None:
    """Do one process's part; leave its result (the first one's) or its error in ``folder``."""
    _end_with_parent()
    order = read_json(folder / ORDER)
    limit_threads(order["threads"])
    try:
        module, function = order["function"]
        work: Callable[[Job, Seat], dict] = getattr(importlib.import_module(module), function)
        result = work(_read(order, rank), Seat(rank, order["processes"], (folder / MEETING).resolve()))
        if rank == 0:
            write_json(folder / RESULT, result)
    except Exception as error:
        told = {"type": type(error).__name__, "message": str(error), "traceback": traceback.format_exc()}
        write_json(folder / f"error-{rank}.json", told | {"rank": rank, "time": time.time()})
        # no tidy end: libraries would wait for the other processes, which wait for this one
        os._exit(1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
