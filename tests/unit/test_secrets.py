"""A seeded secret reaches no log, call, record, error or report, whatever goes wrong on the way."""

import gzip
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers import ROOT
from seeded import fresh_secrets, holders
from small_project import make, specs

from searchtune.config.load import load_config
from searchtune.errors import ConfigError, ModelError
from searchtune.redaction import secrets_of, without_secrets

EMPTY = 0
NAMES = ("HF_TOKEN", "OPENAI_API_KEY", "MY_ENDPOINT")


@pytest.fixture
def seeded(monkeypatch):
    """Give each secret a value of its own and return name -> value."""
    values = fresh_secrets(NAMES)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return values


def test_names_say_what_is_a_secret():
    given = {"HF_TOKEN": "a" * 9, "OPENAI_API_KEY": "a" * 12, "DB_PASSWORD": "x" * 8, "KEYBOARD": "y" * 20, "A_KEY": "short",
             "TOKENIZERS_PARALLELISM": "f" * 10, "MINE": "z" * 9}  # fmt: skip
    assert list(secrets_of(given)) == ["a" * 12, "a" * 9, "x" * 8]
    assert "z" * 9 in secrets_of(given, ["MINE"])
    # the longer value first: else its rest would stay behind
    assert without_secrets(f"-{'a' * 12}-{'a' * 9}-", (), given) == "-<OPENAI_API_KEY>-<HF_TOKEN>-"


def test_what_holds_a_secret_is_found(tmp_path, seeded):
    value = seeded["HF_TOKEN"]
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/plain.bin").write_bytes(b"\xff\x00" + value.encode() + b"\xff")
    (tmp_path / "deep/packed.gz").write_bytes(gzip.compress(f"x {value}".encode()))
    (tmp_path / f"name-{value}").touch()
    (tmp_path / "innocent").write_text(value[:-1])
    assert {path.name for path in holders(tmp_path, seeded.values())} == {"plain.bin", "packed.gz", f"name-{value}"}


def test_steps_write_no_secret(tmp_path, seeded, capsys):
    make(tmp_path)
    written = capsys.readouterr()
    assert holders(tmp_path, seeded.values()) == []
    assert not any(value in written.out + written.err for value in seeded.values())


def test_a_log_line_that_holds_a_secret_is_written_without_it(tmp_path, seeded, capsys):
    from searchtune.stage import Job

    Job("x", {}, {}, log_path=tmp_path / "log").log(f"asked with Bearer {seeded['HF_TOKEN']}")
    assert (tmp_path / "log").read_text().endswith("asked with Bearer <HF_TOKEN>\n")
    assert seeded["HF_TOKEN"] not in capsys.readouterr().err


def test_a_step_that_fails_with_a_secret_in_its_error_logs_it_without(tmp_path, seeded):
    """The rules' script for real: a fetch whose address holds the token fails, and its log is searched."""
    spec = specs()["fetch"]
    spec["params"] |= {"source": f"s3://{seeded['HF_TOKEN']}@host"}
    (tmp_path / "logs").mkdir()
    script = tmp_path / "run.py"
    script.write_text(
        "import json, sys, types\n"
        "spec = json.loads(sys.stdin.read())\n"
        "named = lambda d: types.SimpleNamespace(items=lambda: d.items())\n"
        f"snakemake = types.SimpleNamespace(scriptdir={str(ROOT / 'workflow/scripts')!r}, input=named({{}}), threads=1, resources={{}},\n"
        "    config={'hardware': {'tensor_parallel': 1}},\n"
        "    output=named(spec['outputs']), log=['logs/fetch.log'], params=type('P', (dict,), {})(args=spec['params']))\n"
        "snakemake.params.stage = spec['stage']\n"
        f"exec(open({str(ROOT / 'workflow/scripts/stage.py')!r}).read())\n"
    )
    # what the job is told stands in its job file: here only errors and logs are looked at
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, input=json.dumps(spec), capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "workflow")},
    )  # fmt: skip
    assert done.returncode == 1 and "nothing is fetched for the source 's3://<HF_TOKEN>@host'" in done.stderr
    assert seeded["HF_TOKEN"] not in done.stderr + (tmp_path / "logs/fetch.log").read_text()


class Service(BaseHTTPRequestHandler):
    """An endpoint that shows the key that it was asked with, as some services do: in an error (401), in an answer (200);
    or whose answer holds no text (EMPTY).
    """

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        kind, shown = self.server.kind, f"Incorrect API key provided: {self.headers['Authorization']}"
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "text": shown,
            "message": {"role": "assistant", "content": shown},
        }
        answer = {"id": "1", "object": "chat.completion", "choices": [choice] if kind == 200 else [],
                  "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}  # fmt: skip
        data = json.dumps({"error": {"message": shown}} if kind == 401 else answer).encode()
        self.send_response(200 if kind == EMPTY else kind)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def service():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


@pytest.fixture
def opened(service, tmp_path, seeded):
    """Return a function that opens the service as an engine whose key lies in MY_ENDPOINT."""
    from searchtune.llm.engine import open_engine

    described = {"base_url": f"http://127.0.0.1:{service.server_port}/v1", "model": "m", "key_env": "MY_ENDPOINT"}

    def start(kind, **more):
        service.kind = kind
        (tmp_path / "endpoint.json").write_text(json.dumps(described | more))
        return open_engine(tmp_path, "openai")

    return start


@pytest.mark.slow
def test_an_endpoint_that_repeats_the_key_is_an_error_without_it(opened, tmp_path, seeded):
    import traceback

    from searchtune.llm.calls import Request, run_requests
    from searchtune.llm.engine import Sampling

    engine = opened(401)
    with pytest.raises(ModelError) as refused:
        run_requests(engine, [Request("a", "hello", Sampling(max_tokens=2))], tmp_path / "work", "calls")
    shown = "".join(traceback.format_exception(refused.value))
    assert "Incorrect API key provided: Bearer <MY_ENDPOINT>" in str(refused.value)
    assert not any(value in shown for value in seeded.values())
    assert holders(tmp_path, seeded.values()) == []
    with pytest.raises(ModelError, match="Bearer <MY_ENDPOINT>"):
        opened(401, api="completions").score(["a"], [["b"]])


@pytest.mark.slow
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_an_answer_that_repeats_the_key_is_kept_without_it(opened, tmp_path, seeded, api):
    from searchtune.llm.calls import Request, run_requests
    from searchtune.llm.engine import Sampling

    engine = opened(200, api=api)
    answers = run_requests(engine, [Request("a", "hello", Sampling(max_tokens=2))], tmp_path / "work", "calls")
    assert [answer["text"] for answer in answers] == ["Incorrect API key provided: Bearer <MY_ENDPOINT>"]
    assert list((tmp_path / "work").rglob("*.jsonl")) and holders(tmp_path, seeded.values()) == []


@pytest.mark.slow
def test_an_answer_of_another_form_is_a_model_error(opened):
    from searchtune.llm.engine import Sampling

    with pytest.raises(ModelError, match="its answer is not of the form of the OpenAI API"):
        opened(EMPTY).generate(["hello"], Sampling(max_tokens=2))


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"base_url": "http://h/v1", "model": "m", "api_key": "sk-hidden-value"}, "unknown key 'api_key'"),
        ({"base_url": "http://h/v1", "model": "m", "key_env": "sk-hidden-value"}, "no name of an environment variable"),
        ({"base_url": "http://me:sk-hidden-value@h/v1", "model": "m"}, "holds a user, a password or a query"),
        ({"base_url": "http://h/v1?key=sk-hidden-value", "model": "m"}, "holds a user, a password or a query"),
    ],
)
def test_a_key_in_the_configuration_is_refused_and_not_shown(described, message):
    user = {"scale": "ci", "models": {"remote": {"source": "endpoint", "kind": "causal", "endpoint": described}}}
    with pytest.raises(ConfigError, match=message) as refused:
        load_config(ROOT, user)
    assert "sk-hidden-value" not in str(refused.value)


def test_an_endpoint_may_have_no_key_and_a_length():
    described = {"base_url": "http://h/v1", "model": "m", "key_env": None, "max_model_len": 4096}
    user = {"scale": "ci", "models": {"remote": {"source": "endpoint", "kind": "causal", "endpoint": described}}}
    assert load_config(ROOT, user).model_dump()["models"]["remote"]["endpoint"] == described
