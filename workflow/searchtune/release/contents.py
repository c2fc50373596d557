"""What of an artefact leaves: its kind by its files, the files that go, and a search for paths of this machine."""

import gzip
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from searchtune.errors import DataError, ModelError
from searchtune.files import files_of, read_json, write_json
from searchtune.llm.base import PICKLED

MODEL, ADAPTER, ROWS = "model", "adapter", "rows"
ADAPTER_SETTINGS, BASE_KEY = "adapter_config.json", "base_model_name_or_path"
# raw answers of models, prompts in full: long, and of use only to the run that asked
UNNEEDED = ("calls*",)
_ROWS = (".jsonl", ".jsonl.gz")
_TABLES = (".tsv",)
# weights hold no paths, and a vocabulary holds any text
_OPAQUE = (".safetensors", "tokenizer.json", "vocab.json", "merges.txt", "vocab.txt")


def kind_of(place: Path) -> str:
    """Return model, adapter or rows by the files at ``place`` (a folder or file).

    ModelError for pickled weights (those can run code when they are read), DataError for anything else.
    """
    if place.is_file():
        if place.name.endswith(_ROWS):
            return ROWS
        raise DataError(f"{place} is neither a model's folder nor rows (.jsonl); give one of those")
    if pickled := sorted(p.name for p in place.rglob("*") if p.suffix in PICKLED):
        raise ModelError(f"{place} holds pickled weights ({', '.join(pickled[:3])}); convert them to safetensors")
    if any(place.glob("*.safetensors")):
        if (place / ADAPTER_SETTINGS).is_file():
            return ADAPTER
        if (place / "config.json").is_file():
            return MODEL
    if any(path.name.endswith(_ROWS) for path in place.iterdir() if not _unneeded(path)):
        return ROWS
    raise DataError(
        f"{place} is neither a model (config.json or adapter_config.json with .safetensors) nor rows (.jsonl); "
        "give one of those, such as results/<scale>/inters/models/full or results/<scale>/limrank/synthesis"
    )


def _unneeded(path: Path) -> bool:
    return path.name.startswith(".") or any(path.match(pattern) for pattern in UNNEEDED)


def copy(place: Path, kind: str, target: Path) -> None:
    """Copy the files that leave into the new folder ``target``: a model's as they are, of rows the rows and tables.

    Cards that a library wrote are left out: ours takes their place, and theirs name folders of this machine.
    """
    if kind != ROWS:
        shutil.copytree(place, target, ignore=shutil.ignore_patterns(".*", "README.md"))
        return
    target.mkdir(parents=True)
    for name in names_of(place):
        shutil.copyfile(place if place.is_file() else place / name, target / name)


def names_of(place: Path) -> list[str]:
    """Return the names of the files that leave of a folder of rows, or of a file of them."""
    paths = [place] if place.is_file() else sorted(place.iterdir())
    return [p.name for p in paths if p.is_file() and p.name.endswith(_ROWS + _TABLES) and not _unneeded(p)]


def name_base(folder: Path, base: str) -> None:
    """Name the base of every adapter in a folder by its public name, where it is named by a path of this machine."""
    for path in folder.rglob(ADAPTER_SETTINGS):
        write_json(path, read_json(path) | {BASE_KEY: base})


def _lines(path: Path) -> Iterator[str]:
    opener: Any = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8", errors="replace") as handle:
        yield from handle


def check_names(folder: Path, private: Iterable[str]) -> None:
    """Raise DataError if a text in ``folder`` names a ``private`` path; weights and vocabularies are not read."""
    words = re.compile("(?:" + "|".join(map(re.escape, sorted(private))) + r")(?![\w.-])")
    for path in files_of(folder):
        if not path.name.endswith(_OPAQUE):
            for number, line in enumerate(_lines(path), 1):
                if found := words.search(line):
                    raise DataError(
                        f"{path.relative_to(folder)}, line {number} names {found[0]}, a folder of this machine, so "
                        "nothing was exported; run that step again with paths below the project's folder"
                    )
