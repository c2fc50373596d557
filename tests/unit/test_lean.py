"""Start-up: transformers comes without packages that no step of ours uses."""

import subprocess
import sys

import pytest
from helpers import ROOT

SCRIPT = """
import sys
sys.path.insert(0, "workflow")
from searchtune.lean import hide_unused_packages
hide_unused_packages()
hide_unused_packages()
from transformers import AutoModel, AutoModelForCausalLM
from transformers.utils import is_scipy_available, is_sklearn_available, is_torch_available
assert is_torch_available() and not is_sklearn_available() and not is_scipy_available()
print(*sorted({name.split(".")[0] for name in sys.modules} & {"sklearn", "kernels", "scipy", "torch"}))
import sklearn.metrics
"""


@pytest.mark.slow
def test_unused_packages_are_not_imported_but_can_be():
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["torch"]
