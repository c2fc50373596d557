"""What still stands between a plan and its run: downloads, licences, files to get by hand, terms, tokens and keys.

The environment is asked whether a token or key is there, never what it is.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from searchtune.commands.planning.jobs import Graph, PlannedJob, flat
from searchtune.commands.planning.sizes import sizes
from searchtune.registry.fetch import place_of
from searchtune.registry.table import ROOT, UNPINNED, Row, access_text, load_registry

FETCH = "fetch.artefact"
REMOTE = ("pypi", "hub", "url", "ir_datasets")
TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
GATED = ("community", "gemma", "gated")  # words of licences whose terms are accepted by hand
BYTES_A_WEIGHT = 2


@dataclass(frozen=True)
class Gate:
    """Something that is missing. ``stops``: the run can't end without it; else it may be refused or be slow."""

    kind: str
    id: str
    fix: str
    stops: bool
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Download:
    """What a fetch job brings: bytes over the line, None where the registry doesn't know, none for what is kept."""

    artefact: str
    source: str
    bytes: int | None
    licences: tuple[str, ...]


def has_token(environment: Mapping[str, str]) -> bool:
    """Say whether the hub would see a token: in the environment, or in the file that logging in writes."""
    cache = Path(environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME", "~")).expanduser() / ".cache")
    home = Path(environment.get("HF_HOME") or cache / "huggingface")
    file = Path(environment.get("HF_TOKEN_PATH") or home / "token").expanduser()
    return any(environment.get(name) for name in TOKENS) or file.is_file()


def _kept(args: Mapping[str, Any], part: Mapping[str, Any], root: Path) -> bool:
    path = root / "resources" / "downloads" / place_of(args["source"], args["artefact"], part["archive"])
    return bool(part["archive"]) and path.is_file() and path.stat().st_size == part["bytes"]


def download_of(job: PlannedJob, root: Path = ROOT) -> Download:
    """Return what a fetch job downloads; a file that was fetched before and is kept counts nothing."""
    args = job.args
    known: int | None = 0
    if args["source"] in REMOTE:
        wanted = [part["bytes"] for part in args["parts"] if not _kept(args, part, root)]
        known = sum(wanted) if all(wanted) else None
    return Download(args["artefact"], args["source"], known, tuple(args["licences"]))


def disk_of(job: PlannedJob) -> float | None:
    """Return the bytes of a model from the hub, by its weights at two bytes each; None for anything else."""
    rows = _rows(job.args["artefact"])
    known = [
        sizes().get(("model", row.id)) for row in rows if row.kind == "model" and row.source in ("hub", "licensed")
    ]
    return float(sum(BYTES_A_WEIGHT * weights for weights in known if weights)) or None


def _rows(artefact: str) -> list[Row]:
    return [row for row in load_registry().rows.values() if row.artefact == artefact]


def waiting(graph: Graph, job: PlannedJob) -> tuple[str, ...]:
    """Return the stages of the jobs to run that read what a job makes, directly or not, sorted."""
    readers: dict[str, list[PlannedJob]] = {}
    for other in graph.jobs:
        for path in flat(other.inputs) if other.runs else ():
            readers.setdefault(path, []).append(other)
    found, todo = set(), list(flat(job.outputs))
    seen: set[int] = set()
    while todo:
        path = todo.pop()
        for reader in readers.get(path, []):
            if id(reader) not in seen:
                seen.add(id(reader))
                found.add(reader.stage)
                todo.extend(flat(reader.outputs))
    return tuple(sorted(found))


def _fetch_gates(job: PlannedJob, config: Mapping[str, Any], token: bool, root: Path) -> Iterable[Gate]:
    args, name = job.args, job.args["artefact"]
    rows = _rows(name)
    if args["source"] == "licensed":
        for row in rows:
            folder = root / "resources" / "raw" / row.artefact
            if not folder.is_dir() or not any(folder.glob(row.file or "*")):
                yield Gate("licensed file", row.id, access_text(row), True)
    elif args["version"] == UNPINNED and args["source"] in REMOTE:
        fix = f"look up what {args['name']} is to be pinned to, and write version, sha256 and bytes into the registry"
        yield Gate("not pinned", name, fix, True)
    licence = ", ".join(args["licences"])
    if any(word in licence.lower() for word in GATED):
        if "gemma" in licence.lower() and "gemma" not in config.get("accept_terms", []):
            yield Gate("terms", name, "read Gemma's terms, then set accept_terms: [gemma] in config/config.yaml", True)
        if args["source"] == "hub" and not token:
            fix = f"{licence}: accept the terms on the page of {args['name']}, then `hf auth login` or set HF_TOKEN"
            yield Gate("gated model", name, fix, True)


def gates_of(
    graph: Graph,
    config: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    root: Path = ROOT,
) -> list[Gate]:
    """Return what is missing for the jobs to run, what stops them first, each with the stages that wait."""
    environment = os.environ if environment is None else environment
    token, found = has_token(environment), []
    fetches = [job for job in graph.jobs if job.runs and job.stage == FETCH]
    for job in fetches:
        for gate in _fetch_gates(job, config, token, root):
            found.append(Gate(gate.kind, gate.id, gate.fix, gate.stops, waiting(graph, job)))
    hub = [job.args["artefact"] for job in fetches if job.args["source"] == "hub"]
    if hub and not token:
        fix = "nothing to do where the repositories are open; else `hf auth login` or set HF_TOKEN"
        found.append(Gate("no hub token", f"{len(hub)} repositories", fix, False))
    found.extend(_keys(graph, config, environment))
    return sorted(found, key=lambda gate: (not gate.stops, gate.kind, gate.id))


def _keys(graph: Graph, config: Mapping[str, Any], environment: Mapping[str, str]) -> Iterable[Gate]:
    """Yield the keys of endpoints that jobs to run call and the environment doesn't hold."""
    read: dict[str, set[str]] = {}
    for job in graph.jobs:
        for path in flat(job.inputs) if job.runs else ():
            read.setdefault(Path(path).name, set()).add(job.stage)
    for name, model in config.get("models", {}).items():
        variable = model.get("endpoint", {}).get("key_env")
        if model["source"] == "endpoint" and name in read and variable and not environment.get(variable):
            fix = f"put the endpoint's key into the environment variable {variable}"
            yield Gate("key", name, fix, True, tuple(sorted(read[name])))
