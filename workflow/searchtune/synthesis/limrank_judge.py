"""The synthesizer's judge: verdicts on written passages, and its accuracy on planted pairs with known answers.

Planted pairs come from the training split of a source collection, never from a target: a human query with its
relevant passage (true) and with a random passage of another article (false). Half of them, chosen by query, set the
threshold of the score above which a verdict is ``true``; the other half measures the judge's accuracy. A small model
says one word nearly always, whatever it reads, so its threshold is calibrated and not fixed. Two ways to judge:

``reasoning``
    The judge reasons, then the score is P(true) of its two verdicts (the paper's way; for capable judges).
``evidence``
    The score is the gain in log-probability a token of the query from reading the passage,
    (log P(query | passage) - log P(query)) / tokens, and the reasoning is drawn afterwards, beginning with the
    verdict that the score gave. A 135M model's true or false is no better than chance on planted pairs, whereas
    this score orders about 95% of them rightly; the judge's report of every run says how many.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random

from searchtune.collections.beir import Collection
from searchtune.errors import DataError
from searchtune.llm.calls import Request, run_requests
from searchtune.llm.engine import Engine, Sampling
from searchtune.prompts.budget import first_words
from searchtune.prompts.chat import wrap
from searchtune.prompts.templates import TemplateFile, render
from searchtune.reranking.verdicts import CLOSE, OPEN, clean_reasoning
from searchtune.stage import Job


@dataclass(frozen=True)
class Planted:
    """One pair with a known answer; ``part`` is calibrate or test."""

    id: str
    query: str
    passage: str
    label: bool
    part: str


def plant(collection: Collection, n_queries: int, split: str, seed: int, max_words: int) -> list[Planted]:
    """Return two pairs (relevant, random) for each of ``n_queries`` queries of a split.

    Every other query is for calibration, the rest for the test of the judge. Passages are cut to ``max_words`` words.
    The random passage belongs to another article where articles are known.
    DataError if the split has fewer queries with a relevant passage, or fewer than two.
    """
    queries = {
        i: q
        for i, q in sorted(collection.queries_of(split).items())
        if any(g > 0 for g in collection.qrels.get(i, {}).values())
    }
    if n_queries < 2 or len(queries) < n_queries:
        raise DataError(
            f"{n_queries} planted queries were asked for, split {split!r} of the collection has "
            f"{len(queries)}; at least 2 are needed (limrank.synthesize.n_planted)"
        )
    rng = Random(seed)
    chosen = rng.sample(list(queries), n_queries)
    article = {d: q.metadata.get("article", i) for i, q in queries.items() for d in collection.qrels.get(i, {})}
    pairs = []
    for number, query_id in enumerate(chosen):
        relevant = sorted(d for d, grade in collection.qrels[query_id].items() if grade > 0)
        others = [d for d in sorted(article) if article[d] != article[relevant[0]] and d not in relevant]
        if not others:
            raise DataError(f"planted pairs: no passage of another article than that of query {query_id!r}")
        part = "calibrate" if number % 2 == 0 else "test"
        for label, document in ((True, relevant[0]), (False, rng.choice(others))):
            text = first_words(collection.passage_text(document), max_words)
            pairs.append(Planted(f"{query_id}-{label}".lower(), collection.queries[query_id].text, text, label, part))
    return pairs


def best_threshold(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Return the threshold with the highest balanced accuracy of ``score > threshold``; the middle one among equals.

    Candidates lie half-way between neighbouring scores. DataError unless both labels occur.
    """
    if len(set(labels)) < 2:
        raise DataError("a threshold needs planted pairs of both labels")
    values = sorted(set(scores))
    candidates = [(low + high) / 2 for low, high in pairwise(values)] or [values[0]]
    quality = [balanced_accuracy(scores, labels, candidate) for candidate in candidates]
    best = [c for c, q in zip(candidates, quality, strict=True) if q >= max(quality) - 1e-12]
    return best[len(best) // 2]


def balanced_accuracy(scores: Sequence[float], labels: Sequence[bool], threshold: float) -> float:
    """Return the mean of the shares of true pairs above the threshold and of false pairs at or below it."""
    hits = {True: 0, False: 0}
    for score, label in zip(scores, labels, strict=True):
        hits[label] += (score > threshold) == label
    counts = {label: sum(1 for item in labels if item == label) for label in (True, False)}
    return sum(hits[label] / counts[label] for label in (True, False)) / 2


def area_under_curve(scores: Sequence[float], labels: Sequence[bool]) -> float:
    """Return the share of (true, false) pairs in which the true one scores higher; equal scores count half."""
    true = [s for s, label in zip(scores, labels, strict=True) if label]
    false = [s for s, label in zip(scores, labels, strict=True) if not label]
    if not true or not false:
        raise DataError("the area under the curve needs scores of both labels")
    wins = sum((t > f) + 0.5 * (t == f) for t in true for f in false)
    return wins / (len(true) * len(false))


def wilson_interval(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return Wilson's interval (95% by default) of a share of ``hits`` in ``n``; DataError for n = 0."""
    if n < 1 or not 0 <= hits <= n:
        raise DataError(f"an interval of {hits} hits in {n} trials is not defined")
    share, square = hits / n, z * z
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = z * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def judge_report(planted: Sequence[Planted], scores: Sequence[float], calibrate: bool, default: float = 0.5) -> dict:
    """Return threshold and the accuracy, interval and area under the curve on the test half of the planted pairs.

    ``default`` is the score's own threshold (0.5 of a probability, 0 of a gain).
    """

    def part(name: str) -> tuple[list[float], list[bool]]:
        """Return scores and labels of one part of the planted pairs."""
        rows = [(s, p.label) for p, s in zip(planted, scores, strict=True) if p.part == name]
        return [s for s, _ in rows], [label for _, label in rows]

    threshold = best_threshold(*part("calibrate")) if calibrate else default
    test_scores, labels = part("test")
    hits = sum((s > threshold) == label for s, label in zip(test_scores, labels, strict=True))
    low, high = wilson_interval(hits, len(labels))
    said_true = sum(s > default for s in scores) / len(scores)
    return {
        "threshold": threshold,
        "calibrated": calibrate,
        "accuracy": hits / len(labels),
        "ci_low": low,
        "ci_high": high,
        "n": len(labels),
        "auc": area_under_curve(test_scores, labels),
        "true_share": sum(s > threshold for s in test_scores) / len(labels),
        "true_share_uncalibrated": said_true,
    }


def refuse_constant(report: dict) -> None:
    """Raise DataError for a judge that gave every planted test pair the same verdict: its filter would say nothing."""
    if report["true_share"] in (0.0, 1.0):
        word = "true" if report["true_share"] else "false"
        raise DataError(
            f"the judge says {word} to all {report['n']} planted test pairs, half of which are {word}: its verdicts "
            "filter nothing. Choose another judge (limrank.judge), judge_mode: evidence or calibrate: true"
        )


@dataclass(frozen=True)
class Judging:
    """What a judge needs: engine, templates, prompt form and id, budget of its reasoning (tokens, sentences)."""

    engine: Engine
    templates: TemplateFile
    form: str
    prompt: str
    max_tokens: int
    sentences: int
    seed: int
    work: Path
    log: Callable[[str], None]


def judging_of(job: Job, engine: Engine, templates: TemplateFile) -> Judging:
    """Return the judge of a job. Params: judge_form, prompt, judge_tokens, judge_sentences, seed."""
    params = job.params
    named = {"form": "judge_form", "prompt": "prompt", "max_tokens": "judge_tokens", "sentences": "judge_sentences"}
    settings = {name: params[key] for name, key in named.items()}
    return Judging(engine, templates, **settings, seed=params["seed"], work=job.work, log=job.log)


def gain_per_token(scored: Mapping[str, Sequence[Mapping]], key: str) -> float:
    """Return (log P(query | passage) - log P(query)) / tokens, from the scores ``key#with`` and ``key#without``."""
    read, unread = scored[f"{key}#with"][0], scored[f"{key}#without"][0]
    return (read["logprob"] - unread["logprob"]) / read["n_tokens"]


def evidence(judging: Judging, pairs: Sequence[tuple[str, str, str]]) -> tuple[list[float], list[dict]]:
    """Return the gain of every (id, query, passage), in nats a token, and the call records."""
    both = judging.templates["evidence"]
    requests = []
    for key, query, passage in pairs:
        for name in ("with", "without"):
            text = render(both[name].prompt, {"passage": passage}, f"evidence/{name}")
            requests.append(Request(id=f"{key}#{name}", prompt=text, continuations=(f" {query}",)))
    records = run_requests(judging.engine, requests, judging.work, "evidence", log=judging.log)
    scored = {record["id"]: record["scores"] for record in records}
    return [gain_per_token(scored, key) for key, _, _ in pairs], records


def rationales(
    judging: Judging, pairs: Sequence[tuple[str, str, str]], verdicts: Sequence[bool]
) -> tuple[list[tuple[str, bool]], list[dict]]:
    """Return (reasoning, whether the budget ran out) for every (id, query, passage) and its verdict, and the calls.

    The reasoning begins with the words that state the verdict; the judge writes the rest.
    """
    template = judging.templates["judge"][judging.prompt].prompt
    openings = {v: judging.templates.constants[f"because_{v}".lower()] for v in (True, False)}
    sampling = Sampling(max_tokens=judging.max_tokens, temperature=0.0, stop=(CLOSE, "\n"), seed=judging.seed)
    requests = [
        Request(
            id=f"{key}#why",
            sampling=sampling,
            prompt=wrap(render(template, {"query": query, "passage": passage}, "judge"), judging.form)
            + f"{OPEN} {openings[verdict]}",
        )
        for (key, query, passage), verdict in zip(pairs, verdicts, strict=True)
    ]
    records = run_requests(judging.engine, requests, judging.work, "rationale", log=judging.log)
    return [
        _rationale(f"{openings[verdict]} {record['text']}", record["finish_reason"], judging.sentences)
        for record, verdict in zip(records, verdicts, strict=True)
    ], records


def _rationale(text: str, finish_reason: str, sentences: int) -> tuple[str, bool]:
    """Return the first sentences of a drawn reasoning, and whether the budget cut it before they were whole."""
    whole = re.findall(r"[^.!?]+(?:[.!?](?!\s|$)[^.!?]*)*[.!?]", " ".join(text.split()))
    if len(whole) >= sentences:
        return "".join(whole[:sentences]).strip(), False
    return clean_reasoning(text, finish_reason == "stop"), finish_reason == "length"
