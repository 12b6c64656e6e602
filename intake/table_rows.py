"""One row of a table as people write it, and as the model's inputs: what `intake.table_columns` does to a whole file."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from intake.dataset_info import DatasetInfo
from intake.errors import BadDataset
from intake.parts import Array

_TRUTH = {"true": 1.0, "false": 0.0}
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_SHOWN_CATEGORIES = 10


@dataclass(frozen=True)
class RowColumn:
    """One feature column of a table."""

    name: str
    inputs: int
    """How many inputs of the model it becomes; 0 for text with a single category that is left out."""
    is_text: bool = False
    """False also where only the file knows: text that was numbered looks like numbers."""
    categories: tuple[str, ...] | None = None
    """Of a text column, in the order of its inputs; None for numbers, and where only the file knows."""


def row_columns(info: DatasetInfo) -> tuple[RowColumn, ...]:
    """Return the feature columns of a parsed table, in the order of its inputs."""
    found, names, place = list[RowColumn](), info.feature_names, 0
    for column in info.options.feature_columns or ():
        if place < len(names) and names[place] == column:
            found.append(RowColumn(column, 1))
            place += 1
            continue
        first = place
        while place < len(names) and names[place].startswith(f"{column}="):
            place += 1
        categories = tuple(name[len(column) + 1 :] for name in names[first:place])
        found.append(RowColumn(column, place - first, True, categories if _shows_all(info) else None))
    return tuple(found)


def _shows_all(info: DatasetInfo) -> bool:
    """True where the names of the inputs name every category."""
    return info.options.categorical_encoding == "one_hot"


def needs_file(info: DatasetInfo, columns: Sequence[RowColumn]) -> bool:
    """True where only the dataset's file knows which columns are text, or all their categories."""
    return _is_numbered(info) or (not _shows_all(info) and any(column.is_text for column in columns))


def _is_numbered(info: DatasetInfo) -> bool:
    return info.options.categorical_encoding == "ordinal"


def cells_of_line(line: str, info: DatasetInfo) -> list[str]:
    """Return the cells of the features in a line: either these alone, or a whole line of the table as it was uploaded.

    Cells are parted by commas, semicolons (then a comma may be the decimal point) or tabs.

    Raises:
        BadDataset: another number of cells.
    """
    wanted = list(info.options.feature_columns or ())
    rows = {delimiter: _cells(line, delimiter) for delimiter in (",", ";", "\t")}
    for delimiter, cells in rows.items():
        if len(cells) in (len(wanted), len(info.columns)):
            if len(cells) != len(wanted):
                cells = [cells[info.columns.index(column)] for column in wanted]
            return cells if delimiter == "," else [_with_point(cell) for cell in cells]
    most = max(len(cells) for cells in rows.values())
    raise BadDataset(
        f"A row must have {len(wanted):,} cells ({_some(wanted)}), or all {len(info.columns):,} of the table, but this one has "
        f"{most:,}. Part the cells by commas."
    )


def _with_point(cell: str) -> str:
    return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        row = next(csv.reader([line.strip()], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        return []
    return [cell.strip() for cell in row]


def encoded_row(
    cells: Sequence[str], columns: Sequence[RowColumn], categories: Mapping[str, Sequence[str]], encoding: str
) -> Array:
    """Return float32 (1, inputs), as the file's own rows were encoded.

    Args:
        cells: one for each column.
        columns: of `row_columns`.
        categories: text column -> all its categories; may be empty where the columns name theirs.
        encoding: `DatasetOptions.categorical_encoding`.

    Raises:
        BadDataset: cells that are no number, or no category that the file has; all of them at once.
    """
    blocks, problems = list[list[float]](), list[str]()
    for cell, column in zip(cells, columns, strict=True):
        known = column.categories or categories.get(column.name)
        try:
            blocks.append(_number(cell, column.name) if known is None else _category(cell, column, known, encoding))
        except BadDataset as error:
            problems += error.problems
    if problems:
        raise BadDataset(problems)
    return np.asarray([[value for block in blocks for value in block]], np.float32)


def _number(cell: str, column: str) -> list[float]:
    try:
        value = _TRUTH.get(cell.lower())
        value = float(cell) if value is None else value
        if abs(value) <= float(np.finfo(np.float32).max):
            return [value]
    except (ValueError, OverflowError):
        pass
    raise BadDataset(f"Column {column!r} must hold a number that float32 can, but got {cell[:40]!r}. Enter one.")


def _category(cell: str, column: RowColumn, known: Sequence[str], encoding: str) -> list[float]:
    if cell not in known:
        raise BadDataset(
            f"Column {column.name!r} must hold one of the categories that the dataset has ({_some(known)}), but got "
            f"{cell[:40]!r}. Enter one of them."
        )
    place = list(known).index(cell)
    if encoding == "ordinal":
        return [float(place)]
    left_out = len(known) - column.inputs
    return [float(place == number) for number in range(left_out, len(known))]


def cells_of_row(sample: Array, info: DatasetInfo) -> list[str]:
    """Return the cells that became a row of inputs (inputs,); "" where only the file knows."""
    cells, place = list[str](), 0
    for column in row_columns(info):
        values = sample[place : place + column.inputs]
        place += column.inputs
        if column.categories:
            cells.append(column.categories[int(np.argmax(values))])
        else:
            unknown = column.is_text or _is_numbered(info)
            cells.append("" if unknown else str(np.float32(values[0])).removesuffix(".0"))
    return cells


def line_of_cells(cells: Sequence[str]) -> str:
    """Return cells as one line that `cells_of_line` reads."""
    return ",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' if set(cell) & set(',"') else cell for cell in cells)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN_CATEGORIES:,} more" if len(names) > _SHOWN_CATEGORIES else ""
    return ", ".join(name[:40] for name in names[:_SHOWN_CATEGORIES]) + more
