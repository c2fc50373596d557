"""Child processes of a library that would run this process's main script once more."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def hidden_main() -> Iterator[None]:
    """Let processes that multiprocessing spawns while the context lasts begin without the main module.

    A spawned process imports its parent's main module first. Under Snakemake that is the job's script, which has no
    guard: every worker would do the whole job. The path for imports is handed on all the same.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
