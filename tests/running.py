"""Run Snakemake on a copy of the project, whole or until it is killed, and compare what two runs made."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from helpers import ROOT

from searchtune.files import sha256_file

PARTS = ["Snakefile", "workflow", "config", "profiles", "envs", "notebooks", "results/README.md"]
# what says when and where a run was made
SIDECARS = (".prov.json", ".job.json", ".snakemake_timestamp")
APART = {"logs", "benchmarks", ".work", "downloads"}
# measured times, and what shows them: tables and figures of latency, the plots drawn from them, the report's own times
MEASURED = ("latency", "report.html", "notebooks")


def copy_project(target: Path) -> Path:
    """Copy the workflow and its configuration to ``target``, without anything that a run left."""
    for part in PARTS:
        source = ROOT / part
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
        else:
            shutil.copy2(source, target / part)
    return target


def command(*arguments: str) -> list[str]:
    """Return the command that runs Snakemake with this Python."""
    return [sys.executable, "-m", "snakemake", *arguments]


def environment() -> dict[str, str]:
    """Return the environment of a run: one thread, the package of the copy."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""}


def snakemake(
    folder: Path, *arguments: str, timeout: int = 3000, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess:
    """Run Snakemake in ``folder`` (behind the command ``before``) and return the finished process with its text."""
    return subprocess.run(
        [*before, *command(*arguments)],
        cwd=folder,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
    )


def kill_session(leader: int) -> int:
    """Send SIGKILL to every process of a session, whatever group it put itself into; return how many there were."""
    killed = 0
    for entry in Path("/proc").iterdir():
        try:
            # pid (name) state parent group session ...: the name may hold spaces and brackets
            session = int((entry / "stat").read_text().rpartition(")")[2].split()[3]) if entry.name.isdigit() else 0
            if session == leader:
                os.kill(int(entry.name), signal.SIGKILL)
                killed += 1
        except (OSError, ValueError):
            continue
    return killed


def run_until(folder: Path, seconds: float, *arguments: str, jobs: bool = True) -> int | None:
    """Start a run in a session of its own and kill it after so many seconds; return its exit code if it ended.

    Without ``jobs`` Snakemake alone is killed: its jobs live on, and meet those of the next run.
    """
    process = subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env=environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill_session(process.pid) if jobs else process.kill()
        process.wait()
        return None


def sums(folder: Path) -> dict[str, str]:
    """Return path -> SHA-256 of everything that a run made and that does not tell times."""
    return {
        path.relative_to(folder).as_posix(): sha256_file(path)
        for top in ("results/ci", "resources")
        for path in sorted((folder / top).rglob("*"))
        if path.is_file()
        and not path.name.endswith(SIDECARS)
        and not APART & set(path.relative_to(folder).parts)
        and not any(name in path.relative_to(folder).as_posix() for name in MEASURED)
    }


def differences(first: dict[str, str], second: dict[str, str]) -> list[str]:
    """Return the paths that only one of two runs has, or whose bytes differ."""
    return sorted(path for path in first.keys() | second.keys() if first.get(path) != second.get(path))
