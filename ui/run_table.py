"""The table of runs: the columns that can be chosen, the order of the rows, the CSV of what is on screen. Plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from intake.fit import Fit
from runs.records import Result
from ui.cells import as_cells
from ui.quantities import Quantity, metric_of, quantities, value_of
from ui.wording import STATES

RUN = "Run"
WORDS = ("Technique", "State", "Verified", "Tags", "Note", "Changed settings", "Created", "Run id")
OLDEST, NEWEST = "Oldest first", "Newest first"
OWNER = "Owner"
"""Who queued the run; a column only where runs have owners, which they have of a login."""


def column_choices(fit: Fit, with_owner: bool = False) -> list[str]:
    """Return the names of all columns but that of the run, which is always there."""
    return [*WORDS, *([OWNER] if with_owner else []), *(quantity.label for quantity in quantities(fit))]


def usual_columns(fit: Fit, with_tags: bool = False, with_owner: bool = False) -> list[str]:
    """Return the columns of a table that nobody changed; tags and owners among them where some runs have any."""
    figures = [metric_of(fit).label, ".tflite", ".tflite, gzip"]
    words = ["State", "Technique", "Latency", "Verified", "Duration"]
    return [*figures, *words, *(["Tags"] if with_tags else []), *([OWNER] if with_owner else [])]


def in_sight(columns: Sequence[str], usual: Sequence[str], axes: Sequence[str], all_finished: bool) -> list[str]:
    """Return the columns in the order in which they are shown: what matters most comes where nobody has to scroll.

    Columns that somebody chose stay as they are. The usual ones begin with what the chart shows, and before it with
    the state, where that says something of some run.

    Args:
        columns: those to show.
        usual: of `usual_columns`.
        axes: labels of what the chart shows, the metric or what stands for it first.
        all_finished: whether every run is.
    """
    if list(columns) != list(usual):
        return list(columns)
    return list(dict.fromkeys([*([] if all_finished else ["State"]), *axes, *columns]))


def orders(fit: Fit) -> list[str]:
    """Return the orders that the rows can have: by age, or the best of a quantity first."""
    return [OLDEST, NEWEST, *(f"Best {quantity.label}" for quantity in quantities(fit))]


def in_order(frame: pd.DataFrame, order: str, fit: Fit, baseline_id: str) -> pd.DataFrame:
    """Return the rows in an order of `orders`, the baseline of all changes on top."""
    by = next((quantity for quantity in quantities(fit) if order == f"Best {quantity.label}"), None)
    if by is not None:
        ordered = frame.sort_values(by.field, ascending=not by.higher_is_better, kind="stable")
    else:
        ordered = frame if order != NEWEST else frame.iloc[::-1]
    pinned = ordered["run_id"] == baseline_id
    return pd.concat([ordered[pinned], ordered[~pinned]]) if pinned.any() else ordered


def table_frame(frame: pd.DataFrame, columns: Sequence[str], fit: Fit, baseline: Result | None) -> pd.DataFrame:
    """Return the columns on the page, units in their names, each quantity followed by its change.

    Args:
        frame: of `ui.frames.runs_frame`.
        columns: some of `column_choices`, in the order in which they are shown.
        fit: names the metric.
        baseline: what the changes are against; None: there are no changes.
    """
    known = {quantity.label: quantity for quantity in quantities(fit)}
    table: dict[str, Any] = {RUN: _names(frame)}
    for column in columns:
        if column in known:
            quantity = known[column]
            table[quantity.heading] = quantity.scaled(frame[quantity.field])
            if baseline is not None:
                table[change_heading(quantity)] = _changes(frame, quantity, baseline)
        else:
            table[column] = _words(frame, column)
    return pd.DataFrame(table)


def change_heading(quantity: Quantity) -> str:
    """Return the name of the column of changes: ".tflite, change in %"."""
    return f"{quantity.label}, change in {'points' if quantity.is_share else '%'}"


def short_change_heading(column: str) -> str:
    """Return what stands above a column of changes where the quantity stands to the left of it: "Δ %"."""
    return f"Δ {column.rsplit(' in ', 1)[1]}"


def _changes(frame: pd.DataFrame, quantity: Quantity, baseline: Result) -> pd.Series:
    whole = value_of(baseline, quantity)
    changes = quantity.change(frame[quantity.field], whole if whole is not None else float("nan"))
    return pd.Series(changes, index=frame.index).mask(frame["is_baseline"]) * 100


def _names(frame: pd.DataFrame) -> list[str]:
    return [
        f"{'★ ' if starred else ''}{name}{' (archived)' if archived else ''}"
        for name, starred, archived in zip(frame["name"], frame["starred"], frame["archived"], strict=True)
    ]


def _words(frame: pd.DataFrame, column: str) -> Any:
    match column:
        case "Technique":
            return frame["title"]
        case "State":
            return frame["state"].map(lambda state: STATES[state])
        case "Verified":
            return [_verified(*pair) for pair in zip(frame["verified_met"], frame["verified_count"], strict=True)]
        case "Tags":
            return frame["tags"].map(", ".join)
        case "Created":
            return [f"{at.to_pydatetime().astimezone():%Y-%m-%d %H:%M}" for at in frame["created_at"]]
        case "Note" | "Changed settings" | "Run id" | "Owner":
            fields = {"Note": "note", "Changed settings": "settings", "Run id": "run_id", OWNER: "owner"}
            return frame[fields[column]]
    raise KeyError(column)


def _verified(met: int, count: int) -> str:
    return f"{'✓' if met == count else '✗'} {met}/{count}" if count else ""


def digits_of(column: str, fit: Fit) -> tuple[int, bool] | None:
    """Return the digits after the point of a column of `table_frame`, and whether it holds changes; None for words."""
    for quantity in quantities(fit):
        if column == quantity.heading:
            return (quantity.digits if quantity.unit else 4), False
        if column == change_heading(quantity):
            return (2 if quantity.is_share else 1), True
    return None


def csv_text(table: pd.DataFrame) -> str:
    """Return a table of `table_frame` as CSV; what users typed cannot become a formula."""
    return str(as_cells(table).to_csv(index=False))
