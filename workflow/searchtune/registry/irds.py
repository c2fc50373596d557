"""Fetch a collection by way of the ir_datasets library and write it in the layout of BEIR."""

from pathlib import Path

from searchtune.errors import FetchError
from searchtune.files import write_tsv

NEEDED = "ir_datasets==0.6.3"


def fetch_ir_dataset(name: str, version: str, target: Path) -> dict[str, int]:
    """Write corpus.jsonl, queries.jsonl and qrels.tsv of ``name`` (its id in ir_datasets) into ``target``."""
    try:
        import ir_datasets
    except ImportError as error:
        raise FetchError(
            f"{name}: the package ir_datasets is not installed; it is an extra of the larger scales: "
            f"pip install {NEEDED}"
        ) from error
    if ir_datasets.__version__ != version:
        raise FetchError(
            f"{name} is pinned to ir_datasets {version}, installed is {ir_datasets.__version__}; "
            f"pip install ir_datasets=={version}"
        )
    data = ir_datasets.load(name)
    target.mkdir(parents=True, exist_ok=True)
    documents = _write_lines(target / "corpus.jsonl", data.docs_iter())
    queries = _write_lines(target / "queries.jsonl", data.queries_iter()) if data.has_queries() else 0
    rows = (
        ({"query-id": q.query_id, "corpus-id": q.doc_id, "score": q.relevance} for q in data.qrels_iter())
        if data.has_qrels()
        else ()
    )
    judgements = write_tsv(target / "qrels.tsv", ["query-id", "corpus-id", "score"], rows)
    return {"documents": documents, "queries": queries, "judgements": judgements}


def _write_lines(path: Path, items: object) -> int:
    """Write documents or queries one by one, so that a large collection needs no memory."""
    import json

    count = 0
    with open(path, "w", encoding="utf-8") as handle:
        for item in items:  # type: ignore[attr-defined]
            key = getattr(item, "doc_id", None) or item.query_id
            text = item.default_text()
            title = getattr(item, "title", "") if hasattr(item, "doc_id") else ""
            body = getattr(item, "text", text) if title else text
            row = {"_id": key, "title": title, "text": body} if hasattr(item, "doc_id") else {"_id": key, "text": text}
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count
