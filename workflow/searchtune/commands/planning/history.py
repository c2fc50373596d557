"""What finished jobs took: the benchmark file, provenance and job file of each, as one row.

``config/costs.tsv`` holds the rows of finished runs that this project brings along (``benchmarks/costs.py`` writes it).
The runs in ``results/`` tell how fast this machine is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from searchtune.commands.planning.jobs import Graph, PlannedJob, flat, job_of
from searchtune.commands.planning.sizes import Sizer
from searchtune.commands.planning.work import Work, work_of
from searchtune.files import read_json, read_tsv
from searchtune.registry.table import ROOT
from searchtune.stage import PROVENANCE

COSTS = ROOT / "config" / "costs.tsv"
COLUMNS = [
    "run",
    "job",
    "stage",
    "unit",
    "amount",
    "tokens_bound",
    "size",
    "threads",
    "wall_s",
    "cpu_s",
    "tokens",
    "bytes",
]
UNITS = {True: "operations", False: "count"}
JOB = ".job.json"


@dataclass(frozen=True)
class Past:
    """A finished job: its work as told beforehand, and what it took. ``wall_s`` is Snakemake's, start-up included."""

    run: str
    job: str
    stage: str
    work: Work
    threads: int
    wall_s: float
    cpu_s: float
    tokens: float
    bytes: float

    def row(self) -> dict[str, object]:
        """Return the row of config/costs.tsv."""
        return {
            **{"run": self.run, "job": self.job, "stage": self.stage, "unit": UNITS[self.work.model]},
            **{"amount": self.work.amount, "tokens_bound": self.work.tokens, "size": self.work.size},
            **{
                "threads": self.threads,
                "wall_s": self.wall_s,
                "cpu_s": self.cpu_s,
                "tokens": self.tokens,
                "bytes": self.bytes,
            },
        }


def past_of(path: Path = COSTS) -> list[Past]:
    """Read the rows that the project brings along."""
    found = []
    for row in read_tsv(path):
        # whole numbers stay whole, so that a table that is read and written again is the same
        number = {name: int(row[name]) if row[name].isdigit() else float(row[name]) for name in COLUMNS[4:]}
        work = Work(number["amount"], number["tokens_bound"], number["size"], row["unit"] == UNITS[True])
        figures = (number[name] for name in ("wall_s", "cpu_s", "tokens", "bytes"))
        found.append(Past(row["run"], row["job"], row["stage"], work, int(number["threads"]), *figures))
    return found


def _job_files(results: Path) -> list[Path]:
    """Return the job files of a run and of what it shares with others (resources), sorted."""
    shared = results.parent.parent / "resources"
    folders = [results, *(shared / name for name in ("raw", "models", "heal"))]
    return sorted(file for folder in folders if folder.is_dir() for file in folder.rglob(f"*{JOB}"))


def benchmark_of(job: PlannedJob, root: Path) -> float | None:
    """Return the wall seconds that Snakemake measured; None where there is no benchmark file (or a cut one)."""
    log = root / job.log
    path = log.parent.parent / "benchmarks" / f"{log.stem}.tsv"
    rows = read_tsv(path) if job.log and path.is_file() and path.stat().st_size else []
    try:
        seconds = float(rows[-1]["s"]) if rows else math.nan
    except (KeyError, ValueError):
        return None
    return seconds if math.isfinite(seconds) else None


def history_of(results: Path, run: str = "") -> list[Past]:
    """Return the finished jobs of a results folder (``results/<scale>``), and of the resources beside it.

    A job counts where job file, provenance and benchmark are all there; one that could not be done, or whose work can't
    be told from what is there, is left out.
    """
    root = results.resolve().parent.parent
    made = {file: _record(file) for file in _job_files(results.resolve())}
    jobs = {file: job_of(read_json(file), (record or {}).get("counts", {})) for file, record in made.items()}
    graph = Graph(jobs.values())
    found = []
    for file, record in made.items():
        job, sizer = jobs[file], Sizer(graph)
        work, wall = work_of(job, sizer), benchmark_of(jobs[file], root)
        if record is None or wall is None or record.get("shortage") or sizer.guesses:
            continue
        disk = sum(_bytes(root / path) for path in flat(job.outputs))
        took = (wall, record["execution"]["cpu_s"], _tokens(job.stage, record["counts"]), disk)
        found.append(Past(run or results.name, Path(job.log).stem, job.stage, work, job.threads, *took))
    return [
        *found,
        *_without_stage(results.resolve(), run or results.name, {Path(job.log).stem for job in jobs.values()}),
    ]


def _without_stage(results: Path, run: str, known: set[str]) -> list[Past]:
    """Return the jobs that have a benchmark file alone (notebooks): their rule stands for their stage."""
    found = []
    for path in sorted((results / "benchmarks").glob("*.tsv")):
        row = read_tsv(path)[-1] if path.stem not in known and path.stat().st_size else {}
        try:
            wall, cpu = float(row["s"]), float(row["cpu_time"])
        except (KeyError, ValueError):
            continue
        found.append(
            Past(run, path.stem, path.stem.split(".")[0], Work(), 1, wall, plausible_cpu(cpu, wall, 1), 0.0, 0.0)
        )
    return found


def plausible_cpu(cpu: float, wall: float, threads: int) -> float:
    """Return the CPU seconds that a job can have taken, by Snakemake's measure: at most its threads for all its time.

    Snakemake looks at a job now and then: of a short one it may have seen nothing (0: its wall time is taken), and of
    a notebook it has counted 148 s in 4 s of wall time.
    """
    return min(cpu or wall, wall * threads)


def _record(file: Path) -> dict | None:
    """Return the provenance beside a job file, None if there is none: the job has not ended."""
    record = file.with_name(file.name.removesuffix(JOB) + PROVENANCE)
    return read_json(record) if record.is_file() else None


def _tokens(stage: str, counts: Mapping[str, float]) -> float:
    """Return the tokens that a language model trained on, or read and wrote."""
    return (
        counts["tokens"]
        if stage == "train.sft"
        else counts.get("prompt_tokens", 0) + counts.get("completion_tokens", 0)
    )


def _bytes(path: Path) -> int:
    record = path.with_name(path.name + PROVENANCE)
    return int(read_json(record)["output"]["fingerprint"]["bytes"]) if record.is_file() else 0


def own_runs(root: Path = ROOT) -> list[Past]:
    """Return the finished jobs of this machine's own runs: every ``results/<scale>`` with benchmark files."""
    folders = [path.parent for path in sorted((root / "results").glob("*/benchmarks")) if path.is_dir()]
    return [row for folder in folders for row in history_of(folder)]
