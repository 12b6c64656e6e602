"""Reading `.npz`: arrays named x_train, y_train, x_test, y_test (x_val, y_val), or x and y, or close to it.

For a model with several inputs: one array named like each input, or x_0, x_1, ... in their order, with the same
endings (user_id_train, x_0_test). Labels may be missing.
"""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
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
_NUMBERED = re.compile(r"(?:x|inputs?|images?|data|features?)_?(\d+)")
Key = tuple[str, PartName | Literal["all"]]
"""Role and part. Roles: "y", "x" for the samples, "x1", "x2", ... for further arrays of the same samples."""


def read_npz(path: Path, options: DatasetOptions, scratch: Path) -> ReadFile:
    """Read a `.npz` file; its members are unpacked into `scratch` and memory-mapped from there.

    Raises:
        BadDataset: damaged file, pickled objects, missing or mismatched arrays, NaN, wrong types.
    """
    archive, members = open_zip(path, "a NumPy .npz archive", MEMBER_LIMIT)
    with archive:
        keys = {member.filename.removesuffix(".npy"): member for member in members}
        names, several = _several(list(keys), options.input_names)
        chosen, class_key, notes = _choose(path.name, list(keys), several, options)
        wanted = [*chosen.values(), *([class_key] if class_key else [])]
        arrays = {key: _unpack(archive, keys[key], scratch / f"npz_{i}.npy", path.name) for i, key in enumerate(wanted)}
    x, y = _by_part(chosen, arrays, "x"), _by_part(chosen, arrays, "y")
    more = [_by_part(chosen, arrays, f"x{number}") for number in range(1, len(names))]
    _check(x, y, chosen)
    _check_alike(x, more, chosen)
    labels = Labels("none", (), {})
    if y and options.label_kind != "none":
        labels = read_labels(y, options.label_kind, chosen.get(("y", "train"), "y"))
    labels = _named(labels, arrays[class_key]) if class_key else labels
    parts = {
        part: Part(_at_least_2d(array), labels.parts.get(part), tuple(_at_least_2d(other[part]) for other in more))
        for part, array in x.items()
    }
    return ReadFile(
        "arrays",
        parts,
        options,
        labels.kind,
        labels.class_names,
        (*notes, *labels.notes),
        array_names=names if more else (),
    )


def npz_keys(path: Path, options: DatasetOptions) -> dict[PartName, tuple[list[str], str]]:
    """Return part -> (keys of the samples' arrays, key of the labels or "") that `read_npz` reads from a file."""
    archive, members = open_zip(path, "a NumPy .npz archive", MEMBER_LIMIT)
    with archive:
        keys = [member.filename.removesuffix(".npy") for member in members]
    names, several = _several(keys, options.input_names)
    chosen, _, _ = _choose(path.name, keys, several, options)
    roles = ["x", *(f"x{number}" for number in range(1, len(names)))]
    return {
        part: ([chosen[role, part] for role in roles], chosen.get(("y", part), ""))
        for part in PARTS
        if ("x", part) in chosen
    }


def _several(keys: Sequence[str], input_names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, Key]]:
    """Return the names of the arrays of samples, and what each key holds of them; nothing where x is the only one."""
    named = {key: found for key in keys if (found := _input_of(key, [_plain(name) for name in input_names]))}
    if named:
        return tuple(input_names), {key: (f"x{number or ''}", part) for key, (number, part) in named.items()}
    numbered = {key: found for key in keys if (found := _numbered(key))}
    numbers = sorted({number for number, _ in numbered.values()})
    if len(numbers) < 2:
        return (), {}
    order = {number: place for place, number in enumerate(numbers)}
    roles = {key: (f"x{order[number] or ''}", part) for key, (number, part) in numbered.items()}
    return tuple(f"x_{number}" for number in numbers), roles


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _without_part(key: str) -> list[tuple[str, PartName | Literal["all"]]]:
    """Return the name as it is and, for each word that names a part, the name without that word."""
    words = _plain(key).split("_")
    found: list[tuple[str, PartName | Literal["all"]]] = [("_".join(words), "all")]
    for place, word in enumerate(words):
        found += [("_".join(words[:place] + words[place + 1 :]), part) for part in PARTS if word in _PART_WORDS[part]]
    return found


def _input_of(key: str, names: Sequence[str]) -> tuple[int, PartName | Literal["all"]] | None:
    for name, part in _without_part(key):
        if name in names:
            return names.index(name), part
    return None


def _numbered(key: str) -> tuple[int, PartName | Literal["all"]] | None:
    for name, part in reversed(_without_part(key)):
        if match := _NUMBERED.fullmatch(name):
            return int(match[1]), part
    return None


def _choose(
    file: str, keys: list[str], several: Mapping[str, Key], options: DatasetOptions
) -> tuple[dict[Key, str], str | None, list[str]]:
    found: dict[Key, list[str]] = {}
    for key in keys:
        meaning = several.get(key) or _meaning(key)
        if several and key not in several and meaning and meaning[0] == "x":
            continue  # beside one array for each input, another x belongs to none
        if meaning and not (meaning[0] == "y" and options.label_kind == "none"):
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
    _check_inputs(file, keys, several, options.input_names)
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


def _check_inputs(file: str, keys: Sequence[str], several: Mapping[str, Key], input_names: Sequence[str]) -> None:
    roles = {role for role, _ in several.values()}
    if not any(_input_of(key, [_plain(name) for name in input_names]) for key in several):
        return
    lacking = [name for i, name in enumerate(input_names) if f"x{i or ''}" not in roles]
    if lacking:
        raise BadDataset(
            f"{file} must hold one array for each input of the model, but there is none for: {', '.join(lacking)}. Its "
            f"arrays are: {', '.join(keys)}. Name one of them after each input."
        )


NPY_ERRORS = (
    *ZIP_ERRORS, SyntaxError, TokenError, TypeError, KeyError, OverflowError, RecursionError, MemoryError,
)  # fmt: skip
"""What reading a damaged array raises: its header is a Python literal, which `numpy` has Python's own tokenizer mend."""


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, file: str) -> Array:
    """Write one member to `target` and map it; numpy would read it whole into memory."""
    try:
        with archive.open(member) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 2**20)
        shape, dtype = _declared(target)
        if dtype.hasobject:
            raise BadDataset(
                f"{member.filename} in {file} must hold plain numbers or text, but it holds pickled Python objects, "
                "which are never opened because they can run code. Convert it with numpy.asarray(..., dtype=...) "
                "(samples of different sizes must be brought to one size) and save again."
            )
        # An array without elements cannot be mapped.
        array: Array = np.load(target, mmap_mode=None if 0 in shape else "r", allow_pickle=False)
        return array
    except NPY_ERRORS as error:
        raise BadDataset(
            f"{member.filename} in {file} cannot be read ({error}): the file is damaged or cut short. Save and upload "
            "it again."
        ) from error


def _declared(npy: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with npy.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            return (), np.dtype(np.void)
        shape, _, dtype = read(file)
        return shape, dtype


def _by_part(chosen: Mapping[Key, str], arrays: Mapping[str, Array], role: str) -> dict[PartName, Array]:
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


def _check_alike(
    x: Mapping[PartName, Array], more: Sequence[Mapping[PartName, Array]], names: Mapping[Key, str]
) -> None:
    """Further arrays must bring the same samples as the first."""
    problems: list[str] = []
    for number, other in enumerate(more, start=1):
        for part in PARTS:
            first, further = names.get(("x", part)), names.get((f"x{number}", part))
            if (part in x) != (part in other):
                some = next(key for (role, p), key in names.items() if role in ("x", f"x{number}") and p != part)
                problems.append(
                    f"The file holds {first or further} for the {part} part, but nothing like it that goes with {some}. "
                    "Give every input an array for the same parts."
                )
            elif part in other:
                found = _sample_problems(other[part], str(further))
                if not found and len(other[part]) != len(x[part]):
                    found = [
                        f"{first} and {further} must hold the same samples, but there are {len(x[part])} and "
                        f"{len(other[part])}. Save them again with the same length."
                    ]
                problems += found
        if not problems and len({array.shape[1:] for array in other.values()}) > 1:
            shapes = ", ".join(f"{names[f'x{number}', part]} {array.shape[1:]}" for part, array in other.items())
            problems.append(f"Samples must have the same shape in every part, but found {shapes}. Store them alike.")
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
