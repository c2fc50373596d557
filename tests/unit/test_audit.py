"""`make audit` looks every pinned package up, whatever it finds on the way, and ends with 1 if anything is amiss."""

import os
import subprocess

import pytest
from helpers import ROOT

# stands in for uv: the advisory database is not always in reach. Keeps what was asked, and answers as pip-audit does
STAND_IN = """#!/usr/bin/env bash
file=${@: -1}
printf '%s\\n' "$*" >>"$KEPT/asked"
grep -ohE '^[A-Za-z0-9_.-]+==[^ ;]+' "$file" >>"$KEPT/pins"
if grep -q "^$FAULTY==" "$file"; then echo "Found 1 known vulnerability in 1 package"; exit 1; fi
echo "No known vulnerabilities found"
if grep -q "^$UNKNOWN==" "$file"; then echo "x Dependency not found on PyPI and could not be audited: x (1)"; fi
"""


def audit(tmp_path, faulty="-", unknown="-"):
    stand_in = tmp_path / "uv"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o755)
    given = {"UV": str(stand_in), "KEPT": str(tmp_path), "FAULTY": faulty, "UNKNOWN": unknown}
    done = subprocess.run(
        ["bash", str(ROOT / "envs/audit.sh")], env=os.environ | given, text=True, capture_output=True, timeout=60
    )
    return done, set((tmp_path / "pins").read_text().split()), (tmp_path / "asked").read_text().splitlines()


def pins_of_all_files():
    lines = [line for path in (ROOT / "envs").glob("requirements*.txt") for line in path.read_text().splitlines()]
    return {line for line in lines if "==" in line and not line.startswith("#")}


def test_all_pins_are_asked_for_by_one_release_of_the_tool(tmp_path):
    done, pins, asked = audit(tmp_path)
    assert done.returncode == 0, done.stderr
    assert pins >= pins_of_all_files() and len(pins_of_all_files()) > 300
    assert {"torch==2.11.0", "torch==2.13.0"} <= pins and any(pin.startswith("uv==") for pin in pins)
    assert all(" pip-audit==" in line for line in asked)


@pytest.mark.parametrize("given", [{"faulty": "accelerate"}, {"unknown": "accelerate"}])
def test_a_finding_and_a_package_without_an_answer_end_with_1_when_all_was_asked(tmp_path, given):
    done, pins, _ = audit(tmp_path, **given)
    assert done.returncode == 1 and pins >= pins_of_all_files()
    # requirements.txt comes last of the files but torch and uv
    assert done.stderr.splitlines()[-1].endswith("could not be looked up, in: requirements (see above)")
