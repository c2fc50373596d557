"""Stage ``udapdr.scale_up``: a cheap model writes Z queries with each corpus-adapted prompt.

UDAPDR (arXiv 2303.00807), section 3.2. The label of a query is the passage it was written from.
Everything a smaller Z writes is also written by a larger one. The paper's baseline (Table 4) writes with the prompt of
InPars (Bonifacio et al. 2022, arXiv 2202.05144) instead, the same for every corpus.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from searchtune.collections import beir
from searchtune.errors import ShortageError
from searchtune.files import read_jsonl, write_jsonl, write_tsv
from searchtune.prompts.budget import first_words
from searchtune.prompts.templates import TemplateFile, load_templates, render
from searchtune.stage import Job
from searchtune.synthesis.cleaning import Rules, clean_answer, deduplicate, normalised, refusal
from searchtune.synthesis.udapdr_filter import SYNTHESIS_COLUMNS
from searchtune.synthesis.udapdr_writer import ask, draw, keep_calls, open_writer, seed_of

DROPPED_COLUMNS = ["prompt", "rule", "dropped"]
INPARS = "inpars"


def scale_up_prompt(templates: TemplateFile, kind: str, demonstrations: Sequence[dict], passage: str) -> str:
    """Return a corpus-adapted prompt for a new passage (``demonstrations``: passage, good, bad of each).

    ``kind`` names a template of the sets ``demonstration`` and ``target``.
    """
    block = templates["demonstration"][kind].prompt
    shown = [
        render(block, {"number": str(number), **{key: demonstration[key] for key in ("passage", "good", "bad")}})
        for number, demonstration in enumerate(demonstrations, 1)
    ]
    return render(
        templates["target"][kind].prompt,
        {"demonstrations": "\n\n".join(shown), "number": str(len(shown) + 1), "passage": passage},
        "target",
    )


def inpars_prompts(templates: TemplateFile, prompts: Sequence[dict]) -> list[dict]:
    """Return as many prompts as ``prompts``, all with InPars' fixed examples in place of those of the corpus."""
    examples = [
        {"source": "", "passage": " ".join(example["passage"].split()), "good": example["query"], "bad": ""}
        for example in templates.constants["inpars_examples"]
    ]
    return [{"prompt": row["prompt"], "demonstrations": examples} for row in prompts]


def sources_of(
    pool: Sequence[str], prompts: Sequence[int], needed: int, seed: int, alike: bool
) -> dict[int, list[str]]:
    """Return prompt -> the ``needed`` passages that it writes about, in order.

    Each prompt draws for itself; prompts that are ``alike`` share one draw, since they would write the same about the
    same passage.
    """
    if not alike:
        return {prompt: draw(pool, needed, f"{seed}:{prompt}") for prompt in prompts}
    drawn = draw(pool, needed * len(prompts), f"{seed}:{INPARS}")
    return {prompt: drawn[place :: len(prompts)] for place, prompt in enumerate(prompts)}


def plan_calls(
    collection: beir.Collection,
    prompts: Sequence[dict],
    templates: TemplateFile,
    per_prompt: int,
    per_passage: int,
    words: int,
    kind: str,
    seed: int,
) -> list[dict]:
    """Return the calls {id, prompt, source, text}: Z a prompt, ``per_passage`` of each passage drawn, none of them a
    demonstration of any prompt. ``kind`` is the form of the prompts; those of ``inpars`` are alike.

    Ordered by position, then prompt, so that a smaller Z is a prefix; calls of a passage follow each other, so that
    the back end reads their common prompt once.
    """
    shown = {d["source"] for row in prompts for d in row["demonstrations"]}
    pool = [key for key in collection.corpus if key not in shown]
    needed = -(-per_prompt // per_passage)
    drawn = sources_of(pool, [row["prompt"] for row in prompts], needed, seed, kind == INPARS)
    calls = []
    for position in range(per_prompt):
        for row in prompts:
            source = drawn[row["prompt"]][position // per_passage]
            passage = " ".join(first_words(collection.passage_text(source), words).split())
            calls.append(
                {
                    "id": f"y{row['prompt']}-{position:06d}",
                    "prompt": row["prompt"],
                    "source": source,
                    "text": scale_up_prompt(templates, kind, row["demonstrations"], passage),
                }
            )
    return calls


def clean(
    calls: Sequence[dict], answers: Sequence[str], rules: Rules, shown: Collection[str] = ()
) -> tuple[list[dict], list[dict], Counter]:
    """Return (queries {id, text, source, prompt}, those left after deduplication, dropped by (prompt, rule)).

    ``shown`` are the questions of the demonstrations: repeating one is no query of the new passage.
    """
    sound: list[dict] = []
    dropped: Counter[tuple[int, str]] = Counter()
    known = {normalised(text) for text in shown}
    for call, answer in zip(calls, answers, strict=True):
        text = clean_answer(answer)
        rule = refusal(text, rules) or ("copied" if normalised(text) in known else None)
        if rule:
            dropped[call["prompt"], rule] += 1
        else:
            sound.append({"id": call["id"], "text": text, "source": call["source"], "prompt": call["prompt"]})
    unique = deduplicate(sound, [row["text"] for row in sound])
    kept = {row["id"] for row in unique}
    dropped.update((row["prompt"], "duplicate") for row in sound if row["id"] not in kept)
    return sound, unique, dropped


def synthesis_rows(
    prompts: Sequence[int], calls: Sequence[dict], answers: Sequence[str], sound: Sequence[dict], unique: Sequence[dict]
) -> list[dict]:
    """Return the counts of writing, cleaning and deduplication of every prompt."""

    def count(rows: Sequence[dict], prompt: int) -> int:
        """Return how many rows a prompt gave."""
        return sum(row["prompt"] == prompt for row in rows)

    answered = [call for call, answer in zip(calls, answers, strict=True) if answer.strip()]
    steps = [("scale_up", calls, answered), ("clean", answered, sound), ("deduplicate", sound, unique)]
    return [
        {"stage": stage, "prompt": prompt, "in": count(before, prompt), "out": count(after, prompt)}
        for stage, before, after in steps
        for prompt in prompts
    ]


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Inputs: collection, prompts, model, templates (scale_up.yaml). Output: queries (folder:
    queries.jsonl {id, text, source, prompt}, calls.jsonl.gz, synthesis.tsv, dropped.tsv).

    Params: per_prompt (Z), per_passage, passage_words, prompts (corpus_adapted | inpars), template (of
    corpus-adapted prompts), sampling, rules, form, backend, dtype, max_model_len, seed. DataError if no query is left.
    """
    params = job.params
    collection, prompts = beir.Collection.load(job.inputs["collection"]), read_jsonl(job.inputs["prompts"])
    templates, kind = load_templates(job.inputs["templates"]), params["template"]
    if params["prompts"] == INPARS:
        prompts, kind = inpars_prompts(templates, prompts), INPARS
    calls = plan_calls(
        collection,
        prompts,
        templates,
        params["per_prompt"],
        params["per_passage"],
        params["passage_words"],
        kind,
        params["seed"],
    )
    engine = open_writer(job)
    records = ask(
        job,
        engine,
        "queries",
        {call["id"]: call["text"] for call in calls},
        {call["id"]: seed_of(params["seed"], call["id"]) for call in calls},
    )
    answers = [record["text"] for record in records]
    shown = [d[kind] for row in prompts for d in row["demonstrations"] for kind in ("good", "bad")]
    sound, unique, dropped = clean(calls, answers, Rules(**params["rules"]), shown)
    if not unique:
        raise ShortageError(
            f"udapdr.scale_up: none of {len(calls)} answers of {engine.model} is a usable query "
            f"({', '.join(f'{rule}: {n}' for (_, rule), n in dropped.most_common(3))}); use another "
            "cheap model (udapdr.cheap_model)"
        )
    folder = job.outputs["queries"]
    write_jsonl(folder / "queries.jsonl", unique)
    write_tsv(
        folder / "synthesis.tsv",
        SYNTHESIS_COLUMNS,
        synthesis_rows([row["prompt"] for row in prompts], calls, answers, sound, unique),
    )
    write_tsv(
        folder / "dropped.tsv",
        DROPPED_COLUMNS,
        [{"prompt": prompt, "rule": rule, "dropped": n} for (prompt, rule), n in sorted(dropped.items())],
    )
    return {"clean": len(sound), "kept": len(unique), **keep_calls(folder, records)}
