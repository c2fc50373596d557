"""Arguments of the model steps, out of the validated configuration; imported by the rules."""

from typing import Any

from searchtune.config.models import LATE_INTERACTION, pruned_models, seen_of


def model_args(config: dict[str, Any], model: str) -> dict[str, Any]:
    """Return the parameters of ``models.prepare`` or ``models.colbert`` for one model of the configuration."""
    names = ("source", "raw", "kind", "dtype", "builder", "endpoint", "licence", "seen")
    return {"id": model, "seed": 0} | {name: config["models"][model][name] for name in names}


def model_artefacts(config: dict[str, Any], model: str) -> list[str]:
    """Return the fetched artefact (first folder below resources/raw) that a model is made from, if any."""
    return [name.split("/", 1)[0] for name in [config["models"][model]["raw"]] if name]


def prepared_models(config: dict[str, Any]) -> list[str]:
    """Return the ids of the models that are made from fetched files as they are; of the others some are pruned of
    them, and ColBERT checkpoints have a stage of their own.
    """
    others = [*pruned_models(config), *colbert_models(config)]
    return [name for name in config["models"] if name not in others]


def colbert_models(config: dict[str, Any]) -> list[str]:
    """Return the ids of the models that are ColBERT checkpoints."""
    return [name for name, entry in config["models"].items() if entry.get("kind") == LATE_INTERACTION]


def heal_artefacts(config: dict[str, Any], model: str) -> list[str]:
    """Return the fetched artefacts that hold the text which heals a pruned model, in the order of their first file."""
    return list(dict.fromkeys(path.split("/", 1)[0] for path in config["models"][model]["heal"]["raw"]))


def heal_text_args(config: dict[str, Any], model: str) -> dict[str, Any]:
    """Return the parameters of ``models.heal_text`` for one pruned model."""
    return {"id": model} | {name: config["models"][model]["heal"][name] for name in ("raw", "seed")}


def prune_args(config: dict[str, Any], model: str) -> dict[str, Any]:
    """Return the parameters of ``models.prune`` for one pruned model."""
    entry = config["models"][model]
    settings = {key: value for key, value in entry["heal"].items() if key != "raw"}
    kept = {name: entry[name] for name in ("of", "layers", "form", "dtype", "licence")}
    return {"id": model, "seen": seen_of(config, model), "heal": settings} | kept
