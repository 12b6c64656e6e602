"""Functions that are copied, as they stand here, into scripts that repeat a run: reading a dataset as Tare does.

They must not use anything of Tare's but what is copied with them, and numpy, pandas and Pillow.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from intake.split import split_indices


def read_npz(path: Path, keys: dict[str, tuple[list[str], str]]) -> dict[str, tuple[list[Any], Any]]:
    """Return part -> (arrays of samples, labels or None). keys: part -> (keys of the samples, key of the labels)."""
    with np.load(path, allow_pickle=False) as file:
        return {
            part: ([with_columns(file[key]) for key in samples], file[label] if label else None)
            for part, (samples, label) in keys.items()
        }


def with_columns(array: Any) -> Any:
    """Return samples (n, ...) as they are kept: floats as float32, at least two axes."""
    array = array.astype(np.float32) if array.dtype.kind == "f" else array
    return array[:, None] if array.ndim == 1 else array


def read_table(
    path: Path, delimiter: str, has_header: bool, features: list[str], label: str, encoding: str
) -> dict[str, tuple[list[Any], Any]]:
    """Return {"train": ([features], labels)} of a table; rows with an empty cell are left out."""
    frame = parquet_frame(path) if path.suffix.lower() == ".parquet" else csv_frame(path, delimiter, has_header)
    frame = frame[[*features, *([label] if label else [])]]
    numbers = frame.select_dtypes(["number", "bool"]).astype("float64")
    frame = frame[np.isfinite(numbers).all(axis=1) & frame.notna().all(axis=1)]
    x = np.concatenate([encoded(frame[name], encoding) for name in features], axis=1)
    return {"train": ([x], label_cells(frame[label]) if label else None)}


def parquet_frame(path: Path) -> Any:
    """Return a Parquet table; the index that pandas may have stored with it is not used."""
    import pyarrow.parquet

    frame = pyarrow.parquet.read_table(path).to_pandas(ignore_metadata=True)
    frame.columns = [str(name) for name in frame.columns]
    return frame


def csv_frame(path: Path, delimiter: str, has_header: bool) -> Any:
    """Return a CSV table, its decimal commas read as points."""
    import pandas as pd

    header = 0 if has_header else None
    options = {"sep": delimiter, "header": header, "index_col": False, "skipinitialspace": True, "low_memory": False}
    frame = pd.read_csv(io.StringIO(text_of(path)), **options)
    frame.columns = [str(name).strip() if has_header else f"column_{i + 1}" for i, name in enumerate(frame.columns)]
    for name in frame.columns[(frame.dtypes != "float64") & (frame.dtypes != "int64")] if delimiter != "," else ():
        cells = frame[name].dropna().astype(str).str.strip()
        if len(cells) and cells.str.fullmatch(r"[-+]?\d+(,\d+)?").all() and cells.str.contains(",").any():
            frame[name] = pd.to_numeric(frame[name].astype("string").str.strip().str.replace(",", "."))
    return frame


def text_of(path: Path) -> str:
    """Return the text of a file that may be UTF-8, UTF-16 or Latin-1."""
    content = path.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def is_text(cells: Any) -> bool:
    """True for a column of a table that is neither numbers nor true and false."""
    from pandas.api import types

    return not (types.is_numeric_dtype(cells) or types.is_bool_dtype(cells))


def encoded(cells: Any, encoding: str) -> Any:
    """Return a column as float32 (rows, inputs): numbers as they are, text by category."""
    if not is_text(cells):
        return cells.to_numpy(np.float64).astype(np.float32)[:, None]
    categories, codes = np.unique(cells.astype(str).to_numpy(str), return_inverse=True)
    if encoding == "ordinal":
        return codes.astype(np.float32)[:, None]
    first = 1 if encoding == "one_hot_drop_first" and len(categories) > 1 else 0
    return (codes[:, None] == np.arange(first, len(categories))).astype(np.float32)


def label_cells(cells: Any) -> Any:
    """Return a label column as numbers or text (n,)."""
    return np.asarray(cells.astype(str).to_numpy(str)) if is_text(cells) else np.asarray(cells.to_numpy())


PART_FOLDERS = {"train": "train", "training": "train", "val": "validation", "valid": "validation",
                "validation": "validation", "test": "test", "testing": "test"}  # fmt: skip
IMAGE_ENDINGS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


def read_images(path: Path, size: tuple[int, int, int], has_classes: bool) -> dict[str, tuple[list[Any], Any]]:
    """Return part -> ([uint8 (n, height, width, channels)], names of the classes or None) of a zip of images.

    size: height, width and channels (1 or 3) that each image is brought to.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    with zipfile.ZipFile(path) as archive:
        for member, part, class_name in pictures(archive.namelist(), has_classes):
            found.setdefault(part, []).append((class_name, member))
        return {
            part: (
                [np.stack([picture(archive.read(member), size) for _, member in sorted(members)])],
                np.asarray([class_name for class_name, _ in sorted(members)]) if has_classes else None,
            )
            for part, members in found.items()
        }


def pictures(members: list[str], has_classes: bool) -> list[tuple[str, str, str]]:
    """Return (member, part, class) of each image; folders around everything do not count."""
    paths = [(member, PurePosixPath(member.replace("\\", "/")).parts) for member in members if member[-1:] != "/"]
    paths = [pair for pair in paths if not any(name[:1] == "." or name == "__MACOSX" for name in pair[1])]
    while len({names[0] for _, names in paths}) == 1 and max(len(names) for _, names in paths) > 2:
        if paths[0][1][0].lower() in PART_FOLDERS:
            break
        paths = [(member, names[1:]) for member, names in paths]
    in_parts = any(names[0].lower() in PART_FOLDERS for _, names in paths if len(names) > (2 if has_classes else 1))
    depth = (1 if has_classes else 0) + in_parts
    return [
        (member, PART_FOLDERS[names[0].lower()] if in_parts else "train", names[depth - 1] if has_classes else "")
        for member, names in paths
        if PurePosixPath(names[-1]).suffix.lower() in IMAGE_ENDINGS
        and len(names) > depth
        and (not in_parts or names[0].lower() in PART_FOLDERS)
    ]


def picture(content: bytes, size: tuple[int, int, int]) -> Any:
    """Return one image as uint8 (height, width, channels)."""
    from PIL import Image

    height, width, channels = size
    with Image.open(io.BytesIO(content)) as opened:
        image: Any = opened
        if opened.mode.startswith("I;16") or opened.mode == "I":  # 16 bits of grey
            image = Image.fromarray((np.asarray(opened).astype(np.int64).clip(0, 65535) // 256).astype(np.uint8))
        image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).reshape(size)


def class_numbers(labels: Any, class_names: tuple[str, ...]) -> Any:
    """Return labels as the number of their class, int64 (n,): by name, or as they are where they are numbers."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        return labels.argmax(axis=1).astype(np.int64)
    labels = labels.reshape(-1)
    labels = np.char.decode(labels, "utf-8", "replace") if labels.dtype.kind == "S" else labels
    whole = labels.dtype.kind == "f" and bool((labels == np.floor(labels)).all())
    number = {name: index for index, name in enumerate(class_names)}
    names = [str(int(value)) if whole else str(value) for value in labels.tolist()]
    return np.asarray([number[name] if name in number else int(name) for name in names], np.int64)


def label_values(labels: Any) -> Any:
    """Return labels as numbers, float32 (n, k)."""
    return np.asarray(labels, np.float32).reshape(len(labels), -1)


def fingerprint(part: tuple[list[Any], Any]) -> str:
    """Return the SHA-256 over samples and labels of a part, whatever types they are stored in."""
    digest = hashlib.sha256()
    for array in (*part[0], *([part[1]] if part[1] is not None else [])):
        for start in range(0, len(array), 1000):
            digest.update(np.ascontiguousarray(array[start : start + 1000], np.float64).tobytes())
    return digest.hexdigest()


def split_parts(
    raw: dict[str, tuple[list[Any], Any]], test_share: float, validation_share: float, by_class: bool, seed: int
) -> dict[str, tuple[list[Any], Any]]:
    """Return the parts, those that the file does not bring split off the training part as Tare does it."""
    parts = dict(raw)
    for name, share in (("test", test_share), ("validation", validation_share)):
        if name in raw:
            continue
        arrays, labels = parts["train"]
        kept, held_out = np.arange(len(arrays[0])), np.arange(0)
        if share:
            kept, held_out = split_indices(len(arrays[0]), labels if by_class else None, share, seed)
        for part, index in (("train", kept), (name, held_out)):
            parts[part] = ([array[index] for array in arrays], None if labels is None else labels[index])
    return parts
