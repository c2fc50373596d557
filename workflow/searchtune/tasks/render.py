"""Stage ``inters.render``: task examples to instructions for tuning and to prompts for testing."""

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from searchtune.errors import DataError
from searchtune.files import read_jsonl, write_jsonl, write_tsv
from searchtune.prompts.budget import count_tokens, load_tokenizer
from searchtune.prompts.chat import END, wrap
from searchtune.stage import Job
from searchtune.tasks.inventory import spec_of
from searchtune.tasks.mixing import interleave, weights_of
from searchtune.tasks.prompting import (
    Row,
    TemplateBook,
    bare_templates,
    check_rows,
    completion,
    compose,
    demonstrations,
    first_templates,
    forward_templates,
    pick_template,
)
from searchtune.tasks.released_templates import FILE_NAME, load_released, load_table, overlay

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from searchtune.prompts.templates import TemplateSet

STATISTICS_COLUMNS = [
    "set",
    "task",
    "dataset",
    "rows",
    "tokens",
    "token_share",
    "few_shot_rows",
    "templates",
    "too_long",
]


def pair_of(row: Row) -> str:
    """Return ``task/dataset`` of an example or instruction."""
    return f"{row['task']}/{row['dataset']}"


def grouped(rows: list[Row]) -> dict[str, list[Row]]:
    """Return rows by pair, in file order."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[pair_of(row)].append(row)
    return dict(found)


@dataclass
class Renderer:
    """Renders examples under the settings of one job."""

    book: TemplateBook
    tokenizer: "Tokenizer"
    params: dict[str, Any]
    pools: dict[str, list[Row]]

    def tokens(self, prompt: str, answer: str = "") -> int:
        """Return the tokens of a prompt in its chat form, with an answer and its end mark if one is given."""
        form = self.params["form"]
        return count_tokens(self.tokenizer, wrap(prompt, form)) + (
            count_tokens(self.tokenizer, answer + END[form]) if answer else 0
        )

    def templates_of(self, row: Row, test: bool = False) -> "TemplateSet":
        """Return the templates that may render a row: a tuning row in the first ``n_templates`` of its set, a test
        row in all that ask for its target, whatever was tuned on, so that variants are tested alike. ``bare`` holds
        for both, as ``with_description`` does: a model is asked in the form that it was tuned in.
        """
        templates = self.book.set_of(row)
        if self.params["bare"]:
            return bare_templates(templates)
        return forward_templates(templates) if test else first_templates(templates, self.params["n_templates"])

    def instruction(self, row: Row, use: int) -> Row:
        """Return the instruction of an example's ``use``-th rendering: zero-shot, or few-shot for a share of them."""
        templates = self.templates_of(row)
        key = (self.params["seed"], row["id"])
        template = pick_template(templates, *key, use=use)
        rng = random.Random("\x1f".join(map(str, ("shots", *key, use))))
        shots = rng.randint(1, self.params["max_shots"]) if rng.random() < self.params["few_shot_share"] else 0
        demos = demonstrations(self.pools.get(pair_of(row), []), row, shots, *key, use) if shots else []
        answer = completion(template, row)
        prompt = compose(templates, template, row, demos, self.params["with_description"])
        while demos and self.tokens(prompt, answer) > self.params["max_tokens"]:
            demos = demos[:-1]
            prompt = compose(templates, template, row, demos, self.params["with_description"])
        return {
            "id": f"{row['id']}#{use}",
            "prompt": prompt,
            "completion": answer,
            "task": row["task"],
            "dataset": row["dataset"],
            "template": f"{templates.name}/{template.id}",
            "shots": len(demos),
            "n_tokens": self.tokens(prompt, answer),
        }

    def renderings(self, rows: list[Row], uses: int) -> Iterator[Row]:
        """Yield every example once, then all of them again in another template, ``uses`` times in all."""
        for use in range(uses):
            for row in rows:
                instruction = self.instruction(row, use)
                if instruction["n_tokens"] <= self.params["max_tokens"]:
                    yield instruction

    def test_prompt(self, row: Row, shots: int) -> tuple[str, int]:
        """Return (prompt, demonstrations in it) of a test example.

        All candidates of a query share template and demonstrations, so that their scores compare.
        Demonstrations that do not fit are left out, the last first; DataError if the bare prompt does not fit.
        """
        key = (self.params["test_seed"], row["meta"].get("group") or row["id"])
        templates = self.templates_of(row, test=True)
        template = pick_template(templates, *key)
        limit = self.params["max_prompt_tokens"]
        demos = demonstrations(self.pools.get(pair_of(row), []), row, shots, *key) if shots else []
        prompt = compose(templates, template, row, demos, self.params["with_description"])
        while demos and self.tokens(prompt) > limit:
            demos = demos[:-1]
            prompt = compose(templates, template, row, demos, self.params["with_description"])
        if self.tokens(prompt) > limit:
            raise DataError(
                f"test prompt of {row['id']!r} has {self.tokens(prompt)} tokens, max_prompt_tokens is "
                f"{limit}; lower max_words of {pair_of(row)} or raise max_prompt_tokens"
            )
        return prompt, len(demos)


def mixture(renderer: Renderer, examples: list[Row], params: dict[str, Any]) -> list[Row]:
    """Return the training instructions: interleaved by weight, ended by the token budget or by the examples."""
    pairs = grouped(examples)
    weights = weights_of({pair: len(rows) for pair, rows in pairs.items()}, params["cap"], params["weights"])
    queues = {pair: renderer.renderings(rows, params["uses"]) for pair, rows in pairs.items()}
    chosen: list[Row] = []
    total = 0
    for row in interleave(queues, weights):
        if total + row["n_tokens"] > params["total_tokens"]:
            break
        chosen.append(row)
        total += row["n_tokens"]
    return chosen


def held_out(renderer: Renderer, examples: list[Row]) -> list[Row]:
    """Return the dev instructions, one an example, interleaved evenly."""
    pairs = grouped(examples)
    queues = {pair: renderer.renderings(rows, 1) for pair, rows in pairs.items()}
    return list(interleave(queues, dict.fromkeys(pairs, 1.0)))


def kinds_of(row: Row, shots: int) -> list[str]:
    """Return how a test example is asked: labels are scored (the paper's way) and, zero-shot, also generated."""
    kind = spec_of(row["task"], row["dataset"]).kind
    if kind == "ranking":
        return ["score"]
    if kind == "label":
        return ["score"] if shots else ["score", "generate"]
    return ["generate"]


def test_prompts(renderer: Renderer, examples: list[Row], shots: int) -> list[Row]:
    """Return the test prompts of all examples: {id, example_id, task, dataset, kind, prompt, continuations, ...}."""
    found = []
    for row in examples:
        prompt, used = renderer.test_prompt(row, shots)
        max_tokens = renderer.params["max_new_tokens"].get(row["task"], spec_of(row["task"], row["dataset"]).max_tokens)
        for kind in kinds_of(row, shots):
            found.append(
                {
                    "id": f"{row['id']}#{kind}",
                    "example_id": row["id"],
                    "task": row["task"],
                    "dataset": row["dataset"],
                    "kind": kind,
                    "prompt": prompt,
                    "continuations": row["labels"] if kind == "score" else None,
                    "max_tokens": max_tokens,
                    "group": row["meta"].get("group"),
                    "shots": used,
                    "n_tokens": renderer.tokens(prompt),
                }
            )
    return found


def statistics(name: str, rows: list[Row], too_long: dict[str, int] | None = None) -> list[Row]:
    """Return the rows of statistics.tsv for one set of instructions or prompts."""
    total = sum(row["n_tokens"] for row in rows) or 1
    table = []
    for pair, members in sorted(grouped(rows).items()):
        tokens = sum(row["n_tokens"] for row in members)
        table.append(
            {
                "set": name,
                "task": members[0]["task"],
                "dataset": members[0]["dataset"],
                "rows": len(members),
                "tokens": tokens,
                "token_share": tokens / total,
                "few_shot_rows": sum(row["shots"] > 0 for row in members),
                "templates": len({row["template"] for row in members if "template" in row}) or None,
                "too_long": (too_long or {}).get(pair, 0),
            }
        )
    return table


def overlong(renderer: Renderer, examples: list[Row]) -> dict[str, int]:
    """Return, for each pair, how many examples are too long in their first rendering (length filtering)."""
    return {
        pair: sum(renderer.instruction(row, 0)["n_tokens"] > renderer.params["max_tokens"] for row in rows)
        for pair, rows in grouped(examples).items()
    }


def load_book(job: Job) -> TemplateBook:
    """Return our templates; under the released ones where the job has the input ``released`` (a folder)."""
    book = TemplateBook.load(job.inputs["templates"])
    if "released" not in job.inputs:
        return book
    table = load_table(job.inputs["released_table"])
    files, report = overlay(book.files, load_released(job.inputs["released"] / FILE_NAME, table))
    for row in report:
        text = f"; left out: {row['reason']}" if row["reason"] else ""
        job.log(f"released templates of {row['task']}/{row['set']}: {row['used']} of {row['templates']} used{text}")
    return TemplateBook(files)


def run(job: Job) -> dict[str, Any]:
    """Write train and dev instructions, test prompts (zero_shot.jsonl, few_shot.jsonl) and statistics.

    Inputs: examples (folder), tokenizer (model folder), templates (YAML files); optional: released (folder with the
    released template file) and released_table (its mapping). Outputs: train, dev, prompts (folder), statistics.
    Params: form, seed, test_seed, cap, weights, uses, total_tokens, max_tokens, few_shot_share, max_shots, n_shots,
    max_prompt_tokens, max_new_tokens, n_templates, with_description, bare.
    """
    folder = job.inputs["examples"]
    splits = {name: read_jsonl(folder / f"{name}.jsonl") for name in ("train", "dev", "test")}
    for name, rows in splits.items():
        check_rows(rows, folder / f"{name}.jsonl")
    # a task that must not train (canary_data: evaluate_only) still shows demonstrations, from dev
    pools = grouped(splits["dev"]) | grouped(splits["train"])
    renderer = Renderer(load_book(job), load_tokenizer(job.inputs["tokenizer"]), job.params, pools)
    train, dev = mixture(renderer, splits["train"], job.params), held_out(renderer, splits["dev"])
    if not train:
        raise DataError("inters.render: the mixture is empty; raise total_tokens, max_tokens or n_train of the pairs")
    prompts = {
        "zero_shot": test_prompts(renderer, splits["test"], 0),
        "few_shot": test_prompts(renderer, splits["test"], job.params["n_shots"]),
    }
    write_jsonl(job.outputs["train"], train)
    write_jsonl(job.outputs["dev"], dev)
    for name, rows in prompts.items():
        write_jsonl(job.outputs["prompts"] / f"{name}.jsonl", rows)
    table = statistics("train", train, overlong(renderer, splits["train"])) + statistics("dev", dev)
    table += [row for name, rows in prompts.items() for row in statistics(name, rows)]
    write_tsv(job.outputs["statistics"], STATISTICS_COLUMNS, table)
    tokens = sum(row["n_tokens"] for row in train)
    job.log(f"{len(train)} training rows, {tokens} tokens; {len(prompts['zero_shot'])} test prompts")
    return {
        "train_rows": len(train),
        "train_tokens": tokens,
        "dev_rows": len(dev),
        "zero_shot_prompts": len(prompts["zero_shot"]),
        "few_shot_prompts": len(prompts["few_shot"]),
        "few_shot_demonstrations": sum(row["shots"] for row in prompts["few_shot"]),
        "trained_on": sorted({row["dataset"] for row in train}),
        "templates": len({row["template"] for row in train}),
    }
