"""The provenance files of a project on disk: which of them speaks of a file, and whether what they say still holds.

Paths in provenance files are those of the run, mostly relative to the project's folder; here that folder is found from
the file that is asked about, so that a trace works from any working directory.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from searchtune.errors import DataError
from searchtune.files import sha256_tree
from searchtune.stage import PROVENANCE, fingerprint, provenance_path, read_record

# folders of a project in which steps write
MADE = ("results", "resources")
# what lies in a project's folder and nowhere else
MARK = Path("workflow/searchtune/stage.py")


class Records:
    """The provenance files below one project's folder, each read once; contents are hashed once, too.

    ``quick``: a recorded sum is trusted while size, number of files and time are the recorded ones, as steps do.
    """

    def __init__(self, root: Path, quick: bool = False) -> None:
        self.root = root
        self.quick = quick
        self._read: dict[Path, dict[str, Any] | None] = {}
        self._sums: dict[str, str] = {}

    def at(self, path: str) -> dict[str, Any] | None:
        """Return the record of the artefact at exactly this path (as in a record); None if none lies beside it."""
        place = provenance_path(self.root / path)
        if place not in self._read:
            self._read[place] = read_record(place) if place.is_file() else None
        return self._read[place]

    def owner(self, path: str) -> str:
        """Return the artefact that a path is, or is a part of; the path itself where no record speaks of it."""
        for candidate in (Path(path), *Path(path).parents):
            if candidate.name and self.at(str(candidate)):
                return str(candidate)
        return path

    def sum_of(self, path: str) -> str:
        """Return the SHA-256 of what lies at a path now; an empty text where nothing does."""
        if path not in self._sums:
            self._sums[path] = self._sum(path)
        return self._sums[path]

    def _sum(self, path: str) -> str:
        place, record = self.root / path, self.at(path)
        if not place.exists():
            return ""
        if self.quick and record and record["output"].get("fingerprint") == fingerprint(place):
            return record["output"]["sha256"]
        return sha256_tree(place)

    def all(self) -> Iterator[dict[str, Any]]:
        """Yield every record of the project, by place."""
        for folder in MADE:
            for file in sorted((self.root / folder).rglob(f"*{PROVENANCE}")):
                yield read_record(file)


def project_of(path: Path) -> tuple[Path, str]:
    """Return (project's folder, path as records name it) of an existing or recorded file.

    DataError where nothing is known of it: no provenance file lies beside it or a folder around it, and it does not
    lie in a project.
    """
    given = Path(path).absolute()
    for candidate in (given, *given.parents):
        if candidate.name and (place := provenance_path(candidate)).is_file():
            root = _root(candidate, read_record(place)["output"]["path"], place)
            return root, _below(root, given)
    root_of_code = next((parent for parent in given.parents if (parent / MARK).is_file()), None)
    if root_of_code is None or not given.exists():
        what = "lies in no project and has no provenance file beside it" if given.exists() else "does not exist"
        raise DataError(f"{path} {what}; give a file or folder below results/, resources/, config/ or workflow/")
    return root_of_code, _below(root_of_code, given)


def _root(artefact: Path, recorded: str, place: Path) -> Path:
    """Return the folder from which ``recorded`` leads to ``artefact``; DataError where none does (it was moved)."""
    parts = Path(recorded).parts
    if Path(recorded).is_absolute():
        return next((parent for parent in artefact.parents if (parent / MARK).is_file()), artefact.parent)
    if artefact.parts[-len(parts) :] != parts:
        raise DataError(
            f"{place.name} speaks of {recorded}, but lies beside {artefact.name} in another folder: it was moved "
            "alone. Put it back, or copy whole results and resources folders"
        )
    return Path(*artefact.parts[: -len(parts)])


def _below(root: Path, path: Path) -> str:
    """Return a path as records name it: relative to the project, or absolute outside of it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
