"""A trace for the eye: the tree of what a file was made from, or the list of what it made, and what that amounts to."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from searchtune.reporting.trace import MARKS, OTHER, SILENT, Node, Use

SHORT = 12
EXPLAINED = {
    "changed": "its bytes are not those that were recorded",
    "gone": "nothing lies there any more",
    SILENT: "no provenance file lies beside it",
    OTHER: "a later step read other bytes than lie there now; run again to bring that step up to date",
}
RESULTS = "results/"
PUBLISHED = f"{RESULTS}published/"


def explained(node: Node) -> str:
    """Return what a node's state means and what mends it: a finished run asks for nothing, so what lies in its chain
    is made again only by its name. What no step made (a prompt, a file put there by hand) is the user's to keep.
    """
    path, state, said = node.path, node.state, EXPLAINED[node.state]
    if state == OTHER:
        return said
    if path.startswith(PUBLISHED):
        return f"{said}; it belongs to the repository: git restore {path}"
    if not node.stage and state != SILENT and not path.startswith(RESULTS):
        return f"{said}; run again to bring up to date what read it, or put back what was read"
    away = "" if state == "gone" else "delete it, then "
    return f"{said}; {away}make it by its name with the settings of the run: snakemake --cores all [...] -- {path}"


def summary(nodes: Mapping[str, Node]) -> dict[str, Any]:
    """Return what a trace amounts to: problems, sources, models, prompts, changed code, versions, and the marks.

    ``marks``: licences, canary and trained_on, each value with the artefacts nearest to its origin that carry it.
    """
    rows = list(nodes.values())
    return {
        "problems": [f"{n.path}: {n.state} ({explained(n)})" for n in rows if n.problem],
        "code_changed": sorted({n.stage for n in rows if n.code_now and n.code_now != n.code}),
        "code_unknown": sorted({n.stage for n in rows if n.stage and not n.code_now}),
        "sources": [{"path": n.path, "sha256": n.sha256, **n.source} for n in rows if n.kind == "source"],
        "models": [{"path": n.path, "sha256": n.sha256} for n in rows if n.kind == "model"],
        "prompts": [{"path": n.path, "sha256": n.sha256} for n in rows if n.kind == "prompts"],
        "environment": _versions(rows),
        "marks": {mark: _origins(nodes, mark) for mark in MARKS},
    }


def _versions(nodes: Sequence[Node]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for node in nodes:
        for name, version in node.execution.get("versions", {}).items():
            found.setdefault(name, set()).add(version)
        if machine := node.execution.get("machine"):
            found.setdefault("machine", set()).add(machine)
    return {name: sorted(given) for name, given in sorted(found.items())}


def _origins(nodes: Mapping[str, Node], mark: str) -> dict[str, list[str]]:
    """Return value of a mark -> the artefacts that carry it without any input of theirs carrying it."""
    found: dict[str, list[str]] = {}
    for node in nodes.values():
        for value in getattr(node, mark):
            if not any(value in getattr(nodes[i], mark) for i in node.inputs if i in nodes):
                found.setdefault(value, []).append(node.path)
    return {value: sorted(paths) for value, paths in sorted(found.items())}


def tree(nodes: Mapping[str, Node]) -> Iterator[str]:
    """Yield the lines of a tree, the traced file first; a part that was shown already is named and not repeated."""
    start = next(iter(nodes))
    shown: set[str] = set()
    todo: list[tuple[str, str, str]] = [(start, "", "")]
    while todo:
        path, lead, hang = todo.pop()
        node = nodes[path]
        again = path in shown and bool(node.inputs)
        yield lead + _line(node) + ("  (see above)" if again else "")
        shown.add(path)
        inputs = () if again else node.inputs
        for number in reversed(range(len(inputs))):
            last = number == len(inputs) - 1
            todo.append((inputs[number], hang + ("└─ " if last else "├─ "), hang + ("   " if last else "│  ")))


def _line(node: Node) -> str:
    step = f"  {node.stage} (code {node.code[:SHORT]}, settings {node.parameters})" if node.stage else ""
    state = f"  ** {node.state} **" if node.problem else ""
    canary = f"  canary: {', '.join(node.canary)}" if node.canary else ""
    return f"{node.path}  [{node.kind}] {(node.sha256 or node.recorded)[:SHORT]}{step}{state}{canary}"


def backward_text(asked: str, nodes: Mapping[str, Node]) -> str:
    """Return tree and summary of a backward trace."""
    start, told = next(iter(nodes)), summary(nodes)
    lines = [f"{asked} is a part of {start}, which is traced"] if asked != start else []
    lines += [*tree(nodes), "", f"{len(nodes)} artefacts, {len(told['problems'])} problems"]
    lines += [f"  {problem}" for problem in told["problems"]]
    for key, words in (
        ("code_changed", "made by other code than this"),
        ("code_unknown", "made by steps unknown here"),
    ):
        if told[key]:
            lines.append(f"{words}: {', '.join(told[key])}")
    for row in told["sources"]:
        sums = ", ".join(f"{part['archive']} {part['sha256'][:SHORT]}" for part in row.get("parts", []))
        lines.append(
            f"source: {row.get('name', row['path'])} {row.get('version', '')} ({sums or row['sha256'][:SHORT]})"
        )
    for mark, values in told["marks"].items():
        lines += [f"{mark.replace('_', ' ')}: {value}  <- {', '.join(paths)}" for value, paths in values.items()]
        lines += [] if values else [f"{mark.replace('_', ' ')}: none"]
    lines.append("environment: " + ", ".join(f"{n} {' and '.join(v)}" for n, v in told["environment"].items()))
    return "\n".join(lines)


def forward_text(asked: str, uses: Sequence[Use]) -> str:
    """Return the list of a forward trace, nearest first."""
    lines = [
        f"{'  ' * min(use.steps, 12)}{use.path}  [{use.kind}] {use.stage}, from {use.by_way_of}"
        + ("" if use.current else "  ** made from other bytes than lie there now **")
        for use in uses
    ]
    old = sum(not use.current for use in uses)
    return "\n".join([asked, *lines, "", f"{len(uses)} artefacts made from it, {old} of them from other bytes or code"])
