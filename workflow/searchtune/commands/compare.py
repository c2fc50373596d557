"""``searchtune compare A B``: two runs side by side, with paired tests, and what differs in how they were made."""

import argparse
import json
from pathlib import Path
from typing import Any

from searchtune.errors import DataError

SUMMARY = "tables of two runs side by side, paired tests on their queries, and what differs in config, code and data"
EPILOG = (
    "Exit codes: 0 equal (the same tables, rows and cells, and the same value for every query; times apart), "
    "2 a folder that holds no finished run, 3 the runs differ."
)
DIFFER = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.epilog = EPILOG
    parser.add_argument("a", type=Path, help="results folder of a finished run, such as results/demo")
    parser.add_argument("b", type=Path, help="results folder of another run")
    parser.add_argument("--all", action="store_true", help="leave no difference out of the text")
    parser.add_argument("--json", action="store_true", help="one JSON object with everything")


def compare_runs(a: Path, b: Path) -> dict[str, Any]:
    """Return the comparison of two results folders as plain data; DataError where one of them holds no tables."""
    from searchtune.commands.comparing.making import making
    from searchtune.commands.comparing.paired import only_in, paired, scores_of, seeds_of
    from searchtune.commands.comparing.tables import compared, tables_of

    for folder in (a, b):
        if not folder.is_dir():
            raise DataError(f"{folder} is no folder; give the results folder of a finished run (results/<scale>)")
    names = [["/".join(key) for key in tables_of(folder)] for folder in (a, b)]
    tables = list(compared(a, b))
    left, right = scores_of(a), scores_of(b)
    tests, few = paired(left, right)
    result: dict[str, Any] = {
        **{"a": str(a), "b": str(b), "making": making(a, b)},
        "tables_only_a": [name for name in names[0] if name not in names[1]],
        "tables_only_b": [name for name in names[1] if name not in names[0]],
        "tables": [
            {
                **{"table": f"{one.paper}/{one.name}", "equal": one.equal, "times": one.timed},
                **{"equal_cells": one.equal_cells, "different": one.different},
                **{"rows_only_a": one.only_a, "rows_only_b": one.only_b},
            }
            for one in tables
        ],
        **{"tests": tests, "too_few": few, "seeds_a": seeds_of(a), "seeds_b": seeds_of(b)},
        **{"scored_only_a": only_in(left, right), "scored_only_b": only_in(right, left)},
    }
    same = all(one.equal or one.timed for one in tables) and left == right and result["seeds_a"] == result["seeds_b"]
    result["equal"] = same and not result["tables_only_a"] and not result["tables_only_b"]
    return result


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from searchtune.commands.comparing.text import as_text

    result = compare_runs(arguments.a, arguments.b)
    print(json.dumps(result, ensure_ascii=False, indent=2) if arguments.json else as_text(result, arguments.all))
    return 0 if result["equal"] else DIFFER
