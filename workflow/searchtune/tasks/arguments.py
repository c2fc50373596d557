"""Arguments of the INTERS steps, out of the validated configuration; imported by the rules."""

from pathlib import Path
from typing import Any

from searchtune.config.inters_pairs import RANKING_TASKS, collection_of, sources_of, split_pair
from searchtune.errors import ConfigError
from searchtune.registry.table import ROOT, UNPINNED, load_registry
from searchtune.reranking.windows import STRATEGY_FAULTS

RELEASED_ROW = "inters_templates"  # id in config/datasets.tsv
RELEASED_TABLE = "workflow/prompts/inters_released.yaml"


def used_pairs(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the pairs that have any example."""
    pairs = config["inters"]["pairs"]
    return {name: pair for name, pair in pairs.items() if pair["n_train"] + pair["n_dev"] + pair["n_test"]}


def used_sources(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the raw data sets that the used pairs read."""
    names = {source for pair in used_pairs(config) for source in sources_of(pair)}
    return {name: config["inters"]["sources"][name] for name in sorted(names)}


def raw_artefacts(config: dict[str, Any]) -> list[str]:
    """Return the fetched artefacts (first folders below resources/raw) that hold the used raw files."""
    return sorted({raw.split("/", 1)[0] for source in used_sources(config).values() for raw in source["raw"]})


def used_collections(config: dict[str, Any]) -> list[str]:
    """Return the collections that the used pairs read."""
    return sorted({name for pair in used_pairs(config) if (name := collection_of(pair))})


def ranked_collections(config: dict[str, Any]) -> list[str]:
    """Return the collections whose BM25 run is reranked."""
    pairs = (split_pair(pair) for pair in used_pairs(config))
    return sorted({name for task, name in pairs if task in RANKING_TASKS})


def tasks(config: dict[str, Any]) -> list[str]:
    """Return the tasks of the used pairs: one template file each."""
    return sorted({split_pair(pair)[0] for pair in used_pairs(config)})


def released_artefact(config: dict[str, Any]) -> str | None:
    """Return the folder below resources/raw that holds the released template file; None where ours are used."""
    return load_registry().get(RELEASED_ROW).artefact if config["inters"]["templates"] == "released" else None


def check_released(config: dict[str, Any], root: Path = ROOT) -> None:
    """Raise ConfigError, which says what to put where, if the released templates are asked for and not there.

    A row that was pinned (version and sha256) is fetched like any other, so then nothing is asked of the user.
    """
    artefact = released_artefact(config)
    if not artefact:
        return
    row = load_registry().get(RELEASED_ROW)
    path = root / "resources" / "raw" / row.path
    if row.version == UNPINNED and not path.is_file():
        raise ConfigError(
            f"inters.templates is 'released', but resources/raw/{row.path} is not there. Download {row.archive} "
            f"(licence: {row.licence}) and put it into resources/raw/{artefact}/ as {row.file}, or set "
            "inters.templates: own"
        )


def released_input(config: dict[str, Any]) -> dict[str, str]:
    """Return the named inputs of inters.render for the released templates: folder and table; empty for ours."""
    artefact = released_artefact(config)
    return {"released": f"<resources>/raw/{artefact}", "released_table": RELEASED_TABLE} if artefact else {}


def variants(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the tuned models: name -> {fraction, seed}; ``full`` is all data under the first seed."""
    found: dict[str, dict[str, Any]] = {}
    for volume in sorted(config["inters"]["volumes"]):
        for seed in config["seeds"]:
            name = "full" if volume == 1 else f"vol{volume * 100:g}".replace(".", "_")
            found[name if seed == config["seeds"][0] else f"{name}-s{seed}"] = {"fraction": volume, "seed": seed}
    return found


def examples_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``inters.examples``."""
    splits = config["splits"]
    shares = {"train": splits["train"], "dev": splits["dev"], "test": round(1 - splits["train"] - splits["dev"], 12)}
    return {
        "pairs": used_pairs(config),
        "sources": used_sources(config),
        "shares": shares,
        "split_seed": splits["seed"],
        "seed": splits["seed"],
        "published_splits": config["inters"]["published_splits"],
        "canary_data": config["canary_data"],
    }


def render_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``inters.render``."""
    part = config["inters"]
    test = {key: part["test"][key] for key in ("n_shots", "max_prompt_tokens", "max_new_tokens")}
    return {
        **part["mixture"],
        **test,
        "test_seed": part["test"]["seed"],
        "seed": config["seeds"][0],
        "form": config["models"][part["base"]]["form"],
    }


def train_args(config: dict[str, Any], variant: str) -> dict[str, Any]:
    """Return the parameters of ``train.sft`` for one tuned model."""
    part = config["inters"]
    return {**part["train"], "form": config["models"][part["base"]]["form"], **variants(config)[variant]}


def predict_args(config: dict[str, Any], sets: list[str]) -> dict[str, Any]:
    """Return the parameters of ``inters.predict`` for the given prompt sets."""
    part = config["inters"]
    return {
        "sets": sets,
        "form": config["models"][part["base"]]["form"],
        "seed": config["seeds"][0],
        **{key: part["test"][key] for key in ("max_model_len", "shard_size")},
        **{key: config["hardware"][key] for key in ("backend", "dtype")},
    }


def strategy_systems(config: dict[str, Any]) -> list[str]:
    """Return the models that rerank in every strategy: the untuned one and the full one; none without a set."""
    return ["base", "full"] if config["inters"]["strategies"]["sets"] else []


def strategy_model(config: dict[str, Any], system: str) -> str:
    """Return the model folder of a reranking system."""
    return f"<resources>/models/{config['inters']['base']}" if system == "base" else f"<results>/inters/models/{system}"


def strategy_args(config: dict[str, Any], system: str) -> dict[str, Any]:
    """Return the parameters of ``rerank.strategies``."""
    part = config["inters"]
    settings = {key: value for key, value in part["strategies"].items() if key != "sets"}
    return {
        **settings,
        "system": "untuned" if system == "base" else "tuned",
        "tasks": list(part["strategies"]["sets"].values()),
        "with_description": part["mixture"]["with_description"],
        "form": config["models"][part["base"]]["form"],
        "seed": config["seeds"][0],
        "sample_seed": config["seeds"][0],
        "shard_size": part["test"]["shard_size"],
        "faults": [f for f in STRATEGY_FAULTS if config["fidelity"] == "released" or f in config["faults"]],
        **{key: config["hardware"][key] for key in ("backend", "dtype")},
    }


def evaluate_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``inters.evaluate``: systems in the order of the predictions files."""
    evaluation = config["evaluation"]
    base = {"name": "base", "tuned": False, "fraction": 0.0, "seed": None, "sets": ["zero_shot", "few_shot"]}
    tuned = [{"name": name, "tuned": True, "sets": ["zero_shot"], **spec} for name, spec in variants(config).items()]
    return {
        "base": config["inters"]["base"],
        "systems": [base, *tuned],
        "volumes": sorted(config["inters"]["volumes"]),
        "rankings": config["inters"]["rankings"],
        "fidelity": config["fidelity"],
        "faults": config["faults"],
        "k1": config["retrieval"]["k1"],
        "b": config["retrieval"]["b"],
        "statistics": {
            "seed": evaluation["seed"],
            "samples": evaluation["bootstrap_samples"],
            "permutations": evaluation["permutations"],
            "level": evaluation["level"],
        },
    }
