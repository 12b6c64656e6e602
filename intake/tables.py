"""Reading CSV and Parquet: one column to predict, numeric columns as they are, text columns encoded."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from intake.dataset_info import DatasetOptions
from intake.errors import BadDataset
from intake.labels import Labels, read_labels
from intake.parts import EXPANDED_LIMIT_BYTES, Part, ReadFile
from intake.table_columns import (
    FEATURE_LIMIT,
    choose_columns,
    encode_features,
    label_values,
    text_categories,
    without_gaps,
)

if TYPE_CHECKING:
    import pandas as pd

CSV_LIMIT_BYTES = 2 * 2**30
CELL_LIMIT = 500_000_000
COLUMN_LIMIT = FEATURE_LIMIT
"""Most columns, end included: each is looked at by itself, to find out whether it is a feature."""
_DELIMITERS = (",", ";", "\t", "|")
_PREVIEW_ROWS = 8
_PREVIEW_COLUMNS = 40


def read_csv(path: Path, options: DatasetOptions, scratch: Path) -> ReadFile:
    """Read a CSV file; encoding, delimiter and decimal comma are found out. `scratch` is not needed.

    Raises:
        BadDataset: not text, uneven rows, columns that are not there, empty cells, nothing left to learn from.
    """
    if path.stat().st_size > CSV_LIMIT_BYTES:
        raise BadDataset(f"{path.name} must be at most {CSV_LIMIT_BYTES // 2**30} GiB as CSV. Store it as Parquet.")
    text, notes = _decode(path)
    return _read_table(_parse_csv(path.name, text, notes), options, path.name, notes)


def read_parquet(path: Path, options: DatasetOptions, scratch: Path) -> ReadFile:
    """Read a Parquet file of flat columns. `scratch` is not needed.

    Raises:
        BadDataset: damaged file, nested columns, and all that `read_csv` refuses.
    """
    return _read_table(_parquet_frame(path), options, path.name, [])


def categories_of(path: Path, options: DatasetOptions) -> dict[str, tuple[str, ...]]:
    """Return text column -> its categories, in the order in which they were numbered when the file was read.

    Args:
        path: a file that was read before.
        options: resolved, as they stand in `DatasetInfo.options`.
    """
    parquet = path.suffix.lower() == ".parquet"
    frame = _parquet_frame(path) if parquet else _parse_csv(path.name, _decode(path)[0], [])
    choice = choose_columns(frame, options, path.name)
    return text_categories(without_gaps(frame, choice, options, path.name)[0], choice.features)


def _parquet_frame(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            _check_parquet(path.name, file)
            content = file.read()
        # Text that is not UTF-8 would only fail later, somewhere in pandas.
        content.validate(full=True)
        frame = content.to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise BadDataset(
            f"{path.name} must be a Parquet file, but it cannot be read ({_first_line(error)}): it is damaged, cut short, "
            "or another kind of file. Upload the complete file again."
        ) from error
    frame.columns = [str(column) for column in frame.columns]
    return frame


def _check_parquet(name: str, file: object) -> None:
    import pyarrow as pa

    metadata, schema = file.metadata, file.schema_arrow  # type: ignore[attr-defined]
    _check_width(name, metadata.num_columns)
    cells = metadata.num_rows * max(1, metadata.num_columns)
    expanded = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if cells > CELL_LIMIT or expanded > EXPANDED_LIMIT_BYTES:
        raise BadDataset(
            f"{name} must have at most {CELL_LIMIT:,} cells and {EXPANDED_LIMIT_BYTES / 2**30:.0f} GiB unpacked, but it "
            f"declares {cells:,} cells and {expanded / 2**30:.1f} GiB. Upload fewer rows or columns."
        )
    nested = [field.name for field in schema if pa.types.is_nested(field.type) or pa.types.is_binary(field.type)]
    if nested:
        raise BadDataset(
            f"The columns of {name} must hold numbers or text, but {', '.join(nested)} hold lists, records or bytes. "
            "Store such data as .npz."
        )


def _decode(path: Path) -> tuple[str, list[str]]:
    content = path.read_bytes()
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace"), ["Read as UTF-16 text."]
    if b"\0" in content[: 2**16]:
        raise BadDataset(f"{path.name} must be CSV text, but it holds binary data. Export the table as CSV or Parquet.")
    try:
        return content.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        return content.decode("latin-1"), ["The file is not UTF-8 text; it was read as Latin-1."]


def _parse_csv(name: str, text: str, notes: list[str]) -> pd.DataFrame:
    import pandas as pd

    if not text.strip():
        raise BadDataset(f"{name} must hold a table, but it is empty. Upload a CSV with a header and rows.")
    delimiter = _guess_delimiter(text)
    _check_width(name, text.count(delimiter, 0, _end_of_first_line(text)) + 1)
    first = _first_row(text, delimiter)
    headless = all(_is_number(cell) for cell in first)
    if headless:
        notes.append("The first row holds only numbers, so the file has no header: columns are column_1, column_2, ...")
    try:
        with warnings.catch_warnings():
            # A row longer than the header only warns, and loses its last cells.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                io.StringIO(text),
                sep=delimiter,
                header=None if headless else 0,
                index_col=False,
                skipinitialspace=True,
                low_memory=False,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError, OverflowError, csv.Error) as error:
        raise BadDataset(
            f"{name} must have the same number of cells in every row, but it cannot be read as a table with the "
            f"delimiter {delimiter!r} ({_first_line(error)}). Repair that row and upload the file again."
        ) from error
    frame.columns = [f"column_{i + 1}" if headless else str(column).strip() for i, column in enumerate(frame.columns)]
    return frame if delimiter == "," else _decimal_commas(frame, notes)


def _end_of_first_line(text: str) -> int:
    """Of the first that is not blank."""
    start = len(text) - len(text.lstrip())
    ends = (text.find(mark, start) for mark in "\n\r")
    return min((end for end in ends if end >= 0), default=len(text))


def _check_width(name: str, columns: int) -> None:
    if columns > COLUMN_LIMIT:
        raise BadDataset(
            f"{name} must have at most {COLUMN_LIMIT:,} columns, but it has {columns:,}. Leave out those that are not needed, "
            "or store the samples as .npz, where a sample may have any number of values."
        )


def csv_format(path: Path) -> tuple[str, bool]:
    """Return the delimiter that `read_csv` reads a file with, and whether its first row is a header."""
    with path.open("rb") as file:
        head = file.read(2**17)
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = head.decode("utf-16" if wide else "utf-8-sig", "replace")
    delimiter = _guess_delimiter(text)
    return delimiter, not all(_is_number(cell) for cell in _first_row(text, delimiter))


def _first_row(text: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text.lstrip()), delimiter=delimiter), [])
    except csv.Error:
        return []


def _guess_delimiter(text: str) -> str:
    """Return the delimiter that gives the most columns, the same number in each of the first lines."""
    lines = "\n".join(text[: 2**16].splitlines()[:30])

    def columns(delimiter: str) -> tuple[bool, int]:
        try:
            widths = [len(row) for row in csv.reader(io.StringIO(lines), delimiter=delimiter) if row]
        except csv.Error:
            return False, 0
        return len(set(widths[:-1])) <= 1 and widths[0] > 1, widths[0] if widths else 0

    return max(_DELIMITERS, key=columns)


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*", cell) is not None


def _decimal_commas(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    import pandas as pd

    for column in frame.columns[(frame.dtypes != "float64") & (frame.dtypes != "int64")]:
        cells = frame[column].dropna().astype(str).str.strip()
        if len(cells) and cells.str.fullmatch(r"[-+]?\d+(,\d+)?").all() and cells.str.contains(",").any():
            frame[column] = pd.to_numeric(frame[column].astype("string").str.strip().str.replace(",", "."))
            notes.append(f"Column {column!r} was read with a comma as the decimal point.")
    return frame


def _read_table(frame: pd.DataFrame, options: DatasetOptions, name: str, notes: Sequence[str]) -> ReadFile:
    if frame.shape[0] == 0 or frame.shape[1] < 2:
        raise BadDataset(
            f"{name} must have a header, at least two columns and some rows, but it has {frame.shape[1]} columns and "
            f"{frame.shape[0]} rows. Check the delimiter and upload a complete table."
        )
    choice = choose_columns(frame, options, name)
    kept, gap_notes = without_gaps(frame, choice, options, name)
    x, feature_names = encode_features(kept, choice.features, options, name)
    labels = _labels(kept, choice.label, options)
    resolved = options.model_copy(update={"label_column": choice.label, "feature_columns": choice.features})
    return ReadFile(
        "table",
        {"train": Part(x, labels.parts.get("train"))},
        resolved,
        labels.kind,
        labels.class_names,
        (*notes, *choice.notes, *gap_notes, *labels.notes),
        tuple(frame.columns),
        feature_names,
        _preview(frame),
    )


def _labels(kept: pd.DataFrame, label: str | None, options: DatasetOptions) -> Labels:
    if label is None or options.label_kind == "none":
        return Labels("none", (), {})
    return read_labels({"train": label_values(kept[label])}, options.label_kind, f"column {label!r}")


def _preview(frame: pd.DataFrame) -> tuple[dict[str, str], ...]:
    head = frame.iloc[:_PREVIEW_ROWS, :_PREVIEW_COLUMNS]
    rows = head.astype(object).where(head.notna(), "").to_dict("records")
    return tuple({str(column): str(value)[:200] for column, value in row.items()} for row in rows)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
