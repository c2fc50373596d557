"""Rows of LimRank's tables: values with interval over queries and seeds, and answers that could not be used."""

from pathlib import Path
from typing import Any

from searchtune.evaluation.limrank_books import FIRST_STAGE, UNTUNED, Book, Key, mean_over_seeds, p_value
from searchtune.evaluation.significance import interval_of
from searchtune.files import iter_jsonl, read_tsv

RERANK_COLUMNS = [
    *("collection", "system", "mode", "depth", "metric", "value", "ci_low", "ci_high", "n"),
    *("tie_share", "p_vs_bm25", "p_vs_untuned"),
]
FAILURE_COLUMNS = ["step", "calls", "failed", "share"]


def table(book: Book, params: dict[str, Any]) -> list[dict]:
    """Return the rows of a table: value with interval over queries (and seeds, from two on), paired p-values."""
    return [_row(book, key, metric, params) for key in book.values for metric in book.values[key]]


def others_of(key: Key) -> dict[str, Key]:
    """Return what a system is compared with: BM25, and the untuned model in the same mode."""
    return {"bm25": (key[0], FIRST_STAGE, ""), "untuned": (key[0], UNTUNED, key[2])}


def _row(book: Book, key: Key, metric: str, params: dict[str, Any]) -> dict:
    tables = book.values[key][metric]
    values = mean_over_seeds(tables)
    order = sorted(values)
    many = [[table[query] for query in order] for table in tables]
    interval = interval_of(many, params)
    # a reranker cannot change what is among its candidates
    tested = metric != f"R@{book.depths[key]}"
    tests = {
        f"p_vs_{name}": p_value(book, key, other, metric, params) if tested else None
        for name, other in others_of(key).items()
    }
    return {
        "collection": key[0],
        "system": key[1],
        "mode": key[2],
        "depth": book.depths[key],
        "metric": metric,
        "value": sum(values.values()) / len(values),
        "ci_low": interval[0],
        "ci_high": interval[1],
        "n": len(values),
        "tie_share": sum(book.ties[key]) / len(book.ties[key]),
        **tests,
    }


def parse_failures(synthesis: Path, reranked: list[tuple[Path, dict]]) -> list[dict]:
    """Return how many answers of every step were unparsable, cut off, forced, empty or replaced by a fallback."""
    rows = []
    for path in sorted((synthesis / "calls").glob("*.jsonl.gz")):
        calls = [call for call in iter_jsonl(path) if call["text"] is not None]
        name = f"synthesis, {path.name.split('.')[0]}"
        rows.append(_failure(f"{name}: not parsed", len(calls), sum(c["parse_error"] is not None for c in calls)))
        rows.append(
            _failure(f"{name}: cut off by its budget", len(calls), sum(c["finish_reason"] == "length" for c in calls))
        )
    for path, manifest in reranked:
        for row in read_tsv(path / "counts.tsv"):
            name = f"reranking of {row['collection']}, {manifest['system']} {row['mode']}"
            rows += [
                _failure(f"{name}: {what}", int(row["pairs"]), int(row[kind]))
                for kind, what in (
                    ("forced", "reasoning cut off, verdict forced"),
                    ("empty", "no reasoning"),
                    ("fallback", "silent 0.5"),
                )
            ]
            # none in most runs
            rows += [
                _failure(f"{name}: {what}", int(row["pairs"]), int(row[kind]))
                for kind, what in (("unclosed", "ended without a verdict"), ("split", "verdict of several tokens"))
                if int(row.get(kind) or 0)
            ]
    return [row for row in rows if row["calls"]]


def _failure(step: str, calls: int, failed: int) -> dict:
    return {"step": step, "calls": calls, "failed": failed, "share": failed / calls if calls else 0.0}
