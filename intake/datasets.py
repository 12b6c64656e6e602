"""An uploaded dataset file (or random inputs) -> a parsed folder: raw arrays per part, previews and `info.json`.

`parse_dataset` reads and stores once; `load_parsed` opens the folder with memory-mapped arrays.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from intake.arrays_npz import read_npz
from intake.dataset_info import ArrayInfo, DatasetInfo, DatasetOptions
from intake.errors import BadDataset
from intake.image_folders import read_image_zip
from intake.parts import CHUNK_BYTES, PARTS, Array, Part, PartName, ReadFile, stored_dtype, value_range
from intake.previews import looks_like_images, preview_rows, save_preview_images
from intake.split import lonely_classes, split_indices
from intake.tables import read_csv, read_parquet

MINIMUM_SAMPLES = 10
_READERS: dict[str, Callable[[Path, DatasetOptions, Path], ReadFile]] = {
    ".npz": read_npz,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".parquet": read_parquet,
    ".zip": read_image_zip,
}
Origin = tuple[str, int, str]
"""File name, bytes, SHA-256."""
_SHORT: dict[PartName, str] = {"train": "train", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class Dataset:
    """A parsed dataset: raw samples (n, ...) and labels of each part, memory-mapped and read-only.

    Labels are int64 (n,) for "class", float32 (n, k) for "multilabel" and "value", None for "none".
    `more` holds, part by part, the arrays beside x of a dataset for several inputs.
    """

    info: DatasetInfo
    x_train: Array
    y_train: Array | None
    x_val: Array
    y_val: Array | None
    x_test: Array
    y_test: Array | None
    more: Mapping[PartName, tuple[Array, ...]] = field(default_factory=dict)

    def part(self, name: PartName) -> Part:
        """Return samples and labels of one part."""
        short = _SHORT[name]
        return Part(getattr(self, f"x_{short}"), getattr(self, f"y_{short}"), self.more.get(name, ()))


def parse_dataset(path: Path, options: DatasetOptions, parsed_dir: Path) -> DatasetInfo:
    """Read, check and split a dataset file, and store the result as the folder `parsed_dir` all at once.

    A folder that is already there is replaced.

    Args:
        path: an `.npz`, `.csv`, `.tsv`, `.parquet` or `.zip` file.
        options: how to read it; what was left open comes back resolved in the info.
        parsed_dir: folder to create; its parent is created too.

    Raises:
        BadDataset: whatever the user can mend, all problems at once.
    """
    reader = _reader(path)

    def read(scratch: Path) -> ReadFile:
        return reader(path, options, scratch)

    return store_dataset(read, parsed_dir, lambda: (path.name, path.stat().st_size, _sha256(path)))


def store_dataset(read: Callable[[Path], ReadFile], parsed_dir: Path, origin: Callable[[], Origin]) -> DatasetInfo:
    """Split and store what `read` returns, all at once; a folder that is already there is replaced.

    Args:
        read: called with a scratch folder; its arrays may be mapped from files there.
        parsed_dir: folder to create; its parent is created too.
        origin: name, size in bytes and SHA-256 of where the samples come from.

    Raises:
        BadDataset: too few samples to be split, and whatever `read` raises.
    """
    parsed_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".parsing_{os.getpid()}_", dir=parsed_dir.parent) as working:
        scratch, target = Path(working, "scratch"), Path(working, "parsed")
        scratch.mkdir()
        target.mkdir()
        found = read(scratch)
        parts, split, notes = _split(found)
        info = _store(origin(), found, parts, (split, notes), target)
        if parsed_dir.exists():
            os.replace(parsed_dir, Path(working, "replaced"))
        os.replace(target, parsed_dir)
    return info


def load_parsed(parsed_dir: Path) -> Dataset:
    """Open a folder that `parse_dataset` wrote. Arrays are memory-mapped: nothing is read until it is used."""
    info = DatasetInfo.model_validate_json((parsed_dir / "info.json").read_text("utf-8"))
    arrays: dict[str, Array | None] = {}
    for short in _SHORT.values():
        for role in ("x", "y"):
            file = parsed_dir / f"{role}_{short}.npy"
            # numpy cannot map an array without elements (a validation part of 0 samples).
            arrays[f"{role}_{short}"] = _open(file) if file.exists() else None
    further = range(1, len(info.sample_arrays))
    more = {name: tuple(_open(parsed_dir / _x_name(name, i)) for i in further) for name in PARTS}
    return Dataset(info=info, **arrays, more=more)  # type: ignore[arg-type]


def _x_name(part: PartName, number: int) -> str:
    return f"x_{_SHORT[part]}{f'_{number}' if number else ''}.npy"


def _open(file: Path) -> Array:
    with file.open("rb") as stream:
        np.lib.format.read_magic(stream)
        empty = 0 in np.lib.format.read_array_header_1_0(stream)[0]
    array: Array = np.load(file, mmap_mode=None if empty else "r", allow_pickle=False)
    return array


def _reader(path: Path) -> Callable[[Path, DatasetOptions, Path], ReadFile]:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise BadDataset(
            f"A dataset must be an .npz, .csv, .tsv, .parquet or .zip file, but {path.name} ends in "
            f"{path.suffix or 'nothing'!r}. Convert it, or give the file its right ending."
        )
    if path.stat().st_size == 0:
        raise BadDataset(f"{path.name} is empty (0 bytes). Upload the complete file.")
    return reader


@dataclass(frozen=True)
class _Rows:
    """Chosen rows of a part; nothing is copied before they are stored."""

    source: Part
    index: Array

    @property
    def y(self) -> Array | None:
        return None if self.source.y is None else self.source.y[self.index]


def _split(read: ReadFile) -> tuple[dict[PartName, _Rows], str, list[str]]:
    """Give every dataset its three parts; index arrays decide, so the same seed gives the same rows."""
    options, given = read.options, read.parts
    total = sum(len(part.x) for part in given.values())
    if total < MINIMUM_SAMPLES:
        raise BadDataset(
            f"A dataset must have at least {MINIMUM_SAMPLES} samples to be split, but this one has {total}. Add more."
        )
    parts = {name: _Rows(part, np.arange(len(part.x))) for name, part in given.items()}
    words, by_class = list[str](), read.label_kind == "class"
    how = f"{'stratified' if by_class else 'random'}, seed {options.seed}"
    shares: tuple[tuple[PartName, float], ...] = (
        ("test", options.test_share),
        ("validation", options.validation_share),
    )
    for name, share in shares:
        if name in given:
            words.append(f"{name} part as in the file")
            continue
        parts["train"], parts[name] = _hold_out(parts["train"], by_class, share, options.seed)
        source = "file" if name == "test" else "training part"
        words.append(f"{name} {share:.0%} of the {source}, {how}" if share > 0 else f"no {name} part")
    empty = [name for name in ("train", "test") if len(parts[name].index) == 0]
    if empty:
        raise BadDataset(f"The {' and the '.join(empty)} part has no samples. Add samples or change the shares.")
    if read.kind == "random":
        words = [f"each part drawn by itself, seed {options.seed}"]
    return {name: parts[name] for name in PARTS}, "; ".join(words), _class_notes(parts, read)


def _hold_out(rows: _Rows, by_class: bool, share: float, seed: int) -> tuple[_Rows, _Rows]:
    if share == 0:
        return rows, _Rows(rows.source, np.empty(0, np.int64))
    kept, held_out = split_indices(len(rows.index), rows.y if by_class else None, share, seed)
    return _Rows(rows.source, rows.index[kept]), _Rows(rows.source, rows.index[held_out])


def _class_notes(parts: dict[PartName, _Rows], read: ReadFile) -> list[str]:
    train, whole = parts["train"].y, read.parts["train"].y
    if read.label_kind != "class" or train is None or whole is None:
        return []
    notes = []
    lonely = lonely_classes(whole, read.class_names)
    if lonely and "test" not in read.parts:
        notes.append(f"Only one sample each, kept for training and so never tested: {', '.join(lonely[:10])}.")
    counts = np.bincount(train, minlength=len(read.class_names))
    absent = [read.class_names[i] for i in np.flatnonzero(counts == 0)]
    return [*notes, f"No training sample of: {', '.join(absent[:10])}."] if absent else notes


def _store(
    origin: Origin, read: ReadFile, rows: dict[PartName, _Rows], split: tuple[str, list[str]], target: Path
) -> DatasetInfo:
    parts = {name: _save(name, chosen, target) for name, chosen in rows.items()}
    for name, part in parts.items():
        if part.y is not None:
            np.save(target / f"y_{_SHORT[name]}.npy", part.y)
    train = parts["train"]
    names = read.array_names or ("",)
    arrays = tuple(_array_info(name, array) for name, array in zip(names, train.arrays, strict=True))
    low, high, sample_shape = arrays[0].value_min, arrays[0].value_max, arrays[0].sample_shape
    as_images = read.kind not in ("table", "random") and looks_like_images(sample_shape)
    shown_rows = read.preview_rows
    if not shown_rows and not as_images and read.kind != "random":  # noise shows nothing
        shown_rows = preview_rows(train, read.class_names)
    file_name, file_bytes, sha256 = origin
    info = DatasetInfo(
        file_name=file_name,
        file_bytes=file_bytes,
        sha256=sha256,
        kind=read.kind,
        options=read.options,
        train_samples=len(train.x),
        validation_samples=len(parts["validation"].x),
        test_samples=len(parts["test"].x),
        sample_shape=sample_shape,
        dtype=arrays[0].dtype,
        value_min=low,
        value_max=high,
        arrays=arrays if read.array_names else (),
        label_kind=read.label_kind,
        label_shape=() if train.y is None else tuple(int(side) for side in train.y.shape[1:]),
        class_names=read.class_names,
        class_counts={name: _class_counts(part, read) for name, part in parts.items()} if read.class_names else {},
        columns=read.columns,
        feature_names=read.feature_names,
        split=split[0],
        notes=(*read.notes, *split[1]),
        preview_rows=shown_rows,
        preview_images=save_preview_images(train, read.class_names, (low, high), target) if as_images else (),
    )
    (target / "info.json").write_text(info.model_dump_json(indent=1), "utf-8")
    return info


def _array_info(name: str, array: Array) -> ArrayInfo:
    low, high = value_range(array)
    shape = tuple(int(side) for side in array.shape[1:])
    return ArrayInfo(name=name, sample_shape=shape, dtype=str(array.dtype), value_min=low, value_max=high)


def _save(part: PartName, rows: _Rows, target: Path) -> Part:
    x, *more = (
        _save_rows(target / _x_name(part, number), array, rows.index) for number, array in enumerate(rows.source.arrays)
    )
    return Part(x, rows.y, tuple(more))


def _save_rows(file: Path, x: Array, index: Array) -> Array:
    """Write the rows chunk by chunk and return them memory-mapped."""
    dtype = stored_dtype(x.dtype)
    if len(index) == 0:
        np.save(file, np.empty((0, *x.shape[1:]), dtype))
        return np.empty((0, *x.shape[1:]), dtype)
    stored: Array = np.lib.format.open_memmap(file, "w+", dtype, (len(index), *x.shape[1:]))
    step = max(1, CHUNK_BYTES // max(1, stored[:1].nbytes))
    for start in range(0, len(stored), step):
        stored[start : start + step] = x[index[start : start + step]]
    return stored


def _class_counts(part: Part, read: ReadFile) -> tuple[int, ...]:
    if part.y is None:
        return ()
    if read.label_kind == "multilabel":
        return tuple(int(count) for count in part.y.sum(axis=0))
    return tuple(int(count) for count in np.bincount(part.y, minlength=len(read.class_names)))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
