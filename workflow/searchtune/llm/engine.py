"""One interface to language models, whatever runs them: texts from prompts, and log-probabilities of texts.

Prompts are the whole text that the model reads (see searchtune.prompts.chat). The back ends ``vllm`` and
``transformers`` read a model folder and give the same answers at temperature 0; ``openai`` asks an endpoint
described by the folder's ``endpoint.json``. Encoder-decoders (T5) run in ``transformers`` only: vLLM has no class
for them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from searchtune.errors import ConfigError, nearest
from searchtune.llm.adapters import check_adapter
from searchtune.llm.base import (
    Completion,
    Engine,
    Sampling,
    Scored,
    check_fit,
    check_model_dir,
    is_seq2seq,
    per_prompt,
    refuse_pickles,
    revision_of,
)

__all__ = [
    "BACKENDS",
    "Completion",
    "Engine",
    "Sampling",
    "Scored",
    "check_fit",
    "check_model_dir",
    "is_seq2seq",
    "open_engine",
    "per_prompt",
    "revision_of",
]

BACKENDS = ("openai", "transformers", "vllm")


def open_engine(
    model_dir: Path | str,
    backend: str,
    *,
    dtype: str = "auto",
    max_model_len: int = 2048,
    threads: int = 2,
    seed: int = 0,
    adapter: Path | str | None = None,
    tensor_parallel: int = 1,
    log: Callable[[str], None] = print,
    **options: Any,
) -> Engine:
    """Load a model folder (with a LoRA ``adapter`` folder on top) into a back end.

    An encoder-decoder goes to transformers whichever of the two is asked for, and ``log`` is told. ``tensor_parallel``:
    GPUs that vLLM spreads the model over; the others don't look at it. ``options`` go to the back end: vllm:
    max_num_seqs, kv_cache_gib, prefix_caching; transformers: batch_size, batch_tokens; openai: workers. Raises
    ConfigError for an unknown back end, ModelError for an unusable folder or an adapter that can't be served unmerged.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"unknown LLM back end {backend!r}{nearest(backend, BACKENDS)}")
    folder = check_model_dir(Path(model_dir), endpoint=backend == "openai")
    if adapter:
        refuse_pickles(Path(adapter))
    common: dict[str, Any] = {
        "dtype": dtype,
        "max_model_len": max_model_len,
        "threads": threads,
        "seed": seed,
        "adapter": Path(adapter) if adapter else None,
    } | options
    if backend != "openai" and is_seq2seq(folder):
        if backend != "transformers":
            log(f"{folder.name} is an encoder-decoder, which {backend} can't run: the back end is transformers")
        from searchtune.llm.seq2seq_engine import Seq2SeqEngine

        return Seq2SeqEngine(folder, log=log, **common)
    if backend != "openai" and adapter:
        check_adapter(Path(adapter))
    if backend == "vllm":
        from searchtune.llm.vllm_engine import VllmEngine

        return VllmEngine(folder, tensor_parallel=tensor_parallel, **common)
    if backend == "transformers":
        from searchtune.llm.transformers_engine import TransformersEngine

        return TransformersEngine(folder, log=log, **common)
    from searchtune.llm.openai_engine import OpenAIEngine

    return OpenAIEngine(folder, **common)
