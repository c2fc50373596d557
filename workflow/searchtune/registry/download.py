"""Download a file: resumed where it broke off, retried, and checked against the registered size and sum."""

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from searchtune.errors import FetchError
from searchtune.registry.locate import Offer, local_path
from searchtune.registry.settings import redacted
from searchtune.registry.sums import BLOCK, fault_of

ATTEMPTS = 5
Log = Callable[[str], None]


def kept(target: Path, name: str, expected: str, size: int, log: Log) -> bool:
    """Say whether the download folder already holds the right file; a wrong one is removed."""
    if not target.is_file():
        return False
    fault = fault_of(target, name, expected, size)
    if fault:
        log(f"{target}: {fault}; it is removed and fetched again")
        target.unlink()
    return not fault


def download(
    offers: Sequence[Offer],
    target: Path,
    expected: str,
    size: int,
    session: requests.Session,
    *,
    timeout: float = 60,
    pause: float = 1.0,
    log: Log = print,
) -> Path:
    """Return a checked local copy of the file that ``offers`` lead to (``target``, or where a local offer lies).

    Raises FetchError, which names the file, once every offer has failed; a part that is known to be
    wrong is removed, one that is merely short is kept for the next run.
    """
    name = target.name
    target.parent.mkdir(parents=True, exist_ok=True)
    faults = []
    for address, stated in offers:
        if stated and not expected.startswith("md5:") and stated != expected:
            faults.append(f"{redacted(address)} offers a file of this name with sum {stated}, expected {expected}")
            continue
        local = local_path(address)
        if local is not None:
            fault = fault_of(local, name, expected, size) if local.is_file() else f"{local} is not there"
            if not fault:
                return local
        else:
            fault = _from_web(address, target, expected, size, session, timeout, pause, log)
            if not fault:
                return target
        faults.append(f"{redacted(address)}: {fault}")
        log(faults[-1])
    raise FetchError(f"{name} could not be fetched. {'; '.join(faults)}")


def _from_web(
    address: str,
    target: Path,
    expected: str,
    size: int,
    session: requests.Session,
    timeout: float,
    pause: float,
    log: Log,
) -> str:
    """Fetch into ``target`` by way of ``<target>.part``; return what is wrong, or an empty string."""
    part = target.with_name(target.name + ".part")
    fresh = not part.exists()
    for attempt in range(1, ATTEMPTS + 1):
        before = part.stat().st_size if part.exists() else 0
        try:
            fresh |= _stream(address, part, size, session, timeout)
        except requests.RequestException as error:
            if fault := _final(error):
                return fault
            log(
                f"{target.name}: {_short(error)} at {part.stat().st_size if part.exists() else 0:,} bytes, "
                f"attempt {attempt} of {ATTEMPTS}"
            )
            time.sleep(min(pause * 2 ** (attempt - 1), 30))
            continue
        fault = fault_of(part, target.name, expected, size)
        if not fault:
            part.replace(target)
            return ""
        if size and before < part.stat().st_size < size:
            continue  # the answer ended early without saying so: go on from there
        part.unlink()  # the server calls it complete, so going on from here cannot mend it
        if fresh:
            return fault + "; the download has been removed"
        fresh = True
        log(f"{target.name}: the part of an earlier run does not fit; starting afresh")
    return f"the connection broke {ATTEMPTS} times; what has come stays in {part.name} for the next run"


def _short(error: requests.RequestException) -> str:
    status = getattr(error.response, "status_code", None)
    return f"HTTP status {status}" if status else type(error).__name__


def _final(error: requests.RequestException) -> str:
    """Return the fault if trying again is of no use (no such file, no access), else an empty string."""
    status = getattr(error.response, "status_code", None) or 0
    return f"HTTP status {status}" if 400 <= status < 500 and status not in (408, 429) else ""


def _stream(address: str, part: Path, size: int, session: requests.Session, timeout: float) -> bool:
    """Append the rest of a file to ``part``; return whether the answer began at the first byte."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with session.get(address, headers=headers, stream=True, timeout=timeout) as answer:
        if have and answer.status_code == 416:  # nothing is left to send
            return False
        answer.raise_for_status()
        starts = answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        if have and not (answer.status_code == 206 and starts):
            have = 0  # the server cannot resume and sends the whole file
        _write(answer, part, have, size)
    return have == 0


def _write(answer: requests.Response, part: Path, have: int, size: int) -> None:
    """Write an answer's body behind the first ``have`` bytes; stop once it is larger than registered."""
    total = size or have + int(answer.headers.get("Content-Length") or 0) or None
    bar = tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=None, leave=False)
    with guarded(part), open(part, "r+b" if have else "wb") as handle, bar:
        handle.seek(have)
        handle.truncate()
        for block in _blocks(answer):
            handle.write(block)
            bar.update(len(block))
            if size and handle.tell() > size:
                break  # the size check that follows refuses it by name


def _blocks(answer: requests.Response) -> Iterator[bytes]:
    """Yield a body as it comes in, so that nothing of a broken answer is lost; ConnectionError if it ends early."""
    left = int(answer.headers.get("Content-Length") or 0)
    try:
        while block := answer.raw.read1(BLOCK, decode_content=False):
            left -= len(block)
            yield block
    except HTTPError as error:
        raise requests.ConnectionError(str(error)) from error
    if left > 0:
        raise requests.ConnectionError(f"{left:,} bytes are missing at the end")


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Turn a full disk into a FetchError that names the file being written; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise FetchError(
            f"no space left while writing {path}; free some space on that disk and run again (what has come is kept)"
        ) from error
