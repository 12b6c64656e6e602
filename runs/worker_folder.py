"""The folder that a worker has to itself: an empty home, and a place for temporary files. It goes with the worker."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from runs.settings import Settings

_UNFINISHED = ("parsed/.parsing_*", "prepared/*/.writing_*")
"""What a worker writes beside where it belongs, with its process id in the name, until it is whole."""


_IN_USE: set[Path] = set()
"""Folders of this process's workers. Names alone do not tell: in a container every dashboard has the same process id."""


class WorkerFolder:
    """Made empty under the home folder of the installation.

    Args:
        settings: of the installation.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = settings.folder("workers") / f"{os.getpid()}_{secrets.token_hex(6)}"
        _IN_USE.add(self._path)
        self.home.mkdir(parents=True)
        self.temporary.mkdir()

    @property
    def home(self) -> Path:
        """What programs take for the home of their user."""
        return self._path / "home"

    @property
    def temporary(self) -> Path:
        """Where temporary files go."""
        return self._path / "temporary"

    def remove(self, pid: int | None = None) -> None:
        """Remove it and, where a worker with the process id `pid` had it, what that one did not finish writing."""
        shutil.rmtree(self._path, ignore_errors=True)
        _IN_USE.discard(self._path)
        for path, owner in _unfinished(self._settings):
            if owner == pid:
                shutil.rmtree(path, ignore_errors=True)


def remove_leftovers(settings: Settings) -> None:
    """Remove what workers left whose processes were killed together with the one that would have cleaned up.

    Call it before this process starts its first worker. Folders of other processes that live are kept: the command line
    may be at work on the same home.
    """
    folders = ((path, _owner(path.name, 0)) for path in settings.folder("workers").iterdir())
    for path, owner in (*folders, *_unfinished(settings)):
        if path not in _IN_USE and (owner is None or owner == os.getpid() or not psutil.pid_exists(owner)):
            shutil.rmtree(path, ignore_errors=True)


def _unfinished(settings: Settings) -> Iterator[tuple[Path, int | None]]:
    for pattern in _UNFINISHED:
        for path in settings.folder("").glob(pattern):
            yield path, _owner(path.name, 1)


def _owner(name: str, place: int) -> int | None:
    """Return the process id at a place of a name of parts with underscores between; None where there is none."""
    parts = name.split("_")
    return int(parts[place]) if len(parts) > place and parts[place].isdecimal() else None
