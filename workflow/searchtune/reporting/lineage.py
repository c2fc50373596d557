"""Where results come from: follow the provenance files back from a table to models, data and sources."""

from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searchtune.files import stable_hash
from searchtune.stage import provenance_of

_KINDS = (("runs", "run"), ("collections", "data"), ("raw", "source"), ("models", "model"))


@dataclass(frozen=True)
class Step:
    """One artefact and the step that made it; ``stage`` is empty for a file that no step of ours made."""

    path: str
    sha256: str
    stage: str = ""
    config: str = ""
    code: str = ""
    key: str = ""
    inputs: tuple[str, ...] = ()
    execution: dict[str, Any] = field(default_factory=dict)
    licences: tuple[str, ...] = ()
    canary: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What the artefact is, by the folder that it lies in: run, data, source, model, or another result."""
        parts = Path(self.path).parts
        return next((kind for folder, kind in _KINDS if folder in parts), "result")


def _step(record: dict) -> Step:
    recipe, output = record["recipe"], record["output"]
    return Step(
        path=output["path"],
        sha256=output["sha256"],
        stage=recipe["stage"],
        config=stable_hash(recipe["params"], 12),
        code=recipe["code"],
        key=recipe["key"],
        inputs=tuple(i["path"] for i in recipe["inputs"]),
        execution=record["execution"],
        licences=tuple(record.get("licences", [])),
        canary=tuple(record.get("canary", [])),
    )


def ancestors(starts: list[Path]) -> dict[str, Step]:
    """Return path -> step of the artefacts at ``starts`` and of everything that they were made from."""
    found: dict[str, Step] = {}
    todo = deque((str(path), "") for path in starts)
    seen: set[str] = set()
    while todo:
        path, digest = todo.popleft()
        if path in seen:
            continue
        seen.add(path)
        record = provenance_of(Path(path))
        step = _step(record) if record else Step(path, digest)
        if step.path not in found:
            found[step.path] = step
            todo.extend((i["path"], i["sha256"]) for i in (record["recipe"]["inputs"] if record else []))
    return found


@dataclass(frozen=True)
class Time:
    """Time and memory of all jobs of one stage."""

    stage: str
    jobs: int
    seconds: float
    longest: float
    memory_mib: int


def times(steps: dict[str, Step]) -> list[Time]:
    """Return time by stage, longest first; a job with several outputs counts once."""
    jobs: dict[str, dict[tuple, dict]] = {}
    for step in steps.values():
        if step.stage:
            jobs.setdefault(step.stage, {})[(step.key, step.execution["ended"])] = step.execution
    rows = []
    for stage, runs in jobs.items():
        walls = [execution["wall_s"] for execution in runs.values()]
        memory = max(execution["max_rss_mib"] for execution in runs.values())
        rows.append(Time(stage, len(walls), sum(walls), max(walls), memory))
    return sorted(rows, key=lambda row: (-row.seconds, row.stage))


def versions(steps: dict[str, Step]) -> dict[str, str]:
    """Return package -> version used; two versions of one package are both named."""
    found: dict[str, set[str]] = {}
    for step in steps.values():
        for name, version in step.execution.get("versions", {}).items():
            found.setdefault(name, set()).add(version)
    return {name: ", ".join(sorted(given)) for name, given in sorted(found.items())}


def licences_of(path: Path) -> list[str]:
    """Return the licences of all that an artefact was made from: those of what was taken out of packages, not those of
    all that the packages hold."""
    return (provenance_of(path) or {}).get("licences") or ["not stated"]


def union(steps: dict[str, Step], key: str) -> list[str]:
    """Return the sorted union of ``licences`` or ``canary`` over the steps."""
    return sorted({value for step in steps.values() for value in getattr(step, key)})
