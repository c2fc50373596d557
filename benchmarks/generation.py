"""Compare our generation and pointwise reranking with the loops of the released INTERS code and of plain transformers.

    python benchmarks/generation.py resources/models/smollm2-135m-instruct \\
        results/demo/inters/mixtures/full/prompts/zero_shot.jsonl --chain results/demo/udapdr/amazon

Same model, same prompts, greedy. Every way runs in a process of its own; loading is not counted. With ``--chain``
also the prompts of UDAPDR's stage 3, which share their demonstrations. Ways:
released   transformers, every prompt padded on the left to 1,792 tokens, batches of 2 (evaluation/qu-du-tasks)
plain      transformers' generate, prompts sorted by length, batches of 16
sorted     our transformers back end
vllm       our vLLM back end
"""

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))

WAYS = ("released", "plain", "sorted", "vllm")
RELEASED_LENGTH, RELEASED_BATCH, PLAIN_BATCH, NEW_TOKENS = 1792, 2, 16, 20


def with_transformers(model_dir: Path, prompts: list[str], dtype: str, padded: bool) -> float:
    """Return the seconds that transformers' own generate takes, padded as released or in sorted batches."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_dir, padding_side="left", truncation_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=getattr(torch, dtype)).eval()
    order = prompts if padded else sorted(prompts, key=len)
    size = RELEASED_BATCH if padded else PLAIN_BATCH
    how: dict[str, Any] = {"padding": "max_length", "truncation": True, "max_length": RELEASED_LENGTH}
    started = time.perf_counter()
    for start in range(0, len(order), size):
        batch = tokenizer(order[start : start + size], return_tensors="pt", **(how if padded else {"padding": True}))
        with torch.inference_mode():
            model.generate(**batch, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    return time.perf_counter() - started


def with_engine(model_dir: Path, prompts: list[str], dtype: str, backend: str, threads: int) -> float:
    """Return the seconds that one of our back ends takes; a few prompts warm it up first."""
    from searchtune.llm.engine import Sampling, open_engine

    engine = open_engine(model_dir, backend, dtype=dtype, max_model_len=2048, threads=threads)
    sampling = Sampling(max_tokens=NEW_TOKENS, temperature=0.0)
    engine.generate(["warm up"], sampling)
    started = time.perf_counter()
    engine.generate(prompts, sampling)
    return time.perf_counter() - started


def score_with(
    model_dir: Path, prompts: list[str], dtype: str, backend: str, threads: int
) -> tuple[float, list[float]]:
    """Return (seconds, log-odds of yes against no) of pointwise reranking prompts; ``one`` scores one at a time."""
    from searchtune.llm.engine import open_engine

    name = "transformers" if backend == "one" else backend
    engine = open_engine(model_dir, name, dtype=dtype, max_model_len=2048, threads=threads)
    engine.score(["warm up"], [["yes", "no"]])
    groups = [[prompt] for prompt in prompts] if backend == "one" else [prompts]
    started = time.perf_counter()
    found = [scores for group in groups for scores in engine.score(group, [["yes", "no"]] * len(group))]
    return time.perf_counter() - started, [yes.logprob - no.logprob for yes, no in found]


def measure(job: dict[str, Any], answers: Any) -> None:
    """Run one way in this process and send back its result."""
    import os

    os.environ["OMP_NUM_THREADS"] = str(job["threads"])
    common = (Path(job["model"]), job["prompts"], job["dtype"])
    if job["task"] == "score":
        answers.put(score_with(*common, job["way"], job["threads"]))
    elif job["way"] in ("released", "plain"):
        answers.put(with_transformers(*common, job["way"] == "released"))
    else:
        answers.put(with_engine(*common, {"sorted": "transformers"}.get(job["way"], job["way"]), job["threads"]))


def in_process(job: dict[str, Any]) -> Any:
    """Run :func:`measure` in a fresh process and return what it sent; exit if it died."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=measure, args=(job, answers))
    process.start()
    while process.is_alive() and answers.empty():
        process.join(1)
    if answers.empty():
        sys.exit(f"{job['task']} by {job['way']} ended with exit code {process.exitcode}")
    result = answers.get()
    process.join()
    return result


def shared_prompts(chain: Path, n: int) -> list[str]:
    """Return the first ``n`` prompts of stage 3 of a finished chain that share their demonstrations."""
    from searchtune.collections.beir import Collection
    from searchtune.files import read_json, read_jsonl
    from searchtune.prompts.chat import wrap
    from searchtune.prompts.templates import load_templates
    from searchtune.synthesis.udapdr_scale_up import plan_calls

    job = read_json(chain / "queries.job.json")
    params, root = job["params"], chain.resolve().parents[3]
    calls = plan_calls(
        Collection.load(root / job["inputs"]["collection"]),
        read_jsonl(chain / "prompts.jsonl")[:1],
        load_templates(root / job["inputs"]["templates"]),
        n,
        1,
        params["passage_words"],
        params["template"],
        params["seed"],
    )
    return [wrap(call["text"], params["form"]) for call in calls]


def time_generation(job: dict[str, Any], task: str, ways: Sequence[str], prompts: list[str]) -> None:
    """Print a row for each way; ratios are to the first."""
    first = None
    for way in ways:
        given = prompts[: max(2, len(prompts) // 8)] if way == "released" else prompts
        seconds = in_process(job | {"task": "generate", "way": way, "prompts": given})
        rate = len(given) / seconds
        first = first or rate
        print(f"{task}\t{way}\t{len(given)}\t{seconds:.1f}\t{rate:.2f}\t{rate / first:.1f}", flush=True)


def time_scoring(job: dict[str, Any], prompts: list[str]) -> None:
    """Print a row for each way, with the largest difference of log-odds from one prompt at a time."""
    scores: dict[str, list[float]] = {}
    first = None
    for way in ("one", "transformers", "vllm"):
        seconds, scores[way] = in_process(job | {"task": "score", "way": way, "prompts": prompts})
        rate = len(prompts) / seconds
        first = first or rate
        apart = max(abs(a - b) for a, b in zip(scores["one"], scores[way], strict=True))
        print(
            f"pointwise {job['dtype']}\t{way}\t{len(prompts)}\t{seconds:.1f}\t{rate:.2f}\t{rate / first:.1f}\t"
            f"{apart:.1e} apart",
            flush=True,
        )


def main() -> None:
    """Print a table of seconds, prompts a second and ratios to the first way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model folder")
    parser.add_argument("prompts", help="prompt set of a finished run (zero_shot.jsonl)")
    parser.add_argument("--chain", type=Path, help="folder of a finished UDAPDR chain, in its results folder")
    parser.add_argument("--n", type=int, default=64, help="prompts a way (released: an eighth of them)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--tasks", nargs="+", choices=("generate", "score"), default=("generate", "score"))
    options = parser.parse_args()
    rows = [json.loads(line) for line in Path(options.prompts).read_text(encoding="utf-8").splitlines()]
    texts = [row["prompt"] for row in rows if row["kind"] == "generate"][: options.n]
    pairs = [row["prompt"] for row in rows if row["task"] == "passage_reranking"][: options.n]
    job = {"model": options.model, "threads": options.threads, "dtype": options.dtype}
    print("task\tway\tprompts\tseconds\tprompts_per_s\tratio")
    if "generate" in options.tasks:
        time_generation(job, "generate", WAYS, texts)
        if options.chain:
            time_generation(job, "generate after a shared prefix", WAYS[1:], shared_prompts(options.chain, options.n))
    if "score" in options.tasks:
        time_scoring(job | {"dtype": "float32"}, pairs)
        time_scoring(job, pairs)


if __name__ == "__main__":
    main()
