"""Language models as teachers of UDAPDR's students: where they lie, how they are asked, what they were tuned on."""

from typing import Any

from searchtune.errors import ConfigError, nearest
from searchtune.synthesis import limrank_arguments as limrank
from searchtune.synthesis import udapdr_arguments as udapdr

Args = dict[str, Any]
# prefix of the rerankers that LimRank's part tunes
TUNED = "limrank/"
_WINDOWS = ("nway", "windows", "depth", "n_tuples")
# what limrank.rerank says about asking; its depth and queries are those of another task
_ASKING = ("max_reasoning_tokens", "max_passage_tokens", "max_query_tokens", "max_model_len", "block", "prompt")


def judge_of(config: Args) -> str:
    """Return the name of the judge that labels; empty where cross-encoders do."""
    return config["udapdr"]["teachers"]["judge"]


def known_judges(config: Args) -> list[str]:
    """Return the names of the judges apart from INTERS' models: LimRank's rerankers, and the causal models."""
    causal = [name for name, entry in config["models"].items() if entry["kind"] == "causal"]
    return [*(TUNED + name for name in config["limrank"]["variants"]), *causal]


def judge_path(config: Args) -> str:
    """Return the folder of the judge, with the workflow's path variables; LimRank's reranker of the seed that the
    stage runs with. ConfigError for a name that is not known.
    """
    name = judge_of(config)
    if name.startswith(TUNED) and name in known_judges(config):
        return f"<results>/limrank/models/{name.removeprefix(TUNED)}-s{config['seeds'][0]}"
    if name.startswith("inters/") or name in known_judges(config):
        return udapdr.model_path(config, name, "teachers.judge")
    raise ConfigError(
        f"udapdr.teachers.judge names {name!r}, which is neither {TUNED}<variant> nor a causal model"
        f"{nearest(name, known_judges(config))}"
    )


def judge_args(config: Args) -> Args:
    """Return the parameters of ``score.judge``: windows as for cross-encoders, questions as in LimRank's reranking."""
    name, part = judge_of(config), config["udapdr"]["teachers"]
    # U5 is noise of cross-encoders in training mode, which a judge does not have; L14 is about unfinished reasoning
    faults = [f for f in udapdr.teachers_args(config)["faults"] if f != "U5"]
    if part["judge_mode"] == "reasoning":
        faults += [f for f in limrank.released_faults(config) if f == "L14"]
    return {
        **{key: part[key] for key in _WINDOWS},
        **{key: config["limrank"]["rerank"][key] for key in _ASKING},
        **{key: config["hardware"][key] for key in ("backend", "dtype")},
        "judge": name,
        "mode": part["judge_mode"],
        "form": config["limrank"]["form"] if name.startswith(TUNED) else udapdr.model_form(config, name),
        "seed": config["seeds"][0],
        "faults": faults,
    }


def tuples_args(config: Args) -> Args:
    """Return the parameters of the stage that labels tuples: ``score.judge`` or ``score.teachers``."""
    return judge_args(config) if judge_of(config) else udapdr.teachers_args(config)


def judge_training(config: Args, name: str) -> list[str]:
    """Return the collections whose human queries tune a judge, itself or through the models that made its data.

    LimRank's rerankers: the collection of planted pairs, every collection that shares a raw file with that one or with
    the seed queries, and what INTERS' models learn from where one is its base, writes or judges.
    """
    found, part = set(), config["limrank"]
    if name.startswith(TUNED):
        planted = part["planted_collection"]
        raw = {*part["raw"], *config["collections"][planted]["raw"]}
        found |= {planted, *(n for n, entry in config["collections"].items() if raw & set(entry["raw"]))}
    models = [part[key] for key in ("base", "writer", "judge")] if name.startswith(TUNED) else [name]
    if any(model.startswith("inters/") for model in models):
        found |= set(config["inters"]["train_collections"])
    return sorted(found)
