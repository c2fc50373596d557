"""Stage ``rerank.strategies``: one language model reranks BM25's passages pointwise, pairwise and listwise.

INTERS (released code, eval_rerank.py): pointwise by the probability of yes against no; pairwise by the likelihood of
"1" against "2" in both orders and bubble sort; listwise by generation over sliding windows. Instruction and query stand
before the passages in every prompt, so that a back end with prefix caching computes them once a query.

Faults of the released code, each a switch: ``B6`` windows that do not overlap over shuffled candidates; ``B8`` pairwise
and listwise drop queries with fewer candidates than the depth, pointwise keeps them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import read_run, write_run
from searchtune.errors import ConfigError, DataError, nearest
from searchtune.files import write_json, write_jsonl, write_tsv
from searchtune.llm.calls import Request, count_calls, run_requests
from searchtune.llm.engine import Engine, Sampling
from searchtune.llm.job_engine import job_engine
from searchtune.prompts.budget import fit_tokens, load_tokenizer
from searchtune.prompts.chat import wrap
from searchtune.prompts.templates import Template, TemplateFile, load_templates, render
from searchtune.reranking.duels import rank_by_duels
from searchtune.reranking.sampling import sample_queries
from searchtune.reranking.windows import rank_by_windows, shuffled
from searchtune.stage import Job

if TYPE_CHECKING:
    from tokenizers import Tokenizer

RELEASED_MODE = "listwise_released"  # windows of 5 at stride 5 over shuffled candidates, whatever the faults say
MODES = ("pointwise", "pairwise", "listwise", RELEASED_MODE)
RELEASED_WINDOW = 5
YES, NO = "yes", "no"
COUNTS_COLUMNS = [
    *("mode", "collection", "queries", "dropped", "depth", "window", "stride", "tie_share"),
    *("asked", "broken", "calls", "prompt_tokens", "completion_tokens"),
]
Scores = dict[str, dict[str, float]]


@dataclass
class Asker:
    """A loaded model with the texts of one collection; keeps a record of every call."""

    engine: Engine
    templates: TemplateFile
    task: str
    queries: Mapping[str, str]
    passages: Mapping[str, str]
    job: Job
    records: list[dict] = field(default_factory=list)
    steps: int = 0

    def prompt(self, kind: str, fields: dict[str, str]) -> str:
        """Return the text that the model reads: task description, template of the set, chat form."""
        name = self.task if kind == "pointwise" else f"{self.task}.{kind}"
        templates = self.templates[name]
        template: Template = templates.templates[0]
        text = render(template.prompt, fields, f"{name}/{template.id}")
        described = f"{templates.description}\n\n{text}" if self.job.params["with_description"] else text
        return wrap(described, self.job.params["form"])

    def send(self, name: str, requests: list[Request]) -> list[dict]:
        """Run a batch of requests and keep their records; every batch has a number of its own."""
        self.steps += 1
        found = run_requests(
            self.engine, requests, self.job.work, f"{name}/{self.steps:04d}", self.job.params["shard_size"], _quiet
        )
        self.records += found
        return found

    def score(self, name: str, prompts: list[tuple[str, str]], texts: tuple[str, ...]) -> list[dict[str, float]]:
        """Return the log-probability of each of ``texts`` after each (id, prompt)."""
        records = self.send(name, [Request(key, prompt, continuations=texts) for key, prompt in prompts])
        return [{item["text"]: item["logprob"] for item in record["scores"]} for record in records]

    def pointwise(self, candidates: Mapping[str, Sequence[str]]) -> Scores:
        """Return query -> passage -> log-odds of yes against no, which order as P(yes) does."""
        pairs = [(query, document) for query, documents in candidates.items() for document in documents]
        prompts = [
            (f"{q}\t{d}", self.prompt("pointwise", {"query": self.queries[q], "passage": self.passages[d]}))
            for q, d in pairs
        ]
        run: Scores = {query: {} for query in candidates}
        for (query, document), found in zip(pairs, self.score("pointwise", prompts, (YES, NO)), strict=True):
            run[query][document] = found[YES] - found[NO]
        return run

    def prefer(self, batch: list[tuple[str, str, str]]) -> list[bool]:
        """Say for each (query, upper, lower) whether the lower passage is better in both orders of the two."""
        prompts = []
        for query, upper, lower in batch:
            for first, second in ((upper, lower), (lower, upper)):
                fields = {"query": self.queries[query], "first": self.passages[first], "second": self.passages[second]}
                prompts.append((f"{query}\t{first}\t{second}", self.prompt("pairwise", fields)))
        found = self.score("pairwise", prompts, ("1", "2"))
        return [
            straight["2"] > straight["1"] and turned["1"] > turned["2"]
            for straight, turned in zip(found[::2], found[1::2], strict=True)
        ]

    def order(self, batch: list[tuple[str, list[str]]]) -> list[str]:
        """Return the model's answers for windows of passages: identifiers, best first."""
        sampling = Sampling(max_tokens=self.job.params["listwise_max_tokens"], temperature=0.0)
        requests = []
        for query, documents in batch:
            passages = "\n".join(f"[{n}] {self.passages[d]}" for n, d in enumerate(documents, 1))
            fields = {"query": self.queries[query], "passages": passages, "count": str(len(documents))}
            requests.append(Request(query, self.prompt("listwise", fields), sampling=sampling))
        return [record["text"] for record in self.send("listwise", requests)]


def _quiet(message: str) -> None:
    """Swallow the message of each batch: there are hundreds of them."""


@dataclass(frozen=True)
class Plan:
    """How one mode ranks: window, stride, and whether candidates are shuffled and short queries dropped."""

    window: int
    stride: int
    shuffle: bool
    drop_short: bool


def plan_of(params: Mapping[str, Any], mode: str) -> Plan:
    """Return the plan of a mode under the switched-on faults; ConfigError for an unknown mode."""
    if mode not in MODES:
        raise ConfigError(f"inters.strategies.modes names {mode!r}{nearest(mode, MODES)}; known: {', '.join(MODES)}")
    released = mode == RELEASED_MODE or ("B6" in params["faults"] and mode == "listwise")
    window = RELEASED_WINDOW if released else params["window"]
    stride = RELEASED_WINDOW if released else params["stride"]
    return Plan(window, stride, released, "B8" in params["faults"] and mode != "pointwise")


def falling(order: Mapping[str, Sequence[str]]) -> Scores:
    """Return scores for rankings that have none: minus the rank, so that no two are equal."""
    return {query: {d: float(-rank) for rank, d in enumerate(documents, 1)} for query, documents in order.items()}


def rank(asker: Asker, mode: str, candidates: Mapping[str, list[str]], plan: Plan) -> tuple[Scores, int, int]:
    """Return (scores, comparisons or windows asked, windows whose answer did not name every passage)."""
    if mode == "pointwise":
        run = asker.pointwise(candidates)
        return run, sum(map(len, run.values())), 0
    if mode == "pairwise":
        order, asked = rank_by_duels(candidates, asker.prefer, asker.job.params["top"])
        return falling(order), asked, 0
    given = shuffled(candidates, asker.job.params["shuffle_seed"]) if plan.shuffle else candidates
    order, asked, broken = rank_by_windows(given, asker.order, plan.window, plan.stride)
    return falling(order), asked, broken


def texts_of(
    collection: Collection, candidates: Mapping[str, Iterable[str]], tokenizer: "Tokenizer", params: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the texts of the queries and of their candidates, cut to ``query_tokens`` and ``passage_tokens``."""
    queries = {q: fit_tokens(tokenizer, collection.queries[q].text, params["query_tokens"]) for q in candidates}
    ids = {d for documents in candidates.values() for d in documents}
    cut = {d: fit_tokens(tokenizer, collection.passage_text(d), params["passage_tokens"]) for d in sorted(ids)}
    return queries, {d: " ".join(text.split()) for d, text in cut.items()}


def candidates_of(collection: Collection, run_path: Path, params: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the first ``depth`` BM25 passages of the sampled test queries, without those that the collection excludes.

    DataError for a query that the run lacks.
    """
    first, found = read_run(run_path), {}
    for query in sample_queries(collection, params["n_queries"], params["sample_seed"], "inters.strategies.n_queries"):
        if query not in first:
            raise DataError(f"{run_path}: the run lacks query {query!r}; run retrieval on all test queries")
        out = collection.excluded.get(query, set())
        found[query] = [d for d, _ in first[query] if d not in out][: params["depth"]]
    return found


def rerank(asker: Asker, name: str, mode: str, candidates: dict[str, list[str]], folder: Path) -> dict[str, Any]:
    """Rerank one collection in one mode; write its run, raw scores and calls; return its row of counts."""
    params = asker.job.params
    plan = plan_of(params, mode)
    kept = {q: ds for q, ds in candidates.items() if not plan.drop_short or len(ds) >= params["depth"]}
    asker.records.clear()
    scores, asked, broken = rank(asker, mode, kept, plan)
    ties = write_run(folder / mode / f"{name}.run.gz", scores, f"{params['system']}-{mode}", kept)
    write_jsonl(folder / "calls" / f"{mode}-{name}.jsonl.gz", asker.records)
    totals = count_calls(asker.records)
    row = {
        "mode": mode,
        "collection": name,
        "queries": len(kept),
        "dropped": len(candidates) - len(kept),
        "depth": params["depth"],
        "window": plan.window if "listwise" in mode else None,
        "stride": plan.stride if "listwise" in mode else None,
        "tie_share": ties,
        "asked": asked,
        "broken": broken,
        **{key: totals[key] for key in ("calls", "prompt_tokens", "completion_tokens")},
    }
    asker.job.log(f"{name}, {mode}: {totals['calls']} calls for {len(kept)} queries")
    return row


def run(job: Job) -> dict[str, Any]:
    """Rerank every collection in every mode with one load of the model.

    Inputs: model, collections, runs (BM25, aligned with collections), templates (files named after their task, aligned
    with params ``tasks``). Output: reranked (folder: <mode>/<collection>.run.gz with raw scores, calls/, counts.tsv,
    manifest.json). Params: system, tasks (one a collection), modes, depth, top, window, stride, n_queries, sample_seed,
    shuffle_seed, query_tokens, passage_tokens, listwise_max_tokens, with_description, form, shard_size, backend,
    dtype, max_model_len, seed, faults.
    """
    params, folder = job.params, job.outputs["reranked"]
    files = {path.stem: load_templates(path) for path in job.inputs["templates"]}
    tokenizer = load_tokenizer(job.inputs["model"])
    engine = job_engine(job, params["seed"])
    rows = []
    for path, run_path, task in zip(job.inputs["collections"], job.inputs["runs"], params["tasks"], strict=True):
        collection = Collection.load(path)
        candidates = candidates_of(collection, run_path, params)
        asker = Asker(engine, files[task], task, *texts_of(collection, candidates, tokenizer, params), job)
        rows += [rerank(asker, path.name, mode, candidates, folder) for mode in params["modes"]]
    write_tsv(folder / "counts.tsv", COUNTS_COLUMNS, rows)
    write_json(
        folder / "manifest.json",
        {"system": params["system"], "model": engine.model, "revision": engine.revision, "faults": params["faults"]},
    )
    return {key: sum(row[key] for row in rows) for key in ("calls", "prompt_tokens", "completion_tokens", "broken")}
