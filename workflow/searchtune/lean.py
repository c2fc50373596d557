"""Shorter start-up: transformers is told that packages which no step of ours needs from it are not there.

Importing transformers takes 5 seconds, 2.4 of them for scikit-learn (assisted generation) and for kernels from a hub
(never used here: only fetch rules touch the network), 0.4 for scipy (losses of object detection). All stay installed
for whoever imports them.
"""

import importlib.machinery
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any

MODULE = "transformers.utils.import_utils"
UNUSED = ("is_sklearn_available", "is_kernels_available", "is_scipy_available")


def _absent(*_: Any, **__: Any) -> bool:
    return False


class _Finder(MetaPathFinder):
    """Finds one module as usual, and changes what it says once it is loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the module's own spec with a loader that hides the unused packages; None for every other name."""
        spec = importlib.machinery.PathFinder.find_spec(name, path, target) if name == MODULE else None
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                """Load the module, then replace what it says of unused packages."""
                load(module)
                for function in UNUSED:
                    if hasattr(module, function):
                        setattr(module, function, _absent)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def hide_unused_packages() -> None:
    """Install the finder once; without effect where transformers is loaded already."""
    if MODULE not in sys.modules and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
