"""Stage ``rerank.baseline``: the rerankers that LimRank's are compared with, on the same candidates.

Kinds: ``cross_encoder`` (an encoder with a relevance head), ``seq2seq`` (log-odds of true against false as an
encoder-decoder's answer, as monoT5 ranks), ``scalar`` (a decoder with a relevance head, as RankLLaMA), ``reasoning``
and ``direct`` (true against false of a language model that others tuned, such as Rank1). The folder that comes out has
the form of stage ``rerank.reasoning``, so that tables and tests treat all systems alike.
"""

from collections.abc import Callable, Sequence
from typing import Any

from searchtune.collections.trec import write_run
from searchtune.files import write_json, write_jsonl, write_tsv
from searchtune.llm.base import revision_of
from searchtune.llm.calls import Request, count_calls, run_requests
from searchtune.llm.job_engine import job_engine
from searchtune.prompts.budget import load_tokenizer
from searchtune.prompts.templates import load_templates, render
from searchtune.reranking.cross_encoder import CrossEncoder
from searchtune.reranking.order_faults import apply_order_faults
from searchtune.reranking.reasoning import COUNTS_COLUMNS, SUMMED, Task, cut_texts, open_reranker, rerank, tasks_of
from searchtune.reranking.scalar_head import ScalarHead, check_headed
from searchtune.reranking.verdicts import count_verdicts
from searchtune.stage import Job

POINTWISE = "pointwise"
# monoT5's answers; T5's vocabulary has each as one token
ANSWERS = ("true", "false")
# (set's name, pair ids, (query, passage) of each) -> (a score each, the calls that gave them)
Score = Callable[[str, list[str], list[tuple[str, str]]], tuple[list[float], list[dict]]]


def run(job: Job) -> dict[str, Any]:
    """Stage function. Inputs: those of ``rerank.reasoning`` (prompts: baselines.yaml). Output: reranked, a folder.

    Params: those of ``rerank.reasoning`` without modes, and kind. ModelError for a model without the head or the
    architecture that its kind needs.
    """
    params, folder, tasks = job.params, job.outputs["reranked"], tasks_of(job)
    if params["kind"] in ("reasoning", "direct"):
        mode = params["kind"]
        reranker = open_reranker(job, params["system"], params["sample_seed"])
        rows = [rerank(reranker, task, mode, folder) for task in tasks]
    else:
        mode = POINTWISE
        score, tokenizer = SCORERS[params["kind"]](job), load_tokenizer(job.inputs["model"])
        rows = [rerank_plainly(job, score, tokenizer, task) for task in tasks]
    write_tsv(folder / "counts.tsv", COUNTS_COLUMNS, rows)
    write_json(
        folder / "manifest.json",
        {
            "system": params["system"],
            "baseline": params["kind"],
            "modes": [mode],
            "train_seed": None,
            "model": job.inputs["model"].name,
            "revision": revision_of(job.inputs["model"]),
            "sets": [row["collection"] for row in rows],
            "faults": params["faults"],
        },
    )
    return {key: sum(row[key] for row in rows) for key in SUMMED}


def rerank_plainly(job: Job, score: Score, tokenizer: Any, task: Task) -> dict[str, Any]:
    """Rerank one set by scores alone, write its run (and calls, if any), and return its row of counts."""
    params, folder = job.params, job.outputs["reranked"]
    texts, cuts = cut_texts(task, tokenizer, params)
    keys = [(query, d) for query, documents in task.candidates.items() for d in documents]
    job.log(f"{task.name}: {len(keys)} pairs")
    found, calls = score(
        task.name, [f"{query}\t{d}" for query, d in keys], [(texts.queries[q], texts.passages[d]) for q, d in keys]
    )
    scores = dict(zip(keys, found, strict=True))
    raw = {query: {d: scores[query, d] for d in documents} for query, documents in task.candidates.items()}
    ranked, previous = apply_order_faults(raw, task.candidates, params["faults"])
    ties = write_run(folder / POINTWISE / f"{task.name}.run.gz", ranked, params["system"], previous)
    if calls:
        write_jsonl(folder / "calls" / f"{POINTWISE}-{task.name}.jsonl.gz", calls)
    totals = count_calls(calls)
    return {
        "collection": task.name,
        "mode": POINTWISE,
        "depth": max(map(len, task.candidates.values())),
        "queries": len(task.candidates),
        **count_verdicts([]),
        "pairs": len(keys),
        **cuts,
        "fallback": 0,
        "tie_share": ties,
        "median_reasoning_tokens": 0,
        "prompt_tokens": totals["prompt_tokens"],
        "completion_tokens": totals["completion_tokens"],
    }


def _cross_encoder(job: Job) -> Score:
    check_headed(job.inputs["model"])
    model = CrossEncoder.load(job.inputs["model"], job.params["max_model_len"], job.params["dtype"], log=job.log)
    return lambda _, keys, pairs: (model.score(pairs), [])


def _scalar(job: Job) -> Score:
    model = ScalarHead(job.inputs["model"], job.params["max_model_len"], job.params["dtype"], job.threads, job.log)
    return lambda _, keys, pairs: (model.score(pairs), [])


def _seq2seq(job: Job) -> Score:
    params = job.params
    engine = job_engine(job, params["sample_seed"], backend="transformers")
    template = load_templates(job.inputs["prompts"])["rerank"][params["prompt"]].prompt

    def score(name: str, keys: Sequence[str], pairs: Sequence[tuple[str, str]]) -> tuple[list[float], list[dict]]:
        """Return the log-odds of true against false of each pair, and the calls; finished shards are kept."""
        requests = [
            Request(key, render(template, {"query": q, "passage": p}, name), continuations=ANSWERS)
            for key, (q, p) in zip(keys, pairs, strict=True)
        ]
        calls = run_requests(engine, requests, job.work, name, params["block"], job.log)
        margins = [call["scores"][0]["logprob"] - call["scores"][1]["logprob"] for call in calls]
        return margins, calls

    return score


SCORERS: dict[str, Callable[[Job], Score]] = {"cross_encoder": _cross_encoder, "seq2seq": _seq2seq, "scalar": _scalar}
