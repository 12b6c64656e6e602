"""Raw labels of any dtype -> class indices, 0/1 rows or values, the same way in every part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from intake.dataset_info import LabelKind
from intake.errors import BadDataset
from intake.parts import Array, PartName, non_finite_problem

_FEW = 20
"""Up to so many different whole numbers are read as classes, whatever they are."""
_MOST_CLASSES = 5000

Wanted = Literal["auto", "class", "value"]


@dataclass(frozen=True)
class Labels:
    """`parts` holds int64 (n,) for "class", float32 (n, k) for "multilabel" and "value"."""

    kind: LabelKind
    class_names: tuple[str, ...]
    parts: dict[PartName, Array]
    notes: tuple[str, ...] = ()


def read_labels(raw: Mapping[PartName, Array], wanted: Wanted, source: str) -> Labels:
    """Decide what the labels are, looking at all parts together, and encode them.

    Args:
        raw: labels of each part, (n,), (n, 1) or (n, k); numbers, booleans or text.
        wanted: "auto", or the kind that the user decided.
        source: what the labels are called in sentences ("y_train", "column 'price'").

    Raises:
        BadDataset: wrong number of axes, NaN, text where numbers are wanted, or fewer than two classes.
    """
    arrays = {part: _squeeze(_as_text_or_numbers(array, source), source) for part, array in raw.items()}
    widths = {array.shape[1:] for array in arrays.values()}
    if len(widths) > 1:
        shapes = ", ".join(f"{part} {array.shape}" for part, array in arrays.items())
        raise BadDataset(f"Labels must have the same shape in every part, but found {shapes}. Store them alike.")
    problems = [non_finite_problem(array, f"{source} ({part})") for part, array in arrays.items()]
    found = [problem for problem in problems if problem]
    if found:
        raise BadDataset(found)
    merged = np.concatenate(list(arrays.values()))
    if len(merged) == 0:
        raise BadDataset(f"{source} must hold one label per sample, but it is empty. Upload a file with samples.")
    return _rows(arrays, merged, wanted, source) if merged.ndim == 2 else _column(arrays, merged, wanted, source)


def _as_text_or_numbers(array: Array, source: str) -> Array:
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind in "biufU":
        return array
    raise BadDataset(
        f"{source} must hold numbers or text, but its type is {array.dtype}. Store the labels as integers, floats or "
        "strings."
    )


def _squeeze(array: Array, source: str) -> Array:
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim not in (1, 2) or 0 in array.shape[1:]:
        raise BadDataset(
            f"{source} must have the shape (samples,) or (samples, k), but its shape is {array.shape}. Store one label, "
            "or one row of labels, per sample."
        )
    return array


def _rows(arrays: dict[PartName, Array], merged: Array, wanted: Wanted, source: str) -> Labels:
    if merged.dtype.kind == "U":
        raise BadDataset(f"{source} holds rows of text (shape {merged.shape}). Give one class name per sample instead.")
    zero_one = bool(np.isin(merged, (0, 1)).all())
    if wanted == "value" or (wanted == "auto" and not zero_one):
        return Labels("value", (), {part: np.asarray(array, np.float32) for part, array in arrays.items()})
    if not zero_one:
        raise BadDataset(
            f"{source} is to be read as classes, so its rows of {merged.shape[1]} must hold only 0 and 1, but other "
            "numbers were found. Store class indices, or read the labels as numbers."
        )
    names = tuple(str(i) for i in range(merged.shape[1]))
    if bool((merged.sum(axis=1) == 1).all()):
        return Labels("class", names, {part: array.argmax(axis=1).astype(np.int64) for part, array in arrays.items()})
    return Labels("multilabel", names, {part: np.asarray(array, np.float32) for part, array in arrays.items()})


def _column(arrays: dict[PartName, Array], merged: Array, wanted: Wanted, source: str) -> Labels:
    if merged.dtype.kind == "U" and wanted == "value":
        raise BadDataset(
            f"{source} is to be read as numbers, but it holds text such as {str(merged[0])!r}. Read the labels as "
            "classes, or store numbers."
        )
    distinct = np.unique(merged)
    whole = merged.dtype.kind in "iub" or (merged.dtype.kind == "f" and bool((distinct == np.floor(distinct)).all()))
    by_itself = merged.dtype.kind == "U" or (whole and _look_like_classes(distinct, len(merged)))
    if wanted == "value" or (wanted == "auto" and not by_itself):
        return Labels("value", (), _as_values(arrays), _value_note(wanted, whole, len(distinct), source))
    _check_class_count(distinct, len(merged), source)
    return _as_classes(arrays, distinct, whole)


def _look_like_classes(distinct: Array, samples: int) -> bool:
    if len(distinct) <= _FEW:
        return True
    consecutive = distinct[-1] - distinct[0] == len(distinct) - 1 and distinct[0] in (0, 1)
    return bool(consecutive and len(distinct) <= 1000 and samples >= 5 * len(distinct))


def _check_class_count(distinct: Array, samples: int, source: str) -> None:
    if len(distinct) < 2:
        raise BadDataset(
            f"{source} must name at least two classes, but every sample has the label {str(distinct[0])!r}. Check that the "
            "right labels were stored or chosen."
        )
    if len(distinct) > _MOST_CLASSES or (len(distinct) > _FEW and len(distinct) > samples / 2):
        raise BadDataset(
            f"{source} must name classes that come back in several samples, but its {samples} labels have "
            f"{len(distinct)} different values. Choose another label column, or read the labels as numbers."
        )


def _as_values(arrays: dict[PartName, Array]) -> dict[PartName, Array]:
    return {part: np.asarray(array, np.float32).reshape(-1, 1) for part, array in arrays.items()}


def _value_note(wanted: Wanted, whole: bool, distinct: int, source: str) -> tuple[str, ...]:
    if wanted == "value" or not whole:
        return ()
    return (
        f"{source} holds whole numbers with {distinct} different values, so they are read as numbers to predict; set "
        '"Labels are" to classes if they are classes.',
    )


def _as_classes(arrays: dict[PartName, Array], distinct: Array, whole: bool) -> Labels:
    if whole and distinct.dtype.kind == "f":
        names = tuple(str(int(value)) for value in distinct)
    else:
        names = tuple(str(value) for value in distinct.tolist())
    order = np.arange(len(distinct))
    if distinct.dtype.kind == "U" and all(name.lstrip("-").isdecimal() for name in names):
        # "10" would come before "2" in the order of text.
        order = np.asarray(sorted(order, key=lambda i: int(names[i])))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    encoded = {part: rank[np.searchsorted(distinct, array)].astype(np.int64) for part, array in arrays.items()}
    return Labels("class", tuple(names[i] for i in order), encoded)
