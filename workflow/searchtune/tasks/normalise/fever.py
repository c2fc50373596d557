"""FEVER (Thorne et al. 2018): claims joined with the sentences of the Wikipedia pages that they were judged by.

Form: claims as JSON lines (id, label, claim, evidence), ``evidence`` a list of evidence sets, each a list of
[annotation id, evidence id, page, sentence id]; pages as ``wiki-pages/*.jsonl`` (id, text, lines), ``lines`` one
sentence a line as number, tab, sentence, tab, links (fever.ai/dataset/fever.html). INTERS asks for two labels
(released evaluation script), so claims without evidence (NOT ENOUGH INFO) are left out.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from searchtune.errors import DataError
from searchtune.files import iter_jsonl
from searchtune.tasks.example import Example, detokenise, n_words, unbracket
from searchtune.tasks.normalise.tables import Record, jsonl_rows, split_of_file

LABELS = {"SUPPORTS": "support", "REFUTES": "refute"}
NO_EVIDENCE = "NOT ENOUGH INFO"
Line = tuple[str, int]
Pages = dict[str, dict[int, str]]


def fact_verification(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Claim and its first evidence set to support or refute; ``paths``: files of claims, folder of wiki pages.

    The article is the first page of the evidence. Claims whose evidence is longer than ``max_words`` are left out.
    """
    claims = [(row, split) for path in paths if path.is_file() for row, split in _claims(path)]
    folders = [path for path in paths if path.is_dir()]
    if not folders:
        raise DataError(f"{dataset}: none of {', '.join(map(str, paths))} is the folder of FEVER's wiki-pages")
    sets = [(row, split, _evidence_sets(row)) for row, split in claims]
    pages = read_pages(folders, {page for _, _, found in sets for lines in found for page, _ in lines})
    for row, split, found in sets:
        lines, evidence = _first_complete(row, found, pages)
        claim, label = row.text("claim"), LABELS[row.text("label")]
        if n_words(evidence) <= max_words:
            yield Example(
                f"fact_verification/{dataset}/{row.text('id')}",
                "fact_verification",
                dataset,
                title_of(lines[0][0]),
                {"claim": claim, "evidence": evidence},
                label,
                labels=tuple(LABELS.values()),
                split=split,
            )


def _claims(path: Path) -> Iterator[tuple[Record, str]]:
    split = split_of_file(path)
    for row in jsonl_rows(path):
        if row.one_of("label", [*LABELS, NO_EVIDENCE]) != NO_EVIDENCE:
            yield row, split


def page_key(name: str) -> str:
    """Return one form of a page's name: claims and pages compose accents differently."""
    return unicodedata.normalize("NFC", name)


def title_of(page: str) -> str:
    """Return the title that a page's name stands for: ``Focus_-LRB-film-RRB-`` is ``Focus (film)``."""
    return unbracket(page).replace("_", " ").replace("-COLON-", ":")


def _evidence_sets(row: Record) -> list[list[Line]]:
    """Return the evidence sets as lists of (page, sentence number); DataError for another form."""
    found: list[list[Line]] = []
    for group in row.items("evidence", 1):
        if not isinstance(group, list) or not group or not all(_is_line(item) for item in group):
            raise row.fault("evidence", "is not a list of sets of [annotation, evidence, page, sentence]")
        found.append([(page_key(page), number) for _, _, page, number in group])
    return found


def _is_line(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 4 and isinstance(item[2], str) and isinstance(item[3], int)


def read_pages(folders: Sequence[Path], wanted: set[str]) -> Pages:
    """Return page -> sentence number -> sentence of the wanted pages; the 5 million others are not kept."""
    found: Pages = {}
    for path in sorted(file for folder in folders for file in folder.glob("*.jsonl")):
        for row in iter_jsonl(path):
            key = page_key(str(row.get("id", "")))
            if key in wanted:
                found[key] = _sentences(str(row.get("lines", "")))
    return found


def _sentences(lines: str) -> dict[int, str]:
    cells = (line.split("\t") for line in lines.split("\n"))
    return {int(row[0]): row[1] for row in cells if len(row) > 1 and row[0].isdigit() and row[1].strip()}


def _first_complete(row: Record, sets: list[list[Line]], pages: Pages) -> tuple[list[Line], str]:
    """Return the first evidence set all of whose sentences are there, and its text as ``title: sentences``."""
    for lines in sets:
        if all(number in pages.get(page, {}) for page, number in lines):
            by_page: dict[str, list[int]] = {}
            for page, number in lines:
                by_page.setdefault(page, []).append(number)
            texts = [
                f"{title_of(page)}: {' '.join(detokenise(pages[page][number]) for number in sorted(set(numbers)))}"
                for page, numbers in by_page.items()
            ]
            return lines, " ".join(texts)
    page, number = next((p, n) for p, n in sets[0] if n not in pages.get(p, {}))
    raise row.fault("evidence", f"names sentence {number} of page {page!r}, which wiki-pages lacks")
