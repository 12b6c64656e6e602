"""Chart and table of a project's runs: a click on a point or a row opens the run; the way back marks it in both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pandas as pd
import streamlit as st

from runs.records import Project, RunRecord
from ui.charts import tradeoff_figure
from ui.frames import SIZES, SizeKind, baseline_of, csv_text, runs_frame, with_changes
from ui.run_table import styled, table_frame
from ui.session import RUN, address

CHART_KEY = "project:chart"
TABLE_KEY = "project:table"
OPEN_KEY = "project:open_run"


@dataclass(frozen=True)
class Axes:
    """What the chart shows."""

    size: SizeKind
    log_size: bool
    intervals: bool
    tags: tuple[str, ...] = ()
    """Only runs with one of them are shown, and baselines; all runs where it is empty."""


def changes_of(runs: list[RunRecord], size: SizeKind) -> pd.DataFrame:
    """Return the runs as a frame, with their changes against the baseline."""
    baseline = baseline_of(runs)
    return with_changes(runs_frame(runs), size, baseline.result if baseline else None)


def draw_controls(tags: list[str]) -> Axes:
    """Draw what chooses the axes, and the runs where some have tags; the choice stands in the address."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        label = st.selectbox(
            "Size",
            [kind.label for kind in SIZES],
            key="size",
            help="\n".join(f"- **{kind.label}**: {kind.help}" for kind in SIZES),
            bind="query-params",
            width=230,
        )
        log_size = st.toggle("Log size", key="log", bind="query-params")
        intervals = st.toggle(
            "95 % intervals",
            value=True,
            key="intervals",
            help="How far the metric could be off, given the number of test samples.",
            bind="query-params",
        )
        chosen = _choose_tags(tags)
    return Axes(next(kind for kind in SIZES if kind.label == label), log_size, intervals, chosen)


def _choose_tags(tags: list[str]) -> tuple[str, ...]:
    if not tags:
        return ()
    return tuple(
        st.multiselect(
            "Only runs tagged",
            tags,
            key="tags",
            help="The runs of a sweep have its tag. Chart, table and CSV show these and the baseline.",
            placeholder="All runs",
            bind="query-params",
            width=230,
        )
    )


def draw_chart(project: Project, frame: pd.DataFrame, axes: Axes) -> None:
    """Draw size against metric; a click on a point opens its run."""
    figure = tradeoff_figure(
        frame,
        axes.size,
        project.fit,
        log_size=axes.log_size,
        intervals=axes.intervals,
        selected=address("selected"),
    )
    st.plotly_chart(
        figure,
        key=CHART_KEY,
        on_select=_point_selected,
        selection_mode="points",
        config={
            "displaylogo": False,
            "modeBarButtonsToRemove": ["select2d", "lasso2d", "zoom2d", "pan2d", "autoScale2d"],
        },
        alt="Every measured run as a point of size against the metric, with the Pareto front",
    )


def _point_selected() -> None:
    points = st.session_state[CHART_KEY]["selection"]["points"]
    if points and points[0].get("customdata"):
        st.session_state[OPEN_KEY] = str(points[0]["customdata"][0])


def open_chosen() -> None:
    """Go to the run whose point or row was just clicked; a callback itself cannot change the page."""
    run_id = st.session_state.pop(OPEN_KEY, "")
    if run_id:
        st.switch_page(RUN, query_params={"run": run_id})


def draw_table(project: Project, frame: pd.DataFrame, size: SizeKind) -> None:
    """Draw all runs as a sortable table; a click on a row opens its run."""
    table = table_frame(frame, size, project.fit)
    run_ids = list(frame["run_id"])
    chosen = address("selected")
    st.dataframe(
        styled(table, size, project.fit),
        key=TABLE_KEY,
        hide_index=True,
        on_select=partial(_row_selected, run_ids),
        selection_mode="single-row",
        selection_default={"selection": {"rows": [run_ids.index(chosen)] if chosen in run_ids else []}},
        placeholder="",
        column_config={"Run": st.column_config.TextColumn(pinned=True, width="medium")},
        alt="All runs of the project with sizes, metric, latency and verification",
    )
    st.download_button(
        "Download as CSV",
        csv_text(frame, size, project.fit),
        file_name="runs.csv",
        mime="text/csv",
        key="project:csv",
        on_click="ignore",
    )


def _row_selected(run_ids: list[str]) -> None:
    rows = st.session_state[TABLE_KEY]["selection"]["rows"]
    if not rows:  # a click on the row that was marked takes the mark off: the user meant to open it
        st.session_state[OPEN_KEY] = address("selected")
    elif rows[0] < len(run_ids):
        st.session_state[OPEN_KEY] = run_ids[rows[0]]
