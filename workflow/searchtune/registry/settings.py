"""Where the user's pip looks for files: its configuration files and environment variables, without running pip."""

import configparser
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

SECTIONS = ("global", "install", "download")  # low to high, as for ``pip download``


@dataclass(frozen=True)
class PipSettings:
    """Index pages in pip's order, extra places with files, and the certificate bundle."""

    index_urls: tuple[str, ...]
    find_links: tuple[str, ...]
    cert: str
    timeout: float


def config_files(env: Mapping[str, str]) -> Iterator[Path]:
    """Yield pip's configuration files, low to high: machine, user, environment, ``PIP_CONFIG_FILE``."""
    home = Path(env.get("HOME", "~")).expanduser()
    if env.get("PIP_CONFIG_FILE") == os.devnull:
        return
    for folder in reversed(env.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")):
        yield Path(folder) / "pip" / "pip.conf"
    yield Path("/etc/pip.conf")
    yield Path("/Library/Application Support/pip/pip.conf")
    yield home / ".pip" / "pip.conf"
    yield home / "Library" / "Application Support" / "pip" / "pip.conf"
    yield Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf"
    yield Path(sys.prefix) / "pip.conf"
    if env.get("PIP_CONFIG_FILE"):
        yield Path(env["PIP_CONFIG_FILE"])


def _values(env: Mapping[str, str]) -> dict[str, str]:
    """Merge files and ``PIP_*`` variables; keys are pip's long options with dashes."""
    merged: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for path in config_files(env):
        parser = configparser.RawConfigParser()
        parser.read(path, encoding="utf-8")
        for section in SECTIONS:
            if parser.has_section(section):
                merged[section] |= {k.replace("_", "-"): v for k, v in parser.items(section)}
    out: dict[str, str] = {}
    for section in SECTIONS:
        out |= merged[section]
    return out | {k[4:].lower().replace("_", "-"): v for k, v in env.items() if k.startswith("PIP_") and v}


def pip_settings(env: Mapping[str, str] | None = None) -> PipSettings:
    """Return what the user's pip would use; the public index where nothing is set."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    values = _values(os.environ if env is None else env)
    indexes = [values.get("index-url", PYPI_SIMPLE_ENDPOINT), *values.get("extra-index-url", "").split()]
    if values.get("no-index", "").lower() in ("1", "true", "yes", "on", "y", "t"):
        indexes = []
    return PipSettings(
        tuple(indexes),
        tuple(values.get("find-links", "").split()),
        values.get("cert", ""),
        float(values.get("timeout") or values.get("default-timeout") or 60),
    )


def redacted(url: str) -> str:
    """Return an address without user name, password and query, so that no secret reaches a log."""
    parts = urlsplit(url)
    if not parts.netloc:
        return url
    return urlunsplit((parts.scheme, re.sub(r"^.*@", "", parts.netloc), parts.path, "", ""))
