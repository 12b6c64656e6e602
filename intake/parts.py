"""The train, validation and test parts of a dataset on their way from a file to the parsed folder.

The readers (`arrays_npz`, `tables`, `image_folders`) return a `ReadFile`; `datasets` splits and stores it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from intake.dataset_info import DatasetOptions, LabelKind

Array = NDArray[Any]
PartName = Literal["train", "validation", "test"]
PARTS: tuple[PartName, ...] = ("train", "validation", "test")

EXPANDED_LIMIT_BYTES = 8 * 2**30
"""Most that one uploaded file may take once it is unpacked (archive members, decoded images, table cells)."""
CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Part:
    """x: (n, ...) raw samples; y: int64 (n,), float32 (n, k), or None where there are no labels.

    more: what further inputs of a model take of the same samples, each (n, ...).
    """

    x: Array
    y: Array | None
    more: tuple[Array, ...] = ()

    @property
    def arrays(self) -> tuple[Array, ...]:
        """All arrays of samples, x first."""
        return (self.x, *self.more)


@dataclass(frozen=True)
class ReadFile:
    """What a reader found. `parts` always has "train"; the others only where the file brings them.

    array_names: one name for each array of samples where there are several, else empty.
    """

    kind: Literal["arrays", "table", "images", "random"]
    parts: dict[PartName, Part]
    options: DatasetOptions
    label_kind: LabelKind
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    feature_names: tuple[str, ...] = ()
    preview_rows: tuple[dict[str, str], ...] = ()
    array_names: tuple[str, ...] = ()


def chunks(array: Array) -> Iterator[tuple[int, Array]]:
    """Yield (first row, rows) of about 16 MiB each, so that a memory map is never read whole."""
    row_bytes = max(1, array[:1].nbytes)
    step = max(1, CHUNK_BYTES // row_bytes)
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which samples are kept: floats as float32, booleans as uint8, integers as they are."""
    if dtype.kind == "f":
        return np.dtype(np.float32)
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")


def non_finite_problem(array: Array, name: str) -> str | None:
    """Return a sentence if a float array holds NaN or a number that float32 cannot, else None."""
    if array.dtype.kind != "f":
        return None
    count, first = 0, None
    for start, rows in chunks(array):
        with np.errstate(over="ignore"):
            bad = ~np.isfinite(rows.astype(np.float32))
        if bad.any():
            count += int(bad.sum())
            if first is None:
                place = np.unravel_index(int(bad.argmax()), bad.shape)
                first = [start + int(place[0]), *(int(i) for i in place[1:])]
    if first is None:
        return None
    return (
        f"{name} must hold finite numbers only, but {count} of its {array.size} values are NaN or infinite "
        f"(the first at index {first}). Remove or fill them, then upload the file again."
    )


def value_range(array: Array) -> tuple[float, float]:
    """Return (smallest, largest) value of a non-empty numeric array."""
    lows, highs = zip(*((rows.min(), rows.max()) for _, rows in chunks(array)), strict=True)
    return float(min(lows)), float(max(highs))
