"""Locks on files: one process at a time makes an artefact. The kernel gives a lock back however its process ends."""

import contextlib
import errno
import fcntl
import os
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def take(path: Path) -> int | None:
    """Lock a file, which is made if need be, and return its descriptor; None if another process has it.

    On a file system that knows no locks everybody gets it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    if _locked(descriptor) and _is_there(path, descriptor):
        return descriptor
    os.close(descriptor)
    return None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
    return True


def _is_there(path: Path, descriptor: int) -> bool:
    """Say whether the locked file still has its name: who held it before may have removed it."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False


@contextlib.contextmanager
def alone(path: Path, tell: Callable[[str], None], poll: float = 1.0) -> Iterator[None]:
    """Hold the lock file ``path``, which is removed at the end.

    Whoever waits is told by ``tell`` which process it waits for.
    """
    waited = False
    while (descriptor := take(path)) is None:
        if not waited:
            tell(f"waits for process {_holder(path)}, which makes the same (what started it may have been killed)")
        waited = True
        time.sleep(poll)
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _holder(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8") or "?"
    return "?"
