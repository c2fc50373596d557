"""Stage ``udapdr.filter``: keep the synthetic queries that find their source passage again (round trip).

UDAPDR (arXiv 2303.00807), section 3.2: a query stays if its passage is among the top 20 of a
zero-shot retriever. The kept queries are split by source passage: some train rerankers, some are
labelled for distillation, some are held out. The ranked lists serve as candidates for negatives.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.trec import Ranking, write_run
from searchtune.errors import ConfigError, ShortageError, nearest
from searchtune.files import read_jsonl, write_jsonl, write_tsv
from searchtune.retrieval.bm25 import BM25Index
from searchtune.stage import Job

PARTS = ("train", "label", "held")
CUTOFFS = (1, 5, 10, 20, 100)
RATE_COLUMNS = ["retriever", "group", "name", "k", "n", "passed", "rate"]
SYNTHESIS_COLUMNS = ["stage", "strategy", "prompt", "in", "out"]


def part_of(source: str, shares: Mapping[str, float], seed: int) -> str:
    """Return train, label or held for a source passage: all queries of a passage share a part, whatever their prompt,
    and a larger Z moves none of them.
    """
    draw = random.Random(f"{seed}:{source}").random()
    if draw < shares["train"]:
        return "train"
    return "label" if draw < shares["train"] + shares["label"] else "held"


def rank_of(source: str, ranking: Sequence[str]) -> int | None:
    """Return the 1-based rank of a passage, or None if it is not in the ranking."""
    return ranking.index(source) + 1 if source in ranking else None


def passes(ranks: Mapping[str, int | None], k: int, require: str) -> bool:
    """Say whether the source is among the top ``k`` of all, or of any, retrievers (``ranks``: retriever -> rank)."""
    hits = [rank is not None and rank <= k for rank in ranks.values()]
    if require not in ("all", "any"):
        raise ConfigError(f"udapdr.filter.require {require!r} is unknown{nearest(require, ['all', 'any'])}")
    return all(hits) if require == "all" else any(hits)


def fuse(rankings: Sequence[Sequence[str]], depth: int, constant: int = 60) -> list[tuple[str, float]]:
    """Return the first ``depth`` ids by reciprocal rank fusion (Cormack et al. 2009), ties by id."""
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, identifier in enumerate(ranking, 1):
            scores[identifier] = scores.get(identifier, 0.0) + 1 / (constant + rank)
    return sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:depth]


def pass_rates(retriever: str, group: str, ranks: Mapping[str, Sequence[int | None]]) -> list[dict[str, Any]]:
    """Return a row {retriever, group, name, k, n, passed, rate} for each name and cut-off k."""
    rows = []
    for name in sorted(ranks):
        for k in CUTOFFS:
            passed = sum(rank is not None and rank <= k for rank in ranks[name])
            rows.append(
                {
                    "retriever": retriever,
                    "group": group,
                    "name": name,
                    "k": k,
                    "n": len(ranks[name]),
                    "passed": passed,
                    "rate": passed / len(ranks[name]),
                }
            )
    return rows


def retrieve(job: Job, collection: Collection, texts: list[str]) -> dict[str, list[list[str]]]:
    """Return retriever -> for each text the ids of its top passages."""
    found: dict[str, list[Ranking]] = {}
    depth, ids = job.params["depth"], list(collection.corpus)
    if "bm25" in job.params["retrievers"]:
        index = BM25Index.of(ids, [collection.passage_text(i) for i in ids], job.params)
        found["bm25"] = index.search(texts, depth)
    if "late" in job.params["retrievers"]:
        found["late"] = _late(job, texts, depth)
    return {name: [[i for i, _ in ranking] for ranking in rankings] for name, rankings in found.items()}


def _late(job: Job, texts: list[str], depth: int) -> list[Ranking]:
    """Search zero-shot against the shared index: with the encoder's own token vectors, or with the projection that it
    was trained with, if params say so.
    """
    from searchtune.retrieval.late_interaction import load_model, ranked
    from searchtune.retrieval.token_index import TokenIndex

    model = load_model(job, job.params.get("projection", "none"))
    index, vectors = TokenIndex.load(job.inputs["index"]), model.encode_queries(texts)
    return ranked(job, index, vectors, depth, precision=job.params["precision"])


def released_lists(lists: Sequence[Sequence[str]], length: int) -> list[list[str]]:
    """Return what the released code takes for the candidate lists of queries in file order (fault U7).

    It cuts the rows of a file of rankings into blocks of ``length``, whatever query they belong to: a shorter list
    pulls the start of the next one into its block, all later queries get lists of others, the last ones none.
    """
    rows = [identifier for ranking in lists for identifier in ranking]
    return [rows[start : start + length] for start in range(0, len(lists) * length, length)]


def misread(found: Mapping[str, list[list[str]]], prompts: Sequence[int], length: int) -> dict[str, list[list[str]]]:
    """Return the lists of all retrievers as :func:`released_lists` reads them, one file a prompt (``prompts``: that of
    each query, aligned with the lists; lists of no query stay as they are).
    """
    result = {name: list(lists) for name, lists in found.items()}
    for prompt in dict.fromkeys(prompts):
        places = [place for place, owner in enumerate(prompts) if owner == prompt]
        for name, lists in found.items():
            for place, ranking in zip(places, released_lists([lists[i] for i in places], length), strict=True):
                result[name][place] = ranking
    return result


def candidates_of(
    found: Mapping[str, list[list[str]]], position: int, kind: str, depth: int
) -> list[tuple[str, float]]:
    """Return the candidate list of one query: of one retriever, or of all fused."""
    chosen = list(found) if kind == "fused" else [kind]
    return fuse([found[name][position] for name in chosen], depth)


def _kept(job: Job, rows: list[dict], found: Mapping[str, list[list[str]]]) -> tuple[list[dict], dict]:
    """Return the queries that pass, as output rows, and their candidate lists."""
    kept, lists = [], {}
    for position, row in enumerate(rows):
        ranks = {name: rank_of(row["source"], found[name][position]) for name in found}
        candidates = candidates_of(found, position, job.params["candidates"], job.params["depth"])
        if passes(ranks, job.params["k"], job.params["require"]):
            part = part_of(row["source"], job.params["shares"], job.params["seed"])
            rank = rank_of(row["source"], [i for i, _ in candidates])
            kept.append(row | {"ranks": ranks, "rank": rank, "part": part})
            lists[row["id"]] = candidates
    return kept, lists


def _rate_rows(rows: list[dict], found: Mapping[str, list[list[str]]]) -> list[dict]:
    """Return pass rates by prompt (queries of stage 3) or strategy (queries of stage 1)."""
    rates = []
    for name, rankings in found.items():
        for group, key in (("strategy", "strategy"), ("prompt", "prompt")):
            ranks: dict[str, list[int | None]] = {}
            for row, ranking in zip(rows, rankings, strict=True):
                if row.get(key) is not None:
                    ranks.setdefault(str(row[key]), []).append(rank_of(row["source"], ranking))
            rates += pass_rates(name, group, ranks)
    return rates


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Inputs: collection, queries (folder of stage 3), seed (folder of stage 1), and for the retriever
    ``late`` model and index. Output: queries (folder: queries.jsonl, candidates.run.gz, pass_rates.tsv, synthesis.tsv).

    Params: retrievers [bm25, late], require (all | any), k, depth, candidates (bm25 | late | fused),
    shares {train, label}, seed, k1, b, precision, faults (U7), the fields of Settings and, for an encoder that was
    trained for late interaction, projection (trained). DataError if nothing passes.
    """
    collection = Collection.load(job.inputs["collection"])
    rows = read_jsonl(job.inputs["queries"] / "queries.jsonl")
    seeds = [r for r in read_jsonl(job.inputs["seed"] / "seeds.jsonl") if r["question"] and r["strategy"] != "bad"]
    questions = [{"text": r["question"], "source": r["source"], "strategy": r["strategy"]} for r in seeds]
    found = retrieve(job, collection, [r["text"] for r in rows + questions])
    if "U7" in job.params["faults"]:
        found = misread(found, [row["prompt"] for row in rows], job.params["depth"])
    rates = _rate_rows(rows + questions, found)
    kept, lists = _kept(job, rows, {name: rankings[: len(rows)] for name, rankings in found.items()})
    if not kept:
        raise ShortageError(
            f"{job.inputs['queries']}: none of {len(rows)} synthetic queries has its passage in the top "
            f"{job.params['k']} of {', '.join(job.params['retrievers'])}; use a better writer, raise "
            "udapdr.filter.k or set udapdr.filter.require: any"
        )
    folder = job.outputs["queries"]
    write_jsonl(folder / "queries.jsonl", kept)
    write_run(folder / "candidates.run.gz", lists, "candidates")
    write_tsv(folder / "pass_rates.tsv", RATE_COLUMNS, rates)
    prompts = sorted({r["prompt"] for r in rows})
    write_tsv(
        folder / "synthesis.tsv",
        SYNTHESIS_COLUMNS,
        [
            {
                "stage": "filter",
                "prompt": y,
                "in": sum(r["prompt"] == y for r in rows),
                "out": sum(r["prompt"] == y for r in kept),
            }
            for y in prompts
        ],
    )
    counts = {part: sum(r["part"] == part for r in kept) for part in PARTS}
    job.log(f"{len(kept)} of {len(rows)} queries kept, {counts}")
    return {"in": len(rows), "kept": len(kept), **counts}
