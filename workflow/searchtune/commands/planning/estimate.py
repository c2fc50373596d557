"""A plan as plain data: what the jobs of a target take, per stage and in all (``searchtune plan --json``)."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from searchtune.commands.planning.costs import FAR, CostModel, Left, left_out, stage_error, typical
from searchtune.commands.planning.gates import FETCH, disk_of, download_of, gates_of
from searchtune.commands.planning.jobs import Graph, PlannedJob, flat
from searchtune.commands.planning.sizes import Sizer
from searchtune.commands.planning.work import Work, work_of

HOUR = 3600.0
SUMMED = ("jobs", "tokens", "cpu_s", "gpu_s", "cpu_beside_gpu_s", "disk_bytes", "download_bytes", "download_unknown")


class Estimate:
    """What one job is expected to take; figures are None where no finished job tells."""

    def __init__(self, job: PlannedJob, work: Work, model: CostModel, gpu_flops: float) -> None:
        self.job, self.work = job, work
        self.cpu_s = model.predict(job.stage, work, "cpu_s")
        tokens = model.predict(job.stage, work, "tokens") if work.tokens else 0.0
        self.tokens = work.tokens if tokens is None else tokens  # of a stage that was not measured the bound is known
        self.disk = model.predict(job.stage, work, "bytes")
        self.beyond = model.beyond(job.stage, work)
        self.download = None
        if job.stage == FETCH:
            self.download = download_of(job)
            self.disk = self.disk if work.size else disk_of(job)
        start = model.lines[job.stage, "cpu_s"].start * model.speed if self.cpu_s is not None else 0.0
        self.gpu_s = start + work.amount / gpu_flops if work.model else 0.0

    @property
    def wall_s(self) -> float:
        """Seconds on the threads that the job asks for, were they all busy."""
        return (self.cpu_s or 0.0) / max(1, self.job.threads)

    def figures(self) -> dict[str, float]:
        """Return what is summed over jobs."""
        unknown = self.download is not None and self.download.bytes is None
        return {
            **{"jobs": 1, "tokens": self.tokens, "cpu_s": self.cpu_s or 0.0, "gpu_s": self.gpu_s},
            **{"cpu_beside_gpu_s": 0.0 if self.work.model else self.cpu_s or 0.0, "disk_bytes": self.disk or 0.0},
            "download_bytes": (self.download.bytes or 0) if self.download else 0,
            "download_unknown": int(unknown),
        }


def _sums(estimates: list[Estimate]) -> dict[str, float]:
    total: Counter[str] = Counter()
    for estimate in estimates:
        total.update(estimate.figures())
    return {name: total[name] for name in SUMMED}


def longest_chain(graph: Graph, seconds: Mapping[int, float]) -> float:
    """Return the seconds of the longest chain of jobs, by the seconds of each (keyed by ``id``; 0 where not given)."""
    done: dict[int, float] = {}

    def ends(job: PlannedJob) -> float:
        """Return when a job ends that starts as soon as what it reads is there."""
        if id(job) not in done:
            makers = {id(m): m for path in flat(job.inputs) if (m := graph.maker(path)) is not None}
            done[id(job)] = seconds.get(id(job), 0.0) + max((ends(m) for m in makers.values()), default=0.0)
        return done[id(job)]

    return max((ends(job) for job in graph.jobs), default=0.0)


def _stages(estimates: list[Estimate], model: CostModel, left: list[Left]) -> list[dict[str, Any]]:
    """Return a row for each stage, in the order of the jobs, with its error and how far it is extrapolated."""
    groups: dict[str, list[Estimate]] = {}
    for estimate in estimates:
        groups.setdefault(estimate.job.stage, []).append(estimate)
    rows = []
    for stage, mine in groups.items():
        line = model.lines.get((stage, "cpu_s"))
        error = stage_error(left, stage) if line else None
        beyond = max(estimate.beyond for estimate in mine)
        rows.append(
            {
                "stage": stage,
                **_sums(mine),
                "error_factor": error,
                "measured_jobs": line.jobs if line else 0,
                "times_beyond_measured": beyond if beyond > FAR else None,
            }
        )
    return sorted(rows, key=lambda row: -row["cpu_s"])


def error_of(model: CostModel, left: list[Left]) -> dict[str, Any]:
    """Return what scales that were left out say of the model's error."""
    return {
        "jobs": len(model.past),
        "runs": sorted({row.run for row in model.past}),
        "speed": model.speed,
        "left_out": [
            {
                **{"scale": one.scale, "jobs": len(one.told), "taken_s": one.taken_s, "predicted_s": one.predicted_s},
                **{"ratio": one.ratio, "half_within": typical(one.factors) if one.factors else None},
                "nine_of_ten_within": typical(one.factors, 0.9) if one.factors else None,
            }
            for one in left
        ],
    }


def plan_of(
    jobs: list[PlannedJob], config: Mapping[str, Any], model: CostModel, cores: int, gpu_tflops: float
) -> dict[str, Any]:
    """Return the plan of some jobs: sums per stage and in all, the model's error, gates, licences, guesses, reasons."""
    graph = Graph(jobs)
    sizer = Sizer(graph)
    due = [job for job in jobs if job.runs]
    estimates = [Estimate(job, work_of(job, sizer), model, gpu_tflops * 1e12) for job in due]
    chain = longest_chain(graph, {id(estimate.job): estimate.wall_s for estimate in estimates})
    total, left = _sums(estimates), left_out(model.past)
    licences = sorted({name for e in estimates if e.download for name in e.download.licences})
    return {
        "scale": config["scale"],
        "jobs_in_all": len(jobs),
        "jobs_done": len(jobs) - len(due),
        "all": total,
        "stages": _stages(estimates, model, left),
        "cores": cores,
        "wall_s": max(chain, total["cpu_s"] / cores),
        "longest_chain_s": chain,
        "memory_mb": max((job.mem_mb for job in due), default=0),
        "gpu_tflops": gpu_tflops,
        "error": error_of(model, left),
        "not_measured": sorted({e.job.stage for e in estimates if e.cpu_s is None}),
        "guesses": sorted(sizer.guesses),
        "gates": [asdict(gate) for gate in gates_of(graph, config)],
        "licences": licences,
        "unknown_downloads": sorted(e.download.artefact for e in estimates if e.download and e.download.bytes is None),
        "why": [{"job": e.job.name, "stage": e.job.stage, "reason": e.job.reason} for e in estimates],
    }
