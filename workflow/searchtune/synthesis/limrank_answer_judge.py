"""Stage ``limrank.judge_answers``: a model says whether each answer is right, yes or no (the released scoring)."""

import re
from typing import Any

from searchtune.errors import DataError
from searchtune.files import read_jsonl, sha256_bytes, write_json, write_jsonl
from searchtune.llm.calls import Request, count_calls, run_requests
from searchtune.llm.engine import Sampling
from searchtune.llm.job_engine import job_engine
from searchtune.prompts.budget import count_tokens, fit_tokens, load_tokenizer
from searchtune.prompts.chat import wrap
from searchtune.prompts.templates import load_templates, render
from searchtune.stage import Job

ANSWER_TOKENS = 8
_VERDICT = re.compile(r"\b(yes|no)\b", re.I)


def run(job: Job) -> dict[str, Any]:
    """Stage function. Inputs: model, prompts (rag.yaml), answers. Output: judged, a folder of verdicts.jsonl
    {set, question, text, right (null if the judge said neither), cut} and calls.jsonl.gz.

    An answer that several systems gave is judged once; an empty one is wrong without being judged. Greedy, as released.
    """
    params = job.params
    engine = job_engine(job, params["sample_seed"])
    template = load_templates(job.inputs["prompts"])["judge"][params["prompt"]].prompt
    tokenizer = load_tokenizer(job.inputs["model"])
    questions = {(row["set"], row["id"]): row for row in read_jsonl(job.inputs["answers"] / "questions.jsonl")}
    said = {(r["set"], r["question"], r["text"]) for r in read_jsonl(job.inputs["answers"] / "answers.jsonl")}
    todo = sorted(key for key in said if key[2].strip())
    limit = params["max_model_len"] - ANSWER_TOKENS - 1
    prompts = [judge_prompt(template, tokenizer, questions[a, b], text, params["form"], limit) for a, b, text in todo]
    sampling = Sampling(max_tokens=ANSWER_TOKENS)
    requests = [
        Request(f"{a}/{b}/{_short(text)}", p, sampling) for (a, b, text), (p, _) in zip(todo, prompts, strict=True)
    ]
    calls = run_requests(engine, requests, job.work, "judge", 256, job.log, parse_verdict)
    folder = job.outputs["judged"]
    write_jsonl(folder / "calls.jsonl.gz", calls)
    write_jsonl(
        folder / "verdicts.jsonl",
        (
            {"set": a, "question": b, "text": text, "right": call["parsed"], "cut": cut}
            for (a, b, text), (_, cut), call in zip(todo, prompts, calls, strict=True)
        ),
    )
    write_json(folder / "manifest.json", {"model": engine.model, "revision": engine.revision})
    return count_calls(calls) | {"answers_cut": sum(cut for _, cut in prompts)}


def _short(text: str) -> str:
    return sha256_bytes(text.encode())[:12]


def judge_prompt(
    template: str, tokenizer: Any, question: dict[str, Any], reply: str, form: str, limit: int
) -> tuple[str, bool]:
    """Return the judge's prompt, and whether the reply was cut to fit: its end is kept, where the answer stands.

    DataError for a question that leaves no room for a reply.
    """
    right = " or ".join(question["answers"]) + (f" (choice {question['letter']})" if question["letter"] else "")

    def prompt(text: str) -> str:
        """Return the whole prompt with a reply."""
        return wrap(render(template, {"question": question["question"], "right": right, "reply": text}, "judge"), form)

    excess = count_tokens(tokenizer, prompt(reply)) - limit
    if excess <= 0:
        return prompt(reply), False
    room = count_tokens(tokenizer, reply) - excess
    if room < 1:
        raise DataError(
            f"{question['set']}, question {question['id']!r} leaves the judge no room for an answer; raise "
            "limrank.rag.judge.max_model_len"
        )
    # cutting the beginning: as many tokens from the front as are too many, and one for a word that splits otherwise
    head = fit_tokens(tokenizer, reply, excess + 1)
    return prompt(reply[len(head) :].lstrip()), True


def parse_verdict(text: str) -> bool:
    """Return whether the judge said yes; ValueError if it said neither yes nor no."""
    if not (found := _VERDICT.search(text)):
        raise ValueError("neither yes nor no")
    return found.group(1).lower() == "yes"
