"""What the report's rules need from Python: arguments taken from the configuration, and programs on PATH."""

import os
import sys
from pathlib import Path
from typing import Any


def offer_programs() -> None:
    """Put the folder of this Python at the end of PATH: an active environment's programs still come first."""
    folder, path = str(Path(sys.executable).parent), os.environ.get("PATH", "")
    if folder not in path.split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join(filter(None, [path, folder]))


def report_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return what stage ``report.html`` needs: scale, seeds, papers, folder of the results, configuration as used."""
    used = {key: value for key, value in config.items() if key != "plan"}
    return {
        "scale": config["scale"],
        "seeds": config["seeds"],
        "papers": config["papers"],
        "results": f"results/{config['scale']}",
        "config": used,
    }
