"""Reader of plain texts: a folder of .txt, .md and .jsonl files becomes passages, without questions or judgements.

A passage is a run of whole paragraphs below one heading, at most :data:`WORDS` words; a longer paragraph is cut at ends
of sentences, a longer sentence by words. The file is the passage's article, the last heading above it its title.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.collections.sources import Source, SourcePassage, clean, text_id
from searchtune.errors import DataError
from searchtune.files import iter_jsonl

WORDS = 120
SUFFIXES = (".txt", ".md", ".jsonl")
_HEADING = re.compile(r"#{1,6}\s+(?P<title>.+?)\s*#*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def passages_of(paragraphs: Sequence[str], words: int = WORDS) -> list[str]:
    """Return the paragraphs packed, in order, into passages of at most ``words`` words; nothing is lost or repeated."""
    found: list[str] = []
    held: list[str] = []
    for piece in (piece for paragraph in paragraphs for piece in _pieces(paragraph.split(), paragraph, words)):
        if held and len(" ".join([*held, piece]).split()) > words:
            found.append(" ".join(held))
            held = []
        held.append(piece)
    return [*found, " ".join(held)] if held else found


def _pieces(tokens: list[str], paragraph: str, words: int) -> Iterator[str]:
    """Yield a paragraph whole, or by sentences and at last by words where it is too long."""
    if len(tokens) <= words:
        if tokens:
            yield " ".join(tokens)
        return
    sentences = [sentence.split() for sentence in _SENTENCE_END.split(paragraph)]
    for sentence in sentences:
        for start in range(0, len(sentence), words):
            yield " ".join(sentence[start : start + words])


def sections_of(text: str, title: str, headings: bool) -> Iterator[tuple[str, list[str]]]:
    """Yield (title, paragraphs) of a text: one section, or with ``headings`` one below each Markdown heading.

    Paragraphs end at empty lines; a heading within a fenced block of code is code.
    """
    paragraphs: list[str] = [""]
    fenced = False
    for line in text.splitlines():
        fenced ^= line.lstrip().startswith("```")
        heading = _HEADING.fullmatch(line) if headings and not fenced else None
        if heading:
            yield title, paragraphs
            title, paragraphs = clean(heading["title"]), [""]
        elif line.strip():
            paragraphs[-1] += f"{line}\n"
        elif paragraphs[-1]:
            paragraphs.append("")
    yield title, paragraphs


def files_of(path: Path) -> list[Path]:
    """Return a file itself, or a folder's text files at any depth, by name; DataError if there is none.

    Hidden files and folders are left out; so are links, which may lead out of the folder.
    """
    if path.is_file():
        return [path]
    found = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not file.is_symlink()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    ]
    if not found:
        raise DataError(f"{path}: no file ends in {', '.join(SUFFIXES)}; nothing can be read from this folder")
    return found


def texts_in(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (title, paragraphs) of a file; rows of a .jsonl have ``text`` and perhaps ``title``.

    DataError for a file that is not UTF-8, or a row without text.
    """
    if file.suffix.lower() == ".jsonl":
        for number, row in enumerate(iter_jsonl(file), 1):
            if not isinstance(row, dict) or not isinstance(row.get("text"), str):
                raise DataError(f'{file}, line {number}: a row needs a text, as in {{"title": ..., "text": ...}}')
            yield clean(str(row.get("title") or file.stem)), row["text"].split("\n\n")
        return
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{file}: not UTF-8 ({error.reason} at byte {error.start}); convert it, or take it out"
        ) from None
    yield from sections_of(text, file.stem, file.suffix.lower() == ".md")


def read_texts(paths: Sequence[Path], prefix: str) -> Source:
    """Read files, and folders of them, as a corpus of passages without questions. Equal passages are kept once."""
    passages: dict[str, SourcePassage] = {}
    for path in paths:
        for file in files_of(path):
            article = str(file.relative_to(path)) if path.is_dir() else file.name
            for title, paragraphs in texts_in(file):
                for text in passages_of(paragraphs):
                    passages.setdefault(text_id(prefix, text), SourcePassage(title, text, article))
    return Source(passages, unjudged=True, by_file=True)
