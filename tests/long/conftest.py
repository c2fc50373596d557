"""The long tests: what a machine may do to a run. ``make test-long`` runs them on the whole ci scale.

LONG_TARGETS names files to make instead of everything (the small mode), KILLS how often a run is killed (100),
KILL_SEED the seed of the moments (drawn and printed where it is not set). LONG_FINISHED names the folder of an unbroken
run of the same commit and targets (it is made where it is not there), so that a part of the tests can be run again.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest
from helpers import ROOT
from running import copy_project, snakemake

# the tools of the integration tests: SLURM's lab, conda's stand-in
sys.path.insert(0, str(ROOT / "tests/integration"))

TARGETS = os.environ.get("LONG_TARGETS", "").split()
RUN = ["--nolock", "--cores", "2", "--config", "scale=ci", *(["--", *TARGETS] if TARGETS else [])]
FIRST_FETCHED = "results/ci/collections/amazon"


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """Return the folder of an unbroken run."""
    kept = os.environ.get("LONG_FINISHED")
    folder = copy_project(Path(kept).absolute() if kept else tmp_path_factory.mktemp("unbroken"))
    done = snakemake(folder, *RUN, timeout=3000)
    assert done.returncode == 0, done.stdout[-6000:]
    return folder


@pytest.fixture
def fresh(finished, tmp_path) -> Path:
    """Return a copy of the project that has its downloads and nothing else."""
    folder = copy_project(tmp_path / "fresh")
    if (finished / "resources/downloads").is_dir():
        shutil.copytree(finished / "resources/downloads", folder / "resources/downloads")
    return folder


@pytest.fixture
def fetched(finished, fresh) -> Path:
    """Return a copy of the project that has fetched everything and made nothing."""
    shutil.copytree(finished / "resources/raw", fresh / "resources/raw")
    return fresh
