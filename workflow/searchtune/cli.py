"""The command line: ``searchtune plan``, ``doctor``, ``compare``, ``trace``, ``adapt``, ``search``, ``synthesize``,
``export``.

Exit codes: 0 done, 2 an error that the user can mend (its text says how). ``doctor``: 1 with faults. ``trace``: 1 where
bytes are not those of the record. ``plan``: 3 where something is missing that would stop the run. ``compare``: 3 where
the runs differ. ``export``: 3 where an artefact may not leave. ``adapt`` and ``synthesize``: else Snakemake's own. 141:
whoever read the output has gone.
"""

import argparse
import os
import sys

from searchtune.commands import adapt, compare, doctor, export, plan, search, synthesize, trace
from searchtune.errors import SearchtuneError

CLOSED = 141  # what a shell says of a program whose reader has gone

COMMANDS = {
    "plan": plan,
    "doctor": doctor,
    "compare": compare,
    "trace": trace,
    "adapt": adapt,
    "search": search,
    "synthesize": synthesize,
    "export": export,
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    whole = argparse.ArgumentParser(
        prog="searchtune",
        description="Plan, check, compare, trace, export runs; adapt a retriever to your texts, search, write rows.",
    )
    parts = whole.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(parts.add_parser(name, help=command.SUMMARY, description=command.SUMMARY))
    return whole


def main(argv: list[str] | None = None) -> int:
    """Run a command; return its exit code."""
    arguments = parser().parse_args(argv)
    try:
        code = COMMANDS[arguments.command].run(arguments)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # whoever read (head, less) has enough; what Python still flushes at its end goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    except OSError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except SearchtuneError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
