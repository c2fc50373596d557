"""Folders that commands write outside of a run: nothing of the user's is overwritten."""

from pathlib import Path

from searchtune.errors import ConfigError


def check_out(folder: Path, mark: str) -> None:
    """Raise ConfigError unless ``folder`` is new, empty, or holds what the command wrote earlier (file ``mark``)."""
    if folder.is_file():
        raise ConfigError(f"--out {folder} is a file; give a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file():
        raise ConfigError(f"--out {folder} holds files that are not of an earlier run; give a new or an empty folder")
