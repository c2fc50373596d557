"""What the rules of retrieval-augmented generation hand to their stages, and what is refused before any job starts."""

from collections.abc import Sequence
from typing import Any

from searchtune.collections.arguments import bm25_settings
from searchtune.errors import ConfigError, nearest
from searchtune.synthesis.limrank_arguments import model_path, question_sets

# collections of these readers tell which answer was swapped out of a passage
TELLS_ORIGINAL = "nq_swapped"


def set_paths(config: dict[str, Any]) -> list[str]:
    """Return the folder of every used set."""
    own = question_sets(config)
    return [f"<results>/{'limrank/questions' if name in own else 'collections'}/{name}" for name in _sets(config)]


def run_paths(config: dict[str, Any]) -> list[str]:
    """Return the first stage of every used set, aligned with :func:`set_paths`."""
    return [f"<results>/runs/{name}/bm25.run.gz" for name in _sets(config)]


def _sets(config: dict[str, Any]) -> list[str]:
    return list(config["limrank"]["rag"]["sets"])


def question_raw(config: dict[str, Any], name: str) -> list[str]:
    """Return the fetched artefacts that a question set is read from."""
    return _artefacts(config["limrank"]["rag"]["questions"][name]["raw"])


def _artefacts(files: Sequence[str]) -> list[str]:
    return sorted({f"<resources>/raw/{name.split('/', 1)[0]}" for name in files})


def question_args(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the parameters of ``limrank.questions``."""
    return {
        **config["limrank"]["rag"]["questions"][name],
        **bm25_settings(config),
        "name": name,
        "depth": config["limrank"]["rag"]["bm25_depth"],
        "seed": config["seeds"][0],
    }


def originals(config: dict[str, Any]) -> dict[str, list[str]]:
    """Return the sets whose raw files tell the answer that was swapped out: name -> files."""
    known = {name: config["collections"][name] for name in _sets(config) if name in config["collections"]}
    return {name: entry["raw"] for name, entry in known.items() if entry["reader"] == TELLS_ORIGINAL and entry["raw"]}


def originals_raw(config: dict[str, Any]) -> list[str]:
    """Return the fetched artefacts that tell swapped-out answers."""
    return _artefacts([name for files in originals(config).values() for name in files])


def generator_path(config: dict[str, Any]) -> str:
    """Return the folder of the generator."""
    return model_path(config["limrank"]["rag"]["model"])


def answer_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``limrank.answer``."""
    part = config["limrank"]["rag"]
    left_out = ("sets", "questions", "model", "judge", "bm25_depth")
    return {
        **{key: value for key, value in part.items() if key not in left_out},
        **{key: config["hardware"][key] for key in ("backend", "dtype")},
        "originals": originals(config),
        "sample_seed": config["seeds"][0],
    }


def asks_judge(config: dict[str, Any]) -> bool:
    """Say whether a model scores the answers."""
    part = config["limrank"]["rag"]
    return bool(part["sets"]) and part["scoring"] == "judge"


def judge_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``limrank.judge_answers``."""
    part = config["limrank"]["rag"]["judge"]
    return {
        **{key: value for key, value in part.items() if key != "model"},
        **{key: config["hardware"][key] for key in ("backend", "dtype")},
        "sample_seed": config["seeds"][0],
    }


def answer_inputs(config: dict[str, Any]) -> dict[str, str]:
    """Return what the tables of RAG are made of: nothing where no set is answered."""
    if not config["limrank"]["rag"]["sets"]:
        return {}
    judged = {"judged": "<results>/limrank/answers_judged"} if asks_judge(config) else {}
    return {"answers": "<results>/limrank/answers", **judged}


def check_rag(config: dict[str, Any], where: str, models: Sequence[str]) -> None:
    """Raise ConfigError for a set that is neither reranked nor a question set, for a judge that is no model, or for
    more passages than are reranked. ``where`` is the file to name, ``models`` are the known ids."""
    part, reranked = config["limrank"]["rag"], config["limrank"]["collections"]
    known = [*reranked, *part["questions"]]
    for name in part["sets"]:
        if name not in known:
            raise ConfigError(
                f"{where}: limrank.rag.sets names {name!r}, which is neither in limrank.collections nor in "
                f"limrank.rag.questions{nearest(name, known)}. Add it to one of them, or take it out of sets"
            )
    if clash := [name for name in part["questions"] if name in config["collections"]]:
        raise ConfigError(
            f"{where}: limrank.rag.questions has {clash[0]!r}, which is a collection; give it another name"
        )
    if asks_judge(config) and part["judge"]["model"] not in models:
        raise ConfigError(
            f"{where}: limrank.rag.judge.model names {part['judge']['model']!r}, which is not in models"
            f"{nearest(part['judge']['model'], models)}"
        )
    depth = config["limrank"]["rerank"]["depth"]
    if part["sets"] and max(part["top_k"]) > depth:
        raise ConfigError(
            f"{where}: limrank.rag.top_k asks for {max(part['top_k'])} passages, but limrank.rerank.depth is {depth}: "
            "raise the depth or lower top_k"
        )
