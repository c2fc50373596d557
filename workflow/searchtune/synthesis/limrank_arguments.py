"""What LimRank's rules hand to their stages: paths and parameters, read off the configuration."""

from pathlib import Path
from typing import Any

from searchtune.collections.arguments import bm25_settings
from searchtune.config.limrank_recipes import train_of
from searchtune.config.synthesis import RERANKED
from searchtune.errors import ConfigError, nearest
from searchtune.registry.table import load_registry
from searchtune.reranking.released_faults import FAULTS

WRAPPERS = "workflow/prompts/limrank/wrappers.yaml"
UNTUNED = "untuned"


def raw_artefacts(config: dict[str, Any]) -> list[str]:
    """Return the fetched artefacts that hold the seed files, each once."""
    return sorted({path.split("/", 1)[0] for path in config["limrank"]["raw"]})


def tuned_models(config: dict[str, Any]) -> list[str]:
    """Return the names of all tuned models: variant and seed."""
    return [f"{variant}-s{seed}" for variant in config["limrank"]["variants"] for seed in config["seeds"]]


def rerank_systems(config: dict[str, Any]) -> list[str]:
    """Return the names of everything that reranks, the untuned model first."""
    return [UNTUNED, *tuned_models(config)]


def reranker_path(config: dict[str, Any], system: str) -> str:
    """Return the model folder of a reranking system."""
    return model_path(config["limrank"]["base"]) if system == UNTUNED else f"<results>/limrank/models/{system}"


def model_path(model: str) -> str:
    """Return the path of a model named in the configuration: an id of the registry, or ``inters/<variant>``."""
    if model.startswith("inters/"):
        return f"<results>/inters/models/{model.removeprefix('inters/')}"
    return f"<resources>/models/{model}"


def persona_artefact(config: dict[str, Any]) -> str | None:
    """Return the fetched artefact that holds the personas, where limrank.personas is an id of the registry."""
    name = config["limrank"]["personas"]
    return None if "." in name else load_registry().get(name).artefact


def evaluation_collections(config: dict[str, Any]) -> list[str]:
    """Return the collections whose texts no synthetic text may share."""
    part = config["limrank"]
    named = part["synthesize"]["evaluation"]
    found = [other for name in named for other in (benchmarks(config) if name == RERANKED else [name])]
    return list(dict.fromkeys(found))


def question_sets(config: dict[str, Any]) -> list[str]:
    """Return the used sets that are no collections: built with their own first stage, and reranked like collections."""
    part = config["limrank"]["rag"]
    return [name for name in part["sets"] if name in part["questions"]]


def question_paths(config: dict[str, Any]) -> list[str]:
    """Return the folders of the question sets that are no collections."""
    return [f"<results>/limrank/questions/{name}" for name in question_sets(config)]


def synthesis_inputs(config: dict[str, Any]) -> dict[str, Any]:
    """Return the named inputs of ``limrank.synthesize``; those that a configuration does not use are left out."""
    part, artefact = config["limrank"], persona_artefact(config)
    raw = [part["queries"]] if part["queries"] else [f"<resources>/raw/{name}" for name in raw_artefacts(config)]
    held = [f"<results>/collections/{name}" for name in evaluation_collections(config)]
    if RERANKED in part["synthesize"]["evaluation"]:
        held += question_paths(config)
    # nothing to compare with needs no encoder
    optional = ("query_writer", "passage_writer", *(["leak_encoder"] if held else []))
    return {
        "raw": raw,
        "personas": f"<resources>/raw/{artefact}" if artefact else part["personas"],
        "prompts": "workflow/prompts/limrank/synthesis.yaml",
        "writer": model_path(part["writer"]),
        "judge": model_path(part["judge"]),
        "planted": f"<results>/collections/{part['planted_collection']}",
        "evaluation": held,
        **{key: model_path(part[key]) for key in optional if part[key]},
    }


def synthesize_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``limrank.synthesize``."""
    part = config["limrank"]
    return {
        **part["synthesize"],
        **_engine(config),
        "raw": [] if part["queries"] else part["raw"],
        "queries_licence": part["queries_licence"],
        "personas_file": load_registry().get(part["personas"]).file if persona_artefact(config) else "",
        "seed": config["seeds"][0],
    }


def check_sources(config: dict[str, Any], root: Path) -> None:
    """Raise ConfigError for a personas file, query file or evaluation collection that is not there."""
    part = config["limrank"]
    personas = part["personas"]
    rows = {row.id: row for row in load_registry().rows.values() if row.kind == "dataset"}
    if "." not in personas and personas not in rows:
        raise ConfigError(
            f"limrank.personas is {personas!r}, neither a file (.yaml, .jsonl, .txt) nor a data set of the registry"
            f"{nearest(personas, rows)}"
        )
    files = {"personas": personas if "." in personas else "", "queries": part["queries"]}
    for key, name in files.items():
        if name and not (root / name).is_file():
            raise ConfigError(
                f"limrank.{key} is {name!r}, which does not exist; give a file (a relative path begins at the project)"
            )
    for name in part["synthesize"]["evaluation"]:
        if name != RERANKED and name not in config["collections"]:
            raise ConfigError(
                f"limrank.synthesize.evaluation names {name!r}, which is neither a collection nor {RERANKED!r}"
                f"{nearest(name, config['collections'])}"
            )


def _engine(config: dict[str, Any]) -> dict[str, Any]:
    return {key: config["hardware"][key] for key in ("backend", "dtype")}


def benchmarks(config: dict[str, Any]) -> list[str]:
    """Return every collection that is scored: those that are reranked, and the sets of FollowIR."""
    return [*config["limrank"]["collections"], *config["limrank"]["followir"]]


def _setting(config: dict[str, Any], collection: str, key: str) -> Any:
    """Return what a collection says of itself; nothing for one that the configuration does not hold."""
    return config["collections"].get(collection, {}).get(key)


def first_stage(config: dict[str, Any], collection: str) -> str:
    """Return the path of a collection's first-stage run: BM25's, or the one that the user imports."""
    name = "imported" if _setting(config, collection, "run") else "bm25"
    return f"<results>/runs/{collection}/{name}.run.gz"


def ranked_inputs(config: dict[str, Any], questions: bool = False) -> dict[str, Any]:
    """Return the named inputs that tell what is reranked: collections with their first stages, the instruction sets,
    wrappers; ``questions``: the question sets of RAG, too."""
    names, own = config["limrank"]["collections"], question_sets(config) if questions else []
    return {
        "collections": [*(f"<results>/collections/{name}" for name in names), *(question_paths(config) if own else [])],
        "runs": [*(first_stage(config, name) for name in names), *(f"<results>/runs/{n}/bm25.run.gz" for n in own)],
        "wrappers": WRAPPERS,
        "instructions": "<results>/limrank/instructions",
        # one folder of published instruction sets, where the scale has any
        "followir": ["<results>/limrank/followir"] if config["limrank"]["followir"] else [],
    }


def followir_imports(config: dict[str, Any]) -> dict[str, str]:
    """Return set of FollowIR -> the user's own run of it, for those that have one."""
    runs = {name: _setting(config, name, "run") for name in config["limrank"]["followir"]}
    return {name: path for name, path in runs.items() if path}


def followir_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``limrank.followir``."""
    return {**bm25_settings(config), "imported_names": list(followir_imports(config))}


def wrappers(config: dict[str, Any]) -> dict[str, str]:
    """Return collection -> wrapper of its benchmark's queries, for those that have one."""
    named = {name: _setting(config, name, "wrapper") for name in config["limrank"]["collections"]}
    return {name: wrapper for name, wrapper in named.items() if wrapper}


def train_args(config: dict[str, Any], seed: str) -> dict[str, Any]:
    """Return the parameters of ``train.sft`` for one seed."""
    return {**train_of(config["limrank"]), "form": config["limrank"]["form"], "seed": int(seed)}


def rerank_args(config: dict[str, Any], system: str) -> dict[str, Any]:
    """Return the parameters of ``rerank.reasoning`` for one system: the untuned model answers in every mode, a tuned
    one as it was tuned."""
    part = config["limrank"]
    variant, _, seed = system.partition("-s")
    name = UNTUNED if system == UNTUNED else f"tuned_{variant}"
    modes = sorted(part["variants"]) if system == UNTUNED else [variant]
    return {
        **part["rerank"],
        **_engine(config),
        "depth": reranking_depth(config),
        "form": part["form"],
        "system": name,
        "modes": modes,
        "train_seed": int(seed) if seed else None,
        "sample_seed": config["seeds"][0],
        "faults": released_faults(config),
        "followir": part["followir"],
        "wrappers": wrappers(config),
    }


def reranking_depth(config: dict[str, Any]) -> int:
    """Return the depth at which everything is reranked: that of the tables, or a larger one of the depth sweep."""
    return max(config["limrank"]["rerank"]["depth"], *config["limrank"]["depths"], 1)


def source_args(config: dict[str, Any], mode: str) -> dict[str, Any]:
    """Return the parameters of ``limrank.source`` for rows that tune in ``mode``."""
    part = config["limrank"]
    found = {**part["source"], "dev_share": part["synthesize"]["dev_share"], "seed": config["seeds"][0]}
    if mode == "direct":
        return found
    keys = ("judge_form", "prompt", "judge_tokens", "judge_sentences", "planted_words", "max_model_len")
    return found | {**_engine(config), **{key: part["synthesize"][key] for key in keys}}


def released_faults(config: dict[str, Any]) -> list[str]:
    """Return the switched-on faults of the released code that touch numbers here; all of them for fidelity released."""
    return list(FAULTS) if config["fidelity"] == "released" else [f for f in config["faults"] if f in FAULTS]


def instructions_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``limrank.instructions``."""
    return {
        **config["limrank"]["instructions"],
        **bm25_settings(config),
        "seed": config["seeds"][0],
    }


def evaluate_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``limrank.evaluate``."""
    part = config["limrank"]
    return {
        "metrics": part["metrics"],
        "instruction_metrics": part["instruction_metrics"],
        "depth": part["rerank"]["depth"],
        "depths": sorted({*part["depths"]}),
        "followir": part["followir"],
        "own_metrics": {name: m for name in benchmarks(config) if (m := _setting(config, name, "metrics"))},
        "imported": [name for name in benchmarks(config) if _setting(config, name, "run")],
        **config["evaluation"],
    }


def pack_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``limrank.pack``."""
    return {**config["limrank"]["pack"], "prompt": config["limrank"]["rerank"]["prompt"], "seed": config["seeds"][0]}
