"""Text of users in tables: no spreadsheet takes it for a formula, neither from our CSV nor from Streamlit's own."""

from __future__ import annotations

import functools
import re
from typing import Any

import pandas as pd

_FORMULA = re.compile(r"\s*[=+\-@＝＋－＠].|[\t\r\n]")
"""How OWASP says that a cell begins which a spreadsheet may carry out; blanks before it do not help everywhere."""
_QUANTITY = re.compile(r"[-+]?\d[\d,]*(\.\d+)?([eE][-+]?\d+)?( ?(%|[A-Za-zµ]+))?")
"""A number with its sign, and perhaps a unit: what the tables say of changes."""


@functools.lru_cache(maxsize=50_000)
def as_cell(value: str) -> str:
    """Return text that a spreadsheet does not take for a formula; numbers, also with a unit, stay as they are."""
    return f"'{value}" if _FORMULA.match(value) and not _QUANTITY.fullmatch(value) else value


def as_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts and headings are no formulas; everything else in it stays.

    Every table on a page goes through this: people can download what they see as CSV.
    """
    safe = table.rename(columns=_safe)
    for place, dtype in enumerate(table.dtypes):
        if not (pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype)):
            safe.isetitem(place, table.iloc[:, place].map(_safe))
    return safe


def _safe(value: Any) -> Any:
    return as_cell(value) if isinstance(value, str) else value
