"""Compare our supervised fine-tuning with TRL's defaults: tokens a second on the same model and instructions.

    pip install trl          # into an environment of its own that has our pins, too
    python benchmarks/tuning.py resources/models/smollm2-135m-instruct results/demo/inters/mixtures/full/train.jsonl

Both tune LoRA adapters of the same rank on all linear layers for the same number of steps and examples a step, on the
completion only. TRL runs as its SFTConfig has it (padding, logits at every position, no micro-batches) but for the
number format, which is bfloat16 in both. Every way runs in a process of its own; loading is not counted.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow"))
RANK, ALPHA, BATCH = 16, 32, 8


def with_ours(job: dict[str, Any]) -> float:
    """Return the tokens a second of our loop."""
    import torch

    from searchtune.training.sft import Network, settings_of, train_step
    from searchtune.training.sft_data import end_token, plan_batches, tokenize

    params = {"form": "chatml", "batch_size": BATCH, "lora": {"r": RANK, "alpha": ALPHA}, "dtype": job["dtype"]}
    settings = settings_of(params)
    network = Network.load(Path(job["model"]), settings, job["threads"])
    end = end_token(network.tokens, "chatml", network.eos)
    examples, _ = tokenize(job["rows"], network.tokens, "chatml", end, settings.max_length)
    plan = plan_batches([len(e.ids) for e in examples], BATCH, 0, 1, None)
    optimizer = torch.optim.AdamW(network.weights, lr=settings.lr, weight_decay=0.0, fused=True)
    for step in range(2):  # warm up
        train_step(network, optimizer, [examples[i] for i in plan[step]], settings, step)
    started, tokens = time.perf_counter(), 0
    for step in range(2, 2 + job["steps"]):
        batch = [examples[i] for i in plan[step]]
        train_step(network, optimizer, batch, settings, step)
        tokens += sum(len(e.ids) for e in batch)
    return tokens / (time.perf_counter() - started)


def with_trl(job: dict[str, Any]) -> float:
    """Return the tokens a second of TRL's trainer, by its own count of the tokens that are not padding."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(job["threads"])
    message = [
        {
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "completion": [{"role": "assistant", "content": row["completion"]}],
        }
        for row in job["rows"]
    ]

    class Clock(TrainerCallback):
        """Starts after two steps, which warm up, and notes what was seen by then."""

        started = 0.0
        begun = 0

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Start the clock after the second step."""
            if state.global_step == 2:
                Clock.started, Clock.begun = time.perf_counter(), trainer._total_train_tokens

    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model=job["model"],
            args=SFTConfig(
                output_dir=folder,
                per_device_train_batch_size=BATCH,
                max_steps=2 + job["steps"],
                use_cpu=not torch.cuda.is_available(),
                bf16=job["dtype"] == "bfloat16",
                save_strategy="no",
                report_to="none",
                seed=0,
            ),
            train_dataset=Dataset.from_list(message),
            peft_config=LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"),
            callbacks=[Clock()],
        )
        trainer.train()
        return (trainer._total_train_tokens - Clock.begun) / (time.perf_counter() - Clock.started)


WAYS = {"trl": with_trl, "ours": with_ours}


def measure(job: dict[str, Any], answers: Any) -> None:
    """Run one way in this process and send back its rate."""
    answers.put(WAYS[job["way"]](job))


def main() -> None:
    """Print tokens a second of each way, in turns, and the ratio of ours to TRL's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model folder")
    parser.add_argument("instructions", help="train.jsonl of a finished run")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    if importlib.util.find_spec("trl") is None:
        sys.exit("TRL is not installed here; install it beside our pins in an environment of its own: pip install trl")
    lines = Path(options.instructions).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines[: BATCH * (options.steps + 4)]]
    common = {"model": options.model, "rows": rows, "steps": options.steps, "threads": options.threads}
    context = multiprocessing.get_context("spawn")
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    print("turn\tway\ttokens_per_s\tratio")
    for turn in range(options.turns):
        rates: dict[str, float] = {}
        for way in WAYS:
            answers = context.Queue()
            process = context.Process(target=measure, args=(common | {"way": way, "dtype": options.dtype}, answers))
            process.start()
            while process.is_alive() and answers.empty():
                process.join(1)
            if answers.empty():
                sys.exit(f"{way} ended with exit code {process.exitcode}")
            rates[way] = answers.get()
            process.join()
            print(f"{turn}\t{way}\t{rates[way]:.0f}\t{rates[way] / rates['trl']:.2f}", flush=True)


if __name__ == "__main__":
    main()
