"""Render, mix and tokenise a mixture of half a million instructions: seconds and memory of the stages themselves.

    python benchmarks/mixture.py resources/models/smollm2-135m-instruct results/demo/inters/examples --n 500000

The examples of a finished run are repeated under new ids and articles until there are enough (their texts are real,
so are their lengths), then the stages ``inters.render`` and ``train.tokenize`` run as in the workflow, each in a
process of its own. The goal: five minutes and 2 GiB on two cores.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow"))
PEAK = """
import resource, sys
from searchtune.stage import main
code = main([sys.argv[1]])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, file=sys.stderr)
sys.exit(code)
"""


def repeated(path: Path, n: int, target: Path) -> int:
    """Write ``n`` examples made of those in ``path``, in turns, each under an id of its own; return how many."""
    lines = path.read_text(encoding="utf-8").splitlines()
    with target.open("w", encoding="utf-8") as handle:
        for i in range(n):
            row = json.loads(lines[i % len(lines)])
            turn = i // len(lines)
            row |= {"id": f"{row['id']}~{turn}", "article": f"{row['article']}~{turn}"}
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")
    return n


def timed(job: dict, folder: Path) -> tuple[float, int]:
    """Run one stage in a fresh process; return (seconds, peak MiB)."""
    order = folder / f"{job['stage']}.json"
    order.write_text(json.dumps(job), encoding="utf-8")
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(order)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT / "workflow"), "PATH": "/usr/bin:/bin", "TOKENIZERS_PARALLELISM": "true"},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr)
    peak = next(line for line in reversed(done.stderr.splitlines()) if line.startswith("peak"))
    return time.perf_counter() - started, int(peak.split()[1])


def main() -> None:
    """Print seconds and peak memory of both stages."""
    from searchtune.plan import plan
    from searchtune.tasks import arguments

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model folder")
    parser.add_argument("examples", help="examples folder of a finished run")
    parser.add_argument("--n", type=int, default=500_000)
    options = parser.parse_args()
    config = plan(ROOT, {"scale": "laptop"})
    args = arguments.render_args(config, "full") | {"cap": options.n, "uses": 1, "weights": {}, "total_tokens": 10**12}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        examples = folder / "examples"
        examples.mkdir()
        repeated(Path(options.examples) / "train.jsonl", options.n, examples / "train.jsonl")
        for split in ("dev", "test"):
            (examples / f"{split}.jsonl").write_bytes((Path(options.examples) / f"{split}.jsonl").read_bytes())
        lines = (examples / "test.jsonl").read_text(encoding="utf-8").splitlines()
        templates = sorted({json.loads(line)["task"] for line in lines})
        files = {key: str(folder / f"{key}.jsonl") for key in ("train", "dev")}
        render = {
            "stage": "inters.render",
            "inputs": {"examples": str(examples), "tokenizer": options.model}
            | {"templates": [f"workflow/prompts/inters/{task}.yaml" for task in templates]},
            "outputs": files | {"prompts": str(folder / "prompts"), "statistics": str(folder / "statistics.tsv")},
            "params": args,
            "threads": 2,
        }
        encode = {
            "stage": "train.tokenize",
            "inputs": {"model": options.model} | files,
            "outputs": {"tokens": str(folder / "tokens")},
            "params": arguments.tokenize_args(config, "full"),
            "threads": 2,
        }
        print("stage\tinstructions\tseconds\tpeak_mib")
        for job in (render, encode):
            seconds, peak = timed(job, folder)
            with open(files["train"], encoding="utf-8") as handle:
                count = sum(1 for _ in handle)
            print(f"{job['stage']}\t{count}\t{seconds:.0f}\t{peak}", flush=True)


if __name__ == "__main__":
    main()
