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
        if path.name == "roots.yaml":
            continue
        data = yaml.safe_load(path.read_text())
        assert "python =3.11" in data["dependencies"]
        assert set(data["dependencies"][-1]["pip"]) <= pins, path.name


def test_every_rule_that_runs_python_names_its_environment():
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^(?=rule )", path.read_text(), flags=re.M)[1:]:
            if "script:" in rule or "notebook:" in rule:
                found = re.search(r'conda:\s*"\.\./\.\./envs/([\w-]+\.yaml)"', rule)
                assert found and (ROOT / "envs" / found.group(1)).is_file(), f"{path.name}: {rule.splitlines()[0]}"
