"""The cost model: what a job takes by its work, one line a stage, fitted on finished jobs, and how far it is off.

CPU seconds (and tokens, and bytes) of a stage are ``start + rate * work``, both at least 0, by least squares of
logarithms, so that a job of five seconds counts as much as one of an hour. The error is that of scales which were left
out: all runs of a scale in turn are predicted by those of the others. Runs of one scale do the same work, so that one
of them would be predicted by its twins.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from searchtune.commands.planning.history import Past
from searchtune.commands.planning.work import Work

LEAST_S = 0.05  # shorter jobs say nothing of their work
TELLING = 1e12  # operations; below, the time of a job is its start and says nothing of its rate
FAR = 3.0  # work so many times beyond the largest measured is marked as extrapolated
NOTICED_S = 2.0  # jobs that are shorter are left out of the error of a single job, not of a run


@dataclass(frozen=True)
class Line:
    """``start + rate * work``, fitted on ``jobs`` jobs of ``runs`` runs whose work was at most ``largest``.

    ``runs`` is 0 where the rate is that of other stages (see :func:`pooled`).
    """

    start: float
    rate: float
    jobs: int
    runs: int
    largest: float

    def at(self, work: float) -> float:
        """Return the value at some work."""
        return self.start + self.rate * work


def fit(works: Iterable[float], values: Iterable[float], runs: int = 1) -> Line:
    """Fit a line through values above 0, no coefficient below 0; errors of logarithms: half and twice count alike.

    Outliers count less (soft L1 from a factor of 1.3 on): a job may have waited for another one's cores.
    """
    from scipy.optimize import least_squares

    x, y = np.array(list(works), dtype=float), np.array(list(values), dtype=float)
    largest = float(x.max())
    if largest == x.min():  # one size: nothing tells start from rate, so each is taken as half
        middle = float(np.exp(np.median(np.log(y))))
        return (
            Line(middle / 2, middle / 2 / largest, len(x), runs, largest)
            if largest
            else Line(middle, 0.0, len(x), runs, 0.0)
        )
    unit, low = x / largest, 1e-9 * y.min()  # operations are large numbers, seconds small ones
    begin = np.log(np.maximum([y[unit.argmin()], y[unit.argmax()]], low))
    found = least_squares(
        lambda p: np.log(np.exp(p[0]) + np.exp(p[1]) * unit) - np.log(y), begin, loss="soft_l1", f_scale=math.log(1.3)
    )
    start, rate = np.exp(found.x)
    return Line(float(start), float(rate / largest), len(x), runs, largest)


QUANTITIES: dict[str, tuple[Callable[[Work], float], Callable[[Past], float]]] = {
    "cpu_s": (lambda work: work.amount, lambda past: max(past.cpu_s, LEAST_S)),
    "tokens": (lambda work: work.tokens, lambda past: past.tokens),
    "bytes": (lambda work: work.size, lambda past: past.bytes),
}


@dataclass(frozen=True)
class CostModel:
    """Lines by stage and quantity. ``speed``: what this machine's own jobs took, over what the lines say of them."""

    lines: dict[tuple[str, str], Line]
    past: tuple[Past, ...]
    speed: float = 1.0

    @classmethod
    def of(cls, past: Iterable[Past], speed: float = 1.0) -> "CostModel":
        """Fit every stage and quantity of which a finished job tells something."""
        rows = tuple(past)
        lines = {}
        for stage in {row.stage for row in rows}:
            mine = [row for row in rows if row.stage == stage]
            for name, (work, value) in QUANTITIES.items():
                told = [row for row in mine if value(row) > 0]
                if told:
                    runs = len({row.run for row in told})
                    lines[stage, name] = fit([work(row.work) for row in told], [value(row) for row in told], runs)
        return cls(lines | pooled(lines, rows), rows, speed)

    def predict(self, stage: str, work: Work, name: str) -> float | None:
        """Return what a job takes; None where no job of its stage was measured."""
        line = self.lines.get((stage, name))
        if line is None:
            return None
        return line.at(QUANTITIES[name][0](work)) * (self.speed if name == "cpu_s" else 1.0)

    def beyond(self, stage: str, work: Work) -> float:
        """Return how many times larger the work is than the largest measured; 0 where that says nothing.

        Where a stage was measured only without its model, the largest is what is lost in the start of any stage.
        """
        line = self.lines.get((stage, "cpu_s"))
        return work.amount / (line.largest or TELLING) if line and line.rate else 0.0


def pooled(lines: dict[tuple[str, str], Line], rows: Iterable[Past]) -> dict[tuple[str, str], Line]:
    """Return lines of CPU seconds for model stages that only tiny models tell of: their start, and the others' rate.

    The rate is the median over the stages whose jobs are large enough to tell theirs; nothing where no stage is.
    """
    stages = {row.stage for row in rows if row.work.model}
    mine = {stage: lines[stage, "cpu_s"] for stage in stages}
    telling = [line.rate for line in mine.values() if line.largest >= TELLING]
    return {
        (stage, "cpu_s"): replace(line, start=line.at(line.largest), rate=median(telling), runs=0)
        for stage, line in mine.items()
        if telling and line.largest < TELLING
    }


@dataclass(frozen=True)
class Left:
    """A scale that was left out: its jobs whose stage the others know, each with what they predict (CPU seconds)."""

    scale: str
    told: tuple[tuple[Past, float], ...]

    @property
    def taken_s(self) -> float:
        """Return what the jobs took."""
        return sum(max(row.cpu_s, LEAST_S) for row, _ in self.told)

    @property
    def predicted_s(self) -> float:
        """Return what the others predict."""
        return sum(guess for _, guess in self.told)

    @property
    def ratio(self) -> float:
        """Predicted over taken, of all jobs."""
        return self.predicted_s / self.taken_s

    @property
    def factors(self) -> tuple[float, ...]:
        """Predicted over taken of each job that took a while."""
        return tuple(guess / row.cpu_s for row, guess in self.told if row.cpu_s >= NOTICED_S)


def scale_of(run: str) -> str:
    """Return the scale of a run: its name without the number."""
    return re.sub(r"-\d+$", "", run)


def left_out(past: Iterable[Past]) -> list[Left]:
    """Predict each scale by all the others; empty where there is one alone."""
    rows = list(past)
    found = []
    for scale in sorted({scale_of(row.run) for row in rows}):
        others = CostModel.of(row for row in rows if scale_of(row.run) != scale)
        pairs = [(row, others.predict(row.stage, row.work, "cpu_s")) for row in rows if scale_of(row.run) == scale]
        if told := tuple((row, guess) for row, guess in pairs if guess):
            found.append(Left(scale, told))
    return found


def stage_error(left: Iterable[Left], stage: str) -> float | None:
    """Return the median factor (at least 1) by which a stage's jobs of the largest scale are missed by the smaller
    ones: that is what a plan asks of them. None for a stage that one scale alone knows.
    """
    mine = {one.scale: [pair for pair in one.told if pair[0].stage == stage] for one in left}
    most = {scale: max(row.work.amount for row, _ in pairs) for scale, pairs in mine.items() if pairs}
    largest = [pair for scale, work in most.items() if work == max(most.values()) for pair in mine[scale]]
    factors = [guess / row.cpu_s for row, guess in largest if row.cpu_s >= NOTICED_S]
    return median(math.exp(abs(math.log(factor))) for factor in factors) if factors else None


def typical(factors: Iterable[float], share: float = 0.5) -> float:
    """Return the factor (at least 1) that a share of predictions lies within, either way."""
    return float(np.quantile([math.exp(abs(math.log(factor))) for factor in factors], share))


def speed_of(model: CostModel, own: Iterable[Past]) -> float:
    """Return how many times as long this machine's own jobs took as the model says: the median of jobs above 2 s."""
    ratios = []
    for row in own:
        guess = model.predict(row.stage, row.work, "cpu_s")
        if guess and row.cpu_s >= NOTICED_S and model.beyond(row.stage, row.work) <= FAR:
            ratios.append(row.cpu_s / guess)
    return median(ratios) if len(ratios) >= 5 else 1.0
