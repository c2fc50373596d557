"""Arguments of the exports (adapted retrievers, synthetic data sets) out of the configuration, for the rules."""

from typing import Any

from searchtune.synthesis.limrank_arguments import evaluation_collections
from searchtune.synthesis.udapdr_chains import Chains, unjudged_targets


def writer_words(config: dict[str, Any]) -> str:
    """Say which models wrote the queries, and on what they were tuned here."""
    part, inters = config["udapdr"], config["inters"]
    names = dict.fromkeys([part["strong_model"], part["cheap_model"]])
    used = sorted(name for name, pair in inters["pairs"].items() if pair["n_train"])
    tuned = f"{inters['base']}, tuned on {inters['mixture']['total_tokens']:,} tokens of {', '.join(used)}"
    return " and ".join(tuned if name.startswith("inters/") else name for name in names)


def export_args(config: dict[str, Any], target: str) -> dict[str, Any]:
    """Return the parameters of ``adapt.export`` for one target."""
    part, chains = config["udapdr"], Chains(config)
    return {
        "target": target,
        "scored": chains.scored(target),
        "encoder": part["encoder"],
        "seen": config["models"][part["encoder"]]["seen"],
        "writer": writer_words(config),
        "rerankers": part["prompts"]["count"],
        "synthetic": target in unjudged_targets(config),
        "k": part["filter"]["k"],
    }


def dataset_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``synthesize.export``."""
    compared = evaluation_collections(config)
    return {
        **config["limrank"]["synthesize"],
        "name": config["name"] or config["scale"],
        "queries_licence": config["limrank"]["queries_licence"],
        "compared": compared,
        "leak_encoder": config["limrank"]["leak_encoder"] if compared else None,
    }
