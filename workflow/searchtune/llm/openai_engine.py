"""Back end for a service with the OpenAI API (a vendor's, or a vLLM server of one's own).

The model folder holds ``endpoint.json``: base_url, model, key_env (name of the environment variable with the key, or
null for none), api ("chat" or "completions"), max_model_len. The key is read from the environment only and never
written. Kept answers are the calls file (searchtune.llm.calls): a rerun asks only for what is missing there.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from searchtune.errors import ConfigError, ModelError
from searchtune.files import read_json, stable_hash
from searchtune.llm.base import Completion, Sampling, Scored, check_fit, per_prompt
from searchtune.llm.tokens import prompt_seed
from searchtune.prompts.chat import unwrap
from searchtune.redaction import without_secrets

# without the service's tokenizer a length is an estimate: most English text has more than three characters a token
CHARACTERS_PER_TOKEN = 3


class OpenAIEngine:
    """A model behind an endpoint: it writes texts, and scores continuations where the API echoes log-probabilities."""

    def __init__(
        self,
        model_dir: Path,
        *,
        dtype: str = "",
        max_model_len: int = 2048,
        threads: int = 2,
        seed: int = 0,
        adapter: Path | None = None,
        workers: int = 8,
    ) -> None:
        """Read endpoint.json; ``workers`` requests run at once. dtype and threads are the service's own business."""
        from openai import OpenAI

        described = read_json(model_dir / "endpoint.json")
        if adapter is not None:
            raise ConfigError("the openai back end takes no adapter; name the tuned model in endpoint.json")
        self._api = described.get("api", "chat")
        if self._api not in ("chat", "completions"):
            raise ConfigError(f"{model_dir}/endpoint.json: api is {self._api!r}; expected 'chat' or 'completions'")
        self._key_env = described.get("key_env")
        self._client = OpenAI(base_url=described["base_url"], api_key=_key(self._key_env), max_retries=5)
        self.model = described["model"]
        self.revision = stable_hash([described["base_url"], described["model"], self._api])
        self.max_model_len = described.get("max_model_len", max_model_len)
        self._workers = workers

    def count(self, prompts: list[str]) -> list[int]:
        """Return estimated token counts (the service counts exactly; its counts are in the completions)."""
        return [-(-len(prompt) // CHARACTERS_PER_TOKEN) for prompt in prompts]

    def generate(self, prompts: list[str], sampling: Sampling | Sequence[Sampling]) -> list[Completion]:
        """See :class:`searchtune.llm.base.Engine`; ChatML marks are taken off, the service puts its own."""
        samplings = per_prompt(prompts, sampling)
        check_fit(self.count(prompts), [s.max_tokens for s in samplings], self.max_model_len)
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(self._ask, prompts, samplings))

    def _ask(self, prompt: str, sampling: Sampling) -> Completion:
        settings: dict[str, Any] = {
            "model": self.model,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "seed": prompt_seed(sampling, prompt),
            "stop": list(sampling.stop) or None,
        }
        answer: Any
        with self._errors():
            if self._api == "chat":
                answer = self._client.chat.completions.create(
                    messages=[{"role": "user", "content": unwrap(prompt)}], **settings, **_shape(sampling)
                )
                text = answer.choices[0].message.content or ""
            else:
                answer = self._client.completions.create(prompt=prompt, **settings, **_shape(sampling))
                text = answer.choices[0].text
            reason = "length" if answer.choices[0].finish_reason == "length" else "stop"
            # answers are kept in the calls; a service that shows the request shows the key
            return Completion(self._shown(text), reason, answer.usage.prompt_tokens, answer.usage.completion_tokens)

    def _shown(self, text: str) -> str:
        return without_secrets(text, [self._key_env or ""])

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what the client raises into a ModelError without the key, which some services put into their answer."""
        from openai import OpenAIError

        try:
            yield
        except OpenAIError as error:
            fault = self._shown(f"{type(error).__name__}: {error}")
        except (AttributeError, IndexError, TypeError) as error:
            fault = self._shown(f"its answer is not of the form of the OpenAI API ({error})")
        else:
            return
        # not "from error": the chain would be printed with the key in it
        raise ModelError(
            f"endpoint model {self.model!r} could not be asked: {fault}. Look at base_url, model and the key in "
            f"{self._key_env or 'no variable (key_env is null)'}; answers that have come are kept for the next run"
        ) from None

    def score(self, prompts: list[str], continuations: list[list[str]]) -> list[list[Scored]]:
        """Score through ``completions`` with echo, as vLLM's server offers it; ModelError for a chat endpoint."""
        if self._api == "chat":
            raise ModelError(
                f"endpoint model {self.model!r} answers chats only and gives no log-probabilities of "
                "given texts; set api: completions for a service that echoes them, or use vllm"
            )
        pairs = [(prompt, text) for prompt, texts in zip(prompts, continuations, strict=True) for text in texts]
        with ThreadPoolExecutor(self._workers) as pool:
            scores = iter(list(pool.map(lambda pair: self._echo(*pair), pairs)))
        return [[next(scores) for _ in texts] for texts in continuations]

    def close(self) -> None:
        """See :class:`searchtune.llm.base.Engine`; the model's memory is another machine's."""
        self._client.close()

    def _echo(self, prompt: str, text: str) -> Scored:
        end = len(prompt) + len(text)
        with self._errors():
            answer = self._client.completions.create(
                model=self.model, prompt=prompt + text, max_tokens=1, temperature=0.0, logprobs=1, echo=True
            )
            told: Any = answer.choices[0].logprobs
            values = [
                value
                for value, offset in zip(told.token_logprobs, told.text_offset, strict=True)
                if len(prompt) <= offset < end
            ]
        if not values or None in values:
            raise ModelError(f"endpoint model {self.model!r} gave no log-probabilities for {text!r}; it does not echo")
        return Scored(sum(values), len(values))


def _key(name: str | None) -> str:
    if name is None:
        return "none"
    if not os.environ.get(name):
        raise ConfigError(
            f"environment variable {name} is not set; put the endpoint's key there, or set key_env: null "
            "for an endpoint without a key"
        )
    return os.environ[name]


def _shape(sampling: Sampling) -> dict[str, Any]:
    """Return the request's fields for structured output."""
    if sampling.json_schema is not None:
        return {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "answer", "schema": sampling.json_schema, "strict": True},
            }
        }
    if sampling.choice is not None:
        return {"extra_body": {"structured_outputs": {"choice": list(sampling.choice)}}}
    return {}
