"""A module that does not bear being looked through, as vLLM looks through all modules when it starts."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

# its object ``lib`` answers every name with a function of LLVM's library, ``__dict__`` too; bm25s brings it with numba
FFI = "llvmlite.binding.ffi"


@contextmanager
def unscanned() -> Iterator[None]:
    """Keep the module out of ``sys.modules`` while the context lasts; whoever imported it before still has it."""
    module = sys.modules.pop(FFI, None)
    try:
        yield
    finally:
        if module is not None:
            sys.modules[FFI] = module
