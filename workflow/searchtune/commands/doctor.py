"""``searchtune doctor``: is this machine ready, and if not, what mends it."""

import argparse
import json
from collections import Counter
from dataclasses import asdict

from searchtune.commands.checking import hardware, services, software
from searchtune.commands.checking.line import FAULT, OK, WARNING, Line
from searchtune.registry.table import ROOT

SUMMARY = "look at Python, packages, Java, GPU, memory, disk, caches, tokens, SLURM and conda, and say what mends them"
EPILOG = (
    "Exit codes: 0 no fault (warnings may be there), 1 at least one fault. Values of tokens and keys are never shown."
)
FAULTS = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EPILOG
    parser.add_argument("--json", action="store_true", help="one JSON object: lines and how many of each state")


def lines_of() -> list[Line]:
    """Look at everything; nothing is changed, installed, imported or sent."""
    return [
        software.python(),
        software.torch(ROOT / "envs" / "roots.yaml"),
        *software.packages(ROOT / "envs" / "requirements.txt"),
        software.bytecode(),
        software.lucene(ROOT),
        software.plaid(ROOT),
        hardware.cores(),
        hardware.memory(),
        hardware.disk(ROOT),
        hardware.bfloat16(),
        hardware.gpu(),
        *hardware.folders(ROOT),
        *services.tokens(),
        services.network(),
        services.slurm(),
        *services.deployment(),
    ]


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    lines = lines_of()
    states = Counter(line.state for line in lines)
    counts = {state: states[state] for state in (OK, WARNING, FAULT)}
    if arguments.json:
        print(json.dumps({"lines": [asdict(line) for line in lines], **counts}, ensure_ascii=False, indent=2))
    else:
        print("\n".join(line.text() for line in lines))
        print(f"{counts[OK]} ok, {counts[WARNING]} warnings, {counts[FAULT]} faults")
    return FAULTS if counts[FAULT] else 0
