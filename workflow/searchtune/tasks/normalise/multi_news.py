"""Multi-News (Fabbri et al. 2019): several news articles on one event to a summary written by editors.

Form: ``<split>.src`` (or ``.src.cleaned``) and ``<split>.tgt``, one example a line; documents of a line are set apart
by ``|||||``, line breaks are written ``NEWLINE_CHAR``, summaries begin with a dash (Alex-Fabbri/Multi-News, as
read by the hub's former loading script).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.errors import DataError
from searchtune.files import read_text
from searchtune.prompts.budget import first_words
from searchtune.tasks.example import Example, clean
from searchtune.tasks.normalise.tables import split_of_file

SEPARATOR, NEWLINE = "|||||", "NEWLINE_CHAR"


def summarization(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Openings of the documents, an equal share of ``max_words`` words each, to their summary."""
    for split, source, target in _pairs(paths):
        texts, summaries = _lines(source), _lines(target)
        if len(texts) != len(summaries):
            raise DataError(f"{source} has {len(texts)} rows, {target} has {len(summaries)}; fetch both again")
        for number, (text, summary) in enumerate(zip(texts, summaries, strict=True), 1):
            yield Example(
                f"summarization/{dataset}/{split}-{number}",
                "summarization",
                dataset,
                f"multi_news {split} {number}",
                {"article": join_documents(_filled(text, source, number, "documents"), max_words)},
                _filled(clean(summary).lstrip("–- "), target, number, "summary"),
                split=split,
            )


def join_documents(text: str, max_words: int) -> str:
    """Return the openings of a line's documents, set apart by an empty line, with ``max_words`` words in all."""
    documents = [clean(part.replace(NEWLINE, " ")) for part in text.split(SEPARATOR)]
    documents = [part for part in documents if part][:max_words]
    return "\n\n".join(first_words(part, max_words // len(documents)) for part in documents)


def _pairs(paths: Sequence[Path]) -> Iterator[tuple[str, Path, Path]]:
    """Yield (split, file of documents, file of summaries); DataError where one of the two is not given."""
    targets = {split_of_file(path): path for path in paths if ".tgt" in path.name}
    for path in (path for path in paths if ".tgt" not in path.name):
        split = split_of_file(path)
        if split not in targets:
            raise DataError(f"{path}: no file of summaries ({split}.tgt) is given with it")
        yield split, path, targets[split]


def _lines(path: Path) -> list[str]:
    # other signs that break lines occur inside the texts
    return read_text(path).removesuffix("\n").split("\n")


def _filled(text: str, path: Path, number: int, field: str) -> str:
    if not text.replace(SEPARATOR, "").replace(NEWLINE, "").strip():
        raise DataError(f"{path}, row {number}: field {field!r} is empty; fetch the publisher's file again")
    return text
