"""The back ends: tokens, scores, structured output, and that vLLM and transformers answer alike."""

import json
import math
import threading
import weakref
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from searchtune.errors import ConfigError, ModelError
from searchtune.llm.engine import Sampling, open_engine
from searchtune.llm.structured import choice_grammar
from searchtune.llm.tokens import Tokens, prompt_seed
from searchtune.llm.transformers_engine import shared_length
from searchtune.llm.vllm_engine import _gpu_settings, next_tokens

TEXTS = [
    "The river runs past the old mill.",
    "Which bridge crosses the river?",
    "A mill grinds grain into flour.",
    "Nobody asked the miller about the price of bread, so he told them all the same.",
] * 3
LONG = "Read this passage and write a question that it answers. The mill by the river grinds grain into flour. "
QUESTIONS = ["The mill", "Which bridge is it that crosses the wide river near the mill?", LONG + "One", LONG + "Two"]
PROMPTS = [f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n" for text in QUESTIONS]
SCHEMA = {
    "type": "object",
    "properties": {"query": {"type": "string", "maxLength": 8}, "good": {"type": "boolean"}},
    "required": ["query", "good"],
    "additionalProperties": False,
}


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory):
    """A Llama of two layers."""
    from searchtune.training.tiny import build_lm

    folder = tmp_path_factory.mktemp("models") / "tiny-lm"
    folder.mkdir()
    build_lm(TEXTS, folder, seed=3, vocabulary=400)
    return folder


@pytest.fixture(scope="session")
def engine(tiny_lm):
    return open_engine(tiny_lm, "transformers", dtype="float32", threads=1, max_model_len=256)


@pytest.fixture(scope="session")
def reference(tiny_lm):
    """The plain way: full sequence in, log-probabilities out."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_lm, dtype=torch.float32).eval()

    def logprobs(ids):
        with torch.no_grad():
            return model(torch.tensor([ids])).logits[0].log_softmax(-1)

    return logprobs


def test_next_tokens_asks_once_for_each_distinct_beginning():
    assert next_tokens([[1], [2], [1]], 128) == [((), [1, 2])]
    assert next_tokens([[1, 2], [1, 3], [4]], 128) == [((), [1, 4]), ((1,), [2, 3])]
    assert next_tokens([[1], [2], [3]], 2) == [((), [1, 2]), ((), [3])]


def test_shared_beginning_leaves_every_row_a_token():
    row = list(range(40))
    assert shared_length([row, row]) == 39
    assert shared_length([row, [*row[:35], 99]]) == 35
    assert shared_length([row, [*row[:9], 99]]) == 0
    assert shared_length([row]) == 0


def test_choice_grammar_escapes_quotes():
    assert choice_grammar(["a", 'say "b"\n']) == 'root ::= "a" | "say \\"b\\"\\n"'


def test_noise_depends_on_seed_and_prompt_only():
    assert prompt_seed(Sampling(seed=1), "a") == prompt_seed(Sampling(seed=1, max_tokens=9), "a")
    assert len({prompt_seed(Sampling(seed=s), p) for s in (1, 2) for p in ("a", "b")}) == 4


@pytest.mark.slow
def test_tokens_stop_and_decode(tiny_lm):
    tokens = Tokens(tiny_lm)
    assert tokens.opening == [] and tokens.stop_ids == [2]
    [ids] = tokens.prompts(["<|im_start|>mill<|im_end|>"])
    assert ids[0] == 1 and ids[-1] == 2
    assert tokens.decode(ids) == ("mill", False)
    assert tokens.decode(ids, ("zz", "il")) == ("m", True)
    with pytest.raises(ModelError, match="continuation '' has no tokens"):
        tokens.continuation("")


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 2])
def test_greedy_text_is_the_argmax_of_the_full_sequence(engine, reference, first):
    """Left padding, cache, leaving rows and a shared beginning (the last two prompts) change nothing."""
    prompts, budgets = PROMPTS[first:], (3, 9, 6, 9)[first:]
    assert (shared_length(engine.tokens.prompts(prompts)) > 0) == (first == 2)
    answers = engine.generate(prompts, [Sampling(max_tokens=n) for n in budgets])
    for prompt, answer, n in zip(prompts, answers, budgets, strict=True):
        [ids] = engine.tokens.prompts([prompt])
        start = len(ids)
        while len(ids) == start or (len(ids) < start + n and ids[-1] != 2):
            ids.append(int(reference(ids)[-1].argmax()))
        assert answer.text == engine.tokens.decode(ids[start:])[0]
        assert (answer.n_prompt, answer.n_completion) == (start, len(ids) - start)


@pytest.mark.slow
@pytest.mark.parametrize("first", [0, 2])
def test_scores_are_sums_over_the_full_sequence(engine, reference, first):
    continuations = [["true", "false"], ["yes"], [" a mill by the river", "r", "flour"], ["true", "x"]][first:]
    scores = engine.score(PROMPTS[first:], continuations)
    for prompt, texts, row in zip(PROMPTS[first:], continuations, scores, strict=True):
        [ids] = engine.tokens.prompts([prompt])
        for text, scored in zip(texts, row, strict=True):
            rest = engine.tokens.continuation(text)
            logprobs = reference(ids + rest)
            expected = sum(float(logprobs[len(ids) - 1 + i, token]) for i, token in enumerate(rest))
            assert math.isclose(scored.logprob, expected, abs_tol=1e-4)
            assert scored.n_tokens == len(rest)


@pytest.mark.slow
def test_sampling_does_not_depend_on_the_batch(engine):
    warm = Sampling(max_tokens=8, temperature=1.0, top_p=0.9, seed=5)
    together = engine.generate(PROMPTS, warm)
    assert [engine.generate([p], warm)[0].text for p in PROMPTS] == [c.text for c in together]
    assert engine.generate(PROMPTS, Sampling(max_tokens=8, temperature=1.0, seed=6)) != together


@pytest.mark.slow
def test_top_p_keeps_the_smallest_set():
    import torch

    from searchtune.llm.transformers_engine import sample

    logits = torch.log(torch.tensor([0.1, 0.5, 0.4]))
    noise = torch.Generator().manual_seed(0)
    drawn = {sample(logits, Sampling(temperature=1.0, top_p=0.6), noise) for _ in range(60)}
    assert drawn == {1, 2}
    assert {sample(logits, Sampling(temperature=1.0, top_p=0.3), noise) for _ in range(20)} == {1}


@pytest.mark.slow
def test_nucleus_is_that_of_a_full_sort():
    import torch

    from searchtune.llm.nucleus import keep_nucleus

    inf = float("inf")
    logits = torch.log(torch.tensor([0.1, 0.5, 0.15, 0.25]))
    kept = keep_nucleus(logits, 0.7, first=1)
    assert kept.tolist() == [-inf, logits[1], -inf, logits[3]]
    assert keep_nucleus(logits, 0.01).isfinite().tolist() == [False, True, False, False]
    many = torch.randn(3000, generator=torch.Generator().manual_seed(0))
    ordered, order = many.softmax(0).sort(descending=True)
    wanted = set(order[ordered.cumsum(0) - ordered < 0.9].tolist())
    assert len(wanted) > 256 and set(keep_nucleus(many, 0.9).isfinite().nonzero()[:, 0].tolist()) == wanted


@pytest.mark.slow
def test_output_head_in_float32_leaves_the_embedding_alone():
    import torch

    from searchtune.llm.vllm_engine import hold_head_in_float32

    class Tied(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(5, 3, dtype=torch.bfloat16)
            self.lm_head = self.embed

    model = Tied()
    hold_head_in_float32(model)
    assert model.embed.weight.dtype == torch.bfloat16 and model.lm_head.weight.dtype == torch.float32
    assert torch.equal(model.lm_head.weight, model.embed.weight.float())
    assert not model.lm_head.weight.requires_grad
    hold_head_in_float32(torch.nn.Linear(2, 2))  # a model without such a head stays as it is


@pytest.mark.slow
def test_structured_output_and_stop_texts(engine):
    for answer in engine.generate(PROMPTS, Sampling(max_tokens=40, json_schema=SCHEMA)):
        if answer.finish_reason == "stop":
            assert set(json.loads(answer.text, strict=False)) == {"query", "good"}
        assert answer.text.startswith('{"query":"')
    choice = ("relevant", 'not "relevant"')
    assert {a.text for a in engine.generate(PROMPTS, Sampling(max_tokens=30, choice=choice))} <= set(choice)
    free = engine.generate(PROMPTS, Sampling(max_tokens=9))
    mark = free[0].text[2:4]
    stopped = engine.generate(PROMPTS, Sampling(max_tokens=9, stop=(mark,)))
    assert stopped[0].text == free[0].text[: free[0].text.index(mark)] and stopped[0].finish_reason == "stop"


@pytest.mark.slow
def test_prompts_that_cannot_be_answered_are_errors(engine):
    with pytest.raises(ModelError, match="1 of 2 prompts are too long; the longest, number 1"):
        engine.generate(["a", "a " * 300], Sampling(max_tokens=2))
    with pytest.raises(ModelError, match="1 of 1 prompts are empty or have no continuation"):
        engine.score(["a"], [[]])
    with pytest.raises(ModelError, match="2 prompts and 1 samplings"):
        engine.generate(["a", "b"], [Sampling()])


@pytest.mark.slow
def test_vllm_and_transformers_agree(tiny_lm, engine):
    """Greedy texts and structured output are the same, scores within 1e-3, at float32.

    A job that searched with BM25 before has numba in it, whose library vLLM can't look through.
    """
    import numba  # noqa: F401

    vllm = open_engine(
        tiny_lm, "vllm", dtype="float32", threads=1, max_model_len=256, kv_cache_gib=0.1, max_num_seqs=64
    )
    for sampling in (
        Sampling(max_tokens=12),
        Sampling(max_tokens=30, json_schema=SCHEMA),
        Sampling(max_tokens=30, choice=("relevant", 'not "relevant"')),
        Sampling(max_tokens=12, stop=("e",)),
    ):
        assert vllm.generate(PROMPTS, sampling) == engine.generate(PROMPTS, sampling)
    continuations = [["true", "false"], ["yes"], [" a mill by the river", "r", "flour"], ["true", "x"]]
    pairs = zip(vllm.score(PROMPTS, continuations), engine.score(PROMPTS, continuations), strict=True)
    for ours, theirs in pairs:
        for a, b in zip(ours, theirs, strict=True):
            assert a.n_tokens == b.n_tokens and math.isclose(a.logprob, b.logprob, abs_tol=1e-3)
    warm = Sampling(max_tokens=8, temperature=1.0, seed=5)
    assert vllm.generate(PROMPTS, warm) == vllm.generate(PROMPTS, warm)
    # our nucleus draws what vLLM's own top_p draws
    cut = Sampling(max_tokens=8, temperature=1.0, top_p=0.5, seed=5)
    ours = vllm.generate(PROMPTS, cut)
    vllm._nucleus = lambda sampling: {"top_p": sampling.top_p}
    assert vllm.generate(PROMPTS, cut) == ours != vllm.generate(PROMPTS, warm)
    # more prompt tokens than one step takes: a prompt cut over two steps can't be drawn for on CPU
    many = [f"{number} " + "A mill by the river grinds flour. " * 16 for number in range(64)]
    assert 100 < max(vllm.count(many)) < 240 and sum(vllm.count(many)) > 4 * 2048
    assert len(vllm.generate(many, warm)) == len(many)
    first = vllm.generate(PROMPTS, Sampling(max_tokens=4))
    vllm.close()
    vllm.close()
    # the next one is opened in the same process, while the first engine's object is still held
    again = open_engine(tiny_lm, "vllm", dtype="float32", threads=1, max_model_len=256, kv_cache_gib=0.1)
    assert again.generate(PROMPTS, Sampling(max_tokens=4)) == first
    again.close()


@pytest.mark.slow
def test_a_closed_engine_holds_no_weights(tiny_lm):
    engine = open_engine(tiny_lm, "transformers", dtype="float32", threads=1, max_model_len=256)
    weights = weakref.ref(engine._model)
    engine.generate(PROMPTS, Sampling(max_tokens=2))
    engine.close()
    assert weights() is None


def test_vllm_is_told_of_all_parts_of_a_model():
    assert _gpu_settings(0.5, 1, 1) == {"gpu_memory_utilization": 0.5, "tensor_parallel_size": 1}
    several = _gpu_settings(0.5, 4, 8)
    assert several["tensor_parallel_size"] == 4 and several["distributed_executor_backend"] == "mp"
    with pytest.raises(ConfigError, match=r"hardware.tensor_parallel is 4, but this job sees 2 GPU"):
        _gpu_settings(0.5, 4, 2)


def test_a_job_hands_its_parts_to_its_engine(tmp_path, monkeypatch):
    from searchtune.llm import job_engine
    from searchtune.stage import Job

    given = []
    monkeypatch.setattr(job_engine, "open_engine", lambda *_, **options: given.append(options["tensor_parallel"]))
    params = {"backend": "vllm", "dtype": "auto", "max_model_len": 9}
    for job in (
        Job("x", {"model": tmp_path}, {}, params),
        Job("x", {"model": tmp_path}, {}, params, tensor_parallel=4),
    ):
        job_engine.job_engine(job, 0)
    assert given == [1, 4]


class Service(BaseHTTPRequestHandler):
    """A chat endpoint that says what it was asked."""

    asked: list = []  # noqa: RUF012

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Service.asked.append((self.path, self.headers["Authorization"], body))
        answer = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "length",
                    "message": {"role": "assistant", "content": body["messages"][0]["content"].upper()},
                }
            ],
            "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
        }
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def endpoint(tmp_path):
    server = HTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "endpoint.json").write_text(
        json.dumps(
            {"base_url": f"http://127.0.0.1:{server.server_port}/v1", "model": "m", "key_env": "TEST_ENDPOINT_KEY"}
        )
    )
    yield tmp_path
    server.shutdown()


@pytest.mark.slow
def test_endpoint_gets_the_bare_prompt_and_the_key_from_the_environment(endpoint, monkeypatch):
    monkeypatch.setenv("TEST_ENDPOINT_KEY", "secret")
    service = open_engine(endpoint, "openai")
    [answer] = service.generate(
        ["<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"], Sampling(max_tokens=2, json_schema=SCHEMA)
    )
    assert (answer.text, answer.finish_reason, answer.n_prompt, answer.n_completion) == ("HELLO", "length", 5, 2)
    path, key, body = Service.asked[-1]
    assert (path, key) == ("/v1/chat/completions", "Bearer secret")
    assert body["response_format"]["json_schema"]["schema"] == SCHEMA
    with pytest.raises(ModelError, match="answers chats only"):
        service.score(["a"], [["b"]])


@pytest.mark.slow
def test_endpoint_without_key_is_an_error(endpoint, monkeypatch):
    monkeypatch.delenv("TEST_ENDPOINT_KEY", raising=False)
    with pytest.raises(ConfigError, match="environment variable TEST_ENDPOINT_KEY is not set"):
        open_engine(endpoint, "openai")
