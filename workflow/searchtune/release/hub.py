"""A finished artefact as a folder for a hub: model or rows as they are, a card, and the whole chain behind it.

Output: the artefact's files, ``README.md`` (the card), ``provenance.json`` (every step, what it read and wrote).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from searchtune.files import files_of, read_json, write_json, write_text
from searchtune.release.card import render_card
from searchtune.release.contents import MODEL, ROWS, check_names, copy, kind_of, name_base, names_of
from searchtune.release.gate import Chain, chain_of, check_bytes, origins, public_name, steps_of
from searchtune.release.licences import hub_licence, terms_of
from searchtune.reporting.trace import Node

TEMPLATE = Path(__file__).parents[2] / "report" / "hub.md.j2"
CARD, STEPS = "README.md", "provenance.json"
PAPERS = ("inters", "udapdr", "limrank")
# stage -> (what came out, tags, what hubs call the task of a model or of rows)
_MADE = {
    "train.sft": ("Tuned language model", ["search"], "text-generation"),
    "train.cross_encoder": ("Cross-encoder", ["cross-encoder", "reranking"], "text-ranking"),
    "train.student": ("Late-interaction retriever", ["late-interaction", "retrieval"], "feature-extraction"),
    "limrank.synthesize": ("Synthetic reranking examples", ["synthetic", "reranking"], "text-ranking"),
    "limrank.pack": ("Training examples of a reranker", ["synthetic", "reranking"], "text-ranking"),
    "udapdr.scale_up": ("Synthetic queries", ["synthetic", "queries"], "text-retrieval"),
    "udapdr.filter": ("Synthetic queries, filtered", ["synthetic", "queries"], "text-retrieval"),
}
# of LimRank's synthesis: what its filter kept; the other files hold what came before
_FIRST = "kept.jsonl"


@dataclass(frozen=True)
class Item:
    """What is asked to leave: a finished artefact or a part of one, its kind (see ``contents``) and its chain."""

    place: Path
    kind: str
    chain: Chain


def examine(place: Path) -> Item:
    """Read what lies at ``place`` and check that its bytes are those recorded.

    DataError for what has no provenance or is neither model nor rows, ModelError for pickled weights,
    IntegrityError for other bytes than those recorded.
    """
    chain = chain_of(place)
    item = Item(place, kind_of(place), chain)
    check_bytes(chain)
    return item


def bases(chain: Chain) -> list[str]:
    """Return the names of the models that an artefact was tuned from.

    The chain of models is followed to its start: what was tuned from a model tuned here has the latter's base.
    """
    found: list[Node] = []
    todo = _models(chain, chain.start)
    while todo:
        node = todo.pop(0)
        behind = _models(chain, node)
        todo += behind
        found += [] if behind or node in found else [node]
    return [_published_name(chain, node) for node in found]


def _models(chain: Chain, node: Node) -> list[Node]:
    return [chain.nodes[i] for i in node.inputs if i in chain.nodes and chain.nodes[i].kind == "model"]


def _published_name(chain: Chain, node: Node) -> str:
    """Return a hub's id where the model came from one, else our registry's id: the name of its folder."""
    sources = (chain.nodes[i].source for i in node.inputs if i in chain.nodes)
    return next((s["name"] for s in sources if s.get("source") == "hub"), Path(node.path).name)


def _settings(value: Any) -> Any:
    """Return a step's settings with absolute paths cut to their names."""
    if isinstance(value, dict):
        return {key: _settings(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_settings(item) for item in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def use_of(item: Item) -> dict[str, str]:
    """Return how the exported folder is opened: {way, ...} for the card's last part."""
    if item.kind != MODEL:
        return {"way": item.kind}
    if (item.place / "late_interaction.json").is_file():
        return {"way": "late"}
    params = item.chain.record["recipe"]["params"]
    if (item.place / "cross_encoder.json").is_file():
        return {"way": "cross_encoder", "max_length": str(params.get("max_length", 512))}
    kind = (read_json(item.place / "config.json").get("architectures") or [""])[0]
    endings = {"ForCausalLM": "AutoModelForCausalLM", "ForConditionalGeneration": "AutoModelForSeq2SeqLM",
               "ForSequenceClassification": "AutoModelForSequenceClassification"}  # fmt: skip
    return {"way": "auto", "auto": next((auto for end, auto in endings.items() if kind.endswith(end)), "AutoModel")}


def rows_of(item: Item) -> list[dict[str, str]]:
    """Return {name, file} of each file of rows, those that train first: hubs read each as a table of its own."""
    if item.kind != ROWS:
        return []
    files = sorted((name for name in names_of(item.place) if ".jsonl" in name), key=lambda name: name != _FIRST)
    return [{"name": name.split(".jsonl")[0], "file": name} for name in files]


def licence_rows(chain: Chain) -> list[dict[str, str]]:
    """Return the card's table of licences: licence, what it means, and the artefacts that bring it."""
    names = {path: public_name(node) for path, node in chain.nodes.items()}
    rows = []
    for licence, brought in origins(chain, "licences").items():
        told = [" (out of ".join(names.get(part, part) for part in text.split(" (out of ")) for text in brought]
        rows.append({"licence": licence, "means": terms_of(licence).why, "brought": "; ".join(told)})
    return rows


def facts_of(item: Item) -> dict[str, Any]:
    """Return what the card says."""
    chain, start = item.chain, item.chain.start
    made, tags, task = _MADE.get(start.stage, ("Rows" if item.kind == ROWS else "Model", [], ""))
    licences = licence_rows(chain)
    seen = list(start.trained_on)
    steps = steps_of(chain)
    return {
        "kind": item.kind,
        "use": use_of(item),
        "rows": rows_of(item),
        "title": f"{made}: {Path(public_name(start)).name}",
        "artefact": public_name(start),
        "stage": start.stage,
        "task": task,
        "tags": ["searchtune", *(paper for paper in PAPERS if paper in Path(start.path).parts), *tags],
        "licence": hub_licence(row["licence"] for row in licences),
        "licences": licences,
        "bases": [] if item.kind == ROWS else bases(chain),
        "seen": seen,
        "datasets": [name for name in seen if " " not in name and item.kind != ROWS],
        "settings": yaml.safe_dump(_settings(chain.record["recipe"]["params"]), sort_keys=False, allow_unicode=True),
        "counts": {k: v for k, v in chain.record.get("counts", {}).items() if isinstance(v, int | float)},
        "steps": steps,
        "prompts": [step for node, step in zip(chain.nodes.values(), steps, strict=True) if node.kind == "prompts"],
    }


def private_paths(chain: Chain) -> set[str]:
    """Return the paths that no exported text may name: the project's folder, what lay outside of it, the user's home.

    A home such as /root names nobody, and texts name it often.
    """
    outside = {node.path for node in chain.nodes.values() if Path(node.path).is_absolute()}
    home = {str(Path.home())} if len(Path.home().parts) > len(("/", "home")) else set()
    return {str(chain.root), *outside, *home} - {"/"}


def write_folder(item: Item, target: Path) -> dict[str, Any]:
    """Write the folder for a hub; return {kind, artefact, licence, licences, base_models, files, bytes}.

    DataError where a text that would leave names a folder of this machine. Whether the artefact may leave at all is not
    asked here (:func:`searchtune.release.gate.reasons_to_stay`).
    """
    facts = facts_of(item)
    copy(item.place, item.kind, target)
    direct = _models(item.chain, item.chain.start)
    if direct:
        name_base(target, _published_name(item.chain, direct[0]))
    write_json(target / STEPS, steps_of(item.chain))
    write_text(target / CARD, render_card(facts, TEMPLATE))
    check_names(target, private_paths(item.chain))
    files = files_of(target)
    return {
        "kind": item.kind,
        "artefact": facts["artefact"],
        "licence": facts["licence"],
        "licences": facts["licences"],
        "base_models": facts["bases"],
        "files": len(files),
        "bytes": sum(path.stat().st_size for path in files),
    }
