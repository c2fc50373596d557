"""Print time and memory of every job of a finished run, the longest first.

    python benchmarks/stages.py results/demo

Reads the files that Snakemake's ``benchmark:`` wrote beside the run; measures nothing itself.
"""

import csv
import sys
from pathlib import Path


def rows_of(folder: Path) -> list[tuple[str, float, float, float]]:
    """Return (job, wall seconds, CPU seconds, peak MiB) of each benchmark file; exit 1 if there is none."""
    found = []
    for path in folder.glob("**/benchmarks/*.tsv"):
        with open(path, newline="") as handle:
            *_, last = csv.DictReader(handle, delimiter="\t")
        found.append((path.stem, float(last["s"]), float(last["cpu_time"]), float(last["max_rss"])))
    if not found:
        sys.exit(f"{folder} holds no benchmarks/*.tsv; name the results folder of a finished run")
    return sorted(found, key=lambda row: -row[1])


def main() -> None:
    """Print the table and its sums."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    rows = rows_of(Path(sys.argv[1]))
    print("job\twall_s\tcpu_s\tpeak_mib")
    for job, wall, cpu, peak in rows:
        print(f"{job}\t{wall:.0f}\t{cpu:.0f}\t{peak:.0f}")
    wall, cpu, peak = sum(r[1] for r in rows), sum(r[2] for r in rows), max(r[3] for r in rows)
    print(f"all {len(rows)} jobs\t{wall:.0f}\t{cpu:.0f}\t{peak:.0f}")


if __name__ == "__main__":
    main()
