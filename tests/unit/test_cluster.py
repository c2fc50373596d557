"""A job that SLURM has queued again says so; elsewhere there is nothing to say."""

from searchtune.cluster import restarts, why_again


def test_a_job_outside_slurm_asks_nobody(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("PATH", "")
    assert why_again() == ""


def test_restarts_are_read_from_what_slurm_prints(monkeypatch, tmp_path):
    """The text is `scontrol show job` of SLURM 22.05; tests/long/test_slurm.py asks the real one."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert restarts("7") == 0, "no SLURM here"
    command = tmp_path / "scontrol"
    for count, line in ((2, "SLURM queued job 7 again (2): its node failed or it was preempted"), (0, "")):
        text = f"   JobState=RUNNING Reason=None\\n   Requeue=1 Restarts={count} BatchFlag=1\\n"
        command.write_text(f"#!/bin/sh\nprintf '{text}'\n")
        command.chmod(0o755)
        assert why_again() == line
