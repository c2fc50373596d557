"""Stage ``udapdr.seed``: a strong model writes five questions, and one bad one, for each of X passages.

UDAPDR (arXiv 2303.00807), section 3.1 and figure 2. The released code makes 7X calls (one prompt
runs twice); here it is 6X.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.errors import DataError, ShortageError
from searchtune.files import write_jsonl, write_tsv
from searchtune.llm.engine import Engine
from searchtune.prompts.budget import first_words
from searchtune.prompts.templates import TemplateFile, load_templates, render
from searchtune.stage import Job
from searchtune.synthesis.cleaning import Rules, clean_answer, refusal
from searchtune.synthesis.udapdr_filter import SYNTHESIS_COLUMNS
from searchtune.synthesis.udapdr_writer import ask, draw, keep_calls, open_writer, seed_of

# in the order of the paper; the first two show examples
STRATEGIES = ("guided", "vanilla", "retrieve", "design", "write")
BAD = "bad"


def examples_text(templates: TemplateFile, kind: str) -> str:
    """Return the worked examples of the prompt file in one text; ``kind`` is a template of the set ``example``."""
    template = templates["example"][kind]
    blocks = [
        render(template.prompt, {**{k: " ".join(v.split()) for k, v in example.items()}, "number": str(number)})
        for number, example in enumerate(templates.constants["examples"], 1)
    ]
    return "\n\n".join(blocks) if kind == "good_and_bad" else "\n".join(blocks)


def question_prompt(templates: TemplateFile, strategy: str, passage: str) -> str:
    """Return the prompt of one stage-1 strategy for one passage."""
    kind = "query" if strategy == "vanilla" else "good_and_bad"
    return render(
        templates["question"][strategy].prompt,
        {"examples": examples_text(templates, kind), "passage": passage},
        f"question/{strategy}",
    )


def bad_prompt(templates: TemplateFile, passage: str, good: str) -> str:
    """Return the prompt that asks for the bad question of a passage whose good question is known."""
    return render(
        templates["bad_question"]["guided"].prompt,
        {"examples": examples_text(templates, "good_and_bad"), "passage": passage, "good": good},
        "bad_question",
    )


def written(records: Sequence[dict], rules: Rules) -> dict[str, str]:
    """Return call id -> cleaned question, empty where the answer breaks a rule."""
    questions = {record["id"]: clean_answer(record["text"]) for record in records}
    return {key: "" if refusal(question, rules) else question for key, question in questions.items()}


def ask_good(job: Job, engine: Engine, templates: TemplateFile, passages: Mapping[str, str]) -> list[dict]:
    """Ask for the good questions of all passages by all strategies; ids are ``strategy/passage``."""
    prompts = {
        f"{strategy}/{key}": question_prompt(templates, strategy, text)
        for strategy in job.params["strategies"]
        for key, text in passages.items()
    }
    return ask(job, engine, "good", prompts, {key: seed_of(job.params["seed"], key) for key in prompts})


def ask_bad(
    job: Job, engine: Engine, templates: TemplateFile, passages: Mapping[str, str], good: Mapping[str, str]
) -> list[dict]:
    """Ask for the bad question of every passage that has a good one (``good``: passage -> question)."""
    prompts = {f"{BAD}/{key}": bad_prompt(templates, text, good[key]) for key, text in passages.items() if good[key]}
    return ask(job, engine, BAD, prompts, {key: seed_of(job.params["seed"], key) for key in prompts})


def first_good(passages: Mapping[str, str], strategies: Sequence[str], questions: Mapping[str, str]) -> dict[str, str]:
    """Return passage -> the question of the first strategy that wrote one, or an empty text."""
    return {key: next((q for s in strategies if (q := questions[f"{s}/{key}"])), "") for key in passages}


def seed_rows(kinds: Sequence[str], passages: Mapping[str, str], questions: Mapping[str, str]) -> list[dict]:
    """Return one row a strategy and passage; the question is empty where no answer was usable."""
    return [
        {
            "id": f"{kind}/{key}",
            "source": key,
            "strategy": kind,
            "question": questions.get(f"{kind}/{key}", ""),
            "passage": text,
        }
        for kind in kinds
        for key, text in passages.items()
    ]


def funnel(rows: Sequence[dict]) -> list[dict]:
    """Return a row of ``synthesis.tsv`` for each strategy: passages asked about, usable questions."""
    asked = Counter(row["strategy"] for row in rows)
    usable = Counter(row["strategy"] for row in rows if row["question"])
    return [{"stage": "seed", "strategy": kind, "in": n, "out": usable[kind]} for kind, n in asked.items()]


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Inputs: collection, model, templates (seed.yaml). Output: seed (folder: seeds.jsonl {id, source,
    strategy, question, passage}, calls.jsonl.gz, synthesis.tsv).

    Params: n_passages (X), strategies, passage_words, sampling {max_tokens, temperature, top_p, stop},
    rules (of cleaning), form, backend, dtype, max_model_len, seed. DataError if X exceeds the corpus
    or no question is usable.
    """
    params = job.params
    collection = Collection.load(job.inputs["collection"])
    if params["n_passages"] > len(collection.corpus):
        raise DataError(
            f"udapdr.seed: X = {params['n_passages']} passages asked for, the corpus has "
            f"{len(collection.corpus)}; lower udapdr.seed.n_passages"
        )
    chosen = draw(list(collection.corpus), params["n_passages"], f"{params['seed']}:seed")
    passages = {
        key: " ".join(first_words(collection.passage_text(key), params["passage_words"]).split()) for key in chosen
    }
    templates, rules = load_templates(job.inputs["templates"]), Rules(**params["rules"])
    engine = open_writer(job)
    records = ask_good(job, engine, templates, passages)
    questions = written(records, rules)
    good = first_good(passages, params["strategies"], questions)
    if not any(good.values()):
        raise ShortageError(
            f"udapdr.seed: none of {len(records)} answers of {engine.model} is a usable question; "
            "use another strong model (udapdr.strong_model)"
        )
    bad = ask_bad(job, engine, templates, passages, good)
    # a bad question may be short and speak of the passage: only a blank one is useless
    questions |= written(bad, Rules(min_words=1, max_words=10_000, min_latin_share=0, forbidden=()))
    folder = job.outputs["seed"]
    rows = seed_rows([*params["strategies"], BAD], passages, questions)
    write_jsonl(folder / "seeds.jsonl", rows)
    write_tsv(folder / "synthesis.tsv", SYNTHESIS_COLUMNS, funnel(rows))
    counts = keep_calls(folder, [*records, *bad])
    return {"passages": len(passages), "usable": sum(bool(r["question"]) for r in rows), **counts}
