"""What the stages of UDAPDR that ask a language model share: passages by seed, one model, kept calls."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from searchtune.errors import DataError
from searchtune.files import stable_hash, write_jsonl
from searchtune.llm.calls import Request, run_requests
from searchtune.llm.engine import Engine, Sampling
from searchtune.llm.job_engine import job_engine
from searchtune.prompts.chat import wrap
from searchtune.stage import Job

CALLS = "calls.jsonl.gz"
STOPS = {"line": "\n", "blank_line": "\n\n"}


def draw(ids: Sequence[str], n: int, seed: str) -> list[str]:
    """Return ``n`` ids by seed; a smaller ``n`` is a prefix of a larger one.

    Every id comes up once before any comes up again (the released code draws with replacement).
    DataError for an empty list.
    """
    if not ids:
        raise DataError(
            "no passages to draw from: the corpus holds only the passages of the demonstrations; "
            "use a larger corpus or a smaller X"
        )
    rng = random.Random(seed)
    found: list[str] = []
    while len(found) < n:
        found += rng.sample(sorted(ids), len(ids))
    return found[:n]


def sampling_of(params: Mapping[str, Any], seed: int) -> Sampling:
    """Return the sampling settings of a stage's params {max_tokens, temperature, top_p, stop}."""
    return Sampling(
        max_tokens=params["max_tokens"],
        temperature=params["temperature"],
        top_p=params["top_p"],
        stop=(STOPS[params["stop"]],),
        seed=seed,
    )


def open_writer(job: Job) -> Engine:
    """Load the model of a writing stage; each of its requests brings a seed of its own."""
    return job_engine(job, 0)


def ask(job: Job, engine: Engine, name: str, prompts: Mapping[str, str], seeds: Mapping[str, int]) -> list[dict]:
    """Return one call record a prompt, in order (``prompts``: id -> text, ``seeds``: id -> sampling seed)."""
    form = job.params["form"]
    requests = [
        Request(key, wrap(prompt, form), sampling_of(job.params["sampling"], seeds[key]))
        for key, prompt in prompts.items()
    ]
    return run_requests(engine, requests, job.work, name, log=job.log)


def seed_of(seed: int, key: str) -> int:
    """Return a sampling seed for one request, so that equal prompts need not give equal answers."""
    return int(stable_hash([seed, key], 7), 16)


def keep_calls(folder: Path, records: Sequence[dict]) -> dict[str, int]:
    """Write all call records of a stage beside its results; return token counts."""
    write_jsonl(folder / CALLS, records)
    return {
        "calls": len(records),
        "prompt_tokens": sum(r["n_prompt"] for r in records),
        "completion_tokens": sum(r["n_completion"] for r in records),
        "cut_off": sum(r["finish_reason"] == "length" for r in records),
    }
