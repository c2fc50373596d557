"""The stage protocol: provenance, refusal of altered inputs, nothing half-written, inherited marks."""

import json
import os
import subprocess
import sys
import threading
import time
import types

import pytest
from helpers import ROOT

from searchtune import stage
from searchtune.errors import ConfigError, DataError, IntegrityError
from searchtune.files import read_json, write_json, write_text


@pytest.fixture
def shout(monkeypatch):
    """Register a tiny stage that copies its input in capitals."""
    module = types.ModuleType("searchtune.shout")

    def run(job):
        if job.params.get("fail"):
            job.outputs["text"].write_text("half")
            raise RuntimeError("killed in the middle")
        if wanted := job.params.get("ask"):
            job.params[wanted]
        write_text(job.outputs["text"], job.inputs["text"].read_text().upper())
        return {"letters": 5, **{mark: job.params.get(mark, []) for mark in ("canary", "licences")}}

    module.run = run
    monkeypatch.setitem(sys.modules, "searchtune.shout", module)
    monkeypatch.setitem(stage.STAGES, "shout", "shout:run")
    monkeypatch.setattr(stage, "code_hash", lambda name: "c0de")


def spec(tmp_path, source="in.txt", target="out.txt", **params):
    return {
        "stage": "shout",
        "inputs": {"text": str(tmp_path / source)},
        "outputs": {"text": str(tmp_path / target)},
        "params": params,
        "threads": 1,
    }


def test_output_and_provenance(tmp_path, shout):
    (tmp_path / "in.txt").write_text("hello")
    assert stage.run_job(spec(tmp_path)) == {"letters": 5}
    assert (tmp_path / "out.txt").read_text() == "HELLO"
    record = read_json(tmp_path / "out.txt.prov.json")
    assert record["recipe"]["stage"] == "shout" and record["recipe"]["code"] == "c0de"
    assert record["output"]["sha256"] == stage.sha256_tree(tmp_path / "out.txt")
    assert record["counts"] == {"letters": 5}
    assert record["execution"]["threads"] == 1


def test_how_many_gpus_hold_a_model_is_no_part_of_what_comes_of_it(tmp_path, shout, monkeypatch):
    (tmp_path / "in.txt").write_text("hello")
    seen, plain = [], sys.modules["searchtune.shout"].run
    monkeypatch.setattr(
        sys.modules["searchtune.shout"], "run", lambda job: (seen.append(job.tensor_parallel), plain(job))[1]
    )
    records = []
    for more in ({}, {"tensor_parallel": 2}):
        stage.run_job(spec(tmp_path) | more)
        record = read_json(tmp_path / "out.txt.prov.json")
        records.append({key: value for key, value in record.items() if key not in ("execution", "output")})
    assert seen == [1, 2] and records[0] == records[1]


def test_failure_leaves_no_output(tmp_path, shout):
    (tmp_path / "in.txt").write_text("hello")
    with pytest.raises(RuntimeError):
        stage.run_job(spec(tmp_path, fail=True))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.txt"]


def test_leftovers_of_a_killed_run_are_cleared(tmp_path, shout, monkeypatch):
    (tmp_path / "in.txt").write_text("hello")
    with monkeypatch.context() as patch:
        patch.setattr(stage, "remove", lambda path: None)  # a killed process cleans nothing
        with pytest.raises(RuntimeError):
            stage.run_job(spec(tmp_path, fail=True))
    left = [p for p in tmp_path.iterdir() if p.name.endswith("-out.txt")]
    assert [p.read_text() for p in left] == ["half"]
    left[0].unlink()
    left[0].mkdir()  # whatever stands there, a file or a folder
    monkeypatch.setattr(stage, "stable_hash", lambda *a, **k: left[0].name[1:].removesuffix("-out.txt"))
    stage.run_job(spec(tmp_path))
    assert (tmp_path / "out.txt").read_text() == "HELLO"


def test_unfinished_files_and_records_of_dead_processes_are_cleared(tmp_path, shout):
    (tmp_path / "in.txt").write_text("hello")
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    gone, here, key = dead.stdout.strip(), os.getpid(), "0123456789abcdef"
    left = [f".tmp-{gone}-out.txt", f".tmp-{gone}-.{key}-out.txt", f".{key}-out.txt"]
    left += [f".tmp-{gone}-out.txt.prov.json", f".tmp-{gone}-out.txt.job.json"]
    kept = [f".tmp-{gone}-other-out.txt", f".{key}-out.txt.bak", f".tmp-{here}-out.txt.job.json"]
    for name in (*left, *kept):
        (tmp_path / name).write_text("half")
    stage.run_job(spec(tmp_path))
    assert {p.name for p in tmp_path.glob(".*")} == set(kept)


def test_a_job_whose_starter_was_killed_is_waited_for_and_not_done_twice(tmp_path, shout, monkeypatch):
    """The orphan is another process, which holds the lock, publishes, and ends."""
    (tmp_path / "in.txt").write_text("hello")
    log = tmp_path / "log.txt"
    orphan = """
import sys, time, types
from pathlib import Path
from searchtune import stage
from searchtune.files import read_json, write_json, write_text
module = types.ModuleType("searchtune.shout")
def run(job):
    Path(sys.argv[2]).touch()
    time.sleep(2)
    write_text(job.outputs["text"], "MADE BY THE ORPHAN")
    return {"letters": 18}
module.run = run
sys.modules["searchtune.shout"] = module
stage.STAGES["shout"] = "shout:run"
stage.code_hash = lambda name: "c0de"
stage.run_job(read_json(Path(sys.argv[1])))
"""
    (tmp_path / "job.json").write_text(json.dumps(spec(tmp_path)))
    command = [sys.executable, "-c", orphan, str(tmp_path / "job.json"), str(tmp_path / "begun")]
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(stage.PACKAGE.parent)}) as process:
        while not (tmp_path / "begun").exists():
            assert process.poll() is None
            time.sleep(0.05)
        assert stage.run_job(spec(tmp_path) | {"log": str(log)}) == {"letters": 18}
        assert f"waits for process {process.pid} on " in log.read_text()
    assert (tmp_path / "out.txt").read_text() == "MADE BY THE ORPHAN"
    assert not list(tmp_path.glob(".*.lock"))


def test_what_was_there_before_is_made_anew_and_what_was_made_meanwhile_stays(tmp_path, shout, monkeypatch):
    """A process that comes late to its lock (its own starter is dead) finds what another one has made since."""
    (tmp_path / "in.txt").write_text("hello")
    stage.run_job(spec(tmp_path))
    first = (tmp_path / "out.txt").stat().st_mtime_ns
    stage.run_job(spec(tmp_path))
    second = (tmp_path / "out.txt").stat().st_mtime_ns
    assert second > first
    # as if this process had begun before the second one made it
    monkeypatch.setattr(stage.time, "time", lambda: second / 1e9 - 1)
    assert stage.run_job(spec(tmp_path)) == {"letters": 5}
    assert (tmp_path / "out.txt").stat().st_mtime_ns == second
    (tmp_path / "in.txt").write_text("other")
    stage.run_job(spec(tmp_path))
    assert (tmp_path / "out.txt").read_text() == "OTHER"


def test_an_orphan_that_makes_something_else_is_waited_for_and_its_work_replaced(tmp_path, shout):
    (tmp_path / "in.txt").write_text("hello")
    lock = tmp_path / ".out.txt.lock"
    # a process that holds the lock, tells so, and is killed
    hold = "import sys, time; from pathlib import Path; from searchtune.locks import take; take(Path(sys.argv[1])); "
    hold += "print('held', flush=True); time.sleep(60)"
    env = os.environ | {"PYTHONPATH": str(stage.PACKAGE.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(lock)], stdout=subprocess.PIPE, text=True, env=env
    ) as process:
        assert process.stdout.readline() == "held\n"
        threading.Timer(0.5, process.kill).start()
        assert stage.run_job(spec(tmp_path)) == {"letters": 5}
    assert (tmp_path / "out.txt").read_text() == "HELLO" and not lock.exists()


def test_a_bit_that_flips_on_the_disk_is_seen_where_every_input_is_hashed(tmp_path, shout, monkeypatch):
    (tmp_path / "in.txt").write_text("hello")
    stage.run_job(spec(tmp_path))
    made = tmp_path / "out.txt"
    times = made.stat()
    made.write_text("HELLP")
    os.utime(made, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert stage.check_input("x", made)
    monkeypatch.setenv("SEARCHTUNE_VERIFY", "1")
    with pytest.raises(IntegrityError, match=r"out\.txt: its content is not what"):
        stage.check_input("x", made)


def test_altered_input_is_refused_by_name(tmp_path, shout):
    (tmp_path / "in.txt").write_text("hello")
    stage.run_job(spec(tmp_path))
    (tmp_path / "out.txt").write_text("HELLA")
    with pytest.raises(IntegrityError, match="out.txt: its content is not what"):
        stage.run_job(spec(tmp_path, source="out.txt", target="next.txt"))


def test_touched_but_equal_input_is_accepted(tmp_path, shout):
    (tmp_path / "in.txt").write_text("hello")
    stage.run_job(spec(tmp_path))
    (tmp_path / "out.txt").write_text("HELLO")
    assert stage.run_job(spec(tmp_path, source="out.txt", target="next.txt")) == {"letters": 5}


def test_canary_travels_through_every_step(tmp_path, shout):
    (tmp_path / "in.txt").write_text("hello")
    stage.run_job(spec(tmp_path, canary=["bigbench"]))
    stage.run_job(spec(tmp_path, source="out.txt", target="next.txt"))
    assert read_json(tmp_path / "next.txt.prov.json")["canary"] == ["bigbench"]


def test_whoever_reads_a_package_answers_for_what_it_took(tmp_path, shout, monkeypatch):
    """The package holds data sets under many licences; a canary is of the package, whatever was taken."""
    monkeypatch.setitem(stage.STAGES, stage.FETCH, "shout:run")
    (tmp_path / "in.txt").write_text("hello")
    marks = {"licences": ["MIT", "CC BY 4.0"], "canary": ["bigbench"]}
    stage.run_job(spec(tmp_path, target="package.txt", **marks) | {"stage": stage.FETCH})
    stage.run_job(spec(tmp_path, source="package.txt", target="taken.txt", licences=["MIT"]))
    stage.run_job(spec(tmp_path, source="package.txt", target="all.txt"))
    stage.run_job(spec(tmp_path, source="taken.txt", target="tuned.txt", licences=["CC0-1.0"]))
    found = {name: read_json(tmp_path / f"{name}.txt.prov.json") for name in ("taken", "all", "tuned")}
    assert found["taken"]["licences"] == ["MIT"] and found["taken"]["canary"] == ["bigbench"]
    # one who says nothing, or who reads what others took, passes on all of it
    assert found["all"]["licences"] == ["CC BY 4.0", "MIT"] and found["tuned"]["licences"] == ["CC0-1.0", "MIT"]


def test_what_a_user_put_into_its_place_passes_on_what_the_registry_says(tmp_path, shout, monkeypatch):
    for table in ("datasets", "models"):
        write_text(tmp_path / f"config/{table}.tsv", (ROOT / f"config/{table}.tsv").read_text())
    write_text(tmp_path / "resources/raw/gpqa-1/gpqa_diamond.csv", "hello")
    monkeypatch.chdir(tmp_path)
    given = {"inputs": {"text": "resources/raw/gpqa-1/gpqa_diamond.csv"}, "outputs": {"text": "out.txt"}}
    stage.run_job(spec(tmp_path) | given)
    record = read_json(tmp_path / "out.txt.prov.json")
    assert record["canary"] == ["gpqa"] and record["licences"] == ["CC BY 4.0 (gated)"]
    # a step that states the licence of what it took answers for that
    stage.run_job(spec(tmp_path, licences=["CC0-1.0"]) | given)
    record = read_json(tmp_path / "out.txt.prov.json")
    assert record["canary"] == ["gpqa"] and record["licences"] == ["CC0-1.0"]


@pytest.mark.parametrize("text", ["{}", "[]", '{"output": 3}', "{"])
def test_a_broken_record_of_an_input_is_named(tmp_path, shout, text):
    (tmp_path / "in.txt").write_text("hello")
    (tmp_path / "in.txt.prov.json").write_text(text)
    with pytest.raises(DataError, match=r"in.txt.prov.json"):
        stage.run_job(spec(tmp_path))


def test_missing_input_names_it(tmp_path, shout):
    with pytest.raises(IntegrityError, match=r"input 'text' is missing: .*in.txt"):
        stage.run_job(spec(tmp_path))


def test_unknown_stage_offers_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'train.sft'"):
        stage.code_hash("train.stf")


def test_command_line_exits_2_with_one_line(tmp_path, shout, capsys):
    job = tmp_path / "job.json"
    job.write_text(json.dumps(spec(tmp_path)))
    assert stage.main([str(job)]) == 2
    assert capsys.readouterr().err.startswith("IntegrityError: input 'text' is missing")


@pytest.mark.parametrize(
    "text",
    [
        *("{}", "[]", '{"stage": "x", "outputs": {}}', '{"stage": "x", "outputs": {"a": "b"}, "inputs": []}'),
        '{"stage": "x", "outputs": {"a": "b"}, "inputs": {"x": 5}}',
        '{"stage": "x", "outputs": {"a": "b"}, "inputs": {"x": [5]}}',
    ],
)
def test_what_is_no_job_file_is_named(tmp_path, capsys, text):
    (tmp_path / "j.json").write_text(text)
    assert stage.main([str(tmp_path / "j.json")]) == 2
    assert "j.json is no job file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": {}}, "needs the input 'text', which the job does not give\n"),
        ({"outputs": "texts"}, "needs the output 'text', which the job does not give; did you mean 'texts'?"),
        (
            {"params": {"ask": "k1", "k2": 2}},
            "needs the parameter 'k1', which the job does not give; did you mean 'k2'?",
        ),
    ],
)
def test_what_a_job_does_not_give_is_named(tmp_path, shout, capsys, change, message):
    """A job file of a user's own, who forgot or misspelt something."""
    (tmp_path / "in.txt").write_text("hello")
    if "outputs" in change:
        change = {"outputs": {change["outputs"]: str(tmp_path / "out.txt")}}
    write_json(tmp_path / "job.json", spec(tmp_path) | change)
    assert stage.main([str(tmp_path / "job.json")]) == 2
    assert f"ConfigError: the stage {message}" in capsys.readouterr().err
    assert not (tmp_path / "out.txt").exists()


def test_a_fault_of_ours_is_told_without_a_secret(tmp_path, shout, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-anyone-0123456789")
    (tmp_path / "in.txt").write_text("hello")
    module = sys.modules["searchtune.shout"]
    monkeypatch.setattr(module, "run", lambda job: {}["sk-not-for-anyone-0123456789"])
    write_json(tmp_path / "job.json", spec(tmp_path))
    assert stage.main([str(tmp_path / "job.json")]) == 1
    told = capsys.readouterr().err
    assert "KeyError" in told and "sk-not" not in told


def test_every_stage_names_existing_code():
    for name in stage.STAGES:
        module, function = stage._target(name)
        path = stage.PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
        assert path.is_file(), f"{name}: {path}"
        assert f"def {function}(" in path.read_text()


def test_code_that_drives_every_stage_is_no_part_of_its_hash():
    """How devices are leased changes no result, and must not have every model trained again."""
    names = {path.relative_to(stage.PACKAGE).as_posix() for path in stage.modules_of("train.sft")}
    assert "llm/hardware.py" in names and not names & {"stage.py", "devices.py", "locks.py", "registry/table.py"}


def test_code_hash_follows_every_import():
    imported = stage._imports_of(stage.PACKAGE / "stage.py")
    assert {stage.PACKAGE / "errors.py", stage.PACKAGE / "files.py"} <= set(imported)
    names = {
        path.relative_to(stage.PACKAGE).as_posix() for path in stage._imports_of(stage.PACKAGE / "training/sft.py")
    }
    assert {"files.py", "llm/hardware.py", "training/checkpoints.py", "training/sft_data.py"} <= names
