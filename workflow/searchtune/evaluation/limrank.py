"""Stage ``limrank.evaluate``: the tables of LimRank from runs, instruction set, synthesis and training records."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from searchtune.collections.beir import Collection
from searchtune.evaluation import limrank_rag as rag
from searchtune.evaluation.gpqa_claim import published_claim
from searchtune.evaluation.limrank_ablations import (
    ABLATION_COLUMNS,
    ablation_rows,
    changed_runs,
    configured_rows,
    training_rows,
)
from searchtune.evaluation.limrank_benchmarks import BENCHMARK_COLUMNS, Measured, benchmark_table
from searchtune.evaluation.limrank_books import (
    PER_QUERY_COLUMNS,
    Book,
    book_collection,
    book_heldout,
    book_instructions,
    paths_of,
    per_query_rows,
)
from searchtune.evaluation.limrank_comparisons import COMPARISON_COLUMNS, comparisons, of_answers, of_changes, of_claims
from searchtune.evaluation.limrank_data_share import SHARE_COLUMNS, share_rows
from searchtune.evaluation.limrank_faults import fault_rows
from searchtune.evaluation.limrank_power import POWER_COLUMNS, power_rows
from searchtune.evaluation.limrank_published import Published
from searchtune.evaluation.limrank_signs import SIGN_COLUMNS, signs
from searchtune.evaluation.limrank_tables import FAILURE_COLUMNS, RERANK_COLUMNS, parse_failures, table
from searchtune.evaluation.limrank_verdicts import VERDICT_COLUMNS, Comparisons, claim_rows, settled
from searchtune.evaluation.metrics import write_metrics
from searchtune.files import read_json, read_tsv, write_tsv
from searchtune.reranking import released_faults
from searchtune.reranking.reasoning import INSTRUCTIONS
from searchtune.stage import Job
from searchtune.synthesis.limrank_funnel import COVERAGE_COLUMNS, REASON_COLUMNS, SYNTHESIS_COLUMNS

FAULT_COLUMNS = ["fault", "what", "system", "collection", "metric", "corrected", "released"]
# read for its shape: what is tested stands in rerank.tsv, at one depth
DEPTH_COLUMNS = [column for column in RERANK_COLUMNS if not column.startswith("p_vs_")]
Runs = list[tuple[Path, dict]]


@dataclass
class Books:
    """Per-query values on the collections, the instruction set and the held-out synthetic queries; of the changes on
    the first two; and on the collections at each depth of the sweep."""

    rerank: Book = field(default_factory=Book)
    followir: Book = field(default_factory=Book)
    heldout: Book = field(default_factory=Book)
    changed: Book = field(default_factory=Book)
    changed_followir: Book = field(default_factory=Book)
    depths: dict[int, Book] = field(default_factory=dict)


def run(job: Job) -> dict[str, Any]:
    """Stage function. Inputs: collections, runs, reranked (folders), synthesis, heldout, instructions, models (tuned
    model folders), followir (folder of the sets that params name), published and claims (config/expected); changed
    and changed_models (of the ablations, aligned with params.runs); answers and judged (folders) where questions are
    answered. Outputs: tables (rerank, followir, depth, ablations, power, data_share, verdicts, synthesis, reasons,
    coverage, signs, parse_failures, faults, rag, rag_tests; benchmarks where there are any) and details (metrics.json,
    per_query.tsv, rag_per_question.tsv, released_faults.tsv, and comparisons.tsv: Holm's correction over all of the
    paper, and verdicts)."""
    params = job.params
    reranked = [(path, read_json(path / "manifest.json")) for path in paths_of(job.inputs["reranked"])]
    changed, short = changed_runs(paths_of(job.inputs.get("changed", [])), params.get("runs", []))
    books = read_books(job, reranked, changed)
    rerank_rows, followir_rows = table(books.rerank, params), table(books.followir, params)
    failures = parse_failures(job.inputs["synthesis"], [*reranked, *changed])
    found = signs(job, books.rerank, books.heldout, reranked)
    folder, details = job.outputs["tables"], job.outputs["details"]
    answered = answer_tables(job, folder, details)
    failures, found = failures + answered["failures"], found + answered["signs"]
    write_tsv(folder / "rerank.tsv", RERANK_COLUMNS, rerank_rows)
    write_tsv(folder / "followir.tsv", RERANK_COLUMNS, followir_rows)
    write_tsv(folder / "depth.tsv", DEPTH_COLUMNS, depth_rows(books, params))
    copied = {"synthesis": SYNTHESIS_COLUMNS, "reasons": REASON_COLUMNS, "coverage": COVERAGE_COLUMNS}
    for name, columns in copied.items():
        write_tsv(folder / f"{name}.tsv", columns, read_tsv(job.inputs["synthesis"] / f"{name}.tsv"))
    write_tsv(folder / "parse_failures.tsv", FAILURE_COLUMNS, failures)
    write_tsv(folder / "signs.tsv", SIGN_COLUMNS, found)
    priced = fault_rows(paths_of(job.inputs["collections"]), paths_of(job.inputs["runs"]), reranked)
    write_tsv(folder / "faults.tsv", FAULT_COLUMNS, priced + answered["faults"])
    write_tsv(details / "released_faults.tsv", ["fault", "what", "switch", "shown"], released_faults.rows())
    if benched := benchmark_rows(job, books):
        write_tsv(folder / "benchmarks.tsv", BENCHMARK_COLUMNS, benched)
    write_metrics(details / "metrics.json", {"rerank": rerank_rows, "followir": followir_rows})
    write_tsv(
        details / "per_query.tsv",
        PER_QUERY_COLUMNS,
        per_query_rows(books.rerank, books.followir, books.heldout, books.changed, books.changed_followir),
    )
    tables = {"rerank": (books.rerank, rerank_rows), "followir": (books.followir, followir_rows)}
    tests = write_compared(job, books, tables, short, answered["tests"])
    return {
        "systems": len({key[1:] for key in books.rerank.values}),
        "changes": len(params.get("changes", {})),
        "comparisons": tests,
        "signs_passed": sum(bool(s["passed"]) for s in found),
        "signs": len(found),
        "parse_failures": sum(int(row["failed"]) for row in failures),
    }


def write_compared(
    job: Job, books: Books, tables: dict[str, tuple[Book, list[dict]]], short: dict[str, str], answers: list[dict]
) -> int:
    """Write what hangs on all comparisons together: ablations, comparisons, verdicts, power, the tests of ``answers``
    (none where no question is answered) beside the published claim; return the number of comparisons."""
    params, folder = job.params, job.outputs["tables"]
    models, changed = (paths_of(job.inputs.get(name, [])) for name in ("models", "changed_models"))
    sizes = (configured_rows(models), training_rows(changed, params.get("runs", [])))
    both = ((books.rerank, books.changed), (books.followir, books.changed_followir))
    ablations = ablation_rows(both, params, short, sizes)
    published = Published.load(job.inputs["published"])
    shares = share_rows(published)
    against = Comparisons({"mean": both[0], "followir": both[1]}, params)
    claims = claim_rows(against, job.inputs["claims"], published, shares)
    of_them, of_asked = of_claims(claims), of_answers(answers)
    compared = comparisons(tables, [*of_changes(ablations), *of_asked, *of_them])
    last = [row["p_holm"] for row in compared[len(compared) - len(of_asked) - len(of_them) :]]
    asked, adjusted = last[: len(of_asked)], last[len(of_asked) :]
    power = power_rows([(books.rerank, params["metrics"][0]), (books.followir, "p-MRR")], len(compared))
    write_tsv(folder / "ablations.tsv", ABLATION_COLUMNS, ablations)
    write_tsv(folder / "data_share.tsv", SHARE_COLUMNS, shares)
    write_tsv(folder / "verdicts.tsv", VERDICT_COLUMNS, settled(claims, adjusted))
    write_tsv(folder / "power.tsv", POWER_COLUMNS, power)
    claim = published_claim(read_tsv(job.inputs["published"]), params["level"])
    write_tsv(folder / "rag_tests.tsv", rag.TEST_COLUMNS, [*rag.adjusted_rows(answers, asked), claim])
    write_tsv(job.outputs["details"] / "comparisons.tsv", COMPARISON_COLUMNS, compared)
    return len(compared)


def answer_tables(job: Job, folder: Path, details: Path) -> dict[str, list[dict]]:
    """Write the accuracy of answered questions; return its rows of tests, faults, failures and signs of life."""
    if "answers" not in job.inputs:
        return {"tests": [], "faults": [], "failures": [], "signs": []}
    book = rag.load_answers(job.inputs["answers"], job.inputs.get("judged"))
    tests = rag.paired_rows(book, job.params)
    write_tsv(folder / "rag.tsv", rag.RAG_COLUMNS, rag.rag_rows(book, job.params))
    write_tsv(details / "rag_per_question.tsv", rag.PER_QUESTION_COLUMNS, book.rows)
    return {
        "tests": tests,
        "faults": rag.rag_fault_rows(book),
        "failures": rag.failure_rows(book, job.inputs["answers"] / "counts.tsv"),
        "signs": rag.rag_sign(tests),
    }


def benchmark_rows(job: Job, books: Books) -> list[dict]:
    """Return the rows of the published benchmarks, measured and as papers print them; none where none is scored."""
    readers = {path.name: Collection.reader_of(path) for path in paths_of(job.inputs["collections"])}
    readers |= dict.fromkeys(job.params.get("followir", ()), "followir")
    measured = [
        Measured(key[0], key[1], key[2], book.depths[key], metric, tables)
        for book in (books.rerank, books.followir)
        for key, metrics in book.values.items()
        for metric, tables in metrics.items()
    ]
    return benchmark_table(measured, readers, job.inputs.get("published"), job.params)


def depth_rows(books: Books, params: dict[str, Any]) -> list[dict]:
    """Return the rows of the depth sweep: the metrics of the reranking table at each depth."""
    rows = [row for book in books.depths.values() for row in table(book, params)]
    return [{c: row[c] for c in DEPTH_COLUMNS} for row in rows if row["metric"] != f"R@{row['depth']}"]


def read_books(job: Job, reranked: Runs, changed: Runs) -> Books:
    """Return every run scored a query."""
    books, params = Books(), job.params
    for path, bm25 in zip(paths_of(job.inputs["collections"]), paths_of(job.inputs["runs"]), strict=True):
        collection = Collection.load(path)
        book_collection(books.rerank, path.name, collection, bm25, reranked, params, params["depth"])
        book_collection(books.changed, path.name, collection, bm25, changed, params, params["depth"])
        for depth in params.get("depths", []):
            book = books.depths.setdefault(depth, Book())
            book_collection(book, path.name, collection, bm25, reranked, params, depth)
    sets = {INSTRUCTIONS: job.inputs["instructions"]}
    sets |= {name: paths_of(job.inputs["followir"])[0] / name for name in params.get("followir", ())}
    for name, folder in sets.items():
        book_instructions(books.followir, folder, reranked, params, name)
        if changed:
            book_instructions(books.changed_followir, folder, changed, params, name)
    book_heldout(books.heldout, job.inputs["heldout"], reranked)
    return books
