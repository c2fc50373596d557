"""The chains of UDAPDR's part: a collection, a variant of the recipe and a seed each; and which files they share.

Two targets of one corpus (LoTTE's forum and search queries) share its chain: the first of them is what it is made
for, the other is scored with the same models and index.

Names: ``amazon`` is the first target with the recipe as configured and the first seed, ``amazon.y1`` a variant,
``amazon.y1-s14`` its second seed. Two chains that agree up to a stage share its files: the first of them makes them.
"""

import json
from collections.abc import Callable
from typing import Any

from searchtune.config.base import chosen_ablations, merge
from searchtune.config.udapdr import STAGES
from searchtune.synthesis import udapdr_arguments as udapdr
from searchtune.synthesis import udapdr_judges as judges

Args = dict[str, Any]
# what each stage takes besides its parameters (keys of udapdr that name models), and its parameters
_STEPS: dict[str, tuple[tuple[str, ...], Callable[[Args], Args]]] = {
    "seed": (("strong_model",), udapdr.seed_args),
    "prompts": ((), udapdr.prompts_args),
    "queries": (("cheap_model",), udapdr.scale_up_args),
    "filtered": (("encoder",), udapdr.filter_args),
    # its section names the start, too; by prompt only the seed differs
    "rerankers": ((), lambda config: udapdr.reranker_args(config, 0)),
    "tuples": ((), judges.tuples_args),
    "students": ((), lambda config: udapdr.student_args(config, "adapted")),
}
# where a stage's files lie in the folder of its chain; the index is that of the encoder, before it is adapted
PARTS = {
    "index": "index",
    "seed": "seed",
    "prompts": "prompts.jsonl",
    "queries": "queries",
    "filtered": "filtered",
    "rerankers": "rerankers",
    "tuples": "tuples.jsonl",
    "students": "students",
    # of a student's vectors, its runs, and the rerankers' run
    "indexes": "indexes",
    "late": "late",
    "reranked": "bm25_reranked.run.gz",
}

# kinds of variants that vary a count: where it stands in section udapdr
AXES = {
    "rerankers": ("prompts", "count"),
    "queries": ("scale_up", "per_prompt"),
    "tuples": ("teachers", "n_tuples"),
    "filter": ("filter", "k"),
}


# a target without human questions is scored on a collection of this name: its own, and this behind it
HELD = "_held"
# a student that starts from these weights is the paper's own
PUBLISHED_START = "colbert-ir--colbertv2.0"


def unjudged_targets(config: Args) -> list[str]:
    """Return the targets without human questions: collections of which no test query is taken."""
    part = config["udapdr"]
    return [name for name in (part["target"], *part["more_targets"]) if config["collections"][name]["n_test"] == 0]


def held_collections(config: Args) -> list[str]:
    """Return the names of the collections of held-out synthetic queries."""
    return [name + HELD for name in unjudged_targets(config)]


def corpus_of(config: Args, collection: str) -> str:
    """Return the collection that names the corpus of a collection: itself, or the one whose corpus it has."""
    return config["collections"][collection].get("same_corpus_as") or collection


def published_name(entry: Args) -> str:
    """Return the name of a collection among the published values, by its raw files; empty where it has none there."""
    if not entry["raw"]:
        return ""
    first = entry["raw"][0].split("/")
    if entry["reader"] == "lotte":
        files = [name.rsplit("/", 1)[1] for name in entry["raw"]]
        kind = next((name.split(".")[1] for name in files if name.startswith("qas.")), "")
        return f"lotte/{first[-3]}/{first[-2]}/{kind}"
    return f"beir/{first[-1]}" if entry["reader"] == "beir" else ""


def chosen_variants(config: Args) -> dict[str, Args]:
    """Return the variants that run, in the order of the configuration."""
    every = config["udapdr"]["ablations"]
    return {name: every[name] for name in chosen_ablations(every, config["udapdr"]["run_ablations"])}


def tuned_writers(config: Args) -> list[str]:
    """Return the models of INTERS' part (inters/<variant>) that write for UDAPDR, in its recipe or in a variant."""
    sections = [config["udapdr"], *(row["set"] for row in chosen_variants(config).values())]
    names = [str(part.get(key, "")) for part in sections for key in ("strong_model", "cheap_model")]
    return [name for name in dict.fromkeys(names) if name.startswith("inters/")]


class Chains:
    """All chains of a configuration. ``names`` in order: bases first, so that they make what is shared."""

    def __init__(self, config: Args) -> None:
        part = config["udapdr"]
        self.targets: list[str] = [part["target"], *part["more_targets"]]
        self.off_domain: str = part["off_domain"]
        self._sources = [*self.targets, *([self.off_domain] if self.off_domain else [])]
        self.variants = chosen_variants(config)
        self.seeds: list[int] = config["seeds"]
        self._config = config
        self._members: dict[str, tuple[str, str | None, int]] = {}
        for number, seed in enumerate(self.seeds):
            for collection in self._sources:
                self._members[_name(collection, None, number, seed)] = (collection, None, seed)
        for number, seed in enumerate(self.seeds):
            for variant in self.variants:
                self._members[_name(self.targets[0], variant, number, seed)] = (self.targets[0], variant, seed)
        self._owners = self._find_owners()
        # chains that search an index of another one's making
        self.guests = [name for name in self._members if self.owner(name, "indexes") != name and self.of_target(name)]
        self.hosts = [name for name in self._members if name not in self.guests]

    @property
    def students(self) -> list[str]:
        """Return the systems of the quality table that are students; without an off-domain collection one fewer."""
        return [name for name, (where, _) in udapdr.STUDENTS.items() if self.off_domain or where == "target"]

    @property
    def names(self) -> list[str]:
        """Return the names of all chains."""
        return list(self._members)

    def of(self, collection: str, variant: str | None = None) -> list[str]:
        """Return the chains of a collection and variant (none: the recipe as configured), one a seed."""
        return [name for name, row in self._members.items() if row[:2] == (collection, variant)]

    def of_target(self, chain: str) -> bool:
        """Say whether a chain is a target's by the recipe as configured."""
        return self._members[chain][1] is None and self._members[chain][0] in self.targets

    def corpus(self, name: str) -> str:
        """Return the collection that names the corpus of a collection, or of a chain's."""
        return corpus_of(self._config, self.collection(name) if name in self._members else name)

    def is_variant(self, chain: str) -> bool:
        """Say whether a chain changes the recipe: if it comes to too little, that is its result, and others go on."""
        return self._members[chain][1] is not None

    def collection(self, chain: str) -> str:
        """Return the collection of a chain."""
        return self._members[chain][0]

    def config(self, chain: str, stage: str) -> Args:
        """Return the configuration that a stage of a chain runs with: the variant's keys in place, its seed first.

        Stages before ``udapdr.seeds_from`` keep the first seed, so that all seeds share them.
        """
        _, variant, seed = self._members[chain]
        late = STAGES.index(stage) >= STAGES.index(self._config["udapdr"]["seeds_from"])
        found = self._config | {"seeds": [seed if late else self.seeds[0]]}
        if variant:
            row = self.variants[variant]
            found["udapdr"] = merge(self._config["udapdr"], row["set"])
            found["faults"] = [*self._config["faults"], *row["faults"]]
        return found

    def part(self, chain: str, key: str, stage: str = "students") -> Any:
        """Return a key of section udapdr as a chain has it."""
        return self.config(chain, stage)["udapdr"][key]

    def args(self, chain: str, stage: str) -> Args:
        """Return the parameters of a stage of a chain."""
        return _STEPS[stage][1](self.config(chain, stage))

    def reranker_args(self, chain: str, prompt: int) -> Args:
        """Return the parameters of one reranker."""
        return udapdr.reranker_args(self.config(chain, "rerankers"), prompt)

    def student_args(self, chain: str, variant: str) -> Args:
        """Return the parameters of a student, ``adapted`` or ``shuffled``."""
        return udapdr.student_args(self.config(chain, "students"), variant)

    def search_args(self, chain: str, system: str) -> Args:
        """Return the parameters of a student's search of what its chain is scored on."""
        return udapdr.student_runs_args(self._config, system, self.scored(chain))

    def collection_path(self, name: str) -> str:
        """Return the folder of a collection, or of a chain's: what the chain learns from."""
        return f"<results>/collections/{self.collection(name) if name in self._members else name}"

    def scored(self, name: str) -> str:
        """Return the collection that a target, or a chain's, is scored on: itself, or its held-out synthetic queries
        where it has no human ones.
        """
        target = self.collection(name)
        return target + HELD if target in unjudged_targets(self._config) else target

    def scored_path(self, name: str) -> str:
        """Return the folder of :meth:`scored`."""
        return f"<results>/collections/{self.scored(name)}"

    def model(self, chain: str, key: str) -> str:
        """Return the folder of the model that a key of section udapdr names (``reranker``: its start)."""
        value = self.part(chain, key)
        name, shown = (value["model"], f"{key}.model") if isinstance(value, dict) else (value, key)
        return udapdr.model_path(self._config, name, shown)

    def student(self, chain: str, system: str) -> str:
        """Return the folder of the student behind a system of the quality table, of the chain's own seed."""
        where, variant = udapdr.STUDENTS[system]
        if where == "off_domain":
            seed = self._members[chain][2]
            chain = next(name for name in self.of(self.off_domain) if self._members[name][2] == seed)
        return self.path(chain, "students", variant)

    def prompts(self, chain: str) -> range:
        """Return the numbers of a chain's prompts, one reranker each."""
        return range(self.part(chain, "prompts")["count"])

    def owner(self, chain: str, stage: str) -> str:
        """Return the chain that makes a stage's files for ``chain``: itself, or the first that would make the same."""
        return self._owners[chain, stage]

    def path(self, chain: str, stage: str, name: str = "") -> str:
        """Return a stage's file or folder, or ``name`` within it, wherever it is made."""
        folder = f"<results>/udapdr/{self.owner(chain, stage)}/{PARTS[stage]}"
        return f"{folder}/{name}" if name else folder

    def rerankers(self, chain: str) -> list[str]:
        """Return the folders of a chain's rerankers."""
        return [self.path(chain, "rerankers", str(number)) for number in self.prompts(chain)]

    def owners(self, stage: str) -> list[str]:
        """Return the chains that make a stage's files, each once."""
        return list(dict.fromkeys(self.owner(chain, stage) for chain in self._members))

    def first_rerankers(self) -> list[str]:
        """Return the rerankers of all collections by the recipe as configured, first seed.

        Where a judge labels instead, only those of the targets are trained: they rerank BM25's passages.
        """
        chains = [self.of(name)[0] for name in (self.targets if judges.judge_of(self._config) else self._sources)]
        return list(dict.fromkeys(path for chain in chains for path in self.rerankers(chain)))

    def judge(self, chain: str) -> str:
        """Return the name of the language model that labels a chain's tuples; empty where cross-encoders do."""
        return judges.judge_of(self.config(chain, "tuples"))

    def judge_path(self, chain: str) -> str:
        """Return the folder of a chain's judge, of the seed that its tuples are made with."""
        return judges.judge_path(self.config(chain, "tuples"))

    def judges(self) -> list[str]:
        """Return the names of the language models that label in any chain, each once."""
        return list(dict.fromkeys(self.judge(chain) for chain in self.judged()))

    def judged(self) -> list[str]:
        """Return the chains that make tuples with a judge."""
        return [chain for chain in self.owners("tuples") if self.judge(chain)]

    def taught(self) -> list[str]:
        """Return the chains that make tuples with cross-encoders."""
        return [chain for chain in self.owners("tuples") if not self.judge(chain)]

    def runs(self) -> list[Args]:
        """Return every run that is scored: {path, collection, system, seed, variant}.

        ``system`` is empty for a folder of runs, which their file names tell apart; ``seed`` is empty for what was not
        trained. Of variants the student is scored; where writers or rerankers differ, the rerankers too, unless a
        judge labels.
        """
        found = []
        for target in self.targets:
            scored = self.scored(target)
            first = {"collection": scored, "seed": None, "variant": ""}
            for system, path in (
                ("bm25", f"<results>/runs/{scored}/bm25.run.gz"),
                (udapdr.DENSE, f"<results>/runs/{scored}/dense.{self._config['udapdr']['encoder']}.run.gz"),
                ("", f"<results>/udapdr/{target}/late/zero_shot"),
            ):
                if system not in udapdr.absent_systems(self._config):
                    found.append(first | {"system": system, "path": path})
            for chain in self.of(target):
                found += self._trained_runs(chain, self.students, True)
        for variant, row in self.variants.items():
            for chain in self.of(self.targets[0], variant):
                # rerankers that neither teach nor are as configured would be trained for this row alone
                reranked = row["kind"] == "models" and not self.judge(chain)
                found += self._trained_runs(chain, ["student_adapted"], reranked)
        return found

    def _trained_runs(self, chain: str, students: list[str], reranked: bool) -> list[Args]:
        _, variant, seed = self._members[chain]
        row = {"collection": self.scored(chain), "seed": seed, "variant": variant or ""}
        found = [row | {"system": name, "path": self.path(chain, "late", name)} for name in students]
        if reranked:
            found.append(row | {"system": "bm25_reranked", "path": self.path(chain, "reranked")})
        return found

    def evaluate_inputs(self) -> Args:
        """Return the named inputs of ``udapdr.evaluate``; runs in the order of its parameters."""
        part = self._config["udapdr"]
        target = f"<results>/udapdr/{part['target']}"
        return {
            "collections": [self.scored_path(name) for name in self.targets],
            "runs": [row["path"] for row in self.runs()],
            "reranked_scores": f"{target}/bm25_reranked.scores.tsv.gz",
            "rerankers": self.first_rerankers(),
            "synthesis": [f"{target}/{name}" for name in ("seed", "prompts.synthesis.tsv", "queries", "filtered")],
            "filtered": f"{target}/filtered",
            "judged": [f"<results>/udapdr/{chain}/judged" for chain in self.judged()],
            "latency": f"{target}/latency.tsv",
            "claims": "config/expected/claims.tsv",
            "published": "config/expected/udapdr.tsv",
            "plaid": [f"{target}/plaid.tsv"] if part["search"]["loss_nbits"] else [],
        }

    def evaluate_args(self) -> Args:
        """Return what ``udapdr.evaluate`` must know of the chains: its runs in order, and the variants."""
        return {
            "without": sorted({*udapdr.STUDENTS, *udapdr.absent_systems(self._config)} - set(self.students)),
            "runs": [{key: value for key, value in row.items() if key != "path"} for row in self.runs()],
            "variants": {
                name: {
                    "kind": row["kind"],
                    "label": row["label"] or name.replace("_", " "),
                    "x": _axis(merge(self._config["udapdr"], row["set"]), row["kind"]),
                }
                for name, row in self.variants.items()
            },
            "dev": bool(self.variants) and udapdr.has_dev_queries(self._config, self.scored(self.targets[0])),
            "axes": {kind: _axis(self._config["udapdr"], kind) for kind in AXES},
            "datasets": {name: found for name in self.targets if (found := published_name(self._entry(name)))},
            "published_start": PUBLISHED_START in str(self._config["models"][self._config["udapdr"]["encoder"]]["raw"]),
            "judge": judges.judge_of(self._config),
            "judged": [f"{self.judge(chain)}, {chain}" for chain in self.judged()],
        }

    def _entry(self, collection: str) -> Args:
        return self._config["collections"][collection]

    def _find_owners(self) -> dict[tuple[str, str], str]:
        first: dict[str, str] = {}
        owners = {}
        for chain in self._members:
            signature = self.corpus(chain)
            for stage in STAGES:
                keys, args = _STEPS[stage]
                config = self.config(chain, stage)
                given = [[config["udapdr"][key] for key in keys], args(config)]
                signature = f"{signature}\n{stage} {json.dumps(given, sort_keys=True)}"
                owners[chain, stage] = first.setdefault(signature, chain)
            config = self.config(chain, "filtered")
            given = [self.corpus(chain), config["udapdr"]["encoder"], udapdr.zero_shot_args(config)]
            owners[chain, "index"] = first.setdefault(f"index {json.dumps(given, sort_keys=True)}", chain)
            # runs are of one collection's queries
            made = owners[chain, "students"]
            owners[chain, "indexes"] = first.setdefault(f"indexes {made}", chain)
            owners[chain, "late"] = first.setdefault(f"late {made} {self.scored(chain)}", chain)
            made = owners[chain, "rerankers"]
            owners[chain, "reranked"] = first.setdefault(f"reranked {made} {self.scored(chain)}", chain)
        return owners


def _name(collection: str, variant: str | None, number: int, seed: int) -> str:
    return collection + (f".{variant}" if variant else "") + (f"-s{seed}" if number else "")


def _axis(part: Args, kind: str) -> float | None:
    """Return the count that a kind of variants varies; None for kinds that vary no count."""
    if kind not in AXES:
        return None
    section, key = AXES[kind]
    return part[section][key]
