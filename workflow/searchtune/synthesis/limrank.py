"""Stage ``limrank.synthesize``: from seed queries to judged and filtered (query, passage, reasoning, verdict) rows.

Seeds x personas -> two queries each -> reasoning trace -> plans of positive and hard-negative passages -> passages
-> the judge's reasoning and verdict -> filter. The stages and their order are LimRank's (section 3 of the paper, as
far as it is known: its prompts, seeds and hyper-parameters were not released; those here are ours). Writer and judge
are any two models; the same folder is loaded once.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.build import raw_paths
from searchtune.errors import ShortageError
from searchtune.files import write_json, write_jsonl, write_tsv
from searchtune.llm.calls import count_calls
from searchtune.llm.engine import Engine
from searchtune.prompts.budget import first_words
from searchtune.prompts.templates import TemplateFile, load_templates, render
from searchtune.reranking.verdicts import Asking, ask
from searchtune.stage import Job, inherited
from searchtune.synthesis import limrank_writer as writing
from searchtune.synthesis.limrank_filter import EvaluationTexts, verdict_fault
from searchtune.synthesis.limrank_funnel import COVERAGE_COLUMNS, REASON_COLUMNS, SYNTHESIS_COLUMNS, Funnel
from searchtune.synthesis.limrank_guard import open_guard
from searchtune.synthesis.limrank_judge import (
    Judging,
    Planted,
    evidence,
    judge_report,
    judging_of,
    plant,
    rationales,
    refuse_constant,
)
from searchtune.synthesis.limrank_models import Models
from searchtune.synthesis.limrank_seeds import choose_seeds, read_seed_file
from searchtune.synthesis.limrank_shards import Commission, Shard, commissions_of, cut, splits_of
from searchtune.synthesis.personas import load_personas, pair_seeds


def run(job: Job) -> dict[str, Any]:
    """Stage function.

    Inputs: raw (fetched artefacts that hold the seed files of params.raw, or the user's query file where params.raw is
    empty), personas (file, or the artefact that holds params.personas_file), prompts (YAML), writer and judge (model
    folders; query_writer and passage_writer where they are others), planted (collection), evaluation (collections, may
    be none), leak_encoder (may be missing). Output: synthesis, a folder of kept.jsonl, pairs.jsonl, queries.jsonl,
    synthesis.tsv, reasons.tsv, coverage.tsv, judge.json, models.json and every call under calls/.
    """
    params = job.params
    held = _list(job.inputs.get("evaluation", []))
    evaluation = evaluation_texts(held, params["query_ngram"], params["passage_ngram"])
    templates = load_templates(job.inputs["prompts"])
    funnel, models = Funnel(), Models(job)
    shards = cut(seeds_of(job, evaluation, funnel), params["shard_seeds"])
    planted = plant(
        Collection.load(job.inputs["planted"]), params["n_planted"], "train", params["seed"], params["planted_words"]
    )
    guard = open_guard(job.inputs.get("leak_encoder"), params["leak_cosine"], held)
    writer = writing.Writer(models, templates, params, evaluation, funnel, job.work, job.log, guard)
    queries, pairs = write_pairs(writer, shards)
    judged, report, calls = judge(job, models.engine("judge"), templates, pairs, planted)
    book_filter(funnel, params["prompt"], judged)
    _write(job.outputs["synthesis"], queries, judged, report, funnel, writer.calls | {"judge": calls})
    write_json(job.outputs["synthesis"] / "models.json", models.used)
    # the planted labels set the judge's threshold, so their collection is in the chain of what is tuned on kept rows
    source = Path(job.inputs["planted"]).name
    # the user's licence is that of the queries alone: personas out of a package keep theirs
    stated = [params["queries_licence"]] if params.get("queries_licence") else []
    licences = stated and [*stated, *inherited(_list(job.inputs["personas"]), "licences")]
    return _counts(judged, report, funnel, writer.calls, calls) | {
        "trained_on": [f"{source} (judge threshold)"],
        "licences": licences,
    }


def _list(paths: Path | list[Path]) -> list[Path]:
    return paths if isinstance(paths, list) else [paths]


def evaluation_texts(paths: Path | list[Path], query_n: int, passage_n: int) -> EvaluationTexts:
    """Return the n-grams of the test queries and of all passages of the evaluation collections."""
    texts = EvaluationTexts(query_n, passage_n)
    for path in _list(paths):
        collection = Collection.load(path)
        texts.add(
            (q.text for q in (collection.queries_of("test") or collection.queries).values()),
            (p.text for p in collection.corpus.values()),
        )
    return texts


def seeds_of(job: Job, evaluation: EvaluationTexts, funnel: Funnel) -> list[Commission]:
    """Return what is to be written: seeds without those of the evaluation sets, their personas, splits and bands."""
    params = job.params
    files = raw_paths(job.inputs["raw"], params["raw"]) if params["raw"] else _list(job.inputs["raw"])
    candidates = [seed for path in files for seed in read_seed_file(path)]
    chosen, dropped = choose_seeds(
        candidates,
        params["n_seeds"],
        params["min_seed_words"],
        params["max_seed_words"],
        evaluation.whole_queries,
        params["seed"],
    )
    funnel.add("seeds", "web_queries", "", len(chosen) + sum(dropped.values()), dropped)
    names = splits_of(len(chosen), params["dev_share"], params["shard_seeds"])
    split = {seed.id: name for seed, name in zip(chosen, names, strict=True)}
    if not params["use_personas"]:
        return commissions_of([(seed, None) for seed in chosen], split, params["difficulties"])
    by_id = {seed.id: seed for seed in chosen}
    given = job.inputs["personas"]
    personas = load_personas(given / params["personas_file"] if params.get("personas_file") else given)
    pairs = pair_seeds(list(by_id), personas, params["personas_per_seed"], params["seed"])
    return commissions_of([(by_id[key], persona) for key, persona in pairs], split, params["difficulties"])


def write_pairs(writer: writing.Writer, shards: list[Shard]) -> tuple[list[dict], list[dict]]:
    """Run the writing stages, each over all shards; return the queries and the labelled pairs, before any judgement."""
    params = writer.params
    for shard in shards:
        shard.queries = writing.expand(writer, shard)
    if not any(shard.queries for shard in shards):
        raise ShortageError(
            f"the writer produced no usable query at all (lost: {writer.funnel.summary()}); choose another writer "
            "(limrank.writer) or prompt"
        )
    for shard in shards:
        shard.queries = writing.reason(writer, shard)
        shard.plans = writing.describe(writer, shard)
    pairs: list[dict] = []
    for shard in shards:
        shard.passages = writing.write_passages(writer, shard)
        draws = shard.draws(params["seed"])
        pairs += writing.pair_up(shard.queries, shard.passages, params["n_random"], draws)
    if not pairs:
        raise ShortageError(
            f"no passage came through the writing stages (lost: {writer.funnel.summary()}); raise the token budgets of "
            "limrank.synthesize or choose another writer"
        )
    return [row for shard in shards for row in shard.queries], pairs


def judge(
    job: Job, engine: Engine, templates: TemplateFile, pairs: list[dict], planted: list[Planted]
) -> tuple[list[dict], dict, list[dict]]:
    """Judge planted and written pairs alike; return the pairs with verdicts, the judge's report and the calls."""
    params = job.params
    texts = [(f"planted/{p.id}", p.query, p.passage) for p in planted]
    texts += [(row["id"], row["query"], first_words(row["passage"], params["planted_words"])) for row in pairs]
    judging = judging_of(job, engine, templates)
    by_mode = {"evidence": _by_evidence, "reasoning": _by_reasoning}[params["judge_mode"]]
    scores, report, opinions, calls = by_mode(judging, texts, planted, params)
    cut_off = sum(first_words(row["passage"], params["planted_words"]) != row["passage"] for row in pairs)
    plants = [
        {"id": p.id, "label": p.label, "part": p.part, "score": round(score, 6)}
        for p, score in zip(planted, scores, strict=False)
    ]
    rows = [
        row
        | {
            "score": round(score, 6),
            "verdict": score > report["threshold"],
            "reasoning": text,
            "forced": forced,
            "fault": verdict_fault(row["label"], score > report["threshold"]),
        }
        for row, score, (text, forced) in zip(pairs, scores[len(planted) :], opinions, strict=True)
    ]
    forced = sum(row["forced"] for row in rows)
    told = {"mode": params["judge_mode"], "forced": forced, "cut_passages": cut_off, "planted": plants}
    return rows, report | told, calls


Judgement = tuple[list[float], dict, list[tuple[str, bool]], list[dict]]


def _by_evidence(
    judging: Judging, texts: list[tuple[str, str, str]], planted: list[Planted], params: dict[str, Any]
) -> Judgement:
    """Score first, then let the judge reason for the verdict; planted pairs need no reasoning."""
    scores, scored = evidence(judging, texts)
    report = judge_report(planted, scores[: len(planted)], params["calibrate"], default=0.0)
    if params["judge_check"] == "error":
        refuse_constant(report)
    verdicts = [score > report["threshold"] for score in scores[len(planted) :]]
    opinions, drawn = rationales(judging, texts[len(planted) :], verdicts)
    return scores, report, opinions, [*scored, *drawn]


def _by_reasoning(
    judging: Judging, texts: list[tuple[str, str, str]], planted: list[Planted], params: dict[str, Any]
) -> Judgement:
    """Let the judge reason, then take P(true) of its two verdicts."""
    template = judging.templates["judge"][judging.prompt].prompt
    prompts = [(key, render(template, {"query": query, "passage": passage}, "judge")) for key, query, passage in texts]
    asking = Asking("reasoning", judging.max_tokens, judging.form, 0.0, judging.seed, params["block"])
    verdicts, calls = ask(judging.engine, prompts, asking, judging.work, "judge", judging.log)
    report = judge_report(planted, [v.score for v in verdicts[: len(planted)]], params["calibrate"])
    if params["judge_check"] == "error":
        refuse_constant(report)
    return [v.score for v in verdicts], report, [(v.reasoning, v.forced) for v in verdicts[len(planted) :]], calls


def book_filter(funnel: Funnel, prompt: str, judged: list[dict]) -> None:
    """Book the judge and the filter, by role of the passage."""
    for stage in ("judge", "filter"):
        for role in sorted({row["role"] for row in judged}):
            rows = [row for row in judged if row["role"] == role]
            lost = Counter(row["fault"] for row in rows if row["fault"]) if stage == "filter" else Counter()
            funnel.add(stage, role, prompt if stage == "judge" else "", len(rows), lost)


def keep_rate(judged: list[dict]) -> float:
    """Return the share of judged pairs that the filter keeps."""
    return sum(not row["fault"] for row in judged) / len(judged)


def coverage(judged: list[dict]) -> list[dict]:
    """Return rows of (kind, domain, difficulty, band, role) with the numbers of judged and kept pairs."""
    keys = COVERAGE_COLUMNS[:-2]
    groups = Counter(tuple(row.get(k, "") for k in keys) for row in judged)
    kept = Counter(tuple(row.get(k, "") for k in keys) for row in judged if not row["fault"])
    return [
        dict(zip(keys, group, strict=True)) | {"pairs": n, "kept": kept[group]} for group, n in sorted(groups.items())
    ]


def _write(
    folder: Path, queries: list[dict], judged: list[dict], report: dict, funnel: Funnel, calls: dict[str, list[dict]]
) -> None:
    folder.mkdir(parents=True)
    write_jsonl(folder / "queries.jsonl", queries)
    write_jsonl(folder / "pairs.jsonl", judged)
    write_jsonl(folder / "kept.jsonl", (row for row in judged if not row["fault"]))
    write_json(folder / "judge.json", report | {"keep_rate": keep_rate(judged)})
    write_tsv(folder / "synthesis.tsv", SYNTHESIS_COLUMNS, funnel.rows)
    write_tsv(folder / "reasons.tsv", REASON_COLUMNS, funnel.reasons)
    write_tsv(folder / "coverage.tsv", COVERAGE_COLUMNS, coverage(judged))
    for name, records in calls.items():
        write_jsonl(folder / "calls" / f"{name}.jsonl.gz", records)


def _counts(
    judged: list[dict], report: dict, funnel: Funnel, calls: dict[str, list[dict]], judge_calls: list[dict]
) -> dict[str, Any]:
    totals: Counter[str] = Counter()
    for records in [*calls.values(), judge_calls]:
        totals.update(count_calls(records))
    kept = [row for row in judged if not row["fault"]]
    return {
        "pairs": len(judged),
        "kept": len(kept),
        "kept_true": sum(row["label"] for row in kept),
        "keep_rate": keep_rate(judged),
        "judge_accuracy": report["accuracy"],
        "judge_threshold": report["threshold"],
        "parse_errors": funnel.lost("parse_error"),
        "asked_again": sum(writing.RETRY in r["id"] for records in calls.values() for r in records),
        **{k: v for k, v in totals.items() if k != "parse_errors"},
    }
