"""What the report's rules need from Python: arguments taken from the configuration, and programs on PATH."""

import os
import sys
from pathlib import Path
from typing import Any

from searchtune.config.models import pruned_models, pruned_of_paper, seen_of
from searchtune.files import sha256_file
from searchtune.registry.table import ROOT


def notebook_hash(paper: str) -> str:
    """Return the SHA-256 of a paper's notebook, so that it runs again when it was edited."""
    return sha256_file(ROOT / "notebooks" / f"{paper}.ipynb")


def offer_programs() -> None:
    """Put the folder of this Python at the end of PATH: an active environment's programs still come first."""
    folder, path = str(Path(sys.executable).parent), os.environ.get("PATH", "")
    if folder not in path.split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join(filter(None, [path, folder]))


def results_folder(config: dict[str, Any]) -> str:
    """Return the folder of a run's results: one a scale, and in it one for each name that a run was given."""
    return "/".join(filter(None, ["results", config["scale"], config.get("name", "")]))


def report_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return what stage ``report.html`` needs: scale, seeds, papers, folder of the results, what each model saw before
    (a pruned one only where it is used: else it was not made), configuration as used.
    """
    pruned = {model for paper in config["papers"] for model in pruned_of_paper(config, paper)}
    models = [model for model in config["models"] if model in pruned or model not in pruned_models(config)]
    used = {key: value for key, value in config.items() if key != "plan"}
    return {
        "scale": config["scale"],
        "seeds": config["seeds"],
        "papers": config["papers"],
        "results": results_folder(config),
        "seen": {model: seen_of(config, model) for model in models},
        "config": used,
    }
