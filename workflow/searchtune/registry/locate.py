"""Find a package file by its exact name in the indexes and folders that the user's pip is set to. Nothing is built."""

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
from pypi_simple import NoSuchProjectError, ProjectPage, PyPISimple, UnsupportedContentTypeError

from searchtune.errors import FetchError
from searchtune.registry.settings import PipSettings, redacted

Offer = tuple[str, str]  # (address, sha256 that the index states, or "")


def local_path(address: str) -> Path | None:
    """Return the path that a ``file:`` address or a plain path names; None for any other address."""
    parts = urlsplit(address)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return None if parts.scheme in ("http", "https") else Path(address).expanduser()


def offers(
    name: str,
    file_name: str,
    settings: PipSettings,
    session: requests.Session,
    log: Callable[[str], None] = print,
) -> list[Offer]:
    """Return where ``file_name`` of the project ``name`` can be had: find-links first, then indexes in pip's order.

    Raises FetchError if no place offers it; the message says what each of them answered.
    """
    found, answers = [], []
    places = [(p, _from_links) for p in settings.find_links] + [(p, _from_index) for p in settings.index_urls]
    for place, look in places:
        try:
            page = look(place, name, session, settings.timeout)
        except (requests.RequestException, UnsupportedContentTypeError, OSError) as error:
            log(f"{redacted(place)} did not answer ({type(error).__name__})")
            answers.append(f"{redacted(place)} did not answer ({type(error).__name__})")
            continue
        here = list(_of_name(page, file_name))
        answers.append(f"{redacted(place)} {'offers it' if here else 'has no such file'}")
        found += here
    if not found:
        raise FetchError(
            f"{file_name} (project {name}) was not found: {'; '.join(answers) or 'pip is set to no index'}. "
            "Set pip's index-url or find-links to a place that has it, or put the file into resources/downloads/"
        )
    return found


def _of_name(page: ProjectPage | None, file_name: str) -> Iterator[Offer]:
    """Yield the address and sum of the files on a page that have exactly this name."""
    for package in page.packages if page else ():
        if package.filename == file_name:
            yield package.url.split("#", 1)[0], (package.digests or {}).get("sha256", "")


def _from_index(place: str, name: str, session: requests.Session, timeout: float) -> ProjectPage | None:
    """Read a project's page of a simple index (PEP 503 or 691), remote or in a folder; None if it has none."""
    folder = local_path(place)
    if folder is None:
        try:
            return PyPISimple(place, session=session).get_project_page(name, timeout=timeout)
        except NoSuchProjectError:
            return None
    index = folder / name.lower().replace("_", "-").replace(".", "-") / "index.html"
    if not index.is_file():
        return None
    return ProjectPage.from_html(name, index.read_text(encoding="utf-8"), base_url=index.parent.as_uri() + "/")


def _from_links(place: str, name: str, session: requests.Session, timeout: float) -> ProjectPage | None:
    """Read a find-links place: a folder of files, or a page with links to files."""
    folder = local_path(place)
    if folder is None:
        answer = session.get(place, timeout=timeout)
        answer.raise_for_status()
        return ProjectPage.from_html(name, answer.text, base_url=answer.url)
    if folder.is_dir():
        links = "".join(f'<a href="{p.as_uri()}">{p.name}</a>' for p in sorted(folder.iterdir()) if p.is_file())
        return ProjectPage.from_html(name, links)
    return ProjectPage.from_html(name, folder.read_text(encoding="utf-8"), base_url=folder.parent.as_uri() + "/")
