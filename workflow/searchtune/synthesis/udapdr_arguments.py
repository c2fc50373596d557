"""Arguments and file names of the UDAPDR steps, out of the validated configuration; imported by the rules."""

from typing import Any

from searchtune.collections.arguments import bm25_settings
from searchtune.config.models import LATE_INTERACTION
from searchtune.config.udapdr import SETTINGS, settings_of
from searchtune.errors import ConfigError, nearest
from searchtune.retrieval import plaid
from searchtune.synthesis.udapdr_faults import EVALUATE, faults_of

# zero-shot systems of an encoder -> their projection; and of one that was trained for late interaction
ZERO_SHOT = {"maxsim_no_projection": "none", "student_untrained_projection": "untrained"}
ZERO_SHOT_TRAINED = {"zero_shot": "trained"}
DENSE = "minilm_dense"
# student of the quality table -> (whose chain trained it: the target's or the off-domain one; variant of the student)
STUDENTS = {
    "student_off_domain": ("off_domain", "adapted"),
    "student_adapted": ("target", "adapted"),
    "student_shuffled_teacher": ("target", "shuffled"),
}
Args = dict[str, Any]


def model_path(config: Args, name: str, key: str) -> str:
    """Return the folder of a model, with the workflow's path variables: ``inters/<variant>`` or a model's id.

    ConfigError, naming ``key``, for an id that is not configured.
    """
    if name.startswith("inters/"):
        return f"<results>/inters/models/{name.removeprefix('inters/')}"
    if name not in config["models"]:
        raise ConfigError(
            f"udapdr.{key} names {name!r}, which is not in models{nearest(name, config['models'])} "
            "(or inters/<variant> for a model tuned here)"
        )
    return f"<resources>/models/{name}"


def model_form(config: Args, name: str) -> str:
    """Return the prompt form of a writer: its own, or that of the base that INTERS tuned."""
    base = config["inters"]["base"] if name.startswith("inters/") else name
    return config["models"][base]["form"]


def _writer(config: Args, key: str) -> Args:
    part, hardware = config["udapdr"], config["hardware"]
    return {
        "form": model_form(config, part[key]),
        "backend": hardware["backend"],
        "dtype": hardware["dtype"],
        "max_model_len": part["max_model_len"],
        "seed": config["seeds"][0],
        "rules": part["cleaning"],
    }


def starts_trained(config: Args) -> bool:
    """Say whether the student's start was trained for late interaction, as published ColBERT checkpoints are."""
    return config["models"].get(config["udapdr"]["encoder"], {}).get("kind") == LATE_INTERACTION


def zero_shot_systems(config: Args) -> dict[str, str]:
    """Return the zero-shot systems that the encoder gives, and the projection of each.

    A start that was trained for late interaction is the paper's zero-shot system: itself.
    """
    return ZERO_SHOT_TRAINED if starts_trained(config) else ZERO_SHOT


def absent_systems(config: Args) -> list[str]:
    """Return the systems that the encoder does not give; one vector a text is not what ColBERT's was trained for."""
    return [*ZERO_SHOT, DENSE] if starts_trained(config) else [*ZERO_SHOT_TRAINED]


def _settings(config: Args) -> Args:
    """Return the settings of late interaction: of a trained start only those that the configuration names."""
    student = config["udapdr"]["student"]
    if starts_trained(config):
        return {key: student[key] for key in SETTINGS if student[key] is not None}
    return settings_of(student)


def _zero_shot(config: Args) -> Args:
    projection = {"projection": "trained"} if starts_trained(config) else {}
    return _settings(config) | projection | {"precision": config["udapdr"]["precision"]}


def seed_args(config: Args) -> Args:
    """Return the parameters of ``udapdr.seed``."""
    return {**config["udapdr"]["seed"], **_writer(config, "strong_model")}


def prompts_args(config: Args) -> Args:
    """Return the parameters of ``udapdr.prompts``."""
    part = config["udapdr"]
    return {
        **part["prompts"],
        "strategies": part["seed"]["strategies"],
        "seed": config["seeds"][0],
        "faults": faults_of(config, "prompts"),
    }


def scale_up_args(config: Args) -> Args:
    """Return the parameters of ``udapdr.scale_up``."""
    return {**config["udapdr"]["scale_up"], **_writer(config, "cheap_model")}


def zero_shot_args(config: Args) -> Args:
    """Return the parameters of ``retrieve.late`` for the zero-shot systems."""
    return {
        "systems": zero_shot_systems(config),
        "splits": ["test"],
        "depth": config["retrieval"]["depth"],
        "batch_size": config["udapdr"]["encode_batch_size"],
        **_zero_shot(config),
    }


def student_runs_args(config: Args, system: str, collection: str) -> Args:
    """Return the parameters of ``retrieve.late`` for a student on a collection; its settings lie beside its weights."""
    return {
        "systems": {system: "trained"},
        "splits": ["test", "dev"] if has_dev_queries(config, collection) else ["test"],
        "depth": config["retrieval"]["depth"],
        "batch_size": config["udapdr"]["encode_batch_size"],
        "precision": config["udapdr"]["precision"],
        **search_args(config),
    }


def has_dev_queries(config: Args, collection: str) -> bool:
    """Say whether a target has dev queries: settings are chosen on them and not on test queries (evidence, rule 5)."""
    # held-out synthetic queries are a collection that the workflow makes
    return bool(config["collections"].get(collection, {"n_dev": 0})["n_dev"])


def search_args(config: Args) -> Args:
    """Return how ``retrieve.late`` searches; ConfigError if PLAID's settings cannot give the depth asked for."""
    how = config["udapdr"]["search"]
    if how["method"] != "exact" or how["loss_nbits"]:
        plaid.check_depth(how["plaid"]["n_full_scores"], config["retrieval"]["depth"])
    return {"search": {key: how[key] for key in ("method", "exact_passages", "plaid")}}


def check_plaid(config: Args) -> None:
    """Raise ConfigError, naming the fix, where PLAID is asked for and no interpreter has its package.

    ``auto`` passes: only the job that has read the corpus knows its size.
    """
    how = config["udapdr"]["search"]
    if how["method"] == "plaid" or how["loss_nbits"]:
        plaid.engine_python()


def plaid_loss_args(config: Args) -> Args:
    """Return the parameters of ``udapdr.plaid_loss``."""
    how = config["udapdr"]["search"]
    depth = config["retrieval"]["depth"]
    return {"splits": ["test"], "depth": depth, "nbits": how["loss_nbits"], **search_args(config)["search"]}


def filter_args(config: Args) -> Args:
    """Return the parameters of ``udapdr.filter``."""
    return {
        **config["udapdr"]["filter"],
        **_zero_shot(config),
        **bm25_settings(config),
        **search_args(config),
        "seed": config["seeds"][0],
        "faults": faults_of(config, "filtered"),
    }


def reranker_args(config: Args, prompt: int) -> Args:
    """Return the parameters of ``train.cross_encoder`` for one prompt; every reranker has a seed of its own, for its
    head, its negatives and its order, unless fault U15 gives all the same.
    """
    part, faults = config["udapdr"], faults_of(config, "rerankers")
    return {
        **part["reranker"],
        "prompt": prompt,
        "seed": config["seeds"][0] + (0 if "U15" in faults else prompt),
        "precision": part["precision"],
        "faults": faults,
    }


def _scoring(config: Args) -> Args:
    part = config["udapdr"]
    return {
        "max_length": part["reranker"]["max_length"],
        "batch_size": part["reranker"]["score_batch_size"],
        "precision": part["precision"],
    }


def teachers_args(config: Args) -> Args:
    """Return the parameters of ``score.teachers``."""
    return {
        **{key: value for key, value in config["udapdr"]["teachers"].items() if not key.startswith("judge")},
        **_scoring(config),
        "seed": config["seeds"][0],
        "faults": faults_of(config, "tuples"),
    }


def student_args(config: Args, variant: str) -> Args:
    """Return the parameters of ``train.student``: ``adapted``, or ``shuffled`` (the control of sign of life 15).

    ``ranks`` is 1 unless fault U14 is on: then as many processes read the same part of the tuples.
    """
    part, faults = config["udapdr"], faults_of(config, "students")
    return {
        **{key: value for key, value in part["student"].items() if key not in ("released_ranks", *SETTINGS)},
        **_settings(config),
        "ranks": part["student"]["released_ranks"] if "U14" in faults else 1,
        "faults": faults,
        "shuffle_scores": variant == "shuffled",
        "max_tuples": part["teachers"]["n_tuples"],
        "precision": part["precision"],
        "seed": config["seeds"][0],
    }


def rerank_args(config: Args) -> Args:
    """Return the parameters of ``rerank.cross_encoder``."""
    return {**_scoring(config), "depth": config["udapdr"]["rerank_depth"], "splits": ["test"], "tag": "bm25_reranked"}


def latency_args(config: Args) -> Args:
    """Return the parameters of ``udapdr.latency``."""
    part = config["udapdr"]
    return {
        **part["latency"],
        **bm25_settings(config),
        "depth": config["retrieval"]["depth"],
        "splits": ["test"],
        "max_length": part["reranker"]["max_length"],
        "score_batch_size": part["reranker"]["score_batch_size"],
        "precision": part["precision"],
    }


def evaluate_args(config: Args) -> Args:
    """Return the parameters of ``udapdr.evaluate``."""
    part, settings = config["udapdr"], config["evaluation"]
    return {
        "splits": ["test"],
        "seed": settings["seed"],
        "permutations": settings["permutations"],
        "bootstrap_samples": settings["bootstrap_samples"],
        "level": settings["level"],
        "faults": faults_of(config, EVALUATE),
        "seen": config["models"][part["encoder"]]["seen"] if part["encoder"] in config["models"] else "",
    }
