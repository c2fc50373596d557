"""Fetch a snapshot of a model or data set from the hub, at a commit, without anything that can run code."""

import os
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from searchtune.errors import FetchError
from searchtune.registry.table import UNPINNED

ALLOWED = {
    "model": (".safetensors", ".json", ".txt", ".jinja"),
    "dataset": (".json", ".jsonl", ".txt", ".tsv", ".csv", ".parquet", ".gz"),
}
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".h5", ".msgpack")


def chosen(names: Iterable[str], kind: str, members: list[str], repo: str) -> list[str]:
    """Return the files of a repository that are fetched; FetchError where its weights are pickled only.

    ``members`` (names or globs) narrow the choice; a file that could run code is never fetched, even if
    it is named.
    """
    names = sorted(names)
    wanted = [n for n in names if not members or any(fnmatchcase(n, m) for m in members)]
    safe = [n for n in wanted if n.endswith(ALLOWED[kind])]
    pickled = [n for n in wanted if n.endswith(PICKLES)]
    if pickled and not any(n.endswith(".safetensors") for n in safe):
        raise FetchError(
            f"{repo} offers its weights only in a form that can run code when it is read "
            f"({', '.join(pickled[:3])}); convert them to safetensors and use that folder instead"
        )
    if not safe:
        raise FetchError(f"{repo} holds no file that may be fetched (allowed: {', '.join(ALLOWED[kind])})")
    return safe


def fetch_snapshot(name: str, revision: str, kind: str, members: list[str], target: Path) -> dict[str, int]:
    """Fetch the chosen files of a repository at a commit into ``target``; return {files, bytes_unpacked}."""
    if revision == UNPINNED:
        raise FetchError(
            f"{name} has no pinned revision. Look up a commit of it on the hub (40 hexadecimal digits) "
            "and write it into the column 'version' of the registry"
        )
    os.environ["HF_HUB_OFFLINE"] = "0"  # other steps run with the network cut; this one is the fetch
    from huggingface_hub import list_repo_files, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        files = chosen(list_repo_files(name, revision=revision, repo_type=kind), kind, members, f"{name}@{revision}")
        snapshot_download(name, revision=revision, repo_type=kind, allow_patterns=files, local_dir=target)
    except (GatedRepoError, RepositoryNotFoundError) as error:
        raise FetchError(
            f"{name} is not open to you ({type(error).__name__}): accept its terms on its page, then "
            "log in with `hf auth login` or set HF_TOKEN"
        ) from error
    except (RevisionNotFoundError, HfHubHTTPError, OSError) as error:
        raise FetchError(
            f"{name}@{revision} could not be fetched from the hub: {type(error).__name__}: {error}"
        ) from error
    _drop_cache(target)
    found = [p for p in target.rglob("*") if p.is_file()]
    return {"files": len(found), "bytes_unpacked": sum(p.stat().st_size for p in found)}


def _drop_cache(target: Path) -> None:
    """Remove the library's bookkeeping, which holds times and so differs between runs."""
    from searchtune.files import remove

    remove(target / ".cache")
