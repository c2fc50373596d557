"""Stage ``limrank.source``: training rows from elsewhere, in the synthesizer's form, as many of each label as it gave.

``human``: train questions of a source collection, each with its passage and one of BM25's top that is not relevant.
``inters``: INTERS' reranking examples (query, passage, yes or no) of its training part.
``udapdr``: questions that UDAPDR's chain wrote for its off-domain collection, with a negative out of its candidates.

Only content differs between the sources: packing, tuning and reranking are those of LimRank's own rows. Rows that
tune with reasoning have it written by LimRank's judge for the label that is known. Held-out rows share neither query
nor passage with training rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import read_run
from searchtune.errors import ShortageError
from searchtune.files import iter_jsonl, write_json, write_jsonl, write_tsv
from searchtune.llm.job_engine import job_engine
from searchtune.prompts.budget import first_words
from searchtune.prompts.templates import load_templates
from searchtune.reranking.verdicts import TRUE
from searchtune.stage import Job
from searchtune.synthesis.limrank_funnel import REASON_COLUMNS, SYNTHESIS_COLUMNS, Funnel
from searchtune.synthesis.limrank_judge import judging_of, rationales
from searchtune.synthesis.limrank_seeds import normal

ROLES = {True: "positive", False: "hard_negative"}


@dataclass(frozen=True)
class Item:
    """One query with a relevant passage and one that is not: (id, text) each."""

    query_id: str
    query: str
    positive: tuple[str, str]
    negative: tuple[str, str]

    def texts(self) -> set[str]:
        """Return what no other split may hold: query and passages, normalised."""
        return {normal(self.query), normal(self.positive[1]), normal(self.negative[1])}


def run(job: Job) -> dict[str, Any]:
    """Stage function.

    Inputs: like (the synthesizer's packed rows: as many of each label are drawn), and by params.name: collection and
    run (human), examples (inters), collection and queries (udapdr); judge and prompts where rows need reasoning.
    Output: synthesis, a folder of kept.jsonl, pairs.jsonl, synthesis.tsv, reasons.tsv, judge.json. ShortageError if
    the source has too few.
    """
    params = job.params
    items = list({"human": human, "inters": inters, "udapdr": udapdr}[params["name"]](job))
    Random(params["seed"]).shuffle(items)
    needed = labels_of(job.inputs["like"])
    rows = draw(items, needed, params["dev_share"], params["name"])
    if "judge" in job.inputs:
        rows = reasoned(job, rows)
    funnel = Funnel()
    funnel.add("source", params["name"], "", 2 * len(items), {"not needed": 2 * len(items) - len(rows)})
    folder = job.outputs["synthesis"]
    write_jsonl(folder / "kept.jsonl", rows)
    write_jsonl(folder / "pairs.jsonl", rows)
    write_tsv(folder / "synthesis.tsv", SYNTHESIS_COLUMNS, funnel.rows)
    write_tsv(folder / "reasons.tsv", REASON_COLUMNS, funnel.reasons)
    write_json(folder / "judge.json", {"mode": "labels of the source", "keep_rate": len(rows) / (2 * len(items))})
    trained = Path(job.inputs["collection"]).name if "collection" in job.inputs else "inters/examples"
    return {"pairs": 2 * len(items), "kept": len(rows), "trained_on": [f"{trained} (LimRank, {params['name']} rows)"]}


def labels_of(path: Path) -> dict[bool, int]:
    """Return how many packed rows end in true, and how many in false."""
    said = [row["completion"].endswith(TRUE) for row in iter_jsonl(path)]
    return {label: said.count(label) for label in (True, False)}


def human(job: Job) -> Iterator[Item]:
    """Yield train questions with their passage and one of BM25's top; both of articles of the train split."""
    collection, ranked = Collection.load(job.inputs["collection"]), read_run(job.inputs["run"])
    queries = collection.queries_of("train")
    own = {d for query in queries for d, grade in collection.qrels[query].items() if grade > 0}
    for query_id, query in queries.items():
        relevant = [d for d, grade in collection.qrels[query_id].items() if grade > 0]
        pool = [d for d, _ in ranked.get(query_id, [])[: job.params["depth"]] if d in own and d not in relevant]
        yield from _item(collection, query_id, query.text, relevant, pool, job.params["seed"])


def udapdr(job: Job) -> Iterator[Item]:
    """Yield written questions with their source passage and a candidate of theirs; none of those held out."""
    collection = Collection.load(job.inputs["collection"])
    candidates = read_run(job.inputs["queries"] / "candidates.run.gz")
    for row in iter_jsonl(job.inputs["queries"] / "queries.jsonl"):
        if row["part"] != "held":
            pool = [d for d, _ in candidates.get(row["id"], [])[: job.params["depth"]] if d != row["source"]]
            yield from _item(collection, row["id"], row["text"], [row["source"]], pool, job.params["seed"])


def _item(
    collection: Collection, query_id: str, query: str, relevant: list[str], pool: list[str], seed: int
) -> Iterator[Item]:
    """Yield a query with its first relevant passage and a drawn negative, unless one of them is missing."""
    if relevant and pool:
        negative = Random(f"{seed}/{query_id}").choice(pool)
        first, second = ((d, collection.passage_text(d)) for d in (relevant[0], negative))
        if normal(first[1]) != normal(second[1]):
            yield Item(query_id, query, first, second)


def inters(job: Job) -> Iterator[Item]:
    """Yield the pairs of a query's examples of INTERS' training part that hold a query, a passage and yes or no."""
    groups: dict[tuple[str, str], dict[bool, dict[str, Any]]] = {}
    for row in iter_jsonl(job.inputs["examples"] / "train.jsonl"):
        if {"query", "passage"} <= set(row["fields"]) and "grade" in row["meta"]:
            found = groups.setdefault((row["dataset"], row["meta"]["group"]), {})
            found.setdefault(row["meta"]["grade"] > 0, row)
    for found in groups.values():
        if len(found) == 2:
            first, second = ((found[label]["id"], found[label]["fields"]["passage"]) for label in (True, False))
            if normal(first[1]) != normal(second[1]):
                yield Item(found[True]["meta"]["group"], found[True]["fields"]["query"], first, second)


def draw(items: list[Item], needed: dict[bool, int], dev_share: float, source: str) -> list[dict]:
    """Return rows: exactly ``needed`` training rows of each label, and held-out ones that share no text with them.

    Held out are pairs, ``dev_share`` of all rows and at least one. ShortageError if the items do not suffice.
    """
    share = dev_share / (1 - min(dev_share, 0.9))
    n_dev = max(1, round(share * sum(needed.values()) / 2))
    held = items[:n_dev]
    texts = {text for item in held for text in item.texts()}
    rows: list[dict] = []
    left = dict(needed)
    for item in items[n_dev:]:
        if texts.isdisjoint(item.texts()):
            for label in [label for label in (True, False) if left[label]]:
                rows.append(_row(item, label, "train", source))
                left[label] -= 1
    if any(left.values()) or not held:
        raise ShortageError(
            f"limrank source {source!r} lacks {left[True]} true and {left[False]} false training rows: it has "
            f"{len(items)} queries with a negative for {needed[True]} true and {needed[False]} false rows of the "
            f"synthesizer and {n_dev} held-out pairs; give it more, or lower limrank.synthesize.n_seeds"
        )
    return rows + [_row(item, label, "dev", source) for item in held for label in (True, False)]


def _row(item: Item, label: bool, split: str, source: str) -> dict[str, Any]:
    """Return one row as the synthesizer writes them; what only a synthesizer knows is empty."""
    passage_id, passage = item.positive if label else item.negative
    return {
        "id": f"{source}/{item.query_id}|{passage_id}",
        "query_id": f"{source}/{item.query_id}",
        "passage_id": passage_id,
        "seed_id": f"{source}/{item.query_id}",
        "split": split,
        "kind": source,
        "query": item.query,
        "domain": "",
        "difficulty": "",
        "role": ROLES[label],
        "label": label,
        "passage": passage,
        "plan": "",
        "fails_because": "",
        "score": None,
        "verdict": label,
        "reasoning": "",
        "forced": False,
        "fault": "",
    }


def reasoned(job: Job, rows: list[dict]) -> list[dict]:
    """Return the rows with a reasoning that the judge writes for their label; its calls go into calls/judge."""
    params = job.params
    engine = job_engine(job, params["seed"], "judge")
    judging = judging_of(job, engine, load_templates(job.inputs["prompts"]))
    texts = [(row["id"], row["query"], first_words(row["passage"], params["planted_words"])) for row in rows]
    opinions, calls = rationales(judging, texts, [row["label"] for row in rows])
    write_jsonl(job.outputs["synthesis"] / "calls" / "judge.jsonl.gz", calls)
    return [row | {"reasoning": text, "forced": cut} for row, (text, cut) in zip(rows, opinions, strict=True)]
