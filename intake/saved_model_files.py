"""The zip of a SavedModel: told from other zips by its content, judged before anything is unpacked, packed again."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path, PurePosixPath

GRAPH_FILE = "saved_model.pb"
KERAS_FILE = "keras_metadata.pb"
VARIABLES = "variables/variables"
MAX_GRAPH_BYTES = 1024**3
"""Largest saved_model.pb. The weights are elsewhere, so that even large models stay far below it."""


def graph_members(names: list[str]) -> list[str]:
    """Return the members of a zip that are called saved_model.pb, without those that macOS adds."""
    return [name for name in names if PurePosixPath(name).name == GRAPH_FILE and not name.startswith("__MACOSX/")]


def folder_of(graph_member: str) -> str:
    """Return the folder of a saved_model.pb inside the zip: empty, or ending in a slash."""
    return graph_member[: -len(GRAPH_FILE)]


def saved_model_problems(archive: zipfile.ZipFile, file_name: str) -> list[str]:
    """List what keeps this zip, whose names and sizes were checked, from being a SavedModel, in sentences."""
    names = archive.namelist()
    graphs = graph_members(names)
    if len(graphs) > 1:
        shown = ", ".join(sorted(graphs)[:3])
        return [
            f"{file_name} holds {len(graphs)} SavedModels ({shown}), and one is needed. Zip the folder of one model."
        ]
    folder = folder_of(graphs[0])
    size = archive.getinfo(graphs[0]).file_size
    if size > MAX_GRAPH_BYTES:
        return [f"{graphs[0]} inside {file_name} has {size:,} bytes; at most {MAX_GRAPH_BYTES:,} are accepted."]
    if f"{folder}{VARIABLES}.index" not in names:
        return [
            f"{file_name} holds a SavedModel without its weights: {folder}{VARIABLES}.index is missing. Zip the whole "
            "folder that model.export() or model.save() wrote, with its folder variables/."
        ]
    return []


def unpack(zip_path: Path, target: Path) -> None:
    """Write graph, Keras metadata and variables of a zipped SavedModel into `target`, under names of our own choice.

    Assets stay packed: nothing that is accepted reads them.
    """
    (target / "variables").mkdir(parents=True)
    with zipfile.ZipFile(zip_path) as archive:
        folder = folder_of(graph_members(archive.namelist())[0])
        for member in archive.infolist():
            inner = member.filename.removeprefix(folder)
            if not member.filename.startswith(folder) or not _wanted(inner):
                continue
            with archive.open(member) as packed, (target / inner).open("wb") as file:
                shutil.copyfileobj(packed, file)


def _wanted(inner: str) -> bool:
    path = PurePosixPath(inner)
    is_variable = path.parent == PurePosixPath("variables") and path.name.startswith("variables.")
    return inner in (GRAPH_FILE, KERAS_FILE) or is_variable


def read_member(zip_path: Path, name: str) -> bytes | None:
    """Return a file beside saved_model.pb, None where it is missing."""
    with zipfile.ZipFile(zip_path) as archive:
        names = archive.namelist()
        member = folder_of(graph_members(names)[0]) + name
        return archive.read(member) if member in names else None


def pack(folder: Path, target: Path, inside: str) -> None:
    """Zip a SavedModel folder.

    Args:
        folder: what Keras or TensorFlow wrote.
        target: the new zip.
        inside: folder inside the zip, as it was uploaded: empty, or ending in a slash.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, inside + path.relative_to(folder).as_posix())
