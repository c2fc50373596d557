"""profiles/slurm/recover.sh waits for this folder's jobs; SLURM's commands are stand-ins (tests/long/test_slurm.py has it)."""

import os
import shutil
import subprocess

import pytest
from helpers import ROOT

# one answer a call, from answers/1, answers/2, ...; "fail" is a controller that does not answer
SQUEUE = """#!/usr/bin/env bash
number=$(($(cat "$LAB/calls" 2>/dev/null || echo 0) + 1))
echo "$number" >"$LAB/calls"
answer=$(cat "$LAB/answers/$number" 2>/dev/null)
if [ "$answer" = fail ]; then echo "slurm_load_jobs error: Unable to contact slurm controller" >&2; exit 1; fi
[ -z "$answer" ] || printf '%s\\n' "$answer"
"""
NOTED = '#!/usr/bin/env bash\necho "$(basename "$0") $*" >>"$LAB/noted"\n'


@pytest.fixture
def project(tmp_path):
    """Return a project folder, with stand-ins for squeue, scancel, sleep and snakemake in ``bin`` beside it."""
    (tmp_path / "bin").mkdir()
    for name, text in (("squeue", SQUEUE), ("scancel", NOTED), ("sleep", NOTED), ("snakemake", NOTED)):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    folder = tmp_path / "project"
    (folder / "profiles/slurm").mkdir(parents=True)
    shutil.copy(ROOT / "profiles/slurm/recover.sh", folder / "profiles/slurm")
    return folder


def recover(folder, answers, *arguments, cwd=None, path=None):
    """Run the script where squeue gives these answers one by one; return the process and the commands that it gave."""
    lab = folder.resolve().parent
    (lab / "answers").mkdir()
    for number, answer in enumerate(answers, 1):
        (lab / "answers" / str(number)).write_text(answer)
    given = {"LAB": str(lab), "PATH": path or f"{lab / 'bin'}:{os.environ['PATH']}"}
    environment = {name: value for name, value in os.environ.items() if name != "SNAKEMAKE"} | given
    # a shell's PWD is the path as it was gone, links and all
    script = 'cd "$0" && exec bash profiles/slurm/recover.sh "$@"'
    done = subprocess.run(
        ["bash", "-c", script, str(cwd or folder), *arguments],
        env=environment,
        text=True,
        capture_output=True,
        timeout=60,
    )
    noted = (lab / "noted").read_text().splitlines() if (lab / "noted").is_file() else []
    return done, noted


def job(folder, number, state, comment="rule_tune_wildcards_x"):
    return f"{number}|{state}|{folder.resolve()}|{comment}"


def test_it_cancels_what_queues_waits_for_what_runs_and_unlocks(project):
    running, other = job(project, 8, "RUNNING"), job(project.parent, 9, "RUNNING")
    first = "\n".join([job(project, 7, "PENDING"), running, other, job(project, 6, "RUNNING", "mine")])
    done, noted = recover(project, [first, f"{running}\n{other}", other])
    assert done.returncode == 0, done.stderr
    assert noted == ["scancel 7", "sleep 10", "snakemake --unlock"]
    assert done.stdout.splitlines() == ["cancelling: 7", "waiting for: 8"]


def test_a_project_that_is_reached_through_a_link_knows_its_jobs(project):
    link = project.parent / "link"
    link.symlink_to(project)
    running = job(project, 8, "RUNNING")
    done, noted = recover(link, [running, running], cwd=link)
    assert done.returncode == 0, done.stderr
    assert "waiting for: 8" in done.stdout and noted == ["sleep 10", "snakemake --unlock"]


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_squeue_that_fails_is_asked_again(project, failing):
    running = job(project, 8, "RUNNING")
    answers = [running, running, ""]
    answers[failing:failing] = ["fail", "fail"]
    done, noted = recover(project, answers)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("squeue failed; asking again") == 2 and "Unable to contact" in done.stderr
    assert done.stdout.splitlines() == ["waiting for: 8"]
    assert noted == ["sleep 10"] * 3 + ["snakemake --unlock"]


def test_without_slurm_nothing_is_unlocked(project):
    (project.parent / "bin/squeue").unlink()
    tools = project.parent / "tools"
    tools.mkdir()
    for name in ("bash", "dirname"):
        (tools / name).symlink_to(shutil.which(name))
    done, noted = recover(project, [], path=str(tools))
    assert done.returncode == 1 and "no squeue on PATH" in done.stderr and noted == []
