"""Arguments of the leakage audit, out of the configuration; imported by the rules, so it imports nothing heavy."""

from typing import Any


def audited_collections(config: dict[str, Any]) -> list[str]:
    """Return the collections on which the chosen papers score retrieval."""
    found: set[str] = set()
    if {"inters", "udapdr"} & set(config["papers"]):
        found.add(config["udapdr"]["target"])
    if "limrank" in config["papers"]:
        found.update(config["limrank"]["collections"])
    return sorted(found)


def training_sets(config: dict[str, Any]) -> dict[str, str]:
    """Return {paper: what its model is trained on}, for the chosen papers (paths with pathvars)."""
    known = {
        "inters": "<results>/inters/instructions/train.jsonl",
        "udapdr": f"<results>/udapdr/{config['udapdr']['target']}/filtered",
        "limrank": "<results>/limrank/packed/reasoning.train.jsonl",
    }
    return {paper: known[paper] for paper in known if paper in config["papers"]}


def audit_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``audit.leakage``: one chain a paper, each against every collection that it touches."""
    target = f"collections/{config['udapdr']['target']}"
    ranked = [f"collections/{name}" for name in config["limrank"]["collections"]]
    everything = sorted(f"collections/{name}" for name in audited_collections(config))
    kinds = ["query", "passage"]
    chains = {
        # the writer serves the other two papers, so it must not know any of their targets
        "inters": {"train": ["instructions/train.jsonl"], "eval": everything, "kinds": kinds},
        # an adapted student reads its target's passages by design; human queries must stay unseen
        "udapdr": {"train": [f"{config['udapdr']['target']}/filtered"], "eval": [target], "kinds": ["query"]},
        "limrank": {"train": ["packed/reasoning.train.jsonl"], "eval": ranked, "kinds": kinds},
    }
    chosen = {name: chain for name, chain in chains.items() if name in config["papers"]}
    return {"n": config["leakage"]["ngram"], "max_share": config["leakage"]["max_share"], "chains": chosen}
