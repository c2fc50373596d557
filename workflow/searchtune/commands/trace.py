"""``searchtune trace FILE``: every result leads to the bytes that made it, and every file to the results behind it."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from searchtune.errors import DataError
from searchtune.reporting.records import Records, project_of
from searchtune.reporting.trace import SILENT, backwards, forwards
from searchtune.reporting.trace_text import backward_text, forward_text, summary
from searchtune.stage import PROVENANCE

SUMMARY = "show what a file was made from (data, prompts, models, code, environment), or with --forward what it made"
PROBLEMS = 1
SHOWN = 6  # artefacts that are named where a folder of them was asked about


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    what = "an artefact of a run (file or folder) or a part of one, a prompt, a module of the code"
    parser.add_argument("file", type=Path, help=what)
    parser.add_argument("--forward", action="store_true", help="list what was made from the file")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("--quick", action="store_true", help="hash nothing whose size and time are as recorded")


def traced(file: Path, forward: bool, quick: bool) -> tuple[dict[str, Any], str, bool]:
    """Return (JSON value, text, whether everything is in order) of a trace; DataError for a file nobody knows."""
    root, path = project_of(file)
    records = Records(root, quick)
    if forward:
        uses = forwards(records, path)
        value = {"file": path, "uses": [asdict(use) for use in uses]}
        return value, forward_text(path, uses), all(use.current for use in uses)
    nodes = backwards(records, path)
    start = next(iter(nodes.values()))
    if start.state == SILENT:
        raise DataError(no_artefact(root, start.path))
    told = summary(nodes)
    rows = [asdict(node) | {"execution": _kept(node.execution)} for node in nodes.values()]
    value = {"file": path, "artefact": next(iter(nodes)), "artefacts": rows, **told}
    return value, backward_text(path, nodes), not told["problems"]


def no_artefact(root: Path, path: str) -> str:
    """Say that no step's record speaks of what lies at a path, and what may have been meant."""
    place, known = root / path, ""
    for ending in (PROVENANCE, ".job.json"):
        if path.endswith(ending):
            known = path.removesuffix(ending)
    inside = sorted(file.relative_to(root).as_posix().removesuffix(PROVENANCE) for file in place.glob(f"*{PROVENANCE}"))
    inside = inside or sorted({f"{folder.relative_to(root)}/" for folder in place.glob("*/") if folder.is_dir()})
    meant = [known] if known else inside[:SHOWN]
    more = f" and {len(inside) - SHOWN} more" if len(inside) > SHOWN and not known else ""
    hint = f"; trace {', '.join(meant)}{more}" if meant else "; logs, benchmarks, notebooks and README files have none"
    return f"{path}: no record of a step speaks of it{hint}"


def _kept(execution: dict[str, Any]) -> dict[str, Any]:
    """Leave out the machine's name, which says nothing about a result."""
    return {key: value for key, value in execution.items() if key != "host"}


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return 0, or 1 where bytes behind the file are not those that it was made from."""
    value, text, sound = traced(arguments.file, arguments.forward, arguments.quick)
    print(json.dumps(value, indent=2, ensure_ascii=False) if arguments.json else text)
    return 0 if sound else PROBLEMS
