"""Corruption, no network, a full disk, clocks that jump, a cache that cannot be written, and a second run."""

import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import RUN, TARGETS
from running import copy_project, differences, snakemake, sums

from searchtune.cli import main
from searchtune.errors import IntegrityError
from searchtune.files import files_of, remove
from searchtune.reporting.records import Records
from searchtune.reporting.trace import backwards, forwards
from searchtune.stage import check_input

CANNOT_UNSHARE = os.geteuid() != 0 or sys.platform != "linux"
ROOT_ONLY = pytest.mark.skipif(CANNOT_UNSHARE, reason="needs root on Linux (namespaces, mounts)")
ENDS = TARGETS or ["results/ci/report.html"]
pytestmark = pytest.mark.slow


def test_a_second_run_needs_no_network_after_the_fetch_and_is_equal(finished, fetched):
    """Without root there is no network to take away, and two runs are compared."""
    before = () if CANNOT_UNSHARE else ("unshare", "--net")
    done = snakemake(fetched, *RUN, timeout=3000, before=before)
    assert done.returncode == 0, done.stdout[-4000:]
    expected = sums(finished)
    assert len(expected) > 5 and differences(expected, sums(fetched)) == []


def intermediates(folder):
    """Return every artefact between the sources and the targets, nearest to the targets first."""
    found = {}
    for end in ENDS:
        found |= backwards(Records(folder, quick=True), end)
    return [path for path, node in found.items() if node.stage and path not in ENDS]


def wounded(data):
    """Yield a file's bytes cut to half, and with one bit flipped in the middle."""
    yield data[: len(data) // 2]
    middle = len(data) // 2
    yield data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def test_every_broken_file_is_refused_by_name_before_a_step_reads_it(finished, tmp_path, monkeypatch):
    """Snakemake looks at a folder's time alone, so the check is the steps' own, and runs before each of them."""
    again = tmp_path / "again"
    shutil.copytree(finished, again, symlinks=True)
    monkeypatch.chdir(again)
    checked = 0
    for artefact in intermediates(finished):
        for file in (p for p in files_of(Path(artefact)) if p.stat().st_size):
            good, stat = file.read_bytes(), file.stat()
            for bad in wounded(good):
                file.write_bytes(bad)
                with pytest.raises(IntegrityError, match=f"{re.escape(artefact)}: its content is not what"):
                    check_input("x", Path(artefact))
                checked += 1
            file.write_bytes(good)
            os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
            check_input("x", Path(artefact))
    print(f"{checked} wounds were noticed")
    assert checked >= 20


def test_a_broken_artefact_stops_the_run_and_is_rebuilt_to_the_same_bytes(finished, tmp_path):
    """For real, on a sample (SAMPLE, 5): the run stops at the first step that would read it; deleted, it comes back."""
    again = tmp_path / "again"
    shutil.copytree(finished, again, symlinks=True)
    expected, known = sums(finished), intermediates(finished)
    for artefact in random.Random(0).sample(known, min(len(known), int(os.environ.get("SAMPLE", "5")))):
        file = max(files_of(again / artefact), key=lambda p: p.stat().st_size)
        file.write_bytes(next(wounded(file.read_bytes())))
        later = [use.path for use in forwards(Records(again, quick=True), artefact)]
        assert main(["trace", str(again / later[0])]) == 1
        # a finished file asks for nothing: all that was made from the artefact has to be made again
        for output in later:
            remove(again / output)
        done = snakemake(again, *RUN, timeout=3000)
        assert done.returncode != 0 and f"{artefact}: its content is not what" in done.stdout, done.stdout[-2000:]
        remove(again / artefact)
        done = snakemake(again, *RUN, timeout=3000)
        assert done.returncode == 0, done.stdout[-3000:]
        assert differences(expected, sums(again)) == [], artefact


@ROOT_ONLY
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_space(finished, fetched):
    results = fetched / "results/ci"
    results.mkdir(parents=True)
    # half of what the run needs, so that the disk is full in the middle
    size = sum(path.stat().st_size for path in files_of(finished / "results/ci")) // 2048
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(results)], check=True)
    try:
        done = snakemake(fetched, *RUN, timeout=3000)
        assert done.returncode != 0 and "no space left" in done.stdout.lower(), done.stdout[-3000:]
        subprocess.run(["mount", "-o", "remount,size=4g", str(results)], check=True)
        done = snakemake(fetched, *RUN, timeout=3000)
        assert done.returncode == 0, done.stdout[-3000:]
        assert differences(sums(finished), sums(fetched)) == []
    finally:
        subprocess.run(["umount", str(results)], check=True)


def shifted(folder, years):
    """Give all sources a time so many years from now."""
    moment = time.time() + years * 365 * 86400
    for path in (folder / "resources/raw").rglob("*"):
        os.utime(path, (moment, moment))


def test_a_clock_that_jumps_changes_no_byte(finished, tmp_path):
    """Sources that seem twenty years old need nothing. Where they seem to come from the future, Snakemake stops and says
    so; once the clock is right again, the run goes on.
    """
    again = tmp_path / "again"
    shutil.copytree(finished, again, symlinks=True)
    shifted(again, -20)
    done = snakemake(again, *RUN, timeout=3000)
    assert done.returncode == 0 and "Nothing to be done" in done.stdout, done.stdout[-3000:]
    shifted(again, 10)
    done = snakemake(again, *RUN, timeout=3000)
    assert done.returncode != 0 and "clock skew" in done.stdout, done.stdout[-3000:]
    shifted(again, 0)
    done = snakemake(again, *RUN, timeout=3000)
    assert done.returncode == 0, done.stdout[-3000:]
    assert differences(sums(finished), sums(again)) == []


@ROOT_ONLY
def test_resources_that_cannot_be_written_are_enough(finished, tmp_path):
    """A shared cache: resources/ is mounted read-only, and a run makes its results from it."""
    again = copy_project(tmp_path / "again")
    shutil.copytree(finished / "resources", again / "resources", symlinks=True)
    script = 'mount --bind resources resources && mount -o remount,ro,bind resources && exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", script, "sh")
    done = snakemake(again, *RUN, timeout=3000, before=before)
    assert done.returncode == 0, done.stdout[-3000:]
    assert differences(sums(finished), sums(again)) == []
