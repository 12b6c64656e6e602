"""The table of a project's runs on the page: its columns and order, the ticks that select, the click that opens."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from intake.fit import Fit
from runs.records import Project, RunRecord
from ui.cells import as_cells
from ui.charts import Axes
from ui.run_labels import draw_menu_of_selected
from ui.run_table import (
    RUN,
    column_choices,
    csv_text,
    digits_of,
    in_order,
    in_sight,
    orders,
    short_change_heading,
    table_frame,
    usual_columns,
)
from ui.selection import open_later, select, selected_ids

TABLE_KEY = "project:table"
_ROWS_IN_FULL = 15
"""Of more the table scrolls."""
_RUN_PIXELS = 200
"""Of the names: on a phone the metric has room beside them."""


def draw_table(
    project: Project,
    frame: pd.DataFrame,
    baseline: RunRecord | None,
    chosen: list[RunRecord],
    count: int,
    axes: Axes,
    with_owner: bool = False,
) -> None:
    """Draw the runs of a frame, the baseline on top.

    Args:
        project: whose runs they are.
        frame: of `ui.frames.runs_frame`.
        baseline: what the changes are against; None where there is none yet.
        chosen: the selected runs.
        count: how many runs there would be without filters.
        axes: of the chart, whose figures come first.
        with_owner: whether any run of the project has an owner, shown or not: a column must not go with a filter.
    """
    fit = project.fit
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.subheader("All runs" if len(frame) == count else f"{len(frame):,} of {count:,} runs", width="stretch")
        order = st.selectbox("Order", orders(fit), key="order", bind="query-params", width=220)
        with st.popover("Columns", icon=":material/view_column:"):
            usual = usual_columns(fit, with_tags=bool(frame["tags"].map(bool).any()), with_owner=with_owner)
            choices = column_choices(fit, with_owner)
            columns = st.multiselect("Columns", choices, usual, key="columns", bind="query-params", width=420)
    all_finished = bool((frame["state"] == "finished").all())
    columns = in_sight(columns, usual, [axes.y.label, axes.x.label], all_finished)
    ordered = in_order(frame, order, fit, baseline.run_id if baseline else "")
    table = table_frame(ordered, columns, fit, baseline.result if baseline else None)
    run_ids = list(ordered["run_id"])
    # The address is what is selected; a table that kept its own ticks would show them at other rows after a filter.
    ticked = {run.run_id for run in chosen}
    st.session_state[TABLE_KEY] = {"selection": {"rows": [i for i, run_id in enumerate(run_ids) if run_id in ticked]}}
    st.dataframe(
        as_cells(rounded(table, fit)),
        key=TABLE_KEY,
        hide_index=True,
        height="content" if len(table) <= _ROWS_IN_FULL else "auto",
        on_select=partial(_changed, run_ids),
        selection_mode=["multi-row", "single-cell"],
        placeholder="",
        column_config=column_config(table, fit),
        alt="The runs with sizes, metric, latency, their changes against the baseline and verification",
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "Download as CSV",
            partial(csv_text, table),  # made when somebody asks for it
            file_name="runs.csv",
            mime="text/csv",
            key="project:csv",
            on_click="ignore",
        )
        draw_menu_of_selected(chosen)
        st.caption("Click a cell to open its run. Tick rows to compare them.", width="content")


def rounded(table: pd.DataFrame, fit: Fit) -> pd.DataFrame:
    """Return the table with numbers as they are written: Streamlit cuts digits off where a column has a step.

    A thousandth of the last digit is added, for the cut not to meet a number just below the rounded one.
    """
    shown = table.copy()
    for column in table:
        if (digits := digits_of(column, fit)) is not None:
            values = table[column].astype(float).round(digits[0])
            shown[column] = values + np.sign(values) * 10.0 ** -(digits[0] + 3)
    return shown


def column_config(table: pd.DataFrame, fit: Fit) -> dict[str, Any]:
    """Return how the columns are written: numbers with their digits, changes with their sign and a short heading."""
    config: dict[str, Any] = {RUN: st.column_config.TextColumn(pinned=True, width=_RUN_PIXELS)}
    for column in table:
        digits = digits_of(column, fit)
        if digits is not None:
            places, is_change = digits
            written = f"%+.{places}f" if is_change else "localized"
            config[column] = st.column_config.NumberColumn(
                label=short_change_heading(column) if is_change else None,
                help=f"{column}, against the baseline." if is_change else None,
                format=written,
                step=10.0**-places,
            )
    return config


def _changed(run_ids: list[str]) -> None:
    selection = st.session_state[TABLE_KEY]["selection"]
    cells, rows = selection["cells"], selection["rows"]
    if cells and cells[0][0] < len(run_ids):
        open_later(run_ids[cells[0][0]])
        return
    here = [run_ids[row] for row in rows if row < len(run_ids)]
    before = [run_id for run_id in selected_ids() if run_id in here]
    select([*before, *(run_id for run_id in here if run_id not in before)])
