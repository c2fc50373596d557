"""Stage ``score.teachers``: n-way tuples (source passage and candidates) with the rerankers' scores.

UDAPDR (arXiv 2303.00807), section 3.4. The released code scores in training mode (fault U5), loses
every query whose source stands at rank 1 (U3), lists the source twice in its own window and leaves the
windows of a query behind each other (U4).
"""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.collections.synthetic import Synthetic, load_filtered
from searchtune.errors import ConfigError, ShortageError, nearest
from searchtune.files import read_json, write_jsonl
from searchtune.llm.hardware import seeded
from searchtune.reranking.cross_encoder import CrossEncoder, mean_scores
from searchtune.stage import Job

COMBINE = ("mean", "mixed", "sequential")
# a query, the number of the window among its windows, the passage ids
Window = tuple[Synthetic, int, list[str]]


def tuple_windows(
    candidates: Sequence[str], source: str, nway: int, windows: int, depth: int, twice: bool = False
) -> list[list[str]]:
    """Return up to ``windows`` lists of ``nway`` passage ids, each with the source first.

    With several windows, consecutive stretches of the ranking, as released; with one, half of its
    places go to the best ranked candidates and half to ranks spread evenly over the rest of
    ``depth``, so that a short list still shows the student easy passages. Incomplete windows are dropped.
    ``twice`` (fault U4): the source also keeps its place in the ranking, so it stands twice in the window of that.
    """
    pool = [c for c in candidates[:depth] if twice or c != source]
    size = nway - 1
    if windows == 1:
        near = pool[: (size + 1) // 2]
        rest, wanted = pool[len(near) :], size - len(near)
        if len(rest) < wanted:
            return []
        return [[source, *near, *(rest[i * len(rest) // wanted] for i in range(wanted))]]
    starts = range(0, min(windows * size, len(pool) - size + 1), size)
    return [[source, *pool[start : start + size]] for start in starts]


def combine(scores: Sequence[Sequence[float]], how: str, own: int) -> tuple[list[float], int]:
    """Return (scores of one tuple, training phase).

    ``scores`` has one list a teacher. ``mean``: their mean. ``mixed`` and ``sequential``: those of
    the teacher of the query's own prompt (position ``own``); sequential training goes teacher by teacher.
    """
    if how == "mean":
        return mean_scores(scores), 0
    if how not in COMBINE:
        raise ConfigError(f"udapdr.teachers.combine {how!r} is unknown{nearest(how, COMBINE)}")
    return list(scores[own]), own if how == "sequential" else 0


def released_tuple_queries(ranks: Sequence[tuple[str, int | None]]) -> list[str]:
    """Return the ids of queries that get tuples in the released code (fault U3).

    Its counter is not reset before the test for the source passage: rank 1 is lost (but not for the
    first query of the file), ranks 2 to 5 are kept, and the last query never gets its tuples.
    """
    return [
        query
        for position, (query, rank) in enumerate(ranks[:-1])
        if rank is not None and (1 if position == 0 else 2) <= rank <= 5
    ]


def labelled(rows: Sequence[Synthetic], faults: Sequence[str]) -> list[Synthetic]:
    """Return the queries that get tuples: every kept query of the label part, or what fault U3 leaves of them."""
    mine = [row for row in rows if row.part == "label"]
    if "U3" not in faults:
        return mine
    chosen = set(released_tuple_queries([(row.id, row.rank) for row in mine]))
    return [row for row in mine if row.id in chosen]


def plan_windows(rows: Sequence[Synthetic], params: Mapping[str, Any]) -> list[Window]:
    """Return (query, number of the window, passage ids) of all tuples that are scored, at most ``n_tuples``.

    They are shuffled by the seed, in one order for every size, so that fewer tuples are a prefix of more; fault U4
    leaves them in the order of the queries, all windows of one behind each other.
    """
    plain = "U4" in params["faults"]
    found = [
        (row, number, ids)
        for row in rows
        for number, ids in enumerate(
            tuple_windows(row.candidates, row.source, params["nway"], params["windows"], params["depth"], plain)
        )
    ]
    if not plain:
        random.Random(params["seed"]).shuffle(found)
    return found[: params["n_tuples"]]


def no_tuples(nway: int, labelled: int) -> ShortageError:
    """Return the error of tuples that could not be made of ``labelled`` queries, whoever scores them."""
    return ShortageError(
        f"no tuple of {nway} passages from {labelled} labelled queries; lower udapdr.teachers.nway or raise "
        "udapdr.scale_up.per_prompt (Z)"
    )


def best_rerankers(folders: Sequence[Path], count: int | None) -> list[Path]:
    """Return the ``count`` rerankers of highest RR on unseen synthetic queries, in their old order (None: all).

    The paper (Table 7) chooses on human dev queries, which a new corpus does not have.
    """
    if count is None or count >= len(folders):
        return list(folders)
    quality = {folder: read_json(folder / "evaluation.json")["trained"] for folder in folders}
    chosen = sorted(folders, key=lambda folder: (-quality[folder], folders.index(folder)))[:count]
    return [folder for folder in folders if folder in chosen]


def run(job: Job) -> dict[str, Any]:
    """Stage entry. Inputs: collection, queries (filtered folder), models (rerankers by prompt). Output: tuples.jsonl
    {id, query, passages, scores, phase, teachers}.

    Params: nway, windows, depth, combine, select (how many rerankers), n_tuples (at most), max_length, batch_size,
    precision, seed, faults. ShortageError if no tuple can be made.
    """
    params = job.params
    rows = labelled(load_filtered(job.inputs["queries"]), params["faults"])
    windows = plan_windows(rows, params)
    if not windows:
        raise no_tuples(params["nway"], len(rows))
    collection = Collection.load(job.inputs["collection"])
    pairs = [(row.text, collection.passage_text(i)) for row, _, ids in windows for i in ids]
    models = best_rerankers(job.inputs["models"], params["select"])
    scores = [_score(job, path, pairs) for path in models]
    write_jsonl(job.outputs["tuples"], list(tuple_rows(windows, scores, params["combine"])))
    return {"labelled": len(rows), "tuples": len(windows), "pairs": len(pairs) * len(models)}


def _score(job: Job, path: Any, pairs: list[tuple[str, str]]) -> list[float]:
    model = CrossEncoder.load(path, job.params["max_length"], job.params["precision"], log=job.log)
    job.log(f"{len(pairs)} pairs with {path.name}")
    # the noise of fault U5 is drawn, so it has a seed
    with seeded(job.params["seed"], model.device):
        return model.score(pairs, job.params["batch_size"], noisy="U5" in job.params["faults"])


def tuple_rows(windows: Sequence[Window], scores: Sequence[Sequence[float]], how: str) -> list[dict]:
    """Return the rows of tuples.jsonl; ``scores`` has one list a teacher, over the passages of all windows in order."""
    rows = []
    start = 0
    for row, number, ids in windows:
        own = [teacher[start : start + len(ids)] for teacher in scores]
        start += len(ids)
        chosen, phase = combine(own, how, row.prompt % len(own))
        rows.append(
            {
                "id": f"{row.id}-{number}",
                "query": row.text,
                "passages": ids,
                "scores": [round(s, 6) for s in chosen],
                "phase": phase,
                "teachers": [[round(s, 6) for s in teacher] for teacher in own],
            }
        )
    return rows
