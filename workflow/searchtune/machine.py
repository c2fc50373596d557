"""What this machine has; imported while the workflow is planned, so it imports nothing heavy."""

import os
from pathlib import Path

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory_mb(limit: Path = CGROUP_LIMIT) -> int:
    """Return the memory that processes may use (MiB): the machine's, or a container's limit where that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    given = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    return (total if given == "max" else min(total, int(given))) // 2**20
