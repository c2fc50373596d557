"""Arguments of the INTERS steps, out of the validated configuration; imported by the rules."""

from pathlib import Path
from typing import Any

from searchtune.collections.arguments import bm25_settings
from searchtune.config.inters_pairs import (
    OPEN_QUESTIONS,
    RANKING_TASKS,
    collection_of,
    is_control,
    sources_of,
    split_pair,
)
from searchtune.config.models import seen_of
from searchtune.errors import ConfigError
from searchtune.registry.table import ROOT, UNPINNED, load_registry
from searchtune.reranking.windows import STRATEGY_FAULTS
from searchtune.tasks.data_table import data_args
from searchtune.tasks.variants import (
    FEW_SHOT,
    FULL,
    OWN,
    ZERO_SHOT,
    bases_of,
    chosen_ablations,
    left_out,
    mixtures,
    own_form,
    untuned,
    used_controls,
    variants,
)

RELEASED_ROW = "inters_templates"  # id in config/datasets.tsv
RELEASED_TABLE = "workflow/prompts/inters_released.yaml"
TEMPLATES, CONTROL_FORMS = "workflow/prompts/inters", "workflow/prompts/inters_control"
# an ablation may use an example so many times as often, before its mixture is shorter than the full one; few general
# instructions are packaged, so that a control's come again more often still
REUSE, REUSE_OF_CONTROLS = 10, 100


def used_pairs(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the pairs that have any example; those of controls only where a chosen ablation trains on them."""
    pairs, controls = config["inters"]["pairs"], used_controls(config)
    used = {name: pair for name, pair in pairs.items() if pair["n_train"] + pair["n_dev"] + pair["n_test"]}
    return {name: pair for name, pair in used.items() if name in controls or not is_control(name)}


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


def avoided_collections(config: dict[str, Any]) -> list[str]:
    """Return the targets whose questions the pairs of open questions must not hold (rules of evidence, 17)."""
    if not set(used_pairs(config)).intersection(OPEN_QUESTIONS):
        return []
    targets = {config["udapdr"]["target"], *config["udapdr"]["more_targets"]}
    if "limrank" in config["papers"]:
        targets |= set(config["limrank"]["collections"])
    return sorted(name for name in targets if config["collections"][name]["n_test"] != 0)


def ranked_collections(config: dict[str, Any]) -> list[str]:
    """Return the collections whose BM25 run is reranked."""
    pairs = (split_pair(pair) for pair in used_pairs(config))
    return sorted({name for task, name in pairs if task in RANKING_TASKS})


def tasks(config: dict[str, Any]) -> list[str]:
    """Return the tasks of the used pairs, without those of controls: one template file each."""
    return sorted({split_pair(pair)[0] for pair in used_pairs(config) if not is_control(pair)})


def template_files(config: dict[str, Any], mixture: str) -> list[str]:
    """Return the template files that a mixture is rendered in: one a task, and for a control its own form."""
    files = [f"{TEMPLATES}/{task}.yaml" for task in tasks(config)]
    parts = mixtures(config)[mixture]["ablation"].get("train_on", [])
    return files + [f"{CONTROL_FORMS}/{task}.yaml" for task in sorted({part.split("/")[0] for part in parts})]


def released_artefact(config: dict[str, Any]) -> str | None:
    """Return the folder below resources/raw that holds the released template file; None where ours alone are used."""
    used = {wording(config, name) for name in mixtures(config)}
    return load_registry().get(RELEASED_ROW).artefact if "released" in used else None


def wording(config: dict[str, Any], mixture: str) -> str:
    """Return whose templates a mixture is rendered in: own or released."""
    return mixtures(config)[mixture]["ablation"].get("templates") or config["inters"]["templates"]


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


def released_input(config: dict[str, Any], mixture: str) -> dict[str, str]:
    """Return the named inputs of inters.render for the released templates: folder and table; empty for ours."""
    if wording(config, mixture) == "own":
        return {}
    return {"released": f"<resources>/raw/{released_artefact(config)}", "released_table": RELEASED_TABLE}


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


def form_of(config: dict[str, Any], base: str) -> str:
    """Return the chat form of a base model."""
    return config["models"][base]["form"]


def render_args(config: dict[str, Any], mixture: str) -> dict[str, Any]:
    """Return the parameters of ``inters.render`` for one mixture.

    An ablation gets as many tokens as the full mixture (input ``full``), whatever it changes; where fewer examples
    are left they come again in other templates.
    """
    part, spec = config["inters"], mixtures(config)[mixture]
    row = spec["ablation"]
    test = {key: part["test"][key] for key in ("n_shots", "max_prompt_tokens", "max_new_tokens")}
    changes = {key: row[key] for key in part["mixture"] if row.get(key) is not None}
    if row:
        changes["uses"] = part["mixture"]["uses"] * REUSE
    if row.get("train_on"):
        # a control's description is its instruction: without it nothing says what to do
        changes |= {"uses": part["mixture"]["uses"] * REUSE_OF_CONTROLS, "with_description": True}
    return {
        **part["mixture"],
        **test,
        **changes,
        # the weights of a variant are those of the full mixture
        "mixed_uses": part["mixture"]["uses"],
        "leave_out": sorted(name for name in used_pairs(config) if left_out(row, *split_pair(name))),
        "test_seed": part["test"]["seed"],
        "seed": config["seeds"][0],
        "form": form_of(config, spec["base"]),
    }


def tokenize_args(config: dict[str, Any], mixture: str) -> dict[str, Any]:
    """Return the parameters of ``train.tokenize`` for one mixture."""
    base = mixtures(config)[mixture]["base"]
    return {"form": form_of(config, base), "max_length": config["inters"]["train"]["max_length"]}


def train_args(config: dict[str, Any], variant: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``train.sft`` for one tuned model."""
    chosen = {key: variant[key] for key in ("fraction", "seed")}
    return {**config["inters"]["train"], "form": form_of(config, variant["base"]), **chosen}


def prompt_sets(config: dict[str, Any], variant: dict[str, Any]) -> list[str]:
    """Return the prompt sets that a tuned model answers: the full mixture's, and where its form differs its own."""
    sets = [ZERO_SHOT]
    if variant["design"] == FULL and variant["fraction"] == 1 and config["inters"]["test"]["tuned_few_shot"]:
        sets.append(FEW_SHOT)
    return [*sets, OWN] if own_form(config, variant["mixture"]) else sets


def predict_args(config: dict[str, Any], base: str, sets: list[str]) -> dict[str, Any]:
    """Return the parameters of ``inters.predict`` for the given prompt sets."""
    part = config["inters"]
    return {
        "sets": sets,
        "form": form_of(config, base),
        "seed": config["seeds"][0],
        **{key: part["test"][key] for key in ("max_model_len", "shard_size")},
        **{key: config["hardware"][key] for key in ("backend", "dtype")},
    }


def mixture_file(variant: dict[str, Any], file: str, design: str = "") -> str:
    """Return a file of the mixture that a tuned model learns from, or of the same base's mixture of another design."""
    name = variant["mixture"].replace(variant["design"], design or variant["design"], 1)
    return f"<results>/inters/mixtures/{name}/{file}"


def full_mixture(config: dict[str, Any], mixture: str) -> dict[str, str]:
    """Return the full mixture as an ablation's input of inters.render: its tokens are the ablation's budget."""
    spec = mixtures(config)[mixture] | {"mixture": mixture}
    return {} if spec["design"] == FULL else {"full": mixture_file(spec, "train.jsonl", FULL)}


def paced_by(variant: dict[str, Any]) -> dict[str, str]:
    """Return the full mixture's tokens as an ablation's input of train.sft: it takes as many optimiser steps."""
    return {} if variant["design"] == FULL else {"paced_by": mixture_file(variant, "tokens", FULL)}


def own_prompts(config: dict[str, Any], variant: dict[str, Any]) -> dict[str, str]:
    """Return a model's own prompts where its mixture has another form: they are asked beside the full one's."""
    return {"own": mixture_file(variant, "prompts")} if own_form(config, variant["mixture"]) else {}


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
        "form": form_of(config, part["base"]),
        "seed": config["seeds"][0],
        "sample_seed": config["seeds"][0],
        "shard_size": part["test"]["shard_size"],
        "faults": [f for f in STRATEGY_FAULTS if config["fidelity"] == "released" or f in config["faults"]],
        **{key: config["hardware"][key] for key in ("backend", "dtype")},
    }


def examples_inputs(config: dict[str, Any]) -> dict[str, Any]:
    """Return the named inputs of ``inters.examples``."""
    return {
        "raw": [f"<resources>/raw/{name}" for name in raw_artefacts(config)],
        "collections": [f"<results>/collections/{name}" for name in used_collections(config)],
        "runs": [f"<results>/runs/{name}/bm25.run.gz" for name in ranked_collections(config)],
        "avoided": [f"<results>/collections/{name}" for name in avoided_collections(config)],
    }


def evaluate_inputs(config: dict[str, Any]) -> dict[str, Any]:
    """Return the named inputs of ``inters.evaluate``; predictions in the order of its systems."""
    tuned, ranked = list(variants(config)), config["inters"]["strategies"]["sets"]
    return {
        "examples": "<results>/inters/examples",
        "prompts": "<results>/inters/mixtures/full/prompts",
        "predictions": [f"<results>/inters/predictions/{name}.jsonl" for name in [*untuned(config), *tuned]],
        "models": [f"<results>/inters/models/{name}" for name in tuned],
        "collections": [f"<results>/collections/{name}" for name in used_collections(config)],
        "strategies": [f"<results>/inters/strategies/{name}" for name in strategy_systems(config)],
        "strategy_sets": [f"<results>/collections/{name}" for name in ranked],
        "statistics": "<results>/inters/mixtures/full/statistics.tsv",
        "claims": "config/expected/claims.tsv",
        "published": "config/expected/inters.tsv",
        "runs": [f"<results>/runs/{name}/bm25.run.gz" for name in ranked],
    }


def evaluate_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``inters.evaluate``: systems in the order of the predictions files."""
    evaluation = config["evaluation"]
    systems: list[dict[str, Any]] = [
        {"name": name, "tuned": False, "base": base, "design": FULL, "fraction": 0.0, "seed": None}
        | {"sets": [ZERO_SHOT, FEW_SHOT]}
        for name, base in untuned(config).items()
    ]
    for name, spec in variants(config).items():
        systems.append({"name": name, "tuned": True, "sets": prompt_sets(config, spec), **spec})
    return {
        "base": config["inters"]["base"],
        "seen": {base: seen_of(config, base) for base in bases_of(config)},
        "systems": systems,
        "ablations": {
            name: {"kind": row["kind"], "label": row["label"] or name.replace("_", " "), "leave_out": row["leave_out"]}
            for name, row in chosen_ablations(config).items()
        },
        "volumes": sorted(config["inters"]["volumes"]),
        "rankings": config["inters"]["rankings"],
        "data": data_args(config),
        "fidelity": config["fidelity"],
        "faults": config["faults"],
        **bm25_settings(config),
        "statistics": {
            "seed": evaluation["seed"],
            "samples": evaluation["bootstrap_samples"],
            "permutations": evaluation["permutations"],
            "level": evaluation["level"],
        },
    }
