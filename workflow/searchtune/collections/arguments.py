"""Arguments of the collection and retrieval steps, out of the validated configuration; imported by the rules."""

from pathlib import Path
from typing import Any


def collection_args(config: dict[str, Any], collection: str) -> dict[str, Any]:
    """Return the parameters of ``collections.build`` for one collection of the configuration."""
    entry, splits = config["collections"][collection], config["splits"]
    # a target is never trained on: what would be its train articles are test articles
    train = 0.0 if entry["target"] else splits["train"]
    shares = {"train": train, "dev": splits["dev"], "test": round(1 - train - splits["dev"], 12)}
    names = ("reader", "max_passages", "n_train", "n_dev", "n_test", "licence", "canary")
    return {
        "id": collection,
        "raw": [Path(entry["folder"]).name] if entry["folder"] else entry["raw"],
        **{name: entry[name] for name in names},
        "seed": splits["seed"],
        "split_seed": splits["seed"],
        "shares": shares,
    }


def raw_inputs(config: dict[str, Any], collection: str) -> list[str]:
    """Return what a collection is read from: the user's own path, or the fetched artefacts (first folders below
    resources/raw) that hold its raw files.
    """
    entry = config["collections"][collection]
    if entry["folder"]:
        return [entry["folder"]]
    return sorted({f"<resources>/raw/{name.split('/', 1)[0]}" for name in entry["raw"]})


def used_splits(config: dict[str, Any], collection: str) -> list[str]:
    """Return the splits of which a collection holds queries at this scale."""
    if collection not in config["collections"]:
        return ["test"]  # made by the workflow, of held-out synthetic queries
    entry = config["collections"][collection]
    return [split for split in ("train", "dev", "test") if entry[f"n_{split}"] != 0]


def bm25_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return how every step that searches by BM25 does: k1, b, stop_list, words."""
    settings = config["retrieval"]
    return {key: settings[key] for key in ("k1", "b", "stop_list", "words")}


def bm25_args(config: dict[str, Any], collection: str) -> dict[str, Any]:
    """Return the parameters of ``retrieve.bm25``: all queries of a collection."""
    return {
        **bm25_settings(config),
        "depth": config["retrieval"]["depth"],
        "splits": used_splits(config, collection),
        **({"keep_excluded": True} if keeps_excluded(config, collection) else {}),
    }


def bm25_stage(config: dict[str, Any]) -> str:
    """Return the stage that makes the BM25 runs: that of the engine that is set."""
    return {"bm25s": "retrieve.bm25", "lucene": "retrieve.lucene"}[config["retrieval"]["engine"]]


def compared_collections(config: dict[str, Any]) -> list[str]:
    """Return the collections on which the two engines of BM25 are compared: those that a paper of this scale searches
    for test queries."""
    searched = {
        "inters": config["inters"]["strategies"]["sets"],
        "udapdr": [config["udapdr"]["target"], *config["udapdr"]["more_targets"]],
        "limrank": config["limrank"]["collections"],
    }
    named = {name for paper, names in searched.items() if paper in config["papers"] for name in names}
    return [name for name in sorted(named) if "test" in used_splits(config, name)]


def engines_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``evaluate.engines``."""
    return {**config["evaluation"], "engine": config["retrieval"]["engine"]}


def keeps_excluded(config: dict[str, Any], collection: str) -> bool:
    """Say whether a collection's excluded passages stay in its first stage: LimRank's fault L8, for its benchmarks.

    A target of UDAPDR shares its run with LimRank, and a fault of the one is none of the other: it never keeps them.
    """
    if config.get("fidelity") != "released" and "L8" not in config.get("faults", ()):
        return False
    shared = {config["udapdr"]["target"], *config["udapdr"]["more_targets"]} if "udapdr" in config["papers"] else set()
    return collection in config["limrank"]["collections"] and collection not in shared


def import_args(config: dict[str, Any], collection: str) -> dict[str, Any]:
    """Return the parameters of ``retrieve.import``."""
    return {"keep_excluded": keeps_excluded(config, collection)}


def imported_run(config: dict[str, Any], collection: str) -> str:
    """Return the user's own first-stage run of a collection; empty if BM25's is used."""
    entry = config["collections"].get(collection)
    return entry["run"] if entry else ""


def dense_args(config: dict[str, Any], collection: str) -> dict[str, Any]:
    """Return the parameters of ``retrieve.dense``: the test queries of a collection."""
    settings = config["retrieval"]
    return {
        "depth": settings["depth"],
        "batch_size": settings["dense_batch_size"],
        "max_length": settings["dense_max_length"],
        "precision": settings["dense_precision"],
        "splits": ["test"],
    }
