"""CNN/Daily Mail (Hermann et al. 2015; See et al. 2017): news stories to their highlights.

Form: folders of ``<sha1 of the address>.story`` files, text first and every highlight after a line ``@highlight``;
``all_train.txt``, ``all_val.txt`` and ``all_test.txt`` list the addresses of each split (abisee/cnn-dailymail).
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from searchtune.errors import DataError
from searchtune.files import read_text
from searchtune.prompts.budget import first_words
from searchtune.tasks.example import Example, clean
from searchtune.tasks.normalise.tables import split_of_file

MARK = "@highlight"
_ENDS = (".", "!", "?", "'", '"', "`", ")", "\u2019", "\u201d")


def summarization(paths: Sequence[Path], dataset: str, max_words: int) -> Iterator[Example]:
    """Opening of the story (``max_words`` words) to its highlights; ``paths``: story folders and address lists.

    The release holds 114 stories that are empty but for their highlights; those are left out, as See et al. do.
    """
    folders = [path for path in paths if path.is_dir()]
    for path in (path for path in paths if path.is_file()):
        split = split_of_file(path)
        for number, address in enumerate(filter(None, map(str.strip, read_text(path).splitlines())), 1):
            name = hashlib.sha1(address.encode()).hexdigest()
            story, highlights = parse_story(_story_file(folders, name, f"{path}, row {number}"))
            if story:
                yield Example(
                    f"summarization/{dataset}/{name}",
                    "summarization",
                    dataset,
                    f"cnn_dm story {name}",
                    {"article": first_words(story, max_words)},
                    highlights,
                    split=split,
                )


def _story_file(folders: Sequence[Path], name: str, where: str) -> Path:
    for folder in folders:
        if (folder / f"{name}.story").is_file():
            return folder / f"{name}.story"
    raise DataError(
        f"{where}: field 'address' names story {name}.story, which is in none of "
        f"{', '.join(map(str, folders)) or 'no folder'}; unpack both archives of stories"
    )


def parse_story(path: Path) -> tuple[str, str]:
    """Return (story, highlights) with single spaces; DataError where no highlight has any text."""
    story, *parts = map(clean, re.split(rf"^\s*{MARK}\s*$", read_text(path), flags=re.M))
    highlights = [part for part in parts if part]
    if not highlights:
        raise DataError(f"{path}, row 1: field {MARK!r} is empty; fetch the publisher's file again")
    return story, " ".join(text if text.endswith(_ENDS) else f"{text}." for text in highlights)
