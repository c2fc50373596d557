"""Stage ``inters.predict``: one model answers all test prompts, by generation or by scoring the labels."""

from typing import Any

from searchtune.files import read_jsonl, write_jsonl
from searchtune.llm.calls import Request, count_calls, run_requests
from searchtune.llm.engine import Sampling
from searchtune.llm.job_engine import job_engine
from searchtune.prompts.chat import wrap
from searchtune.stage import Job
from searchtune.tasks.variants import OWN

# a plain model does not end its turn: an empty line closes its answer, as in the demonstrations
STOPS: dict[str, tuple[str, ...]] = {"chatml": (), "plain": ("\n\n",)}


def request_of(row: dict[str, Any], prompt_set: str, form: str) -> Request:
    """Return the call of one test prompt; its id is ``set/prompt id``."""
    prompt, key = wrap(row["prompt"], form), f"{prompt_set}/{row['id']}"
    if row["kind"] == "score":
        return Request(key, prompt, continuations=tuple(row["continuations"]))
    return Request(key, prompt, sampling=Sampling(max_tokens=row["max_tokens"], temperature=0.0, stop=STOPS[form]))


def run(job: Job) -> dict[str, Any]:
    """Answer the prompt sets in ``job.params['sets']`` with one load of the model, greedily.

    Inputs: model, prompts (folder); own (folder) where the sets hold ``own``: its zero-shot prompts. Output:
    predictions (call records). Params: sets, backend, form, dtype, max_model_len, shard_size, seed.
    """
    params = job.params
    files = {name: job.inputs["prompts"] / f"{name}.jsonl" for name in params["sets"] if name != OWN}
    if OWN in params["sets"]:
        files[OWN] = job.inputs["own"] / "zero_shot.jsonl"
    requests = [request_of(row, name, params["form"]) for name, path in files.items() for row in read_jsonl(path)]
    engine = job_engine(job, params["seed"])
    records = run_requests(engine, requests, job.work, "calls", params["shard_size"], job.log)
    write_jsonl(job.outputs["predictions"], records)
    return count_calls(records)
