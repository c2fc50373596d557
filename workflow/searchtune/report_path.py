"""Say where the report of the last run lies: ``python -m searchtune.report_path [scale]``."""

import sys
from pathlib import Path

from searchtune.config.load import read_yaml


def main() -> None:
    """Print the report's path for the scale named on the command line or in config/config.yaml."""
    scale = (
        sys.argv[1]
        if len(sys.argv) > 1
        else read_yaml(Path("config/config.yaml"), "config/config.yaml").get("scale", "demo")
    )
    report = Path("results") / scale / "report.html"
    print(f"report: {report.resolve()}" if report.is_file() else f"no report yet at {report}")


if __name__ == "__main__":
    main()
