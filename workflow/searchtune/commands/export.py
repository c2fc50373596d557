"""``searchtune export PATH --out DIR``: a finished model or set of rows as a folder for a hub, with its card."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from searchtune.commands.out import check_out
from searchtune.errors import ConfigError
from searchtune.files import atomic_path
from searchtune.release.gate import Reason, reasons_to_stay, refusal
from searchtune.release.hub import STEPS, Item, examine, write_folder

SUMMARY = "write a finished model or set of rows as a folder for a hub, with its card; what may not leave is refused"
EPILOG = (
    "Exit codes: 0 written; 2 an error that you can mend (no provenance, bytes that are not those recorded, pickled "
    "weights, neither model nor rows); 3 refused: it comes from data with a canary, or from something whose licence "
    "doesn't let it be passed on. Nothing is left at --out but after 0."
)
REFUSED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EPILOG
    parser.add_argument("path", type=Path, help="model folder, adapter or rows of a finished run, with its provenance")
    parser.add_argument("--out", type=Path, required=True, help="folder for the hub: new, empty, or an older export")
    parser.add_argument("--json", action="store_true", help="one JSON object: what was written, or why it was refused")


def check_apart(path: Path, out: Path) -> None:
    """Raise ConfigError if one of the two folders lies in the other."""
    given, target = path.resolve(), out.resolve()
    if given == target or given in target.parents or target in given.parents:
        raise ConfigError(f"--out {out} and {path} lie in one another; give a folder of its own")


def refused(item: Item, reasons: list[Reason], as_json: bool) -> int:
    """Tell why an artefact stays; return the exit code."""
    if as_json:
        rows = [reason.as_row() for reason in reasons]
        print(json.dumps({"exported": False, "artefact": item.chain.path, "reasons": rows}, ensure_ascii=False))
    print("\n  ".join(refusal(item.chain, reasons)), file=sys.stderr)
    return REFUSED


def words_of(told: dict[str, Any], out: Path) -> str:
    """Return what was written, in words."""
    base = f", tuned from {', '.join(told['base_models'])}" if told["base_models"] else ""
    names = "; ".join(row["licence"] for row in told["licences"]) or "none recorded"
    return "\n".join(
        [
            f"{told['artefact']}: {told['kind']}{base}",
            f"licences: {names} (on the hub: {told['licence']}); canary: none",
            f"{out}: {told['files']} files, {told['bytes'] / 2**20:.1f} MiB, with card and provenance",
        ]
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    check_out(arguments.out, STEPS)
    check_apart(arguments.path, arguments.out)
    item = examine(arguments.path)
    if reasons := reasons_to_stay(item.chain):
        return refused(item, reasons, arguments.json)
    with atomic_path(arguments.out) as temporary:
        told = write_folder(item, temporary)
    if arguments.json:
        print(json.dumps({"exported": True, "out": str(arguments.out)} | told, ensure_ascii=False))
    else:
        print(words_of(told, arguments.out))
    return 0
