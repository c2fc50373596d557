"""``searchtune plan [target]``: what a run would take and what is still missing, before it starts."""

import argparse
import json
import math
import os
from pathlib import Path

from searchtune.errors import ConfigError, DataError

SUMMARY = "jobs, tokens, time, disk, downloads and missing licences of a run, before it starts, and why each job runs"
EPILOG = (
    "Exit codes: 0 nothing that would stop the run is missing; 2 an error in the configuration or target; "
    "3 planned, but something is missing that would stop the run (a licensed file, a pin, terms, a key)."
)
MISSING = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EPILOG
    parser.add_argument("target", nargs="*", help="rules or files, as Snakemake takes them (default: all of the scale)")
    parser.add_argument("--configfile", type=Path, action="append", default=[], help="settings of yours (repeatable)")
    parser.add_argument(
        "--config", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="such as scale=ci"
    )
    parser.add_argument(
        "--cores", type=int, default=os.cpu_count() or 1, help="cores to plan for (default: this machine's)"
    )
    parser.add_argument(
        "--gpu-tflops",
        type=float,
        default=100.0,
        help="what one GPU is taken to do in practice (default: 100; not measured)",
    )
    parser.add_argument("--why", action="store_true", help="name each job with the reason why it would run")
    parser.add_argument("--json", action="store_true", help="the whole plan as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from searchtune.commands.planning.costs import CostModel, speed_of
    from searchtune.commands.planning.dag import jobs_of
    from searchtune.commands.planning.estimate import plan_of
    from searchtune.commands.planning.history import own_runs, past_of
    from searchtune.commands.planning.text import as_text
    from searchtune.config.load import read_yaml

    if arguments.cores < 1 or not 0 < arguments.gpu_tflops < math.inf:
        raise ConfigError("--cores and --gpu-tflops must be numbers above 0")
    for file in arguments.configfile:
        if not file.is_file():
            raise DataError(f"--configfile {file} is not there")
        # errors name the file, which Snakemake's do not
        if not read_yaml(file, str(file)):
            raise ConfigError(f"--configfile {file} is empty")
    if wrong := [pair for pair in arguments.config if "=" not in pair]:
        raise ConfigError(
            f"--config {wrong[0]!r} is no KEY=VALUE; put the target before --config, for example: plan all"
        )
    # Snakemake starts in the project's folder, the paths in the caller's
    files = [file.absolute() for file in arguments.configfile]
    jobs, config = jobs_of(arguments.target, files, arguments.config, arguments.cores)
    model = CostModel.of(past_of())
    model = CostModel(model.lines, model.past, speed_of(model, own_runs()))
    plan = plan_of(jobs, config, model, arguments.cores, arguments.gpu_tflops)
    print(json.dumps(plan, ensure_ascii=False, indent=2) if arguments.json else as_text(plan, arguments.why))
    return MISSING if any(gate["stops"] for gate in plan["gates"]) else 0
