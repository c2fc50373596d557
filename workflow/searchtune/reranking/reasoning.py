"""Stage ``rerank.reasoning``: pointwise reranking by the probability of true, after reasoning or without.

One job loads one model and reranks every collection, the instruction set and the held-out synthetic pairs with it, in
each mode asked for. What all pairs of a query share (instruction, query) comes first in the prompt, and the pairs of a
query are asked for together, so that a back end with prefix caching reads it once.

Faults of the released code are switches (``faults``): see ``released_faults``. Where a query excludes documents that
the first stage found, these are scored apart (set ``<name>.excluded``), so that fault ``L8`` can be priced.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking, read_run, write_run
from searchtune.errors import DataError
from searchtune.files import write_json, write_jsonl, write_tsv
from searchtune.llm.calls import count_calls
from searchtune.llm.engine import Engine
from searchtune.llm.job_engine import job_engine
from searchtune.prompts.budget import count_tokens, fit_tokens, load_tokenizer
from searchtune.prompts.templates import load_templates, render
from searchtune.reranking.order_faults import RELEASED_DEPTH, apply_order_faults
from searchtune.reranking.question_sampling import sample_questions
from searchtune.reranking.released_faults import EXCLUDED, released_settings
from searchtune.reranking.verdicts import Asking, Mode, Verdict, ask, count_verdicts
from searchtune.stage import Job

INSTRUCTIONS = "instructions"
COUNTS_COLUMNS = [
    "collection",
    "mode",
    "depth",
    "queries",
    "pairs",
    "passages_cut",
    "queries_cut",
    "forced",
    "empty",
    "saturated",
    "fallback",
    "tie_share",
    "median_reasoning_tokens",
    "prompt_tokens",
    "completion_tokens",
    "unclosed",
    "split",
]
# counts of a job's provenance, summed over its sets
SUMMED = (
    *("pairs", "passages_cut", "forced", "empty", "fallback", "prompt_tokens", "completion_tokens"),
    *("unclosed", "split"),
)


@dataclass
class Task:
    """One set to rerank: queries (text with instruction), candidates in first-stage order, passage texts, and the
    benchmark's wrapper: a template whose ``{query}`` is the query, put into the query slot of the prompt."""

    name: str
    queries: dict[str, str]
    candidates: dict[str, list[str]]
    passages: dict[str, str]
    wrapper: str = "{query}"


@dataclass
class Reranker:
    """A loaded model with its prompt template and parameters."""

    engine: Engine
    template: str
    tokenizer: Any
    params: dict[str, Any]
    work: Path
    log: Any


def open_reranker(job: Job, system: str, seed: int) -> Reranker:
    """Load the job's model once, with the template and the parameters that all of its questions share.

    ``system`` and ``seed`` go into every call; inputs and params are those of the stage (see :func:`run`).
    """
    params = released_settings(job.params, job.inputs["model"]) | {"system": system, "sample_seed": seed}
    engine = job_engine(replace(job, params=params), seed)
    template = load_templates(job.inputs["prompts"])["rerank"][params["prompt"]].prompt
    return Reranker(engine, template, load_tokenizer(job.inputs["model"]), params, job.work, job.log)


def run(job: Job) -> dict[str, Any]:
    """Stage function. Inputs: model, prompts (rerank.yaml), collections, runs (aligned lists); optional: instructions
    (folder), followir (folder of the sets that params name), heldout (folder of held-out synthetic pairs), wrappers
    (wrappers.yaml). Output: reranked, a folder of <mode>/<set>.run.gz with raw scores, calls/, counts.tsv and
    manifest.json."""
    params = job.params
    tasks = tasks_of(job)
    reranker = open_reranker(job, params["system"], params["sample_seed"])
    engine, folder = reranker.engine, job.outputs["reranked"]
    rows = [rerank(reranker, task, mode, folder) for mode in params["modes"] for task in tasks]
    write_tsv(folder / "counts.tsv", COUNTS_COLUMNS, rows)
    write_json(
        folder / "manifest.json",
        {
            "system": params["system"],
            "modes": params["modes"],
            "train_seed": params["train_seed"],
            "model": engine.model,
            "revision": engine.revision,
            "sets": [t.name for t in tasks if not t.name.endswith(EXCLUDED)],
            "faults": params["faults"],
        },
    )
    return {key: sum(row[key] for row in rows) for key in SUMMED}


def tasks_of(job: Job) -> list[Task]:
    """Return every set that the job names, collections first."""
    params = job.params
    depth = RELEASED_DEPTH if "L1" in params["faults"] else params["depth"]
    tasks = []
    for folder, run_path in zip(_list(job.inputs["collections"]), _list(job.inputs["runs"]), strict=True):
        collection = Collection.load(folder)
        chosen = sample_questions(collection, params["n_queries"], params["sample_seed"], "limrank.rerank.n_queries")
        first, keep_excluded = read_run(run_path), "L8" in params["faults"]
        found = [task_of(folder.name, collection, first, chosen, depth, keep_excluded)]
        if not keep_excluded and (extra := excluded_task(folder.name, collection, first, chosen, depth)):
            found.append(extra)
        tasks += [replace(task, wrapper=wrapper_of(job, folder.name)) for task in found]
    for name, folder in instruction_sets(job):
        collection = Collection.load(folder)
        tasks.append(task_of(name, collection, read_run(folder / "candidates.run.gz"), list(collection.queries), depth))
    if "heldout" in job.inputs:
        collection = Collection.load(job.inputs["heldout"])
        tasks.append(
            task_of(
                "heldout",
                collection,
                heldout_candidates(collection, params["depth"], params["sample_seed"]),
                list(collection.queries),
                params["depth"],
            )
        )
    return tasks


def instruction_sets(job: Job) -> list[tuple[str, Path]]:
    """Return (name, folder) of the instruction sets: the packaged one, and those of FollowIR that params name."""
    packaged = [(INSTRUCTIONS, job.inputs[INSTRUCTIONS])] if INSTRUCTIONS in job.inputs else []
    return packaged + [(name, _list(job.inputs["followir"])[0] / name) for name in job.params.get("followir", ())]


def wrapper_of(job: Job, collection: str) -> str:
    """Return the wrapper of a collection: the template that its benchmark has, or the bare query."""
    name = job.params.get("wrappers", {}).get(collection)
    return load_templates(job.inputs["wrappers"])["wrapper"][name].prompt if name else Task.wrapper


def heldout_candidates(collection: Collection, depth: int, seed: int) -> dict[str, Ranking]:
    """Return, for each held-out query, its own passages and a draw of the others, ``depth`` in all, in order of id.

    The order says nothing about relevance. DataError if a query has more passages of its own than ``depth``.
    """
    runs = {}
    for query in sorted(collection.queries):
        own = sorted(d for d, grade in collection.qrels[query].items() if grade > 0)
        if len(own) >= depth:
            raise DataError(f"held-out query {query!r} has {len(own)} passages of its own; raise limrank.rerank.depth")
        others = sorted(set(collection.corpus) - set(own))
        drawn = Random(f"{seed}/{query}").sample(others, min(depth - len(own), len(others)))
        runs[query] = [(d, float(-rank)) for rank, d in enumerate(sorted([*own, *drawn]))]
    return runs


def _list(paths: Path | list[Path]) -> list[Path]:
    return paths if isinstance(paths, list) else [paths]


def task_of(
    name: str,
    collection: Collection,
    first_stage: dict[str, Ranking],
    queries: Iterable[str],
    depth: int,
    keep_excluded: bool = False,
) -> Task:
    """Return the task of some queries at a depth; excluded ids are taken out before the cut. DataError for a query
    that the first stage lacks."""
    candidates = {}
    for query in queries:
        if query not in first_stage:
            raise DataError(f"{name}: the first-stage run lacks query {query!r}; run retrieval on all test queries")
        out = set() if keep_excluded else collection.excluded.get(query, set())
        candidates[query] = [d for d, _ in first_stage[query] if d not in out][:depth]
    texts = {q: f"{collection.queries[q].text} {collection.queries[q].instruction}".strip() for q in candidates}
    return Task(name, texts, candidates, {d: collection.passage_text(d) for ds in candidates.values() for d in ds})


def excluded_task(
    name: str, collection: Collection, first_stage: dict[str, Ranking], queries: Iterable[str], depth: int
) -> Task | None:
    """Return the task of the excluded documents that stand in the first stage's top ``depth``; None if there are none.

    The released code reranks them (fault ``L8``). Queries without any are left out.
    """
    found = {
        query: [d for d, _ in first_stage[query][:depth] if d in collection.excluded.get(query, ())]
        for query in queries
        if query in first_stage
    }
    asked = {query: documents for query, documents in found.items() if documents}
    kept = {query: [(d, 0.0) for d in documents] for query, documents in asked.items()}
    return task_of(name + EXCLUDED, collection, kept, asked, depth, keep_excluded=True) if asked else None


def rerank(reranker: Reranker, task: Task, mode: Mode, folder: Path) -> dict[str, Any]:
    """Rerank one set in one mode, write its run and calls, and return its row of counts."""
    params = reranker.params
    prompts, cuts = build_prompts(reranker, task)
    asking = Asking(
        mode,
        params["max_reasoning_tokens"],
        params["form"],
        0.0,
        params["sample_seed"],
        params["block"],
        params.get("verbatim", False),
    )
    verdicts, calls = ask(reranker.engine, prompts, asking, reranker.work, f"{mode}/{task.name}", reranker.log)
    scores, fallback = scores_of(verdicts, params["faults"])
    run = {query: {d: scores[f"{query}\t{d}"] for d in documents} for query, documents in task.candidates.items()}
    ranked, previous = apply_order_faults(run, task.candidates, params["faults"])
    ties = write_run(folder / mode / f"{task.name}.run.gz", ranked, f"{params['system']}-{mode}", previous)
    write_jsonl(folder / "calls" / f"{mode}-{task.name}.jsonl.gz", calls)
    lengths = sorted(v.n_reasoning for v in verdicts)
    totals = count_calls(calls)
    return {
        "collection": task.name,
        "mode": mode,
        "depth": max(map(len, task.candidates.values())),
        "queries": len(task.candidates),
        **count_verdicts(verdicts),
        **cuts,
        "fallback": fallback,
        "tie_share": ties,
        "median_reasoning_tokens": lengths[len(lengths) // 2],
        "prompt_tokens": totals["prompt_tokens"],
        "completion_tokens": totals["completion_tokens"],
    }


def build_prompts(reranker: Reranker, task: Task) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Return (pair id, prompt) for all pairs, grouped by query, and how many passages and queries were cut."""
    texts, cuts = cut_texts(task, reranker.tokenizer, reranker.params)
    slots = {query: render(task.wrapper, {"query": text}, "wrapper") for query, text in texts.queries.items()}
    prompts = [
        (f"{query}\t{d}", render(reranker.template, {"query": slots[query], "passage": texts.passages[d]}, "rerank"))
        for query, documents in task.candidates.items()
        for d in documents
    ]
    return prompts, cuts


def cut_texts(task: Task, tokenizer: Any, params: dict[str, Any]) -> tuple[Task, dict[str, int]]:
    """Return the task with its texts cut to max_passage_tokens and max_query_tokens (None: whole), and how many pairs'
    passages and how many queries were cut.
    """

    def cut(texts: dict[str, str], limit: int | None) -> tuple[dict[str, str], set[str]]:
        """Return the cut texts, and the ids of those that lost something."""
        if limit is None:
            return texts, set()
        long = {key for key, text in texts.items() if count_tokens(tokenizer, text) > limit}
        return {key: fit_tokens(tokenizer, text, limit) for key, text in texts.items()}, long

    passages, cut_passages = cut(task.passages, params["max_passage_tokens"])
    queries, cut_queries = cut(task.queries, params["max_query_tokens"])
    return replace(task, queries=queries, passages=passages), {
        "passages_cut": sum(d in cut_passages for ds in task.candidates.values() for d in ds),
        "queries_cut": len(cut_queries),
    }


def scores_of(verdicts: list[Verdict], faults: Iterable[str]) -> tuple[dict[str, float], int]:
    """Return pair id -> log-odds of true, and the number of silent fallbacks.

    Log-odds order pairs as P(true) does but do not saturate: two probabilities of 1.0 in double precision would be a
    tie that the model did not make. ``L14`` gives answers without a verdict 0, the log-odds of 0.5.
    """
    silent = "L14" in set(faults)
    if silent:
        verdicts = [replace(v, margin=0.0) if v.forced or v.unclosed else v for v in verdicts]
    return {v.id: v.margin for v in verdicts}, sum(v.forced or v.unclosed for v in verdicts) if silent else 0
