"""The data table of INTERS: every data set of every task, what was made of it here, and how its loader was checked."""

from collections.abc import Iterable
from fnmatch import fnmatch
from typing import Any

from searchtune.config.inters_pairs import is_control, known_pairs, sources_of, split_pair
from searchtune.registry.table import VERIFIED, Row, load_registry
from searchtune.tasks.inventory import CATEGORIES, category_of, title_of
from searchtune.tasks.variants import used_controls

DATA = [
    *("category", "task", "dataset", "train", "dev", "test", "instructions", "tokens", "verified", "licence", "status"),
]
# a set is as well checked as its worst file
_ORDER = {name: place for place, name in enumerate(("raw", "schema", "none"))}
PACKAGED = ("pypi", "local")
USED_BY_CONTROL = "used by the control alone"


def registry_rows(paths: Iterable[str], rows: list[Row]) -> list[Row]:
    """Return those of the registry's rows that raw paths (relative to resources/raw) belong to."""
    found: dict[str, Row] = {}
    for path in paths:
        folder = path.split("/", 1)[0]
        same = [row for row in rows if row.artefact == folder]
        exact = [row for row in same if fnmatch(path, row.path) or fnmatch(path, f"{row.path}/*") or path in row.path]
        found |= {row.id: row for row in exact or same}
    return list(found.values())


def verified_of(rows: list[Row]) -> str:
    """Return how a data set's loader was checked: by the least checked of its files; empty if no row says so."""
    said = [row.verified for row in rows if row.verified in VERIFIED[1:]]
    return max(said, key=lambda name: _ORDER[name]) if said else ""


def status_of(rows: list[Row], used: bool) -> str:
    """Say why a data set is in the run or is not."""
    if used:
        return "used"
    if any(row.source == "licensed" for row in rows):
        return (
            "not used: its file must be put by hand (" + "; ".join(r.note for r in rows if r.source == "licensed") + ")"
        )
    if rows and all(row.source in PACKAGED for row in rows):
        return "not used: no examples are asked for at this scale"
    return "not used: it must be fetched from its publisher, which this scale does not ask for"


def data_args(config: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what is known of every pair's data without reading any: verified, licence, status.

    The data of the chosen controls stand last: they are no task and in no mixture but their own.
    """
    part, found = config["inters"], []
    registry = [row for row in load_registry().rows.values() if row.kind == "dataset"]
    used = {name for name, pair in part["pairs"].items() if pair["n_train"] + pair["n_dev"] + pair["n_test"]}
    own = [name for name in part["pairs"] if not is_control(name)]
    controls = used_controls(config)
    for pair in dict.fromkeys([*known_pairs(part["rankings"]), *own, *controls]):
        task, dataset = split_pair(pair)
        sources = sources_of(pair)
        sets = part["rankings"].get(task, {}).get(dataset, [dataset])
        raw = (
            [path for source in sources if source in part["sources"] for path in part["sources"][source]["raw"]]
            if sources
            else [path for name in sets if name in config["collections"] for path in config["collections"][name]["raw"]]
        )
        rows = registry_rows(raw, registry)
        found.append(
            {
                "pair": pair,
                "verified": verified_of(rows),
                "licence": "; ".join(dict.fromkeys(row.licence for row in rows)),
                "status": USED_BY_CONTROL
                if pair in controls
                else status_of(rows, any(f"{task}/{name}" in used for name in ([dataset] if sources else sets))),
                "sets": sets if not sources else [dataset],
            }
        )
    return found


def data_rows(
    known: list[dict[str, Any]], examples: list[dict[str, str]], mixture: list[dict[str, str]]
) -> list[dict[str, Any]]:
    """Return the table: ``known`` of :func:`data_args`, the statistics of the examples and of the full mixture.

    A control's data are examples that the full mixture does not hold: their instructions and tokens are 0.
    """
    counts = {(row["task"], row["dataset"], row["split"]): int(row["examples"]) for row in examples}
    rendered = {(row["task"], row["dataset"]): row for row in mixture if row["set"] == "train"}
    rows = []
    for item in known:
        task, dataset = split_pair(item["pair"])
        category = category_of(task)
        texts = [rendered[task, name] for name in item["sets"] if (task, name) in rendered]
        rows.append(
            {"category": CATEGORIES.get(category, category), "task": title_of(task), "dataset": dataset}
            | {s: sum(counts.get((task, name, s), 0) for name in item["sets"]) for s in ("train", "dev", "test")}
            | {
                key: sum(int(row[column]) for row in texts)
                for key, column in (("instructions", "rows"), ("tokens",) * 2)
            }
            | {key: item[key] for key in ("verified", "licence", "status")}
        )
    return rows
