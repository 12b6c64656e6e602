"""Reading `.npz`: arrays named x_train, y_train, x_test, y_test (x_val, y_val), or x and y, or close to it."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from intake.dataset_info import DatasetOptions
from intake.errors import BadDataset
from intake.labels import Labels, read_labels
from intake.parts import PARTS, Array, Part, PartName, ReadFile, non_finite_problem
from intake.zip_guard import ZIP_ERRORS, open_zip

MEMBER_LIMIT = 64
_WAY_OUT = "Save the file with numpy.savez(path, x_train=..., y_train=..., x_test=..., y_test=...)."
_ROLES = {
    "x": {"x", "images", "image", "data", "features", "inputs", "input", "samples"},
    "y": {"y", "labels", "label", "targets", "target"},
}
_PART_WORDS: dict[PartName, set[str]] = {
    "train": {"train", "training", "tr"},
    "validation": {"val", "valid", "validation", "dev"},
    "test": {"test", "testing", "te"},
}
_CLASS_NAME_KEYS = {"class_names", "classes", "label_names", "target_names"}
Key = tuple[Literal["x", "y"], PartName | Literal["all"]]


def read_npz(path: Path, options: DatasetOptions, scratch: Path) -> ReadFile:
    """Read a `.npz` file; its members are unpacked into `scratch` and memory-mapped from there.

    Raises:
        BadDataset: damaged file, pickled objects, missing or mismatched arrays, NaN, wrong types.
    """
    archive, members = open_zip(path, "a NumPy .npz archive", MEMBER_LIMIT)
    with archive:
        keys = {member.filename.removesuffix(".npy"): member for member in members}
        chosen, class_key, notes = _choose(path.name, list(keys))
        wanted = [*chosen.values(), *([class_key] if class_key else [])]
        arrays = {key: _unpack(archive, keys[key], scratch / f"npz_{i}.npy", path.name) for i, key in enumerate(wanted)}
    x, y = _by_part(chosen, arrays, "x"), _by_part(chosen, arrays, "y")
    names = {(role, part): key for (role, part), key in chosen.items()}
    _check(x, y, names)
    labels = read_labels(y, options.label_kind, names.get(("y", "train"), "y")) if y else Labels("none", (), {})
    labels = _named(labels, arrays[class_key]) if class_key else labels
    parts = {part: Part(_at_least_2d(array), labels.parts.get(part)) for part, array in x.items()}
    return ReadFile("arrays", parts, options, labels.kind, labels.class_names, (*notes, *labels.notes))


def _choose(file: str, keys: list[str]) -> tuple[dict[Key, str], str | None, list[str]]:
    found: dict[Key, list[str]] = {}
    for key in keys:
        meaning = _meaning(key)
        if meaning:
            found.setdefault(meaning, []).append(key)
    twice = [same for same in found.values() if len(same) > 1]
    if twice:
        raise BadDataset(f"{file} has {' and '.join(same)}, which mean the same. Keep one of them." for same in twice)
    in_parts = any(part != "all" for _, part in found)
    chosen: dict[Key, str] = {}
    for (role, part), same in found.items():
        if not in_parts:
            chosen[role, "train"] = same[0]
        elif part != "all":
            chosen[role, part] = same[0]
    if ("x", "train") not in chosen:
        listing = ", ".join(keys) or "none"
        raise BadDataset(f"{file} must hold an array x_train (or x), but its arrays are: {listing}. {_WAY_OUT}")
    class_key = next((key for key in keys if key.lower() in _CLASS_NAME_KEYS), None)
    ignored = [key for key in keys if key not in chosen.values() and key != class_key]
    return chosen, class_key, [f"Not used: {', '.join(ignored)}."] if ignored else []


def _meaning(key: str) -> Key | None:
    words = [word for word in re.split(r"[^a-z0-9]+", key.lower()) if word]
    joined = re.fullmatch(r"([xy])(train|valid|val|test)", words[0]) if len(words) == 1 else None
    words = list(joined.groups()) if joined else words
    roles = [role for role, names in _ROLES.items() if any(word in names for word in words)]
    parts = [part for part in PARTS if any(word in _PART_WORDS[part] for word in words)]
    if len(roles) != 1 or len(words) != 1 + len(parts) or len(parts) > 1:
        return None
    return ("x" if roles[0] == "x" else "y"), (parts[0] if parts else "all")


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, file: str) -> Array:
    """Write one member to `target` and map it; numpy would read it whole into memory."""
    try:
        with archive.open(member) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 2**20)
        if _declared_dtype(target).hasobject:
            raise BadDataset(
                f"{member.filename} in {file} must hold plain numbers or text, but it holds pickled Python objects, "
                "which are never opened because they can run code. Convert it with numpy.asarray(..., dtype=...) "
                "(samples of different sizes must be brought to one size) and save again."
            )
        return _load(target)
    except (*ZIP_ERRORS, SyntaxError, TypeError, MemoryError) as error:
        raise BadDataset(
            f"{member.filename} in {file} cannot be read ({error}): the file is damaged or cut short. Save and upload "
            "it again."
        ) from error


def _declared_dtype(npy: Path) -> np.dtype[Any]:
    with npy.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            return np.dtype(np.void)
        dtype: np.dtype[Any] = read(file)[2]
        return dtype


def _load(npy: Path) -> Array:
    try:
        mapped: Array = np.load(npy, mmap_mode="r", allow_pickle=False)
        return mapped
    except ValueError:
        # An array without elements cannot be mapped.
        array: Array = np.load(npy, allow_pickle=False)
        return array


def _by_part(chosen: Mapping[Key, str], arrays: Mapping[str, Array], role: Literal["x", "y"]) -> dict[PartName, Array]:
    found: dict[PartName, Array] = {}
    for part in PARTS:
        key = next((key for (r, p), key in chosen.items() if r == role and p == part), None)
        if key is not None:
            found[part] = arrays[key]
    return found


def _check(x: Mapping[PartName, Array], y: Mapping[PartName, Array], names: Mapping[Key, str]) -> None:
    problems: list[str] = []
    for part, array in x.items():
        problems += _sample_problems(array, names["x", part])
    if not problems and len({array.shape[1:] for array in x.values()}) > 1:
        shapes = ", ".join(f"{names['x', part]} {array.shape[1:]}" for part, array in x.items())
        problems.append(f"Samples must have the same shape in every part, but found {shapes}. Store them alike.")
    for part in PARTS:
        if y and (part in x) != (part in y):
            there = names["x", part] if part in x else names["y", part]
            short = {"train": "train", "validation": "val", "test": "test"}[part]
            missing = f"{'y' if part in x else 'x'}_{short}"
            problems.append(f"The file holds {there} but no {missing}. Add it, or remove both.")
        elif part in x and part in y and x[part].ndim and y[part].ndim and len(x[part]) != len(y[part]):
            problems.append(
                f"{names['x', part]} and {names['y', part]} must have one label per sample, but there are "
                f"{len(x[part])} samples and {len(y[part])} labels. Save them again with the same length."
            )
    if any(array.ndim == 0 for array in y.values()):
        problems.append(f"{names.get(('y', 'train'), 'y')} must hold one label per sample, but it is a single value.")
    if problems:
        raise BadDataset(problems)


def _sample_problems(array: Array, name: str) -> list[str]:
    if array.dtype.kind not in "biuf":
        return [f"{name} must hold numbers, but its type is {array.dtype}. Store the samples as numbers."]
    if array.ndim == 0 or array.size == 0:
        return [f"{name} must hold samples, but its shape is {array.shape}. Store at least 10 samples."]
    problem = non_finite_problem(array, name)
    return [problem] if problem else []


def _at_least_2d(array: Array) -> Array:
    return array[:, None] if array.ndim == 1 else array


def _named(labels: Labels, stored: Array) -> Labels:
    """Use class names that the file brings, where the labels are the indices into them."""
    indices = tuple(str(i) for i in range(len(labels.class_names)))
    if labels.kind == "class" and labels.class_names == indices and stored.shape == (len(indices),):
        return Labels(labels.kind, tuple(str(name) for name in stored.tolist()), labels.parts, labels.notes)
    return labels
