"""Arguments of the model steps, out of the validated configuration; imported by the rules."""

from typing import Any


def model_args(config: dict[str, Any], model: str) -> dict[str, Any]:
    """Return the parameters of ``models.prepare`` for one model of the configuration."""
    names = ("source", "raw", "kind", "dtype", "builder", "endpoint", "licence", "seen")
    return {"id": model, "seed": 0} | {name: config["models"][model][name] for name in names}


def model_artefacts(config: dict[str, Any], model: str) -> list[str]:
    """Return the fetched artefact (first folder below resources/raw) that a model is made from, if any."""
    return [name.split("/", 1)[0] for name in [config["models"][model]["raw"]] if name]
