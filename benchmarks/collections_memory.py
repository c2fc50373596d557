"""Build a collection of five million documents: peak memory and seconds of the stage ``collections.build``.

    python benchmarks/collections_memory.py --n 5000000

A BEIR folder of made-up documents, about 500 bytes each, is written into a temporary folder; the stage then runs in a
process of its own, once with the whole corpus and once cut to half of it. Needs about 1 KB of disk a document while it
runs. The goal: 1 GiB for five million documents.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEAK = """
import resource, sys
from searchtune.stage import main
code = main([sys.argv[1]])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
sys.exit(code)
"""
QUERIES = 10_000
WORDS = 70


def write_folder(folder: Path, n: int) -> int:
    """Write a BEIR folder of ``n`` documents and 10,000 judged queries; return the bytes of its corpus."""
    folder.mkdir(parents=True)
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(5000)]
    bodies = [" ".join(rng.choices(words, k=WORDS)) for _ in range(10_000)]
    with open(folder / "corpus.jsonl", "w", encoding="utf-8") as handle:
        for i in range(n):
            row = {"_id": f"doc-{i:08d}", "title": f"Title {i}", "text": f"{i} {bodies[i % len(bodies)]}"}
            handle.write(json.dumps(row) + "\n")
    judged = rng.sample(range(n), min(QUERIES, n // 4))
    with open(folder / "queries.jsonl", "w", encoding="utf-8") as handle:
        handle.writelines(json.dumps({"_id": f"q{i}", "text": f"what is {i}?"}) + "\n" for i in judged)
    with open(folder / "qrels.tsv", "w", encoding="utf-8") as handle:
        handle.write("query-id\tcorpus-id\tscore\n")
        handle.writelines(f"q{i}\tdoc-{i:08d}\t1\n" for i in judged)
    return (folder / "corpus.jsonl").stat().st_size


def build(folder: Path, limit: int | None) -> tuple[float, int, int]:
    """Run the stage in a fresh process; return (seconds, peak MiB, passages written)."""
    target = folder / "built"
    job = {
        "stage": "collections.build",
        "inputs": {"raw": [str(folder / "raw")]},
        "outputs": {"collection": str(target)},
        "params": {"id": "made_up", "reader": "beir", "raw": ["raw"], "licence": "", "canary": []}
        | {"max_passages": limit, "n_train": 0, "n_dev": 0, "n_test": None, "seed": 0, "split_seed": 0}
        | {"shares": {"train": 0.0, "dev": 0.0, "test": 1.0}},
    }
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(folder / "job.json")],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT / "workflow"), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr)
    seconds = time.perf_counter() - started
    peak = next(line for line in reversed(done.stderr.splitlines()) if line.startswith("peak"))
    counts = json.loads((target / "manifest.json").read_text(encoding="utf-8"))["counts"]
    return seconds, int(peak.split()[1]), counts["passages"]


def main() -> None:
    """Print a line a build: passages written, seconds and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=5_000_000, help="documents (count)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_folder(folder / "raw", options.n)
        print(f"corpus: {options.n} documents, {size / options.n:.0f} bytes each")
        print("max_passages\tpassages\tseconds\tpeak_mib")
        for limit in (None, options.n // 2):
            seconds, peak, passages = build(folder, limit)
            print(f"{'all' if limit is None else limit}\t{passages}\t{seconds:.0f}\t{peak}", flush=True)


if __name__ == "__main__":
    main()
