"""Stage ``models.heal_text``: packaged text that heals a pruned model, as documents, some of them held out.

The documents stand alone in a file, so that the leakage audit reads what the healed model reads.
"""

import random
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from searchtune.collections.topics import read_query_lines, read_topics
from searchtune.errors import ConfigError, DataError
from searchtune.files import write_jsonl
from searchtune.training.tiny import read_texts

if TYPE_CHECKING:
    from searchtune.stage import Job

MIN_WORDS = 5  # ids, titles and labels of JSON files are no text
HELD_SHARE = 0.05  # share of documents that is held out
HEAD = 1000  # characters in which a topic file opens its first topic


def run(job: "Job") -> dict:
    """Stage entry: inputs {raw: fetched artefacts}; outputs {text: folder of train.jsonl, dev.jsonl: {id, text}}.

    Params: id of the pruned model, raw (paths relative to resources/raw), seed (order and choice of what is held out).
    Raises ConfigError for a file that is not there, DataError where there are fewer than two documents.
    """
    given = job.inputs.get("raw", [])
    roots = {path.name: path for path in (given if isinstance(given, list) else [given])}
    rows = [row for name in job.params["raw"] for row in rows_of(find(name, roots, job.params["id"]), name)]
    rows = list({row["text"]: row for row in rows}.values())
    if len(rows) < 2:
        raise DataError(
            f"model {job.params['id']!r}: {', '.join(job.params['raw'])} hold {len(rows)} texts of at least "
            f"{MIN_WORDS} words; healing needs some to learn from and one to hold out"
        )
    random.Random(job.params["seed"]).shuffle(rows)
    held = max(1, round(len(rows) * HELD_SHARE))
    write_jsonl(job.outputs["text"] / "dev.jsonl", rows[:held])
    write_jsonl(job.outputs["text"] / "train.jsonl", rows[held:])
    words = sum(len(row["text"].split()) for row in rows)
    job.log(f"{job.params['id']}: {len(rows)} texts, {words:,} words, {held} texts held out")
    return {"texts": len(rows), "held_out": held, "words": words}


def find(name: str, roots: dict[str, Path], model: str) -> Path:
    """Return the file or folder of a path relative to resources/raw; ConfigError if it is not there."""
    first, *inside = PurePosixPath(name).parts
    path = roots[first].joinpath(*inside) if first in roots else None
    if path is None or not path.exists():
        raise ConfigError(
            f"model {model!r}: {path or name} is missing; check heal.raw of this model in the configuration, then "
            "fetch again"
        )
    return path


def rows_of(path: Path, name: str) -> list[dict[str, str]]:
    """Return the documents of a file of at least MIN_WORDS words as {id, text}."""
    texts = [text for text in documents_of(path) if len(text.split()) >= MIN_WORDS]
    return [{"id": f"{name}:{number}", "text": text} for number, text in enumerate(texts)]


def documents_of(path: Path) -> list[str]:
    """Return the texts of a file: of a topic its title, description and narrative; of a list (.tsv) the text of each
    line; of others the strings of JSON values, or the lines.
    """
    if path.is_file() and re.search(r"<top(ic)?\b", path.read_bytes()[:HEAD].decode("latin-1")):
        topics = read_topics(path)
        parts = [[topic["title"], topic["description"], topic["narrative"]] for topic in topics]
        return ["\n".join(filter(None, its)) for its in parts]
    if path.suffix == ".tsv":
        return [row["text"] for row in read_query_lines(path)]
    return [text.strip() for text in read_texts([path])]
