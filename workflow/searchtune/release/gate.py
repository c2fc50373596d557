"""May an artefact leave this machine? The chain behind it is read, and every reason to stay is named with its origin.

Two things hold an artefact back: data with a canary, whose publishers ask not to train on them (rules of evidence, 17),
and licences that don't let what was made from them be passed on (:mod:`searchtune.release.licences`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from searchtune.errors import DataError, IntegrityError, SearchtuneError
from searchtune.files import sha256_tree
from searchtune.registry.table import placed_by_hand
from searchtune.release.licences import terms_of
from searchtune.reporting.records import MADE, Records, project_of
from searchtune.reporting.trace import GONE, Node, backwards
from searchtune.reporting.trace import SILENT as UNRECORDED
from searchtune.reporting.trace_text import summary
from searchtune.stage import FETCH, check_input, provenance_of, shortage_of

CANARY, LICENCE, RECORD = "canary", "licence", "record"
SILENT = "not stated"
_ASKED = "its publisher asks that it never appears in training data"
_MEND = {
    CANARY: "run it on data without one (as the scales adapt and synthesize do); what is only scored counts, too",
    LICENCE: "put other data or another model in its place and run again, or correct the licence in the registry or "
    "configuration where its publisher states another",
    RECORD: "delete what has no record and run again, which makes it anew with one",
}


@dataclass(frozen=True)
class Chain:
    """What an artefact was made from. ``nodes``: by path, the artefact first; ``path``: what was asked about, which may
    lie in the artefact; ``root``: the project's folder, to which paths are relative."""

    root: Path
    path: str
    nodes: Mapping[str, Node]
    record: dict[str, Any]

    @property
    def start(self) -> Node:
        """Return the artefact itself."""
        return next(iter(self.nodes.values()))


@dataclass(frozen=True)
class Reason:
    """Why an artefact stays: the mark (canary, licence, record), its value, which artefacts bring it, what it means."""

    mark: str
    value: str
    artefacts: tuple[str, ...]
    why: str

    def text(self) -> str:
        """Return the reason in words."""
        return f"{self.mark} {self.value!r}, brought by {', '.join(self.artefacts)}: {self.why}"

    def as_row(self) -> dict[str, Any]:
        """Return the reason as plain data."""
        return asdict(self) | {"artefacts": list(self.artefacts)}


def chain_of(place: Path, error: type[SearchtuneError] = DataError) -> Chain:
    """Read the provenance behind a finished artefact or a part of one, from any working directory.

    ``error``: raised where none lies beside it, or where its step could not make it.
    """
    if not place.exists():
        raise error(f"{place} does not exist; give a finished artefact of a run, such as a model's folder")
    if provenance_of(place.absolute()) is None:
        raise error(f"{place}: no provenance lies beside it, so what it comes from is unknown; make it anew")
    root, path = project_of(place)
    # what lies behind was checked by the steps that read it: sums are trusted while size and time are the recorded ones
    records = Records(root, quick=True)
    nodes = backwards(records, path)
    start = next(iter(nodes))
    record = records.at(start)
    if record is None:
        raise error(f"{place}: no provenance lies beside it, so what it comes from is unknown; make it anew")
    if reason := shortage_of(root / start):
        raise error(f"{place} is empty: its step could not make it ({reason})")
    return Chain(root, path, nodes, record)


def check_bytes(chain: Chain) -> None:
    """Raise IntegrityError unless the artefact's bytes are those recorded; every byte is read."""
    place = chain.root / chain.start.path
    known = check_input("artefact", place)
    if sha256_tree(place) != known["sha256"]:
        raise IntegrityError(
            f"{place}: its content is not what was recorded; `searchtune trace` tells how it is made again"
        )


def origins(chain: Chain, mark: str) -> dict[str, tuple[str, ...]]:
    """Return value of a mark (``licences``, ``canary``) of the artefact -> the artefacts that bring it.

    A package holds many data sets: where something was taken out of one, that is named, the package behind it.
    """
    made = {path: node for path, node in chain.nodes.items() if not _is_package(node) or node is chain.start}
    found, all_found = summary(made)["marks"][mark], summary(chain.nodes)["marks"][mark]
    return {
        value: tuple(_with_package(chain, mark, value, i) for i in found.get(value, all_found[value]))
        for value in _carried(chain, mark)
    }


def _carried(chain: Chain, mark: str) -> list[str]:
    """Return the values of a mark on anything behind an artefact: what a step behind it was told since, or never
    recorded, counts as well. A package's licences count where a step took them over.
    """
    nodes = [n for n in chain.nodes.values() if mark == CANARY or n is chain.start or not _is_package(n)]
    return sorted({value for node in nodes for value in getattr(node, mark)})


def _is_package(node: Node) -> bool:
    return node.stage == FETCH or (not node.stage and node.kind == "source")


def _with_package(chain: Chain, mark: str, value: str, path: str) -> str:
    behind = [chain.nodes[i] for i in chain.nodes[path].inputs if i in chain.nodes]
    packages = [node.path for node in behind if node.stage == FETCH and value in getattr(node, mark)]
    return f"{path} (out of {', '.join(packages)})" if packages else path


def silent(chain: Chain) -> tuple[str, ...]:
    """Return what was taken out of fetched packages without any licence being stated, here or by the package."""
    return tuple(
        node.path
        for node in chain.nodes.values()
        if not _is_package(node)
        and not node.licences
        and any(_is_package(chain.nodes[i]) for i in node.inputs if i in chain.nodes)
    )


def unrecorded(chain: Chain) -> tuple[str, ...]:
    """Return what steps made behind an artefact and no record speaks of any more: nobody knows of which data."""
    lost = [n for n in chain.nodes.values() if n.state in (UNRECORDED, GONE) and not n.stage]
    return tuple(n.path for n in lost if Path(n.path).parts[0] in MADE and not placed_by_hand(chain.root, n.path))


def reasons_to_stay(chain: Chain) -> list[Reason]:
    """Return every reason why an artefact may not leave this machine; none where it may."""
    found = [Reason(CANARY, value, paths, _ASKED) for value, paths in origins(chain, "canary").items()]
    licences = origins(chain, "licences")
    if lost := unrecorded(chain):
        found.append(Reason(RECORD, "gone", lost, "nobody knows what it was made from, so its marks are unknown"))
    if nameless := silent(chain):
        licences[SILENT] = tuple(dict.fromkeys((*licences.get(SILENT, ()), *nameless)))
    barred = {name: paths for name, paths in licences.items() if not terms_of(name).allowed}
    return found + [Reason(LICENCE, name, paths, terms_of(name).why) for name, paths in barred.items()]


def refusal(chain: Chain, reasons: list[Reason]) -> list[str]:
    """Return the lines that say what stays, each reason, and what to do about them."""
    mend = [_MEND[mark] for mark in _MEND if any(reason.mark == mark for reason in reasons)]
    told = [f"{chain.path} stays on this machine", *(reason.text() for reason in reasons)]
    return [*told, *(f"to mend it: {text}" for text in mend)]


def refuse(chain: Chain, error: type[SearchtuneError] = DataError, stated: str = "") -> None:
    """Raise ``error`` with every reason, in one line, if an artefact may not leave this machine.

    ``stated``: the licence that the user states for texts of his own. It bars nothing here, for what is written lies on
    this machine and its card names it; ``searchtune export`` asks about it, too.
    """
    reasons = [reason for reason in reasons_to_stay(chain) if (reason.mark, reason.value) != (LICENCE, stated)]
    if reasons:
        raise error("; ".join(refusal(chain, reasons)))


def public_name(node: Node) -> str:
    """Return a node's path as it may be read elsewhere: what no step made is the user's own, whose folders are nobody's
    business; absolute paths are cut."""
    path = Path(node.path)
    inside = not path.is_absolute() and ".." not in path.parts
    if inside and (node.stage or node.kind in ("prompts", "settings", "source")):
        return node.path
    return "/".join(path.parts[-3 if node.stage else -1 :])


def steps_of(chain: Chain) -> list[dict[str, Any]]:
    """Return the steps behind an artefact without any path of this machine: what made it, of what, with hashes."""
    names = {path: public_name(node) for path, node in chain.nodes.items()}
    return [
        {
            "artefact": names[path],
            "sha256": node.recorded or node.sha256,
            "stage": node.stage,
            "parameters": node.parameters,
            "code": node.code,
            "inputs": [names[i] for i in node.inputs],
            "licences": list(node.licences),
        }
        | ({"source": node.source} if node.source else {})
        for path, node in chain.nodes.items()
    ]
