"""What a file was made from, and what was made from it: the graph behind ``searchtune trace``.

Backwards, every artefact is a :class:`Node` with the step that made it and the state of its bytes now. Forwards, every
artefact that a file reached is listed with the step that took it in. Nothing is run and nothing is trusted: sums are
worked out anew from the bytes on disk.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searchtune.errors import DataError
from searchtune.files import stable_hash
from searchtune.registry.table import placed_by_hand
from searchtune.reporting.lineage import Step
from searchtune.reporting.records import MADE, Records
from searchtune.stage import PACKAGE, STAGES, code_hash, modules_of

# states of an artefact; all but the first two are problems
WHOLE, OWN = "whole", "own"
CHANGED, GONE, SILENT, OTHER = "changed", "gone", "no record", "made anew"
MARKS = ("licences", "canary", "trained_on")
CODE = Path("workflow/searchtune")


@dataclass(frozen=True)
class Node:
    """One artefact: its state, the sum of its bytes now and as recorded, and the step that made it (if one did).

    ``state``: whole (the recorded bytes); own (a file that no step makes: prompts, settings, a user's texts; its bytes
    are those that were read); changed; gone (nothing lies there); no record (a step's output without provenance file);
    made anew (whole, but a step after it read other bytes).
    """

    path: str
    kind: str
    state: str
    sha256: str = ""
    recorded: str = ""
    stage: str = ""
    code: str = ""
    code_now: str = ""
    parameters: str = ""
    source: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    licences: tuple[str, ...] = ()
    canary: tuple[str, ...] = ()
    trained_on: tuple[str, ...] = ()
    execution: dict[str, Any] = field(default_factory=dict)

    @property
    def problem(self) -> bool:
        """Say whether the bytes are not those that the results behind them speak of."""
        return self.state not in (WHOLE, OWN)


def kind_of(path: str, stage: str) -> str:
    """Say what an artefact is: source, data, model, run, prompts, settings, result."""
    parts = Path(path).parts
    if not stage and parts[:2] == ("workflow", "prompts"):
        return "prompts"
    if not stage and parts[:1] == ("config",):
        return "settings"
    return Step(path, "").kind if stage or parts[:1] in [(folder,) for folder in MADE] else "own file"


def _source(stage: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return what a fetched artefact is, by the registry's row that it was fetched with."""
    if stage != "fetch.artefact":
        return {}
    parts = [{"archive": part["archive"], "sha256": part["sha256"]} for part in params.get("parts", [])]
    return {key: params[key] for key in ("source", "name", "version") if params.get(key)} | {"parts": parts}


def _state(records: Records, path: str, read_as: set[str]) -> tuple[str, str, str]:
    """Return (state, sum now, sum recorded or, where they differ, as it was read); ``read_as``: the sums with which
    later steps read the artefact.
    """
    record, now = records.at(path), records.sum_of(path)
    if record is None:
        made = Path(path).parts[:1] in [(folder,) for folder in MADE] and not placed_by_hand(records.root, path)
        recorded = min(read_as, default=now)
        if not now:
            return GONE, "", recorded
        if made:
            return SILENT, now, recorded
        return (OWN if read_as <= {now} else CHANGED), now, recorded
    recorded = record["output"]["sha256"]
    if not now:
        return GONE, "", recorded
    if now != recorded:
        return CHANGED, now, recorded
    other = read_as - {recorded}
    return (OTHER, now, min(other)) if other else (WHOLE, now, recorded)


def _node(records: Records, path: str, read_as: set[str]) -> Node:
    state, now, recorded = _state(records, path, read_as)
    record = records.at(path)
    if record is None:
        unit = placed_by_hand(records.root, path)
        terms = (unit.licences, unit.canary) if unit else ((), ())
        return Node(path, kind_of(path, ""), state, now, recorded, licences=terms[0], canary=terms[1])
    recipe, stage = record["recipe"], record["recipe"]["stage"]
    return Node(
        path,
        kind_of(path, stage),
        state,
        now,
        recorded,
        stage,
        code=recipe["code"],
        code_now=code_hash(stage) if stage in STAGES else "",
        parameters=stable_hash(recipe["params"], 12),
        source=_source(stage, recipe["params"]),
        inputs=tuple(dict.fromkeys(i["path"] for i in recipe["inputs"])),
        execution=record.get("execution", {}),
        licences=tuple(record.get("licences", ())),
        canary=tuple(record.get("canary", ())),
        trained_on=tuple(record.get("trained_on", ())),
    )


def backwards(records: Records, path: str) -> dict[str, Node]:
    """Return path -> node of the artefact that ``path`` is or is a part of (first), and of everything behind it."""
    start = records.owner(path)
    read_as: dict[str, set[str]] = {start: set()}
    todo = deque([start])
    while todo:
        record = records.at(todo.popleft())
        for given in record["recipe"]["inputs"] if record else ():
            if given["path"] not in read_as:
                read_as[given["path"]] = set()
                todo.append(given["path"])
            read_as[given["path"]].add(given["sha256"])
    return {name: _node(records, name, sums) for name, sums in read_as.items()}


@dataclass(frozen=True)
class Use:
    """One artefact that a file reached: the step that made it, what it took in on that way, and in how many steps.

    ``current``: it was made with the bytes that lie there now.
    """

    path: str
    kind: str
    stage: str
    by_way_of: str
    steps: int
    current: bool


class _Consumers:
    """Who took in what: by the path of an input, and by the folders that an input lies in."""

    def __init__(self, records: Records) -> None:
        self.by_input: dict[str, list[tuple[dict[str, Any], dict[str, str]]]] = {}
        self.by_folder: dict[str, set[str]] = {}
        self.by_stage: dict[str, list[dict[str, Any]]] = {}
        for record in records.all():
            self.by_stage.setdefault(record["recipe"]["stage"], []).append(record)
            for given in record["recipe"]["inputs"]:
                self.by_input.setdefault(given["path"], []).append((record, given))
                for folder in Path(given["path"]).parents:
                    self.by_folder.setdefault(str(folder), set()).add(given["path"])

    def of(self, path: str) -> Iterable[tuple[dict[str, Any], dict[str, str]]]:
        """Yield (record, input) of the steps that read a path, a folder around it, or something in it."""
        inside = self.by_folder.get(path, set())
        for name in dict.fromkeys([path, *map(str, Path(path).parents), *sorted(inside)]):
            yield from self.by_input.get(name, ())


def forwards(records: Records, path: str) -> list[Use]:
    """Return what was made from a file, nearest first; of a module of this package: what its stages made.

    DataError for a file that no step knows as one: settings and rules reach results as parameters of jobs.
    """
    consumers = _Consumers(records)
    found: dict[str, Use] = {}
    todo: deque[tuple[str, int]] = deque([(path, 0)])
    stages = stages_of(records.root / path)
    if not stages and not records.at(records.owner(path)) and not list(consumers.of(path)):
        raise DataError(
            f"{path}: no step of the runs here read it as a file, so that nothing is known of its way. Settings, "
            "registries and rules reach results as parameters of jobs: change it, and `searchtune plan --why` names "
            "the jobs that it alters"
        )
    for stage in stages:
        for record in consumers.by_stage.get(stage, ()):
            _add(found, todo, record, path, 1, record["recipe"]["code"] == code_hash(stage))
    while todo:
        name, steps = todo.popleft()
        for record, given in consumers.of(name):
            current = records.sum_of(given["path"]) == given["sha256"]
            _add(found, todo, record, name, steps + 1, current)
    return sorted(found.values(), key=lambda use: (use.steps, use.path))


def _add(found: dict[str, Use], todo: deque, record: dict[str, Any], way: str, steps: int, current: bool) -> None:
    output, stage = record["output"]["path"], record["recipe"]["stage"]
    if output in found:
        if not current and found[output].current:
            found[output] = Use(output, kind_of(output, stage), stage, way, found[output].steps, False)
        return
    found[output] = Use(output, kind_of(output, stage), stage, way, steps, current)
    todo.append((output, steps))


def stages_of(path: Path) -> list[str]:
    """Return the stages whose code a module of this package is a part of; none for every other file."""
    parts = path.parts
    place = next((i for i in range(len(parts)) if parts[i : i + 2] == CODE.parts), None)
    if place is None or path.suffix != ".py":
        return []
    module = PACKAGE.joinpath(*parts[place + 2 :])
    return [stage for stage in STAGES if module in modules_of(stage)]
