"""Judge an HDF5 file as plain data: links that leave the file, storage in other files, absurd sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py

MAX_ARRAY_BYTES = 4 * 1024**3
"""Largest sum of all arrays of one file, in bytes after decompression."""
MAX_OBJECTS = 200_000


def hdf5_problems(file: h5py.File, file_name: str) -> list[str]:
    """List what makes this open HDF5 file unsafe, in sentences; empty if nothing does.

    Follows hard links only, each object once. Raises whatever h5py raises for a damaged file.
    """
    problems: list[str] = []
    total_bytes = 0
    for count, (path, item) in enumerate(_objects(file)):
        if count >= MAX_OBJECTS:
            problems.append(f"{file_name} holds more than {MAX_OBJECTS:,} HDF5 objects, which no Keras model needs.")
            break
        if isinstance(item, h5py.ExternalLink):
            problems.append(_leaves_the_file(file_name, path, f"a link to the other file '{item.filename}'"))
        elif isinstance(item, h5py.Dataset):
            problems.extend(_storage_problems(item, file_name, path))
            total_bytes += int(item.nbytes)
    if total_bytes > MAX_ARRAY_BYTES:
        problems.append(
            f"The arrays of {file_name} expand to {total_bytes / 1024**3:,.1f} GiB; at most "
            f"{MAX_ARRAY_BYTES / 1024**3:.0f} GiB are accepted. Upload a smaller model."
        )
    return problems


def _objects(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Yield (path, dataset or external link) of everything reachable, without opening what a link points to."""
    seen: set[tuple[int, Any]] = set()
    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    while waiting:
        prefix, group = waiting.pop()
        for name in group:
            path = f"{prefix}/{name}"
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                yield path, link
            if not isinstance(link, h5py.HardLink):
                continue
            item = group[name]
            info = h5py.h5o.get_info(item.id)
            if (info.fileno, info.addr) in seen:
                continue
            seen.add((info.fileno, info.addr))
            if isinstance(item, h5py.Group):
                waiting.append((path, item))
            elif isinstance(item, h5py.Dataset):
                yield path, item


def _storage_problems(dataset: h5py.Dataset, file_name: str, path: str) -> list[str]:
    problems = []
    if dataset.external:
        problems.append(_leaves_the_file(file_name, path, f"data kept in the other file '{dataset.external[0][0]}'"))
    if dataset.is_virtual:
        problems.append(_leaves_the_file(file_name, path, "a virtual dataset, whose data are kept in other files"))
    return problems


def _leaves_the_file(file_name: str, path: str, what: str) -> str:
    return (
        f"{file_name} holds at '{path}' {what}. All weights must be inside the uploaded file, "
        "so it was not opened. Save the model again with model.save(...)."
    )
