"""Files that are there whole or not at all, also after the power failed: written aside, flushed, renamed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import IO


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file, and return its path. Raises OSError where that fails; then the old file, if any, is untouched."""
    with _aside(path).open("wb") as file:
        file.write(content)
        _flush(file)
    return _in_place(path)


def copy_whole(source: Path, path: Path) -> Path:
    """Copy a file, and return the path of the copy. Raises OSError as `write_whole` does."""
    with source.open("rb") as original, _aside(path).open("wb") as file:
        shutil.copyfileobj(original, file, 1 << 20)
        _flush(file)
    return _in_place(path)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.part")


def _flush(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _in_place(path: Path) -> Path:
    os.replace(_aside(path), path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name itself
    finally:
        os.close(folder)
    return path
