"""What the machine has."""

import os

from searchtune.machine import memory_mb


def test_a_container_s_limit_counts_where_it_is_lower(tmp_path):
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    limit = tmp_path / "memory.max"
    assert memory_mb(limit) == whole
    for text, expected in (("max\n", whole), (f"{512 * 2**20}\n", 512), (f"{2**60}\n", whole)):
        limit.write_text(text)
        assert memory_mb(limit) == expected
