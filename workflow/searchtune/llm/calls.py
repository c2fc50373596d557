"""Run many requests against an engine and keep every call: sharded, append-only, resumable.

A shard is a batch: a killed job finds its finished shards and goes on with the next one, so that the records are
the same as if it had never been killed. A partial shard never exists under its name (it is renamed when whole).
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from searchtune.errors import ConfigError, DataError
from searchtune.files import read_jsonl, sha256_bytes, write_jsonl
from searchtune.llm.base import Completion, Engine, Sampling, Scored, check_fit
from searchtune.sealed import intact, sealed_path


@dataclass(frozen=True)
class Request:
    """One call: a text to draw (``sampling``) or continuations to score; exactly one of the two is given.

    ``note_unstopped``: the record of an answer that ended without any of its stop texts has ``unstopped: true``.
    """

    id: str
    prompt: str
    sampling: Sampling | None = None
    continuations: tuple[str, ...] | None = None
    note_unstopped: bool = False

    def __post_init__(self) -> None:
        if (self.sampling is None) == (self.continuations is None):
            raise ConfigError(f"request {self.id!r} needs either sampling or continuations")
        if self.continuations is not None:
            object.__setattr__(self, "continuations", tuple(self.continuations))


def run_requests(
    engine: Engine,
    requests: list[Request],
    work: Path,
    name: str,
    shard_size: int = 256,
    log: Callable[[str], None] = print,
    parse: Callable[[str], Any] | None = None,
) -> list[dict]:
    """Return one call record a request, in order: {id, prompt_sha256, model, revision, sampling, text, finish_reason,
    n_prompt, n_completion, parsed, parse_error, scores}.

    Finished shards are kept in ``work/name/NNNN.jsonl`` and read back by a resumed job. ``parse(text)`` may raise
    ValueError: its message goes to ``parse_error`` and ``parsed`` is null. ``scores`` is a list of {text, logprob,
    n_tokens} for requests with continuations. Raises DataError for a repeated id, ModelError naming the id of a
    prompt that does not fit; nothing is truncated here.
    """
    _check_ids(requests)
    records: list[dict] = []
    for number, start in enumerate(range(0, len(requests), shard_size)):
        shard = requests[start : start + shard_size]
        path = Path(work) / name / f"{number:04d}.jsonl"
        kept = _finished(path, shard, engine)
        if kept is None:
            kept = _run_shard(engine, shard)
            with sealed_path(path) as temporary:
                write_jsonl(temporary, kept)
            log(f"{name}: {start + len(shard)} of {len(requests)} requests done")
        records += kept
    # parsing is cheap and pure: it is done anew on every run, so a better parser never meets stale answers
    return [_parsed(record, parse) for record in records]


def count_calls(records: list[dict]) -> dict[str, int]:
    """Return totals of call records: calls, prompt and completion tokens, answers cut off, parse errors."""
    return {
        "calls": len(records),
        "prompt_tokens": sum(r["n_prompt"] for r in records),
        "completion_tokens": sum(r["n_completion"] for r in records),
        "cut_off": sum(r["finish_reason"] == "length" for r in records),
        "parse_errors": sum(r["parse_error"] is not None for r in records),
    }


def _check_ids(requests: list[Request]) -> None:
    repeated = [key for key, count in Counter(r.id for r in requests).items() if count > 1]
    if repeated:
        raise DataError(f"{len(repeated)} request ids are repeated, the first is {repeated[0]!r}; ids must be unique")


def _sampling(request: Request) -> dict:
    """Return the settings of a request as plain JSON values."""
    if request.sampling is None:
        return {"continuations": list(request.continuations or ())}
    settings = asdict(request.sampling)
    return settings | {"stop": list(settings["stop"]), "choice": settings["choice"] and list(settings["choice"])}


def _identity(request: Request, engine: Engine) -> dict:
    return {
        "id": request.id,
        "prompt_sha256": sha256_bytes(request.prompt.encode()),
        "model": engine.model,
        "revision": engine.revision,
        "sampling": _sampling(request),
    }


def _finished(path: Path, shard: list[Request], engine: Engine) -> list[dict] | None:
    """Return the records of a shard that an earlier run finished; None if there is none for these very requests."""
    if not intact(path):
        return None
    records = read_jsonl(path)
    same = len(records) == len(shard) and all(
        record.items() >= _identity(request, engine).items() for record, request in zip(records, shard, strict=True)
    )
    return records if same else None


def _run_shard(engine: Engine, shard: list[Request]) -> list[dict]:
    drawn = [r for r in shard if r.sampling is not None]
    scored = [r for r in shard if r.continuations is not None]
    results: dict[str, dict] = {}
    lengths = dict(zip([r.id for r in shard], engine.count([r.prompt for r in shard]), strict=True))
    check_fit(
        [lengths[r.id] for r in shard],
        [r.sampling.max_tokens if r.sampling else 1 for r in shard],
        engine.max_model_len,
        [repr(r.id) for r in shard],
    )
    if drawn:
        answers = engine.generate([r.prompt for r in drawn], [r.sampling for r in drawn if r.sampling])
        results |= {r.id: _drawn(a, r.note_unstopped) for r, a in zip(drawn, answers, strict=True)}
    if scored:
        scores = engine.score([r.prompt for r in scored], [list(r.continuations or ()) for r in scored])
        results |= {r.id: _scored(r, s, lengths[r.id]) for r, s in zip(scored, scores, strict=True)}
    return [_identity(r, engine) | results[r.id] for r in shard]


def _drawn(answer: Completion, note_unstopped: bool) -> dict:
    record = asdict(answer) | {"scores": None}
    return record if record.pop("unstopped") is False or not note_unstopped else record | {"unstopped": True}


def _scored(request: Request, scores: list[Scored], n_prompt: int) -> dict:
    rows = [
        {"text": text, "logprob": round(s.logprob, 6), "n_tokens": s.n_tokens}
        for text, s in zip(request.continuations or (), scores, strict=True)
    ]
    return {
        "text": None,
        "finish_reason": None,
        "n_prompt": n_prompt,
        "n_completion": sum(s.n_tokens for s in scores),
        "scores": rows,
    }


def _parsed(record: dict, parse: Callable[[str], Any] | None) -> dict:
    parsed, problem = None, None
    if parse is not None and record["text"] is not None:
        try:
            parsed = parse(record["text"])
        except ValueError as error:
            problem = str(error) or "unparsable"
    scores = record["scores"]
    rest = {key: value for key, value in record.items() if key != "scores"}
    return rest | {"parsed": parsed, "parse_error": problem, "scores": scores}
