"""The synthesizer's writing stages: seed and persona to queries, reasoning traces, plans and passages.

Every stage is one batch of calls with JSON-constrained answers; what cannot be parsed, or breaks a bound, is booked
in the funnel and goes no further. Guideline components are switches of the parameters: ``kinds`` (daily_life,
expert), ``use_personas``, ``use_reasoning``, ``n_hard``.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from searchtune.errors import DataError
from searchtune.llm.calls import Request, run_requests
from searchtune.llm.engine import Engine, Sampling
from searchtune.prompts.chat import wrap
from searchtune.prompts.templates import TemplateFile, render
from searchtune.synthesis import limrank_schemas as schemas
from searchtune.synthesis.limrank_filter import Bounds, EvaluationTexts, passage_fault, query_fault
from searchtune.synthesis.limrank_funnel import Funnel
from searchtune.synthesis.limrank_seeds import Seed
from searchtune.synthesis.personas import Persona

QUERY_BOUNDS = Bounds(min_words=4, max_words=60, min_function_share=0.1, min_distinct_share=0.6)


@dataclass
class Writer:
    """Everything that a writing stage needs; ``calls`` collects the records of all stages."""

    engine: Engine
    templates: TemplateFile
    params: dict[str, Any]
    evaluation: EvaluationTexts
    funnel: Funnel
    work: Path
    log: Callable[[str], None]
    calls: dict[str, list[dict]] = field(default_factory=dict)

    @property
    def forms(self) -> schemas.Forms:
        """Return the schemas of this run."""
        return schemas.Forms(self.params["text_chars"])

    def ask(
        self,
        stage: str,
        prompts: list[tuple[str, dict[str, str], dict]],
        max_tokens: int,
        parse: Callable[[str], dict],
        sets: dict[str, str] | None = None,
    ) -> dict[str, dict]:
        """Return id -> parsed answer of the (id, fields, schema) triples that could be parsed; every call is kept.

        ``sets`` maps an id to its template set; by default the set is named like the stage.
        """
        requests = []
        for key, fields, schema in prompts:
            name = sets[key] if sets else stage
            text = render(self.templates[name][self.params["prompt"]].prompt, fields, name)
            requests.append(
                Request(id=key, prompt=wrap(text, self.params["form"]), sampling=self._sampling(schema, max_tokens))
            )
        records = run_requests(self.engine, requests, self.work, stage, log=self.log, parse=parse)
        self.calls[stage] = records
        return {r["id"]: r["parsed"] for r in records if r["parsed"] is not None}

    def _sampling(self, schema: dict, max_tokens: int) -> Sampling:
        return Sampling(
            max_tokens=max_tokens,
            temperature=self.params["temperature"],
            top_p=self.params["top_p"],
            seed=self.params["seed"],
            json_schema=schema,
        )

    def book(self, stage: str, asked: dict[str, str], kept: set[str], lost: dict[str, str]) -> None:
        """Book a stage by strategy: ``asked`` maps ids to strategies, ``lost`` to reasons (default: parse_error)."""
        for strategy in sorted(set(asked.values())):
            ids = [key for key, value in asked.items() if value == strategy]
            reasons = Counter(lost.get(key, "parse_error") for key in ids if key not in kept)
            self.funnel.add(stage, strategy, self.params["prompt"], len(ids), reasons)


def expand(writer: Writer, pairs: list[tuple[Seed, Persona | None, str]]) -> list[dict]:
    """Return the query rows {id, seed_id, seed, persona, split, kind, query, domain, difficulty} that hold up."""
    params = writer.params
    kinds = tuple(params["kinds"])
    asked = {_pair_id(seed, persona): (seed, persona, split) for seed, persona, split in pairs}
    answers = writer.ask(
        "expand_query",
        [
            (
                key,
                {"seed": seed.text, "persona": persona.text if persona else "someone"},
                writer.forms.expansion(seed.text, kinds),
            )
            for key, (seed, persona, _) in asked.items()
        ],
        params["query_tokens"],
        schemas.parser({f"{kind}_query": str for kind in kinds}),
    )
    rows: list[dict] = []
    lost: dict[str, str] = {}
    seen: set[str] = set()
    strategies = {f"{key}/{kind}": kind for key in asked for kind in kinds}
    for key, answer in answers.items():
        seed, persona, split = asked[key]
        for kind in kinds:
            query = " ".join(answer[f"{kind}_query"].split())
            fault = query_fault(
                query, seed.text if params["check_language"] else "", _query_bounds(params), writer.evaluation, seen
            )
            if fault:
                lost[f"{key}/{kind}"] = fault
                continue
            rows.append(
                {
                    "id": f"{key}/{kind}",
                    "seed_id": seed.id,
                    "seed": seed.text,
                    "split": split,
                    "kind": kind,
                    "persona": persona.id if persona else "",
                    "query": query,
                    "domain": answer.get("domain", ""),
                    "difficulty": answer.get("difficulty", ""),
                }
            )
    writer.book("expand_query", strategies, {row["id"] for row in rows}, lost)
    if not rows:
        raise DataError(
            f"the writer produced no usable query at all (lost: {writer.funnel.summary()}); choose another writer "
            "(limrank.writer) or prompt"
        )
    return rows


def _query_bounds(params: dict[str, Any]) -> Bounds:
    return QUERY_BOUNDS if params["check_language"] else Bounds(1, 200, 0.0, 0.0)


def _pair_id(seed: Seed, persona: Persona | None) -> str:
    return f"{seed.id}+{persona.id if persona else 'none'}"


def reason(writer: Writer, queries: list[dict]) -> list[dict]:
    """Return the query rows with a reasoning trace on what would satisfy the query; empty if switched off."""
    if not writer.params["use_reasoning"]:
        return [row | {"trace": ""} for row in queries]
    schema = writer.forms.trace(writer.params["trace_sentences"])
    answers = writer.ask(
        "reason",
        [(row["id"], {"query": row["query"]}, schema) for row in queries],
        writer.params["trace_tokens"],
        schemas.parser({"reasoning": str}),
    )
    writer.book("reason", {row["id"]: row["kind"] for row in queries}, set(answers), {})
    return [row | {"trace": answers[row["id"]]["reasoning"].strip()} for row in queries if row["id"] in answers]


def describe(writer: Writer, queries: list[dict]) -> list[dict]:
    """Return one plan a passage to be written: {id, query_id, query, role, plan, fails_because}.

    The facet of a hard negative is drawn by seed where facets are given (a small model always takes the first).
    """
    params = writer.params
    rng = Random(params["seed"])
    prompts = []
    for row in queries:
        drawn = rng.sample(params["facets"], min(params["n_hard"], len(params["facets"])))
        facets = [facet.replace("(subject)", row["seed"]) for facet in drawn]
        schema = writer.forms.descriptions(params["n_positives"], params["n_hard"], facets)
        prompts.append((row["id"], {"query": row["query"], "reasoning": row["trace"]}, schema))
    answers = writer.ask("describe_passages", prompts, params["plan_tokens"], schemas.parse_descriptions)
    writer.book("describe_passages", {row["id"]: row["kind"] for row in queries}, set(answers), {})
    plans = []
    for row in queries:
        answer = answers.get(row["id"], {"positives": [], "hard_negatives": []})
        wanted = [("positive", text, "") for text in answer["positives"]]
        wanted += [("hard_negative", item["description"], item["fails_because"]) for item in answer["hard_negatives"]]
        plans += [
            {
                "id": f"{row['id']}/{role}{number}",
                "query_id": row["id"],
                "query": row["query"],
                "role": role,
                "plan": text,
                "fails_because": why,
            }
            for number, (role, text, why) in enumerate(wanted)
        ]
    return plans


def write_passages(writer: Writer, plans: list[dict]) -> list[dict]:
    """Return the plans with a written passage, its length band (words) and register; both are drawn by seed."""
    params = writer.params
    rng = Random(params["seed"])
    for plan in plans:
        plan |= {"words": rng.choice(params["length_bands"]), "register": rng.choice(params["registers"])}
    answers = writer.ask(
        "write_passage",
        [
            (
                plan["id"],
                {key: str(plan[key]) for key in ("query", "plan", "register", "words")},
                writer.forms.passage(*params["passage_sentences"]),
            )
            for plan in plans
        ],
        params["passage_tokens"],
        schemas.parser({"text": str}),
        {p["id"]: f"write_{p['role']}" for p in plans},
    )
    bounds = Bounds(params["min_passage_words"], params["max_passage_words"])
    if not params["check_language"]:
        bounds = Bounds(1, params["max_passage_words"], 0.0, 0.0)
    rows: list[dict] = []
    lost: dict[str, str] = {}
    seen: set[str] = set()
    for plan in plans:
        if plan["id"] not in answers:
            continue
        passage = answers[plan["id"]]["text"].strip()
        if fault := passage_fault(passage, bounds, writer.evaluation, seen):
            lost[plan["id"]] = fault
        else:
            rows.append(plan | {"passage": passage})
    writer.book("write_passage", {plan["id"]: plan["role"] for plan in plans}, {row["id"] for row in rows}, lost)
    return rows


def pair_up(queries: list[dict], passages: list[dict], n_random: int, seed: int) -> list[dict]:
    """Return labelled pairs: written positives and hard negatives, and ``n_random`` positives of other queries each.

    A random negative comes from a query of another seed in the same split, so that no passage crosses the splits.
    """
    by_query = {row["id"]: row for row in queries}
    pairs = [_pair(by_query[p["query_id"]], p, p["role"], p["role"] == "positive") for p in passages]
    rng = Random(seed)
    positives = [p for p in passages if p["role"] == "positive"]
    for row in queries if n_random else []:
        others = [
            p
            for p in positives
            if by_query[p["query_id"]]["split"] == row["split"] and by_query[p["query_id"]]["seed_id"] != row["seed_id"]
        ]
        for passage in rng.sample(others, min(n_random, len(others))):
            pairs.append(_pair(row, passage, "random_negative", False))
    return pairs


def _pair(query: dict, passage: dict, role: str, label: bool) -> dict:
    shared = {key: query[key] for key in ("seed_id", "split", "kind", "query", "domain", "difficulty")}
    return {
        "id": f"{query['id']}|{passage['id']}",
        "query_id": query["id"],
        "passage_id": passage["id"],
        **shared,
        "role": role,
        "label": label,
        "passage": passage["passage"],
        "plan": passage["plan"],
        "fails_because": passage["fails_because"],
    }
