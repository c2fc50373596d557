"""The chains of LimRank's part: a change of the recipe and a training seed each; and which files they share.

A chain is synthesis (or another source of rows) -> packed rows -> tuned model -> reranked sets. The chain as
configured has the name ``""`` and plain paths (``packed/``, ``models/direct-s13``); a change puts its name behind a
point (``packed.no_personas/``, ``models/direct.no_personas-s13``). Two chains that agree up to a step share its
files: the first of them makes them.
"""

import json
from typing import Any

from searchtune.config.base import chosen_ablations, merge
from searchtune.config.limrank_ablations import mode_of
from searchtune.synthesis import limrank_arguments as limrank
from searchtune.synthesis.limrank_baselines import baseline_names
from searchtune.synthesis.limrank_rag_arguments import answer_inputs
from searchtune.synthesis.udapdr_chains import Chains as UdapdrChains

Args = dict[str, Any]
STEPS = ("synthesis", "packed", "models", "reranked")
CONFIGURED = ""
# kinds of changes that vary a number: where it stands in section limrank
AXES = {"sizes": ("train", "fraction"), "reasoning": ("rerank", "max_reasoning_tokens")}


def chosen_changes(config: Args) -> dict[str, Args]:
    """Return the changes that run, in the order of the configuration."""
    every = config["limrank"]["ablations"]
    return {name: every[name] for name in chosen_ablations(every, config["limrank"]["run_ablations"])}


def source_of(section: Args) -> str:
    """Return where the training rows of a section limrank come from."""
    return section["source"]["name"]


def source_collection(config: Args, section: Args) -> str:
    """Return the collection whose questions a source other than the synthesizer takes; empty for INTERS' examples."""
    name = source_of(section)
    return {"human": section["source"]["collection"], "udapdr": config["udapdr"]["off_domain"]}.get(name, "")


class LimrankChains:
    """All chains of a configuration, worked out once."""

    def __init__(self, config: Args) -> None:
        self._config = config
        self.changes = chosen_changes(config)
        self.seeds: list[int] = config["seeds"]
        self._configs: dict[str, Args] = {CONFIGURED: config}
        for name, row in self.changes.items():
            self._configs[name] = config | {"limrank": merge(config["limrank"], row["set"])}
        self._owners = self._find_owners()

    def config(self, change: str) -> Args:
        """Return the configuration that a chain runs with: its own keys in place."""
        return self._configs[change]

    def section(self, change: str) -> Args:
        """Return section limrank as a chain has it."""
        return self._configs[change]["limrank"]

    def mode(self, change: str) -> str:
        """Return the tuned model that a change is tried on."""
        return mode_of(self.changes[change], self._config["limrank"]["ablated"])

    def source(self, change: str) -> str:
        """Return where a chain's rows come from."""
        return source_of(self.section(change))

    def owner(self, change: str, step: str) -> str:
        """Return the chain that makes a step's files for ``change``: itself, or the first that would make the same."""
        return self._owners[change, step]

    def owned(self, step: str, source: bool | None = None) -> list[str]:
        """Return the changes that make a step's files of their own; ``source``: only those with other rows than the
        synthesizer's, or only the rest."""
        found = [name for name in self.changes if self.owner(name, step) == name]
        return found if source is None else [n for n in found if (self.source(n) != "synthesis") is source]

    def path(self, change: str, step: str, name: str = "") -> str:
        """Return the folder of a chain's synthesis or packed rows, or ``name`` within it, wherever it is made."""
        owner = self.owner(change, step)
        folder = f"<results>/limrank/{step}{'.' if owner else ''}{owner}"
        return f"{folder}/{name}" if name else folder

    def model(self, change: str, mode: str, seed: int | str, step: str = "models") -> str:
        """Return the folder of a chain's tuned model of a seed (step ``reranked``: of its runs)."""
        owner = self.owner(change, step)
        return f"<results>/limrank/{step}/{mode}{'.' if owner else ''}{owner}-s{seed}"

    def rerank_args(self, change: str, mode: str, seed: int | str) -> Args:
        """Return the parameters of a change's reranking: at the depth of the tables, without the depth sweep."""
        depth = self.section(change)["rerank"]["depth"]
        return limrank.rerank_args(self.config(change), f"{mode}-s{seed}") | {"depth": depth}

    def source_inputs(self, change: str) -> dict[str, str]:
        """Return the inputs of ``limrank.source``, by name."""
        section, name = self.section(change), self.source(change)
        found = {"like": self.path(CONFIGURED, "packed", "direct.train.jsonl")}
        if self.mode(change) == "reasoning":
            found["judge"] = limrank.model_path(section["judge"])
            found["prompts"] = "workflow/prompts/limrank/synthesis.yaml"
        collection = source_collection(self._config, section)
        if collection:
            found["collection"] = f"<results>/collections/{collection}"
        if name == "human":
            return found | {"run": f"<results>/runs/{collection}/bm25.run.gz"}
        if name == "inters":
            return found | {"examples": "<results>/inters/examples"}
        written = UdapdrChains(self._config)
        return found | {"queries": written.path(written.of(collection)[0], "filtered")}

    def runs(self) -> list[Args]:
        """Return every run of a change: {change, mode, seed, path, model}, seeds in order."""
        return [
            {
                "change": name,
                "mode": self.mode(name),
                "seed": seed,
                "path": self.model(name, self.mode(name), seed, "reranked"),
                "model": self.model(name, self.mode(name), seed),
            }
            for name in self.changes
            for seed in self.seeds
        ]

    def evaluate_inputs(self) -> Args:
        """Return the named inputs of ``limrank.evaluate``."""
        config, runs = self._config, self.runs()
        ranked = limrank.ranked_inputs(config)
        reranked = [f"<results>/limrank/reranked/{name}" for name in limrank.rerank_systems(config)]
        return {
            **{name: ranked[name] for name in ("collections", "runs", "instructions", "followir")},
            "reranked": reranked + [f"<results>/limrank/baselines/{name}" for name in baseline_names(config)],
            "models": [f"<results>/limrank/models/{name}" for name in limrank.tuned_models(config)],
            "synthesis": self.path(CONFIGURED, "synthesis"),
            "heldout": self.path(CONFIGURED, "packed", "heldout"),
            "changed": [row["path"] for row in runs],
            "changed_models": [row["model"] for row in runs],
            "claims": "config/expected/claims.tsv",
            "published": "config/expected/limrank.tsv",
            **answer_inputs(config),
        }

    def evaluate_args(self) -> Args:
        """Return what ``limrank.evaluate`` must know of the chains: their runs in order, and the changes."""
        part = self._config["limrank"]
        return {
            "runs": [{key: row[key] for key in ("change", "mode", "seed")} for row in self.runs()],
            "changes": {
                name: {
                    "kind": row["kind"],
                    "label": row["label"] or name.replace("_", " "),
                    "x": _axis(self.section(name), row["kind"]),
                    "mode": self.mode(name),
                }
                for name, row in self.changes.items()
            },
            "axes": {kind: _axis(part, kind) for kind in AXES},
        }

    def _find_owners(self) -> dict[tuple[str, str], str]:
        first: dict[str, str] = {}
        owners = {}
        for name in (CONFIGURED, *self.changes):
            for step in STEPS:
                # rows are packed for both tuned models; a change is tried on one of those as configured
                tuned = step in ("models", "reranked")
                modes = [""] if not tuned else [self.mode(name)] if name else self._config["limrank"]["variants"]
                for mode in modes:
                    owners[name, step] = first.setdefault(self._signature(name, mode, step), name)
        return owners

    def _signature(self, change: str, mode: str, step: str) -> str:
        upto = STEPS[: STEPS.index(step) + 1]
        return mode + json.dumps([[s, self._given(change, s)] for s in upto], sort_keys=True)

    def _given(self, change: str, step: str) -> Any:
        """Return everything that a step's result hangs on, besides the steps before it."""
        config, section = self.config(change), self.section(change)
        if step == "synthesis" and source_of(section) != "synthesis":
            return ["source", limrank.source_args(config, self.mode(change)), self.mode(change)]
        if step == "synthesis":
            return [limrank.synthesis_inputs(config), limrank.synthesize_args(config)]
        if step == "packed":
            return [section["base"], limrank.pack_args(config)]
        if step == "models":
            return [section["base"], limrank.train_args(config, "0")]
        return self.rerank_args(change, "direct", 0)


def _axis(section: Args, kind: str) -> float | None:
    """Return the number that a kind of changes varies; None for kinds that vary none."""
    if kind not in AXES:
        return None
    part, key = AXES[kind]
    return section[part][key]
