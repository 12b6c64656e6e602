"""Files that are there whole or not at all, also after the power failed: written aside, flushed, renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file to write to, which takes the place of `path` where the block ends well, and is gone where it fails."""
    aside = path.with_name(f".{path.name}.part")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name itself
    finally:
        os.close(folder)


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file, and return its path. Raises OSError where that fails; then the old file, if any, is untouched."""
    with whole_file(path) as file:
        file.write(content)
    return path


def copy_whole(source: Path, path: Path) -> Path:
    """Copy a file, and return the path of the copy. Raises OSError as `write_whole` does."""
    with source.open("rb") as original, whole_file(path) as file:
        shutil.copyfileobj(original, file, 1 << 20)
    return path
