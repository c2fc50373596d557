"""Stage ``inters.render``: task examples to instructions for tuning and to prompts for testing."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from searchtune.errors import DataError
from searchtune.files import read_jsonl, write_jsonl, write_tsv
from searchtune.prompts.budget import count_many, count_tokens, load_tokenizer
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

    from searchtune.prompts.templates import Template, TemplateSet

CHUNK = 64  # examples whose tokens are counted at once
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


@dataclass(frozen=True)
class Draft:
    """A rendering of an example before its length is known."""

    row: Row
    use: int
    templates: "TemplateSet"
    template: "Template"
    demos: list[Row]
    answer: str


@dataclass
class Renderer:
    """Renders examples under the settings of one job."""

    book: TemplateBook
    tokenizer: "Tokenizer"
    params: dict[str, Any]
    pools: dict[str, list[Row]]
    # renderings left out as too long, by pair
    too_long: Counter[str] = field(default_factory=Counter)

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

    def draft(self, row: Row, use: int) -> "Draft":
        """Return an example's ``use``-th rendering, its length not yet known: few-shot for a share of them."""
        templates = self.templates_of(row)
        key = (self.params["seed"], row["id"])
        template = pick_template(templates, *key, use=use)
        rng = random.Random("\x1f".join(map(str, ("shots", *key, use))))
        shots = rng.randint(1, self.params["max_shots"]) if rng.random() < self.params["few_shot_share"] else 0
        demos = demonstrations(self.pools.get(pair_of(row), []), row, shots, *key, use) if shots else []
        return Draft(row, use, templates, template, demos, completion(template, row))

    def prompt_of(self, draft: "Draft") -> str:
        """Return the prompt of a draft."""
        return compose(draft.templates, draft.template, draft.row, draft.demos, self.params["with_description"])

    def instruction(self, draft: "Draft", prompt: str, n_tokens: int) -> Row:
        """Return the instruction of a draft; demonstrations that do not fit are left out, the last first."""
        while draft.demos and n_tokens > self.params["max_tokens"]:
            draft = replace(draft, demos=draft.demos[:-1])
            prompt = self.prompt_of(draft)
            n_tokens = self.tokens(prompt, draft.answer)
        return {
            "id": f"{draft.row['id']}#{draft.use}",
            "prompt": prompt,
            "completion": draft.answer,
            "task": draft.row["task"],
            "dataset": draft.row["dataset"],
            "template": f"{draft.templates.name}/{draft.template.id}",
            "shots": len(draft.demos),
            "n_tokens": n_tokens,
        }

    def instructions(self, rows: list[Row], use: int) -> list[Row]:
        """Return the instructions of some examples, their tokens counted in one batch."""
        form = self.params["form"]
        drafts = [self.draft(row, use) for row in rows]
        prompts = [self.prompt_of(draft) for draft in drafts]
        texts = [wrap(prompt, form) for prompt in prompts] + [draft.answer + END[form] for draft in drafts]
        counts = count_many(self.tokenizer, texts)
        lengths = [n + m for n, m in zip(counts[: len(rows)], counts[len(rows) :], strict=True)]
        return [self.instruction(*given) for given in zip(drafts, prompts, lengths, strict=True)]

    def renderings(self, rows: list[Row], uses: int) -> Iterator[Row]:
        """Yield every example once, then all of them again in another template, ``uses`` times in all.

        Those that are too long are left out and counted in ``too_long``.
        """
        for use, start in product(range(uses), range(0, len(rows), CHUNK)):
            for instruction in self.instructions(rows[start : start + CHUNK], use):
                if instruction["n_tokens"] <= self.params["max_tokens"]:
                    yield instruction
                else:
                    self.too_long[pair_of(instruction)] += 1

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


def mixture(renderer: Renderer, examples: list[Row], params: dict[str, Any]) -> Iterator[Row]:
    """Yield the training instructions: interleaved by weight, ended by the token budget or by the examples."""
    pairs = grouped(examples)
    sizes = {pair: len(rows) for pair, rows in pairs.items()}
    weights = weights_of(sizes, params["cap"], params["weights"], params["mixed_uses"])
    queues = {pair: renderer.renderings(rows, params["uses"]) for pair, rows in pairs.items()}
    total = 0
    for row in interleave(queues, weights):
        total += row["n_tokens"]
        if total > params["total_tokens"]:
            break
        yield row


def trainable(examples: list[Row], params: dict[str, Any]) -> list[Row]:
    """Return the examples that may train: all but those of the pairs in ``leave_out``."""
    return [row for row in examples if pair_of(row) not in params["leave_out"]]


def budget_of(job: Job) -> int:
    """Return the tokens of a mixture: the setting, or for an ablation what the full mixture came to."""
    full = job.inputs.get("full")
    return sum(row["n_tokens"] for row in read_jsonl(full)) if full else job.params["total_tokens"]


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


@dataclass
class Tally:
    """Counts of one set of instructions or prompts, taken as its rows pass by."""

    rows: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    few_shot: Counter[str] = field(default_factory=Counter)
    shots: int = 0
    templates: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    examples: set[str] = field(default_factory=set)

    def over(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows, counting them."""
        for row in rows:
            pair = pair_of(row)
            self.rows[pair] += 1
            self.tokens[pair] += row["n_tokens"]
            self.few_shot[pair] += row["shots"] > 0
            self.shots += row["shots"]
            self.examples.add(row["id"].rpartition("#")[0])
            if "template" in row:
                self.templates[pair].add(row["template"])
            yield row

    def table(self, name: str, too_long: dict[str, int] | None = None) -> list[Row]:
        """Return the rows of statistics.tsv for this set."""
        total = self.tokens.total() or 1
        return [
            {
                "set": name,
                "task": pair.split("/")[0],
                "dataset": pair.split("/")[1],
                "rows": self.rows[pair],
                "tokens": self.tokens[pair],
                "token_share": self.tokens[pair] / total,
                "few_shot_rows": self.few_shot[pair],
                "templates": len(self.templates[pair]) or None,
                "too_long": (too_long or {}).get(pair, 0),
            }
            for pair in sorted(self.rows)
        ]


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
    released template file) and released_table (its mapping); full (an ablation's: the full mixture's train.jsonl,
    whose tokens are the budget). Outputs: train, dev, prompts (folder), statistics. Params: leave_out (pairs), form,
    seed, test_seed, cap, weights, uses, mixed_uses, total_tokens, max_tokens, few_shot_share, max_shots, n_shots,
    max_prompt_tokens, max_new_tokens, n_templates, with_description, bare.
    """
    folder = job.inputs["examples"]
    splits = {name: read_jsonl(folder / f"{name}.jsonl") for name in ("train", "dev", "test")}
    for name, rows in splits.items():
        check_rows(rows, folder / f"{name}.jsonl")
    # a task that must not train (canary_data: evaluate_only) still shows demonstrations, from dev
    pools = grouped(splits["dev"]) | grouped(splits["train"])
    renderer = Renderer(load_book(job), load_tokenizer(job.inputs["tokenizer"]), job.params, pools)
    budget, left = budget_of(job), trainable(splits["train"], job.params)
    tallies = {name: Tally() for name in ("train", "dev", "zero_shot", "few_shot")}
    params = job.params | {"total_tokens": budget}
    write_jsonl(job.outputs["train"], tallies["train"].over(mixture(renderer, left, params)))
    if not tallies["train"].rows:
        raise DataError("inters.render: the mixture is empty; raise total_tokens, max_tokens or n_train of the pairs")
    too_long = dict(renderer.too_long)
    write_jsonl(job.outputs["dev"], tallies["dev"].over(held_out(renderer, splits["dev"])))
    for name, shots in (("zero_shot", 0), ("few_shot", job.params["n_shots"])):
        asked = tallies[name].over(test_prompts(renderer, splits["test"], shots))
        write_jsonl(job.outputs["prompts"] / f"{name}.jsonl", asked)
    table = [row for name, tally in tallies.items() for row in tally.table(name, too_long if name == "train" else None)]
    write_tsv(job.outputs["statistics"], STATISTICS_COLUMNS, table)
    train, tokens = tallies["train"], tallies["train"].tokens.total()
    n_prompts = tallies["zero_shot"].rows.total()
    job.log(f"{train.rows.total()} training rows, {tokens} of {budget} tokens; {n_prompts} test prompts")
    return {
        "train_rows": train.rows.total(),
        "train_tokens": tokens,
        "dev_rows": tallies["dev"].rows.total(),
        "zero_shot_prompts": n_prompts,
        "few_shot_prompts": tallies["few_shot"].rows.total(),
        "few_shot_demonstrations": tallies["few_shot"].shots,
        "budget_tokens": budget,
        "examples": len(train.examples),
        "too_long": sum(too_long.values()),
        "trained_on": sorted({pair.split("/")[1] for pair in train.rows}),
        "templates": len(set().union(*train.templates.values())),
    }
