"""Write the requirements files and the conda files from roots.yaml and pins.txt.

Run in the environment that `make` made, whose package metadata say who needs whom:
`.venv/bin/python envs/make_envs.py` (or `make envs`); `--check` only compares.
"""

import re
import sys
from importlib.metadata import distributions
from pathlib import Path

import yaml
from packaging.requirements import Requirement

HERE = Path(__file__).parent
HEADER = "# written by envs/make_envs.py from roots.yaml and pins.txt; edit those\n"


def normal(name: str) -> str:
    """Return a package name in the index's normal form."""
    return re.sub(r"[-_.]+", "-", name).lower()


def read_pins(file: str = "pins.txt") -> dict[str, str]:
    """Return {name: version} of a list of pins."""
    lines = [line.strip() for line in (HERE / file).read_text().splitlines()]
    return {normal(n): v for n, v in (line.split("==") for line in lines if line and not line.startswith("#"))}


def closure(roots: list[str], pins: dict[str, str]) -> list[str]:
    """Return every pinned package that ``roots`` need, however deep, by the installed metadata."""
    installed = {normal(d.metadata["Name"]): d for d in distributions()}
    seen: set[tuple[str, tuple[str, ...]]] = set()
    todo = [Requirement(root) for root in roots]
    if absent := [need.name for need in todo if normal(need.name) not in installed or normal(need.name) not in pins]:
        sys.exit(f"{', '.join(absent)}: a root must be pinned in pins.txt and installed here (`make setup`)")
    while todo:
        need = todo.pop()
        key = (normal(need.name), tuple(sorted(need.extras)))
        if key in seen or key[0] not in pins or key[0] not in installed:
            continue
        seen.add(key)
        for text in installed[key[0]].requires or []:
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": e}) for e in ("", *need.extras)):
                todo.append(inner)
    return sorted({name for name, _ in seen})


def conda_text(step: str, names: list[str], pins: dict[str, str], roots: dict, torch: str) -> str:
    """Return one step's conda file: python, pip and the exact pip pins (torch first)."""
    skip = {"torch", *roots["no_deps"]}
    pip = [torch] * ("torch" in names) + [f"{n}=={pins[n]}" for n in names if n not in skip]
    lines = [f"      - {pin}" for pin in pip]
    return (
        f"{HEADER}# environment of the step '{step}'\nchannels:\n  - conda-forge\n  - nodefaults\ndependencies:\n"
        f"  - python ={roots['python']}\n  - pip\n  - pip:\n" + "\n".join(lines) + "\n"
    )


def plaid_files(pins: dict[str, str], roots: dict) -> dict[str, str]:
    """Return the files of PLAID's environment, whose torch and own packages are not those of .venv.

    The conda file runs whole steps; the requirements are what the engine alone needs beside torch (`make plaid`).
    """
    plaid = roots["plaid"]
    every = pins | {normal(n): v for n, v in (pin.split("==") for pin in plaid["pins"])}
    own = [normal(pin.split("==")[0]) for pin in plaid["pins"]]
    engine = sorted([*own, *(n for n in closure(plaid["engine"], pins) if n != "torch")])
    step = sorted({*engine, *closure(plaid["step"], pins)})
    return {
        "plaid.yaml": conda_text("plaid", step, every, roots, plaid["torch"]),
        "requirements-plaid.txt": HEADER + "".join(f"{n}=={every[n]}\n" for n in engine),
    }


def lucene_files(pins: dict[str, str], roots: dict) -> dict[str, str]:
    """Return the files of Lucene's environment: those of a step and a Java; pyserini comes without its dependencies."""
    lucene = roots["lucene"]
    own = {normal(n): v for n, v in (pin.split("==") for pin in lucene["pins"])}
    names = sorted({*closure(roots["steps"][lucene["step"]], pins), *own})
    return {
        "lucene.yaml": conda_text("lucene", names, pins | own, roots, roots["torch"]),
        "lucene.post-deploy.sh": post_deploy(lucene["no_deps"]),
        "requirements-lucene.txt": HEADER + "".join(f"{pin}\n" for pin in [*lucene["pins"], *lucene["no_deps"]]),
    }


def post_deploy(pinned: list[str]) -> str:
    """Return the script that adds packages without their dependencies to a conda environment."""
    return f"#!/usr/bin/env bash\n{HEADER}set -euo pipefail\npip install --no-deps {' '.join(pinned)}\n"


def cuda_files(pins: dict[str, str], roots: dict) -> dict[str, str]:
    """Return the conda file of the step that generates on a GPU, and the requirements that `make GPU=1` adds."""
    own = read_pins("pins-cuda.txt")
    like = closure(roots["steps"][roots["cuda"]["step"]], pins)
    names = sorted({*like, *own} - set(roots["cuda"]["without"]))
    return {
        "generate-cuda.yaml": conda_text("generate-cuda", names, pins | own, roots, roots["torch"]),
        "requirements-cuda.txt": HEADER + "".join(f"{n}=={own[n]}\n" for n in sorted(own)),
    }


def build() -> dict[str, str]:
    """Return {file name: text} of everything that is generated."""
    roots = yaml.safe_load((HERE / "roots.yaml").read_text())
    pins = read_pins()
    out, everything = {}, set()
    for step, needs in roots["steps"].items():
        names = closure(needs, pins)
        everything.update(names)
        out[f"{step}.yaml"] = conda_text(step, names, pins, roots, roots["torch"])
        if loose := [n for n in roots["no_deps"] if n in names]:
            out[f"{step}.post-deploy.sh"] = post_deploy([f"{n}=={pins[n]}" for n in loose])
    out |= plaid_files(pins, roots) | lucene_files(pins, roots) | cuda_files(pins, roots)
    everything.update(closure(roots["main"], pins))
    dev = set(closure(roots["dev"], pins)) - everything
    out["requirements.txt"] = HEADER + "".join(f"{n}=={pins[n]}\n" for n in sorted(everything - {"torch"}))
    out["requirements-dev.txt"] = HEADER + "".join(f"{n}=={pins[n]}\n" for n in sorted(dev - {"torch"}))
    return out


def main() -> int:
    """Write the files, or with --check report those that differ; exit 1 if any differs."""
    changed = [
        name for name, text in build().items() if not (HERE / name).exists() or (HERE / name).read_text() != text
    ]
    if "--check" not in sys.argv:
        for name, text in build().items():
            (HERE / name).write_text(text)
    print("\n".join(f"{'differs' if '--check' in sys.argv else 'written'}: envs/{n}" for n in changed) or "in step")
    return 1 if changed and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
