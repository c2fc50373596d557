"""Recorded model calls: resume, parse errors, limits."""

import json

import pytest

from searchtune.errors import ConfigError, DataError, ModelError
from searchtune.files import sha256_file
from searchtune.llm.calls import Request, count_calls, run_requests
from searchtune.llm.engine import Completion, Sampling, Scored, open_engine, per_prompt
from searchtune.sealed import intact, sealed_path

GREEDY = Sampling(max_tokens=4)


class Echo:
    """An engine that answers with the prompt in capitals, counts its work and can break down."""

    def __init__(self, fail_after=None):
        self.model, self.revision, self.max_model_len = "echo", "r1", 50
        self.seen, self.fail_after = [], fail_after

    def count(self, prompts):
        return [len(p.split()) for p in prompts]

    def generate(self, prompts, sampling):
        if self.fail_after is not None and len(self.seen) >= self.fail_after:
            raise RuntimeError("killed")
        self.seen += prompts
        return [
            Completion(p.upper(), "stop", len(p.split()), s.max_tokens)
            for p, s in zip(prompts, per_prompt(prompts, sampling), strict=True)
        ]

    def score(self, prompts, continuations):
        return [[Scored(-float(len(c)), 1) for c in row] for row in continuations]


def requests(n):
    return [Request(f"q{i}", f"prompt {i}", GREEDY) for i in range(n)]


def test_record_has_all_fields(tmp_path):
    [record] = run_requests(Echo(), requests(1), tmp_path, "calls", log=lambda _: None, parse=str.lower)
    assert record.pop("prompt_sha256") == "481d04be4cdbb88b5984fbcbfbe428ec5ab1043cc25e5b3a3d562d2e8e5623ba"
    assert record == {
        "id": "q0",
        "model": "echo",
        "revision": "r1",
        "text": "PROMPT 0",
        "finish_reason": "stop",
        "n_prompt": 2,
        "n_completion": 4,
        "parsed": "prompt 0",
        "parse_error": None,
        "scores": None,
        "sampling": {
            "max_tokens": 4,
            "temperature": 0.0,
            "top_p": 1.0,
            "stop": [],
            "seed": 0,
            "json_schema": None,
            "choice": None,
        },
    }


def test_killed_job_resumes_without_repeating_work(tmp_path):
    whole = run_requests(Echo(), requests(10), tmp_path / "a", "calls", shard_size=4, log=lambda _: None)
    first = Echo(fail_after=4)
    with pytest.raises(RuntimeError, match="killed"):
        run_requests(first, requests(10), tmp_path / "b", "calls", shard_size=4, log=lambda _: None)
    assert [p.name for p in sorted((tmp_path / "b/calls").iterdir())] == ["0000.jsonl", "0000.jsonl.sha256"]
    second = Echo()
    resumed = run_requests(second, requests(10), tmp_path / "b", "calls", shard_size=4, log=lambda _: None)
    assert resumed == whole
    assert second.seen == [f"prompt {i}" for i in range(4, 10)]
    for shard in ("0000", "0001", "0002"):
        assert (tmp_path / f"a/calls/{shard}.jsonl").read_bytes() == (tmp_path / f"b/calls/{shard}.jsonl").read_bytes()


def test_cut_or_foreign_shards_are_done_again(tmp_path):
    run_requests(Echo(), requests(6), tmp_path, "calls", shard_size=3, log=lambda _: None)
    shard = tmp_path / "calls/0000.jsonl"
    shard.write_text("".join(shard.read_text().splitlines(keepends=True)[:2]))
    with sealed_path(tmp_path / "calls/0001.jsonl") as other:
        other.write_text((tmp_path / "calls/0001.jsonl").read_text().replace('"revision": "r1"', '"revision": "r0"'))
    engine = Echo()
    run_requests(engine, requests(6), tmp_path, "calls", shard_size=3, log=lambda _: None)
    assert len(engine.seen) == 6


def test_a_shard_with_one_other_letter_is_done_again(tmp_path):
    whole = run_requests(Echo(), requests(6), tmp_path, "calls", shard_size=3, log=lambda _: None)
    shard = tmp_path / "calls/0001.jsonl"
    shard.write_text(shard.read_text().replace("PROMPT 4", "PROMPT 5"))
    engine = Echo()
    assert run_requests(engine, requests(6), tmp_path, "calls", shard_size=3, log=lambda _: None) == whole
    assert engine.seen == ["prompt 3", "prompt 4", "prompt 5"]


def test_a_job_killed_between_seal_and_file_goes_on_from_the_older_file(tmp_path):
    state = tmp_path / "state"
    for text in ("one", "two"):
        with sealed_path(state) as temporary:
            temporary.write_text(text)
    newer = (tmp_path / "state.sha256").read_text()
    state.write_text("one")  # as if the last rename had not come
    assert intact(state) and newer.split()[1] == sha256_file(state)
    state.write_text("onf")
    assert not intact(state)
    state.unlink()
    assert not intact(state)


def test_parse_errors_are_counted_not_hidden(tmp_path):
    asked = [Request("good", "true", GREEDY), Request("bad", "tru", GREEDY)]
    records = run_requests(Echo(), asked, tmp_path, "calls", log=lambda _: None, parse=lambda t: json.loads(t.lower()))
    assert [r["parsed"] for r in records] == [True, None]
    assert "Expecting value" in records[1]["parse_error"]
    assert count_calls(records) == {
        "calls": 2,
        "prompt_tokens": 2,
        "completion_tokens": 8,
        "cut_off": 0,
        "parse_errors": 1,
    }


def test_scores_and_texts_keep_request_order(tmp_path):
    asked = [Request("s", "one two", continuations=("yes", "no")), Request("g", "three", GREEDY)]
    records = run_requests(Echo(), asked, tmp_path, "calls", log=lambda _: None)
    assert [r["id"] for r in records] == ["s", "g"]
    assert records[0]["scores"] == [
        {"text": "yes", "logprob": -3.0, "n_tokens": 1},
        {"text": "no", "logprob": -2.0, "n_tokens": 1},
    ]
    assert (records[0]["text"], records[0]["n_prompt"], records[0]["n_completion"]) == (None, 2, 2)


def test_prompt_too_long_names_the_request(tmp_path):
    asked = [Request("fine", "a", GREEDY), Request("huge", "a " * 48, GREEDY)]
    message = r"1 of 2 prompts are too long; the longest, 'huge', has 48 tokens and may add 4, max_model_len is 50"
    with pytest.raises(ModelError, match=message):
        run_requests(Echo(), asked, tmp_path, "calls", log=lambda _: None)


def test_repeated_ids_are_refused(tmp_path):
    with pytest.raises(DataError, match="1 request ids are repeated, the first is 'q0'"):
        run_requests(Echo(), requests(1) * 2, tmp_path, "calls")


def test_request_needs_exactly_one_kind():
    with pytest.raises(ConfigError, match="'x' needs either sampling or continuations"):
        Request("x", "p")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"temperature": -1}, "temperature -1"),
        ({"top_p": 0}, "top_p 0"),
        ({"json_schema": {}, "choice": ("a",)}, "json_schema or choice, not both"),
    ],
)
def test_sampling_is_checked(values, message):
    with pytest.raises(ConfigError, match=message):
        Sampling(**values)


def test_open_engine_checks_backend_and_folder(tmp_path):
    with pytest.raises(ConfigError, match=r"back end 'vlm'; did you mean 'vllm'\?"):
        open_engine(tmp_path, "vlm")
    with pytest.raises(ModelError, match=r"lacks config\.json, tokenizer\.json"):
        open_engine(tmp_path, "vllm")
    for name in ("config.json", "tokenizer.json", "pytorch_model.bin"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ModelError, match=r"no \.safetensors file; pickled weights are refused"):
        open_engine(tmp_path, "transformers")
