"""LimRank's comparisons: one row each, corrected by Holm over all of the paper's part together."""

from collections.abc import Iterable, Mapping
from typing import Any

from searchtune.evaluation.limrank_books import Book
from searchtune.evaluation.limrank_tables import others_of
from searchtune.evaluation.significance import holm, verdict

COMPARISON_COLUMNS = [
    *("table", "collection", "system", "mode", "metric", "against", "difference", "n", "seeds"),
    *("p_value", "p_holm", "verdict"),
]
Row = dict[str, Any]


def comparisons(tables: dict[str, tuple[Book, list[dict]]], more: Iterable[Row] = ()) -> list[Row]:
    """Return one row a comparison, corrected by Holm over all of them together, with the verdict in words.

    ``tables``: name -> book and rows; ``more``: rows of the other tables (see :func:`of_changes`).
    """
    rows = [row for name, (book, lines) in tables.items() for row in _of_table(name, book, lines)]
    rows += more
    adjusted = holm({number: row["p_value"] for number, row in enumerate(rows)})
    return [
        row | {"p_holm": adjusted[number], "verdict": verdict(row["difference"], adjusted[number], row["seeds"])}
        for number, row in enumerate(rows)
    ]


def _of_table(name: str, book: Book, lines: list[dict]) -> Iterable[Row]:
    """Yield the comparisons of a table's rows with BM25 and with the untuned model."""
    values = {(r["collection"], r["system"], r["mode"], r["metric"]): r["value"] for r in lines}
    for line in lines:
        key = (line["collection"], line["system"], line["mode"])
        for against, other in others_of(key).items():
            if (p := line[f"p_vs_{against}"]) is not None:
                yield {
                    "table": name,
                    "collection": key[0],
                    "system": key[1],
                    "mode": key[2],
                    "metric": line["metric"],
                    "against": against,
                    "n": line["n"],
                    "difference": line["value"] - values[*other, line["metric"]],
                    "seeds": len(book.values[key][line["metric"]]),
                    "p_value": p,
                }


def of_changes(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the comparisons of the table of ablations: each change against the chain as configured."""
    return [
        {
            "table": "ablations",
            "system": row["variant"] or row["label"],
            "against": row["baseline"],
            **{key: row[key] for key in ("collection", "mode", "metric", "difference", "n", "seeds", "p_value")},
        }
        for row in rows
        if row.get("p_value") is not None
    ]


def of_claims(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the comparisons of the claims that were measured (see limrank_verdicts)."""
    return [
        {
            "table": "verdicts",
            "system": row["compared"],
            "mode": "",
            "against": "",
            "difference": row["change"],
            "p_value": row["p"],
            **{key: row[key] for key in ("collection", "metric", "n", "seeds")},
        }
        for row in rows
        if "p" in row
    ]


def of_answers(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the comparisons of answered questions (see limrank_rag); differences are shares, as in the other rows."""
    return [
        {
            "table": "rag_tests",
            "system": f"{row['system']}, top {row['k']}",
            "difference": row["change"] / 100,
            **{key: row[key] for key in ("collection", "mode", "against", "metric", "n", "seeds", "p_value")},
        }
        for row in rows
    ]
