"""Workers that a library spawns leave the main script alone: a job's script has no guard against a second run."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT

SCRIPT = """
import contextlib, multiprocessing, os, sys
sys.path.insert(0, {package!r})
from searchtune.llm.spawning import hidden_main
with open({runs!r}, "a") as file:
    file.write("once\\n")
with hidden_main() if {hidden} else contextlib.nullcontext():
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=os.write, args=(1, b"worked\\n"), daemon=False)
    worker.start()
    worker.join()
assert sys.modules["__main__"].__file__ == __file__
sys.exit(worker.exitcode)
"""


@pytest.mark.parametrize("hidden", [True, False])
def test_a_spawned_worker_does_not_run_the_script(tmp_path, hidden):
    script, runs = tmp_path / "job.py", tmp_path / "runs"
    script.write_text(SCRIPT.format(package=str(ROOT / "workflow"), runs=str(runs), hidden=hidden))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    # without the context the worker begins the script again, and multiprocessing refuses there
    assert runs.read_text().count("once") == (1 if hidden else 2), done.stderr
    assert (done.returncode == 0) == hidden and ("worked" in done.stdout) == hidden


def test_vllm_spawns_its_workers(monkeypatch):
    from searchtune.llm.vllm_engine import set_environment

    monkeypatch.setattr(os, "environ", {})
    set_environment(3)
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn" and os.environ["OMP_NUM_THREADS"] == "3"
