"""Run Snakemake on a copy of the project."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ["Snakefile", "workflow", "config", "profiles", "envs", "notebooks", "results/README.md"]


def copy_project(target: Path) -> Path:
    """Copy the workflow and its configuration to ``target``, without anything that a run left."""
    for part in PARTS:
        source = ROOT / part
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / part)
    return target


def snakemake(folder: Path, *arguments: str, timeout: int = 900) -> subprocess.CompletedProcess:
    """Run Snakemake in ``folder`` and return the finished process with its text."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": ""}
    command = [sys.executable, "-m", "snakemake", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
    )


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """Return a fresh copy of the project, without results."""
    return copy_project(tmp_path_factory.mktemp("project"))
