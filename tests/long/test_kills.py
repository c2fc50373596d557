"""A run that is killed at random moments ends in the bytes of an unbroken one."""

import os
import random
import shutil
import time

import pytest
from conftest import RUN
from running import differences, run_until, sums

KILLS = int(os.environ.get("KILLS", "100"))
SEED = int(os.environ.get("KILL_SEED", time.time_ns() % 10**9))
SHORTEST, LONGEST = 1.5, float(os.environ.get("KILL_LONGEST", "30"))
PATIENCE = 8  # kills without a new file, after which runs get longer
ORPHANS = 0.2  # share of the kills that hit Snakemake alone: its jobs live on beside the next run's


def made(folder):
    return len(list(folder.glob("results/ci/**/*.prov.json"))) + len(list(folder.glob("resources/**/*.prov.json")))


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_in_the_same_bytes(finished, fresh):
    chance = random.Random(SEED)
    print(f"KILL_SEED={SEED} KILLS={KILLS}")
    expected, kills, rounds, stuck, longest, before, orphaned = sums(finished), 0, 0, 0, LONGEST, 0, 0
    while True:
        seconds = chance.uniform(SHORTEST, longest) if kills < KILLS else 3600
        alone = chance.random() < ORPHANS
        code = run_until(fresh, seconds, *RUN, jobs=not alone)
        if code is None:
            kills, orphaned = kills + 1, orphaned + alone
            now = made(fresh)
            stuck = 0 if now > before else stuck + 1
            longest, before = (longest * 1.5, now) if stuck > PATIENCE else (longest, now)
            continue
        assert code == 0, f"seed {SEED}: after {kills} kills a run ended with code {code}"
        rounds += 1
        apart = differences(expected, sums(fresh))
        assert not apart, f"seed {SEED}, {kills} kills: {len(apart)} files differ: {apart[:10]}"
        if kills >= KILLS:
            break
        before, longest = 0, LONGEST
        shutil.rmtree(fresh / "results/ci")
        for folder in ("raw", "models", "heal"):
            shutil.rmtree(fresh / "resources" / folder, ignore_errors=True)
            for record in (fresh / "resources").glob(f"{folder}.*"):
                record.unlink()
    print(
        f"{kills} kills ({orphaned} of Snakemake alone), {rounds} rounds, {len(expected)} files compared, seed {SEED}"
    )
    left = list(fresh.glob("results/ci/**/.tmp-*")) + list(fresh.glob("results/ci/**/.work/*/*"))
    assert not left, f"work of killed runs is left behind: {left[:5]}"
