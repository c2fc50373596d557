"""What is audited for leakage against what: arguments of the audit, out of the configuration.

Imported by the rules, so it imports nothing heavy.
"""

from typing import Any

from searchtune.config.models import MODEL_KEYS, pruned_models, pruned_of, pruned_of_paper
from searchtune.synthesis.limrank_arguments import benchmarks, question_paths
from searchtune.synthesis.limrank_baselines import UDAPDR
from searchtune.synthesis.limrank_chains import CONFIGURED, LimrankChains
from searchtune.synthesis.udapdr_chains import Chains, chosen_variants, tuned_writers
from searchtune.synthesis.udapdr_judges import TUNED
from searchtune.tasks.arguments import mixture_file
from searchtune.tasks.variants import variants

INSTRUCTIONS = "limrank/instructions"
# INTERS' task examples, split: its models are scored on the test part, and every mixture, ablations and
# demonstrations included, draws from the training part
EXAMPLES = "inters/examples"
INTERS_TRAIN = ["inters/mixtures/full/train.jsonl", EXAMPLES]
# every row that tunes a reranker of LimRank: its direct rows are the same pairs without the reasoning
LIMRANK_TRAIN = "limrank/packed/reasoning.train.jsonl"


def scored_sets(config: dict[str, Any]) -> list[str]:
    """Return what the chosen papers are scored on, as folders in collection layout (paths below the results)."""
    found: set[str] = set()
    if {"inters", "udapdr"} & set(config["papers"]):
        chains = Chains(config)
        found.update(f"collections/{chains.scored(name)}" for name in chains.targets)
    if "inters" in config["papers"]:
        found.update(own_collections(config))
        found.add(EXAMPLES)
    if "limrank" in config["papers"]:
        found.update(ranked_sets(config))
        found.add(INSTRUCTIONS)
    return sorted(found)


def own_collections(config: dict[str, Any]) -> list[str]:
    """Return the collections that INTERS' models are scored on (paths below the results)."""
    part = config["inters"]
    return [f"collections/{name}" for name in dict.fromkeys([*part["collections"], *part["strategies"]["sets"]])]


def ranked_sets(config: dict[str, Any]) -> list[str]:
    """Return the collections that LimRank reranks, FollowIR's sets, and the question sets that it answers (paths below
    the results)."""
    return [
        *(f"collections/{name}" for name in benchmarks(config)),
        *(path.removeprefix("<results>/") for path in question_paths(config)),
    ]


def training_sets(config: dict[str, Any]) -> list[str]:
    """Return what the models of the chosen papers are trained on (paths below the results)."""
    known = {
        "inters": INTERS_TRAIN,
        "udapdr": [f"udapdr/{chain}/filtered" for chain in Chains(config).owners("filtered")]
        + [path for _, path in judge_sets(config)],
        "limrank": [*limrank_sets(config), *baseline_sets(config)],
    }
    # a judge of UDAPDR may be LimRank's, and its writer INTERS'
    found = [path for paper in known if paper in config["papers"] for path in known[paper]]
    return list(dict.fromkeys([*borrowed_sets(config), *found]))


def limrank_sets(config: dict[str, Any]) -> list[str]:
    """Return every set of rows that tunes a reranker of LimRank, those of its changes behind the configured one's."""
    chains = LimrankChains(config)
    own = [chains.path(name, "packed", "reasoning.train.jsonl") for name in chains.owned("packed")]
    return [LIMRANK_TRAIN, *(path.removeprefix("<results>/") for path in own)]


def baseline_sets(config: dict[str, Any]) -> list[str]:
    """Return the synthetic queries that tune LimRank's baselines out of UDAPDR's part (paths below the results)."""
    chains, named = Chains(config), [str(row["model"]) for row in config["limrank"]["baselines"]]
    path = chains.path(chains.of(chains.targets[0])[0], "filtered").removeprefix("<results>/")
    return [path] if any(name.startswith(UDAPDR) for name in named) else []


def borrowed_models(config: dict[str, Any]) -> list[str]:
    """Return the models of INTERS' part that write, judge or answer in the chains of the chosen papers, in the recipe
    or in a variant that runs; their training data are audited with those chains' sets.
    """
    chains, names = LimrankChains(config), []
    if "limrank" in config["papers"]:
        for section in map(chains.section, (CONFIGURED, *chains.changes)):
            names += [*(section.get(key) for key in MODEL_KEYS), section["rag"]["model"]]
    if "udapdr" in config["papers"] or any(chains.source(name) == "udapdr" for name in chains.changes):
        names += tuned_writers(config)
    return [name for name in dict.fromkeys(map(str, names)) if name.startswith("inters/")]


def _mixture(config: dict[str, Any], model: str) -> str:
    """Return the rows that a model of INTERS' part (inters/<variant>) learns from (path below the results)."""
    variant = variants(config)[model.removeprefix("inters/")]
    return mixture_file(variant, "train.jsonl").removeprefix("<results>/")


def _learnt(config: dict[str, Any], models: list[str]) -> list[str]:
    """Return what models of INTERS' part learn from: their rendered rows, and the examples in these, field by field."""
    return [*dict.fromkeys(_mixture(config, name) for name in models), *([EXAMPLES] if models else [])]


def borrowed_sets(config: dict[str, Any]) -> list[str]:
    """Return what the borrowed models learn from (paths below the results)."""
    return _learnt(config, borrowed_models(config))


def judge_sets(config: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (judge, what it is tuned on, path below the results) of UDAPDR's judges that are tuned here."""
    found = []
    for name in Chains(config).judges():
        behind = [name]
        if name.startswith(TUNED):  # what made its rows, or it starts from, passes on what it knows
            found.append((name, LIMRANK_TRAIN))
            behind = [str(config["limrank"].get(key)) for key in MODEL_KEYS]
        found += [(name, path) for path in _learnt(config, [n for n in behind if n.startswith("inters/")])]
    return found


def healing_sets(config: dict[str, Any]) -> list[str]:
    """Return what healed the pruned models of the chosen papers (folders below the resources)."""
    papers = [*config["papers"], *(["inters"] if borrowed_models(config) else [])]
    return sorted({path for paper in papers for path in healed_on(config, paper)})


def healed_on(config: dict[str, Any], paper: str) -> list[str]:
    """Return what healed the pruned models that a paper starts from (folders below the resources); of UDAPDR's, those
    of its judges, too, and of what these are tuned from.
    """
    names = [name for section in sections(config, paper) for name in pruned_of(config, section)]
    for judge in Chains(config).judges() if paper == "udapdr" else []:
        made_by = judge.split("/")[0] if "/" in judge else ""
        names += pruned_of_paper(config, made_by) if made_by else {judge}.intersection(pruned_models(config))
    return [f"heal/{name}" for name in dict.fromkeys(names)]


def sections(config: dict[str, Any], paper: str) -> list[dict[str, Any]]:
    """Return a paper's section, and what the variants of its chain that run put in the place of parts of it."""
    if paper == "limrank":
        chains = LimrankChains(config)
        return [chains.section(name) for name in (CONFIGURED, *chains.changes)]
    variants_of = [row["set"] for row in chosen_variants(config).values()] if paper == "udapdr" else []
    return [config[paper], *variants_of]


def chains_of_papers(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the chains of the chosen papers: name -> {train, eval, kinds of overlap that are refused}."""
    ranked = [_short(path) for path in ranked_sets(config)]
    own, targets = own_collections(config), Chains(config)
    # UDAPDR's targets bind the models of its chain alone
    adapted = [f"collections/{targets.scored(name)}" for name in targets.targets] if tuned_writers(config) else []
    bound = {*ranked_sets(config), *adapted}
    shared = {f"collections/{name}" for name in config["inters"]["collections"]}
    foreign = [_short(name) for name in scored_sets(config) if name in bound - shared]
    mixed = [_short(path) for path in INTERS_TRAIN]
    tuned = [*(INTERS_TRAIN if "inters" in config["papers"] else []), *borrowed_sets(config)]
    both = ["query", "passage"]
    baselines = [_short(path) for path in baseline_sets(config)]
    chains = {
        # the writer serves the other two papers, so it must not know any of their sets; the instruction set is of
        # its own source collection, whose articles are split
        "inters": {
            "inters": {
                "train": list(dict.fromkeys(_short(path) for path in tuned)),
                "eval": foreign,
                "kinds": both,
            },
            # passages of a source collection are shared by its splits; its test questions are not
            "inters, own tests": {"train": mixed, "eval": own, "kinds": ["query"]},
            # publishers' splits may share a document, and what they share is theirs to answer for: reported
            "inters, task tests": {
                "train": mixed,
                "eval": [EXAMPLES],
                "kinds": [] if config["inters"]["published_splits"] else both,
            },
        },
        # an adapted student reads its target's passages by design; human queries must stay unseen
        "udapdr": udapdr_chains(config),
        "limrank": {
            "limrank": {
                "train": [_short(path) for path in limrank_sets(config)],
                "eval": [*ranked, INSTRUCTIONS],
                "kinds": both,
            },
            # rerankers of UDAPDR's target are compared on these sets, whose passages may be the target's
            **({"limrank, baselines": {"train": baselines, "eval": ranked, "kinds": ["query"]}} if baselines else {}),
        },
    }
    chosen = {paper: chains[paper] for paper in chains if paper in config["papers"]}
    if "inters" not in chosen and borrowed_models(config):
        chosen = {"inters": {"inters": chains["inters"]["inters"]}, **chosen}
    healed = {paper: [_short(path) for path in healed_on(config, paper)] for paper in chosen}
    return {
        name: chain | {"train": chain["train"] + healed[paper]}
        for paper, parts in chosen.items()
        for name, chain in parts.items()
    }


def udapdr_chains(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what UDAPDR's students are trained on and scored on: own queries of each target, and off-domain ones."""
    # what follows is planned for every target: none of it is worked out twice
    chains, judged, both = Chains(config), judge_sets(config), ["query", "passage"]
    found = {}
    for number, target in enumerate(chains.targets):
        mine = [chain for chain in chains.owners("filtered") if chains.corpus(chain) == chains.corpus(target)]
        foreign = _off_domain(chains)
        scored, where = [f"collections/{chains.scored(target)}"], f", {target}" if number else ""
        found[f"udapdr{where}"] = {"train": [f"{c}/filtered" for c in mine], "eval": scored, "kinds": ["query"]}
        if foreign:
            found[f"udapdr, off-domain{where}"] = {
                "train": [f"{chain}/filtered" for chain in foreign],
                "eval": scored,
                "kinds": both,
            }
        # a judge's own data come from elsewhere
        for name, path in judged:
            own = found.setdefault(f"udapdr judge {name}{where}", {"train": [], "eval": scored, "kinds": both})
            own["train"].append(_short(path))
    return found


def off_domain_corpora(config: dict[str, Any]) -> dict[str, str]:
    """Return filtered queries of UDAPDR's off-domain chains -> the collection of their passages (paths below the
    results).

    Their rows name passages by id. A chain of a target's own is not among them: it reads the target's passages by
    design.
    """
    if "udapdr" not in config["papers"]:
        return {}
    chains = Chains(config)
    return {f"udapdr/{chain}/filtered": f"collections/{chains.off_domain}" for chain in _off_domain(chains)}


def _off_domain(chains: Chains) -> list[str]:
    """Return the chains that make filtered queries of the off-domain collection."""
    return [chain for chain in chains.owners("filtered") if chains.collection(chain) == chains.off_domain]


def _short(path: str) -> str:
    """Return the name under which the audit knows an artefact: its folder and its own name."""
    return "/".join(path.split("/")[-2:])


def audit_inputs(config: dict[str, Any]) -> dict[str, list[str]]:
    """Return the named inputs of ``audit.leakage``; ``corpora`` hold the passages that training rows name by id."""
    learnt = [f"<results>/{path}" for path in training_sets(config)]
    return {
        "train": learnt + [f"<resources>/{path}" for path in healing_sets(config)],
        "eval": [f"<results>/{path}" for path in scored_sets(config)],
        "corpora": [f"<results>/{path}" for path in sorted(set(off_domain_corpora(config).values()))],
    }


def audit_args(config: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of ``audit.leakage``."""
    settings = config["leakage"]
    return {
        "n": settings["ngram"],
        "max_share": settings["max_share"],
        "chains": chains_of_papers(config),
        "corpora": {_short(queries): _short(corpus) for queries, corpus in off_domain_corpora(config).items()},
    }
