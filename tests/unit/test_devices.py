"""GPUs of a workstation are leased: no two jobs see the same one, and a killed job's come free."""

import os
import signal
import subprocess
import sys
import time

import pytest
from helpers import ROOT

from searchtune.devices import leased, lock_folder, present
from searchtune.errors import ConfigError

HOLD = (
    "import sys, time; from pathlib import Path; from searchtune.devices import leased\n"
    "with leased({count}, Path({folder!r}), 0.05) as mine: print(','.join(mine), flush=True); time.sleep(60)"
)


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def holder(folder, count):
    """Start a process that leases ``count`` devices and keeps them; return it and what it got."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    command = [sys.executable, "-c", HOLD.format(count=count, folder=str(folder))]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def test_jobs_side_by_side_get_different_devices_and_a_killed_one_gives_its_back(tmp_path):
    first, got = holder(tmp_path, 2)
    try:
        assert got == "0,1"
        with leased(1, tmp_path, 0.05) as mine:
            assert mine == ["2"] and os.environ["CUDA_VISIBLE_DEVICES"] == "2"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1,2"
        # a job that wants two waits until the holder is gone, and keeps no device meanwhile
        second = subprocess.Popen(
            [sys.executable, "-c", HOLD.format(count=2, folder=str(tmp_path))],
            env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            time.sleep(0.5)
            with leased(1, tmp_path, 0.05) as mine:
                assert mine == ["2"]
            first.send_signal(signal.SIGKILL)
            first.wait()
            assert second.stdout.readline().strip() == "0,1"
        finally:
            second.kill()
            second.wait()
    finally:
        first.kill()
        first.wait()


def test_a_job_that_no_device_could_ever_serve_is_refused(tmp_path):
    with (
        pytest.raises(ConfigError, match=r"asks for 4 GPUs and this machine offers 3 \(0, 1, 2\)"),
        leased(4, tmp_path),
    ):
        pass


def test_a_job_with_a_gpu_that_torch_cannot_use_says_so(tmp_path, monkeypatch):
    """It would work for days on a processor, without a word."""
    import torch

    from searchtune.llm.hardware import device

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device().type == "cpu"  # nobody gave the process a device
    with leased(1, tmp_path), pytest.raises(ConfigError, match=r"given GPU 0, and torch \S+ can't use it"):
        device()
    assert device().type == "cpu"


def test_jobs_of_one_slurm_job_divide_its_devices(tmp_path, monkeypatch):
    """An allocation (salloc --gres=gpu:3) in which Snakemake runs jobs side by side."""
    monkeypatch.setattr("searchtune.devices.SHARED", tmp_path)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "own"))  # another job's is another folder: the locks are not there
    assert lock_folder() == tmp_path / f"searchtune-gpus-{os.getuid()}-7"
    first, got = holder(lock_folder(), 2)
    try:
        assert got == "0,1"
        with leased(1, poll=0.05) as mine:
            assert mine == ["2"] and os.environ["CUDA_VISIBLE_DEVICES"] == "2"
        # device 0 of another SLURM job of this machine is another device
        monkeypatch.setenv("SLURM_JOB_ID", "8")
        with leased(3, poll=0.05) as mine:
            assert mine == ["0", "1", "2"]
    finally:
        first.kill()
        first.wait()


def test_a_job_that_slurm_gave_its_devices_takes_them_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    with leased(3, tmp_path) as mine:
        assert mine == ["0", "1", "2"] and os.environ["CUDA_VISIBLE_DEVICES"] == "0,1,2"
    with leased(8, tmp_path) as mine:
        assert mine == ["0", "1", "2"], "what SLURM gave is what there is"
    # parts of one GPU, as older drivers name them
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-GPU-5c6b/1/0,MIG-GPU-5c6b/2/0")
    with leased(1, tmp_path) as mine:
        assert mine == ["MIG-GPU-5c6b/1/0"]
    for nothing in ("NoDevFiles", "", "-1", "-1,0"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", nothing)
        with leased(1, tmp_path) as mine:
            assert mine == []
    # nothing said: the files of devices may be other jobs'
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    (tmp_path / "nvidia0").touch()
    assert present(tmp_path) == []


def test_nothing_is_leased_without_a_gpu(tmp_path, monkeypatch):
    with leased(0, tmp_path) as mine:
        assert mine == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with leased(1, tmp_path) as mine:
        assert mine == []
    assert not list(tmp_path.iterdir())


def test_devices_are_those_of_the_machine_where_none_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    for name in ("nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert present(tmp_path) == ["2", "10"]
