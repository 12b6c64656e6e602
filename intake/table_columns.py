"""Columns of a table: which one is the label, which are features, and how they become numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from intake.dataset_info import DatasetOptions
from intake.errors import BadDataset
from intake.parts import Array

if TYPE_CHECKING:
    import pandas as pd

FEATURE_LIMIT = 20_000
_LABEL_NAMES = (
    "label", "labels", "target", "targets", "class", "outcome", "y", "diagnosis", "species", "survived", "exited",
    "churn", "churned", "attrition", "default", "category", "quality", "price",
)  # fmt: skip
_MOST_DISTINCT = 50
_DISTINCT_SHARE = 0.2
_IDENTIFIER = re.compile(
    r"(^|[_\s-])(id|index|no|nr|number|row)$|^unnamed: 0$|(?<=[a-z])(Id|ID|Number|Index)$|^(id|ID|Id)$"
)


@dataclass(frozen=True)
class ColumnChoice:
    """The label (None where there is none) and the features, in the order in which they become inputs."""

    label: str | None
    features: tuple[str, ...]
    notes: tuple[str, ...]


def choose_columns(frame: pd.DataFrame, options: DatasetOptions, name: str) -> ColumnChoice:
    """Return label and feature columns: as asked for, or guessed and said so in the notes.

    Raises:
        BadDataset: a column that was asked for is not in the file, or no feature is left.
    """
    columns = tuple(frame.columns)
    labelled = options.label_column is not None and options.label_kind != "none"
    asked = [*([options.label_column] if labelled else []), *(options.feature_columns or ())]
    missing = [column for column in dict.fromkeys(asked) if column not in columns]
    if missing:
        raise BadDataset(
            f"{name} has no column {', '.join(repr(column) for column in missing)}. Its columns are: "
            f"{', '.join(columns)}. Choose one of them."
        )
    notes: list[str] = []
    label = None if options.label_kind == "none" else options.label_column or _guess_label(columns, notes)
    if options.feature_columns is not None:
        features = tuple(dict.fromkeys(options.feature_columns))
        if label in features:
            raise BadDataset(f"Column {label!r} is the label, so it cannot be a feature as well. Take it out of one.")
    else:
        features = _useful(frame, [column for column in columns if column != label], notes)
    if not features:
        beside = f" beside the label {label!r}" if label is not None else ""
        raise BadDataset(f"{name} must have at least one feature column{beside}, but none is left.")
    return ColumnChoice(label, features, tuple(notes))


def _guess_label(columns: Sequence[str], notes: list[str]) -> str:
    by_name = {column.strip().lower(): column for column in reversed(columns)}
    named = next((by_name[name] for name in _LABEL_NAMES if name in by_name), None)
    reason = "because of its name" if named else "because it is the last one"
    label = named or columns[-1]
    notes.append(f"No label column was chosen; {label!r} was taken {reason}. Choose another if that is wrong.")
    return label


def _useful(frame: pd.DataFrame, columns: Sequence[str], notes: list[str]) -> tuple[str, ...]:
    left_out: dict[str, str] = {}
    for column in columns:
        reason = _reason_to_leave_out(frame[column], column)
        if reason:
            left_out[column] = reason
    notes += [
        f"Column {column!r} was left out: {reason}. Name the feature columns to use it all the same."
        for column, reason in left_out.items()
    ]
    return tuple(column for column in columns if column not in left_out)


def _reason_to_leave_out(cells: pd.Series, name: str) -> str | None:
    filled = cells.dropna()
    if filled.empty:
        return "it is empty"
    distinct = filled.nunique()
    if _is_text(cells):
        many = distinct > _MOST_DISTINCT and distinct > _DISTINCT_SHARE * len(filled)
        return f"it is text with {distinct} different values, more like names than categories" if many else None
    if filled.dtype.kind in "iu" and distinct == len(cells) and distinct > 2:
        numbered = bool((filled.diff().iloc[1:] == 1).all())
        if numbered or _IDENTIFIER.search(name):
            return "it numbers the rows"
    return None


def _is_text(cells: pd.Series) -> bool:
    from pandas.api import types

    return not (types.is_numeric_dtype(cells) or types.is_bool_dtype(cells))


def without_gaps(
    frame: pd.DataFrame, choice: ColumnChoice, options: DatasetOptions, name: str
) -> tuple[pd.DataFrame, list[str]]:
    """Return the rows without empty cells in the chosen columns, and notes.

    Raises:
        BadDataset: empty or infinite cells and options.missing_values is "refuse", or no row is left.
    """
    chosen = frame[[*choice.features, *([choice.label] if choice.label is not None else [])]]
    numeric = [column for column in chosen.columns if not _is_text(chosen[column])]
    infinite = chosen[numeric].apply(lambda cells: np.isinf(cells.to_numpy(np.float64, na_value=np.nan)))
    gaps = chosen.isna()
    gaps[numeric] |= infinite
    counts = {column: int(count) for column, count in gaps.sum().items() if count}
    if not counts:
        return chosen, []
    listing = ", ".join(f"{column} ({count})" for column, count in counts.items())
    rows = int(gaps.any(axis=1).sum())
    if options.missing_values == "refuse":
        raise BadDataset(
            f"{name} must have a finite value in every cell of the columns that are used, but {rows} of its {len(frame)} "
            f"rows have empty or infinite cells: {listing}. Fill them, leave these columns out, or set "
            '"Empty cells" to leave out such rows.'
        )
    if rows == len(frame):
        raise BadDataset(
            f"Every row of {name} has an empty cell ({listing}), so no row is left. Leave these columns out."
        )
    return chosen[~gaps.any(axis=1)], [f"{rows} of {len(frame)} rows were left out, with empty cells in: {listing}."]


def encode_features(
    frame: pd.DataFrame, features: Sequence[str], options: DatasetOptions, name: str
) -> tuple[Array, tuple[str, ...]]:
    """Return float32 (rows, inputs) and the name of each input, in the order of `features`.

    A text column becomes, in its place, one input per category (sorted; without the first one for
    "one_hot_drop_first") or a single input with the index of the category ("ordinal").

    Raises:
        BadDataset: too many inputs, or a number too large for float32.
    """
    blocks: list[Array] = []
    names: list[str] = []
    for column in features:
        block, inputs = _encode(frame[column], column, options)
        blocks.append(block)
        names += inputs
        if len(names) > FEATURE_LIMIT:
            raise BadDataset(
                f"{name} must give at most {FEATURE_LIMIT:,} inputs after text columns were encoded, but column {column!r} "
                "takes it above that. Leave out columns with many different values, or encode text as ordinal."
            )
    x = np.concatenate(blocks, axis=1)
    too_large = [inputs for inputs, bad in zip(names, ~np.isfinite(x).all(axis=0), strict=True) if bad]
    if too_large:
        raise BadDataset(f"Numbers must fit into float32 (below 3.4e38), but these are larger: {', '.join(too_large)}.")
    return x, tuple(names)


def _encode(cells: pd.Series, column: str, options: DatasetOptions) -> tuple[Array, list[str]]:
    if not _is_text(cells):
        with np.errstate(over="ignore"):
            return cells.to_numpy(np.float64).astype(np.float32)[:, None], [column]
    values = cells.astype(str).to_numpy(str)
    categories, codes = np.unique(values, return_inverse=True)
    if options.categorical_encoding == "ordinal":
        return codes.astype(np.float32)[:, None], [column]
    first = 1 if options.categorical_encoding == "one_hot_drop_first" and len(categories) > 1 else 0
    wanted = np.arange(first, min(len(categories), FEATURE_LIMIT + 2))
    one_hot = (codes[:, None] == wanted).astype(np.float32)
    return one_hot, [f"{column}={categories[i]}" for i in wanted]


def text_categories(frame: pd.DataFrame, features: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return text column -> its categories, sorted as `encode_features` counts them."""
    return {
        column: tuple(np.unique(frame[column].astype(str).to_numpy(str)).tolist())
        for column in features
        if _is_text(frame[column])
    }


def label_values(cells: pd.Series) -> Array:
    """Return a label column as an array of numbers, booleans or text (n,)."""
    if _is_text(cells):
        return np.asarray(cells.astype(str).to_numpy(str))
    return np.asarray(cells.to_numpy())
