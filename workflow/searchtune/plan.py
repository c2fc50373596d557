"""What is decided before any job starts: the merged configuration, its ids and leakage checks, the files to fetch."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from searchtune.config.load import USER_FILE, Layer, file_of, layers_of, load_config
from searchtune.config.models import MODEL_KEYS, PRUNED, late_interaction_fault, pruned_models, seq2seq_faults
from searchtune.config.udapdr import STAGES
from searchtune.errors import ConfigError, LeakageError, nearest
from searchtune.prompts.templates import load_templates
from searchtune.registry.table import load_registry
from searchtune.reranking.windows import STRATEGY_FAULTS
from searchtune.synthesis import limrank_arguments, udapdr_faults
from searchtune.synthesis.limrank_baselines import check_baseline_models
from searchtune.synthesis.limrank_chains import chosen_changes
from searchtune.synthesis.limrank_rag_arguments import check_rag
from searchtune.synthesis.limrank_sources import check_depths, check_sources, human_sources
from searchtune.synthesis.udapdr_chains import Chains, chosen_variants, corpus_of, tuned_writers, unjudged_targets
from searchtune.synthesis.udapdr_judges import judge_training, known_judges
from searchtune.tasks import answers
from searchtune.tasks.arguments import check_released, released_artefact
from searchtune.tasks.variants import check_ablations, variants


def raw_paths(data: Any) -> Iterator[str]:
    """Yield every path below resources/raw that a configuration names (values under keys called ``raw``)."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from _strings(value) if key == "raw" else raw_paths(value)
    elif isinstance(data, list):
        for item in data:
            yield from raw_paths(item)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from [value] if value else []
    else:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)


def artefact_of(path: str) -> str:
    """Return the fetch unit (first folder below resources/raw) that holds a raw path."""
    return path.split("/", 1)[0]


# keys of the papers' sections that hold ids, and where those ids are defined
ID_KEYS = {
    "collections": ("collections", "train_collections", "target", "off_domain", "planted_collection",
                    "instruction_collection", "more_targets", "followir"),
    "models": MODEL_KEYS,
}  # fmt: skip


def check_ids(config: dict[str, Any], layers: list[Layer]) -> None:
    """Raise ConfigError where a paper's section names a collection or model that does not exist.

    ``inters/<variant>`` names a model that INTERS' part tunes.
    """
    tuned = [f"inters/{name}" for name in variants(config)]
    known = {"collections": list(config["collections"]), "models": [*config["models"], *tuned]}
    for place, section in _sections(config):
        for kind, keys in ID_KEYS.items():
            for key, name in _named(section, keys):
                if name not in known[kind]:
                    raise ConfigError(
                        f"{file_of(layers, *place, *key)}: {'.'.join((*place, *key))} names {name!r}, which is not "
                        f"in {kind}{nearest(name, known[kind])}"
                    )


def _sections(config: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Yield (place, section) of the papers, and of the changes of UDAPDR's and LimRank's chains that run."""
    yield from (((paper,), config[paper]) for paper in ("inters", "udapdr", "limrank"))
    yield from ((("udapdr", "ablations", name, "set"), row["set"]) for name, row in chosen_variants(config).items())
    yield from ((("limrank", "ablations", name, "set"), row["set"]) for name, row in chosen_changes(config).items())


def check_folders(config: dict[str, Any], layers: list[Layer], root: Path) -> None:
    """Raise ConfigError where a collection's own folder is not there: no step can make it."""
    for name, entry in config["collections"].items():
        if entry["folder"] and not (root / entry["folder"]).exists():
            place = ("collections", name, "folder")
            raise ConfigError(
                f"{file_of(layers, *place)}: {'.'.join(place)} is {entry['folder']!r}, which does not exist; give a "
                "file or folder that does (a relative path begins at the project)"
            )


def check_benchmarks(config: dict[str, Any], layers: list[Layer], root: Path) -> None:
    """Raise ConfigError for a first-stage run that is not there, or an unknown wrapper."""
    for name, entry in config["collections"].items():
        if entry["run"] and not (root / entry["run"]).is_file():
            at = ("collections", name, "run")
            raise ConfigError(f"{file_of(layers, *at)}: {'.'.join(at)} is {entry['run']!r}, which is no file")
        if entry["wrapper"] and entry["wrapper"] not in (known := wrapper_ids(root)):
            at = ("collections", name, "wrapper")
            raise ConfigError(
                f"{file_of(layers, *at)}: {'.'.join(at)} names {entry['wrapper']!r}, which is no template of "
                f"{limrank_arguments.WRAPPERS}{nearest(entry['wrapper'], known)}"
            )


def check_followir(config: dict[str, Any], layers: list[Layer]) -> None:
    """Raise ConfigError for a FollowIR set in another's place, or another collection in the place of one."""
    for key in ("collections", "followir"):
        for name in config["limrank"][key]:
            entry, place = config["collections"][name], ("limrank", key)
            where = f"{file_of(layers, *place)}: {'.'.join(place)} names {name!r}"
            if (entry["reader"] == "followir") != (key == "followir"):
                raise ConfigError(
                    f"{where}, whose reader is {entry['reader']!r}; FollowIR sets belong to followir alone"
                )
            if key == "followir" and (entry["n_test"] is not None or entry["max_passages"] is not None):
                raise ConfigError(f"{where}, which is scored whole: leave its n_test and max_passages empty (null)")


def wrapper_ids(root: Path) -> list[str]:
    """Return the ids of the wrappers that benchmarks may name."""
    return [template.id for template in load_templates(root / limrank_arguments.WRAPPERS)["wrapper"].templates]


def check_seq2seq(config: dict[str, Any], layers: list[Layer]) -> None:
    """Raise ConfigError where an encoder-decoder is asked for something that it can't do here."""
    for place, section in _sections(config):
        for path, fault in seq2seq_faults(config, place, section):
            raise ConfigError(f"{file_of(layers, *path)}: {'.'.join(path)} {fault}")


def check_late_interaction(config: dict[str, Any], layers: list[Layer]) -> None:
    """Raise ConfigError where a ColBERT checkpoint is to be anything but the start of UDAPDR's student."""
    for place, section in _sections(config):
        for key, name in _named(section, MODEL_KEYS):
            path = (*place, *key)
            if fault := late_interaction_fault(config, path, name):
                raise ConfigError(f"{file_of(layers, *path)}: {'.'.join(path)} {fault}")


def _named(section: dict[str, Any], keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (path, id) for each id below ``keys``, and below ``model`` of a part of the section."""
    for key, value in section.items():
        if key in keys:
            names = [value] if isinstance(value, str) else value or []
            # no off-domain student is asked for by an empty name; any other must be there
            yield from (((key,), name) for name in names if name or key != "off_domain")
        elif keys is MODEL_KEYS and isinstance(value, dict) and isinstance(value.get("model"), str):
            yield (key, "model"), value["model"]


def check_pruned(config: dict[str, Any], layers: list[Layer]) -> None:
    """Raise ConfigError for a pruned model whose full model does not exist, is pruned itself or holds no weights."""
    for name in pruned_models(config):
        of = config["models"][name]["of"]
        where = f"{file_of(layers, 'models', name, 'of')}: models.{name}.of names {of!r}"
        if of not in config["models"]:
            others = [known for known in config["models"] if known not in pruned_models(config)]
            raise ConfigError(f"{where}, which is not in models{nearest(of, others)}")
        full = config["models"][of]
        if full["source"] == PRUNED:
            raise ConfigError(f"{where}, which is pruned itself; prune its full model, {full['of']!r}, instead")
        if full["source"] == "endpoint" or full["kind"] != "causal":
            raise ConfigError(f"{where}, which is no causal language model with weights of its own; it can't be pruned")


def check_healing(config: dict[str, Any]) -> None:
    """Raise LeakageError where a pruned model would heal on a target collection, or on canaried data if none may train.

    Target collections and the canary: rules of evidence, 1 and 17.
    """
    targets = {path: name for name in sorted(targets_of(config)) for path in config["collections"][name]["raw"]}
    for name in pruned_models(config):
        for path in config["models"][name]["heal"]["raw"]:
            if path in targets:
                raise LeakageError(
                    f"models.{name} would heal on {path}, the target collection {targets[path]!r}, whose text is for "
                    "evaluation only. Take it out of heal.raw"
                )
            marks = load_registry().artefact(artefact_of(path)).canary
            if marks and config["canary_data"] == "evaluate_only":
                raise LeakageError(
                    f"models.{name} would heal on {path}, which carries the canary {', '.join(marks)}, and "
                    "canary_data is evaluate_only. Take it out of heal.raw"
                )


def check_unjudged(config: dict[str, Any], layers: list[Layer]) -> None:
    """Raise ConfigError where several seeds would each hold out other synthetic queries of a target without human ones:
    what one seed is tested with, another would have trained on; or where they choose rerankers and test, too.
    """
    part, unjudged = config["udapdr"], unjudged_targets(config)
    if unjudged and len(config["seeds"]) > 1 and STAGES.index(part["seeds_from"]) <= STAGES.index("filtered"):
        where = f"{file_of(layers, 'udapdr', 'seeds_from')}: udapdr.seeds_from is {part['seeds_from']!r}"
        raise ConfigError(
            f"{where}, but {unjudged[0]!r} has no human questions (n_test: 0) and is tested with held-out synthetic "
            "ones, which all seeds must share. Set udapdr.seeds_from to rerankers or later"
        )
    choosing = [name for name, row in chosen_variants(config).items() if row["set"].get("teachers", {}).get("select")]
    if part["target"] in unjudged and choosing:
        raise ConfigError(
            f"udapdr.run_ablations has {choosing[0]!r}, which chooses rerankers on held-out synthetic queries, but "
            f"{part['target']!r} has no human questions (n_test: 0) and is tested with the same ones. Leave it out"
        )
    if unjudged and part["teachers"]["select"]:
        raise ConfigError(
            f"{file_of(layers, 'udapdr', 'teachers', 'select')}: udapdr.teachers.select chooses rerankers on held-out "
            f"synthetic queries, but {unjudged[0]!r} has no human questions (n_test: 0) and is tested with the same "
            "ones. Leave it empty"
        )


def check_corpora(config: dict[str, Any], layers: list[Layer]) -> None:
    """Raise ConfigError where ``same_corpus_as`` names no collection, or one whose corpus is another; or where the
    off-domain student of UDAPDR would learn from a target's corpus.
    """
    for name, entry in config["collections"].items():
        of = entry["same_corpus_as"]
        where = (
            f"{file_of(layers, 'collections', name, 'same_corpus_as')}: collections.{name}.same_corpus_as names {of!r}"
        )
        if of and of not in config["collections"]:
            raise ConfigError(f"{where}, which is not in collections{nearest(of, config['collections'])}")
        other = config["collections"][of or name]
        if of and (other["same_corpus_as"] or other["max_passages"]):
            raise ConfigError(f"{where}; name the collection that has the whole corpus and names no other itself")
        if (
            of
            and [entry[key] for key in ("reader", "folder")] + entry["raw"][:1]
            != [other[key] for key in ("reader", "folder")] + other["raw"][:1]
        ):
            raise ConfigError(f"{where}, whose reader or first raw file is another: its corpus is not the same")
    part = config["udapdr"]
    corpora = {corpus_of(config, name): name for name in (part["target"], *part["more_targets"])}
    off_domain = part["off_domain"]
    if off_domain and (shared := corpora.get(corpus_of(config, off_domain))) is not None:
        raise ConfigError(
            f"{file_of(layers, 'udapdr', 'off_domain')}: udapdr.off_domain is {part['off_domain']!r}, which has the "
            f"corpus of the target {shared!r}; name a collection of another corpus"
        )


def check_judges(config: dict[str, Any], layers: list[Layer]) -> None:
    """Raise ConfigError for a judge of UDAPDR's tuples that is no model, tuned here or untuned."""
    known = [*known_judges(config), *(f"inters/{name}" for name in variants(config))]
    asked: dict[tuple[str, ...], str] = {("udapdr", "teachers", "judge"): config["udapdr"]["teachers"]["judge"]}
    for name, row in chosen_variants(config).items():
        asked["udapdr", "ablations", name, "set", "teachers", "judge"] = row["set"].get("teachers", {}).get("judge", "")
    for place, judge in asked.items():
        if judge and judge not in known:
            raise ConfigError(
                f"{file_of(layers, *place)}: {'.'.join(place)} names {judge!r}, which is neither limrank/<variant>, "
                f"inters/<variant> nor a causal model{nearest(judge, known)}"
            )


def check_answers(config: dict[str, Any], layers: list[Layer]) -> None:
    """Raise ConfigError where LimRank's questions can't be answered as asked (see :func:`check_rag`)."""
    known = [*config["models"], *(f"inters/{name}" for name in variants(config))]
    check_rag(config, file_of(layers, "limrank", "rag"), known)


def known_faults() -> list[str]:
    """Return the ids of the released faults that can be switched on, of all papers."""
    return [*answers.FAULTS, *STRATEGY_FAULTS, *udapdr_faults.FAULTS, *limrank_arguments.FAULTS]


def check_faults(config: dict[str, Any], layers: list[Layer]) -> None:
    """Raise ConfigError for a fault that no step knows: it would change nothing, in silence."""
    known = known_faults()
    asked: dict[tuple[str, ...], list[str]] = {("faults",): config["faults"]}
    for variant, row in chosen_variants(config).items():
        asked["udapdr", "ablations", variant, "faults"] = row["faults"]
    for place, names in asked.items():
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"{file_of(layers, *place)}: key {'.'.join(place)!r} names {name!r}, which is no fault that is "
                    f"rebuilt here{nearest(name.upper(), known)}; known: {', '.join(known)}"
                )


def training_collections(config: dict[str, Any]) -> dict[str, list[str]]:
    """Return {chain: collections whose human queries or synthetic off-domain queries it trains on}."""
    return {
        **{f"udapdr judge {name}": judge_training(config, name) for name in Chains(config).judges()},
        "inters": list(config["inters"].get("train_collections", [])),
        "udapdr off-domain": [config["udapdr"]["off_domain"]] if config["udapdr"].get("off_domain") else [],
        "limrank planted pairs": [config["limrank"]["planted_collection"]]
        if config["limrank"].get("planted_collection")
        else [],
        **human_sources(config),
    }


def targets_of(config: dict[str, Any], adapted: bool = True) -> set[str]:
    """Return the collections that are scored: those marked as targets, and those that a paper names as such.

    ``adapted``: with UDAPDR's targets, which bind only the models of its chain.
    """
    marked = {name for name, entry in config["collections"].items() if entry["target"]}
    part = config["udapdr"]
    named = {part["target"], *part["more_targets"]} if adapted else set()
    return marked | named | set(limrank_arguments.benchmarks(config))


def check_leakage(config: dict[str, Any]) -> None:
    """Raise LeakageError where a chain would train on a collection that is a target (rules of evidence, 1)."""
    for chain, names in training_collections(config).items():
        # UDAPDR's targets bind the models of its own chain
        apart = chain.startswith("limrank source") or (chain == "inters" and not tuned_writers(config))
        targets = targets_of(config, adapted=not apart)
        for name in sorted(targets.intersection(names)):
            raise LeakageError(
                f"{chain} would train on {name!r}, which is a target collection: its queries and labels are for "
                "evaluation only. Choose another collection in config/config.yaml"
            )


def plan(root: Path, user: dict[str, Any]) -> dict[str, Any]:
    """Return the whole configuration as a plain dictionary, checked, with the key ``plan`` added.

    ``plan`` holds ``artefacts`` (fetch units that the configuration can ask for). Raises ConfigError
    and LeakageError with messages that name key, value and fix.
    """
    given = {key: value for key, value in user.items() if key != "plan"}
    config = load_config(root, given).model_dump(mode="json")
    layers = layers_of(root, given, USER_FILE)
    check_ids(config, layers)
    check_folders(config, layers, root)
    limrank_arguments.check_sources(config, root)
    check_benchmarks(config, layers, root)
    check_followir(config, layers)
    check_seq2seq(config, layers)
    check_late_interaction(config, layers)
    check_pruned(config, layers)
    check_faults(config, layers)
    check_judges(config, layers)
    check_sources(config, layers)
    check_depths(config, layers)
    check_answers(config, layers)
    check_baseline_models(config, layers)
    check_leakage(config)
    check_corpora(config, layers)
    check_healing(config)
    check_unjudged(config, layers)
    check_ablations(config)
    check_released(config, root)
    fetched = {released_artefact(config), limrank_arguments.persona_artefact(config)} - {None}
    artefacts = {artefact_of(path) for path in raw_paths(config)} | fetched
    config["plan"] = {"artefacts": sorted(artefacts)}
    return config
