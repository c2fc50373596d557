"""How large models and corpora are, before they are fetched: config/sizes.tsv, one row a model or collection."""

from functools import cache
from pathlib import Path

from searchtune.commands.planning.jobs import Graph, PlannedJob
from searchtune.errors import DataError
from searchtune.files import read_tsv
from searchtune.registry.table import ROOT

SIZES = ROOT / "config" / "sizes.tsv"
UNKNOWN_PASSAGES = 10_000
UNKNOWN_QUERIES = 500
MINI_QUERIES = 6  # of a set of this project's own small data, about
UNKNOWN_PARAMETERS = 1_000_000_000
TOKENS_A_WORD = 1.4  # of all tokenizers here, on English prose, about
PASSAGE_TOKENS = 180  # of a passage that nothing cuts, about


@cache
def sizes(path: Path = SIZES) -> dict[tuple[str, str], int]:
    """Return (kind, id) -> weights of a model or passages of a collection; DataError for a value that is no count."""
    found = {}
    for row in read_tsv(path):
        if not row["value"].isdecimal():
            raise DataError(f"{path}: {row['kind']} {row['id']!r} has value {row['value']!r}; expected a whole number")
        found[row["kind"], row["id"]] = int(row["value"])
    return found


class Sizer:
    """Looks sizes up for the jobs of a graph. ``guesses``: what was not known and had to be taken as something."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.guesses: set[str] = set()

    def _known(self, kind: str, name: str, otherwise: int) -> int:
        if (kind, name) not in sizes():
            self.guesses.add(f"{kind} of {name}: not known, taken as {otherwise:,}")
        return sizes().get((kind, name), otherwise)

    def parameters(self, path: str) -> int:
        """Return the weights of the model at a path: of the one that it was tuned from, for a tuned one."""
        if "models" in Path(path).parts and "resources" in Path(path).parts:
            return self._known("model", Path(path).name, UNKNOWN_PARAMETERS)
        maker = self.graph.maker(path)
        if maker is None or not maker.files("model"):
            return self._known("model", Path(path).name, UNKNOWN_PARAMETERS)
        return self.parameters(maker.files("model")[0])

    def passages(self, path: str) -> int:
        """Return how many passages a collection has."""
        maker = self.graph.maker(path)
        if maker is None:
            return self._known("passages", Path(path).name, UNKNOWN_PASSAGES)
        if maker.stage == "udapdr.held":
            return self.passages(maker.files("collection")[0])
        if maker.stage != "collections.build":
            return int(maker.args.get("n_queries", 10)) * 12  # instructions: a dozen candidates a query
        if "passages" in maker.counts:
            return int(maker.counts["passages"])
        limit = maker.args.get("max_passages")
        if "mini" in {Path(raw).name for raw in maker.files("raw")}:
            return 60  # what this project's own small data hold, about
        known = self._known("passages", maker.args["id"], limit or UNKNOWN_PASSAGES)
        return min(known, limit) if limit else known

    def queries(self, path: str, splits: list[str]) -> int:
        """Return how many queries of some splits a collection has."""
        maker = self.graph.maker(path)
        if maker is None or maker.stage != "collections.build":
            return UNKNOWN_QUERIES if maker is None else int(maker.args.get("n_queries", 200))
        return sum(self._queries_of(maker, split) for split in splits)

    def _queries_of(self, maker: PlannedJob, split: str) -> int:
        """Return how many queries a split of a collection has: as built, as asked for, as known, else a guess."""
        if f"queries_{split}" in maker.counts:
            return int(maker.counts[f"queries_{split}"])
        asked = maker.args[f"n_{split}"]
        if asked is None and "mini" in {Path(raw).name for raw in maker.files("raw")}:
            return MINI_QUERIES
        if asked is not None:
            return int(asked)
        return self._known("queries", maker.args["id"], UNKNOWN_QUERIES)

    def tokens(self, job: PlannedJob) -> float:
        """Return about how many tokens one pass over the training rows of a tuning job (or its tokenizing) has."""
        if rendered := [job, *self.graph.behind(job, "inters.render")]:
            render = next((found for found in rendered if found.stage == "inters.render"), None)
            if render is not None:
                return float(render.args["total_tokens"])
        pack, rows = self.graph.behind(job, "limrank.pack")[0], self.synthetic_rows(job)
        reasoning = "reasoning" in Path(job.files("train")[0]).name
        words = pack.args["max_passage_words"] + reasoning * pack.args["max_reasoning_words"]
        return rows * min(words * TOKENS_A_WORD, job.args["max_length"])

    def synthetic_rows(self, job: PlannedJob) -> int:
        """Return how many rows LimRank's synthesizer, which is behind the job, gives at most."""
        made = self.graph.behind(job, "limrank.synthesize")[0].args
        passages = made["n_positives"] + made["n_hard"] + made["n_random"]
        return int(made["n_seeds"] * made["personas_per_seed"] * passages)
