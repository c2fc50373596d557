"""How two runs were made, by the provenance beside their files: configuration, code, data, packages, machine."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from searchtune.errors import malformed
from searchtune.stage import PROVENANCE, read_record

REPORT = "report.html"
Difference = dict[str, Any]
# hashes of these differ wherever anything before them does, so they say nothing new
OWN = "results/"


def records_of(run: Path) -> dict[str, dict]:
    """Return relative path -> provenance of every file of a results folder that has one."""
    return {
        file.relative_to(run).as_posix().removesuffix(PROVENANCE): read_record(file)
        for file in sorted(run.rglob(f"*{PROVENANCE}"))
        if ".work" not in file.parts
    }


def flattened(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) of nested settings; a list is one value."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flattened(inner, f"{place}.{key}" if place else str(key))
    else:
        yield place, value


def settings_of(*runs: Mapping[str, dict]) -> list[dict[str, Any]]:
    """Return each run's whole configuration as its report names it; where one has no report, the arguments of each
    stage of both.
    """
    if all(REPORT in records and "config" in records[REPORT]["recipe"]["params"] for records in runs):
        return [dict(flattened(records[REPORT]["recipe"]["params"]["config"])) for records in runs]
    return [_arguments(records) for records in runs]


def _arguments(records: Mapping[str, dict]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path, record in records.items():
        if path == REPORT:
            continue
        found |= {f"{path}: {key}": value for key, value in flattened(record["recipe"]["params"])}
    return found


def differences(a: Mapping[str, Any], b: Mapping[str, Any], missing: Any = None) -> list[Difference]:
    """Return {key, a, b} of each key whose values differ, then of each that one side lacks."""
    changed = [{"key": key, "a": a[key], "b": b[key]} for key in sorted({*a} & {*b}) if a[key] != b[key]]
    return changed + [{"key": key, "a": a.get(key, missing), "b": b.get(key, missing)} for key in sorted({*a} ^ {*b})]


def code_of(records: Mapping[str, dict]) -> dict[str, str]:
    """Return stage -> hash of its code; two hashes of a stage in one run are both named."""
    found: dict[str, set[str]] = {}
    for record in records.values():
        found.setdefault(record["recipe"]["stage"], set()).add(record["recipe"]["code"])
    return {stage: ", ".join(sorted(codes)) for stage, codes in found.items()}


def data_of(records: Mapping[str, dict]) -> dict[str, str]:
    """Return path -> hash of everything that came from outside the results: raw data, models, prompts, tables."""
    inputs = (item for record in records.values() for item in record["recipe"]["inputs"])
    return {item["path"]: item["sha256"] for item in inputs if not item["path"].startswith(OWN)}


def packages_of(records: Mapping[str, dict]) -> dict[str, str]:
    """Return package -> versions that were used, and the machine and number format."""
    found: dict[str, set[str]] = {}
    for record in records.values():
        execution = record["execution"]
        for name, version in execution.get("versions", {}).items():
            found.setdefault(name, set()).add(version)
        for name in ("machine", "auto_dtype"):
            if execution.get(name):
                found.setdefault(name, set()).add(execution[name])
    return {name: ", ".join(sorted(versions)) for name, versions in found.items()}


def making(a: Path, b: Path) -> dict[str, list[Difference]]:
    """Return what differs in configuration, code, data and packages of two results folders."""
    left, right = records_of(a), records_of(b)
    with malformed(f"a record below {a} or {b}", "one of a step (compare tells no more)"):
        return {
            "config": differences(*settings_of(left, right)),
            "code": differences(code_of(left), code_of(right)),
            "data": differences(data_of(left), data_of(right)),
            "packages": differences(packages_of(left), packages_of(right)),
        }
