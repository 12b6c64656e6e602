"""Chart and table of a project's runs: one selection, kept in the address, shared by both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import pandas as pd
import streamlit as st

from runs.records import Project, RunRecord
from ui.charts import tradeoff_figure
from ui.formatting import as_text, change_percent, metric_change, metric_text
from ui.frames import SIZES, SizeKind, baseline_of, csv_text, is_within_noise, runs_frame, with_changes
from ui.run_table import styled, table_frame
from ui.session import RUN, address, set_address

CHART_KEY = "project:chart"
TABLE_KEY = "project:table"


@dataclass(frozen=True)
class Axes:
    """What the chart shows."""

    size: SizeKind
    log_size: bool
    intervals: bool


def changes_of(runs: list[RunRecord], size: SizeKind) -> pd.DataFrame:
    """Return the runs as a frame, with their changes against the baseline."""
    baseline = baseline_of(runs)
    return with_changes(runs_frame(runs), size, baseline.result if baseline else None)


def draw_controls() -> Axes:
    """Draw what chooses the axes; the choice stands in the address."""
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
    return Axes(next(kind for kind in SIZES if kind.label == label), log_size, intervals)


def draw_chart(project: Project, frame: pd.DataFrame, axes: Axes) -> None:
    """Draw size against metric; a click on a point selects its run."""
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
        on_select=partial(_point_selected, list(frame["run_id"])),
        selection_mode="points",
        config={
            "displaylogo": False,
            "modeBarButtonsToRemove": ["select2d", "lasso2d", "zoom2d", "pan2d", "autoScale2d"],
        },
        alt="Every measured run as a point of size against the metric, with the Pareto front",
    )


def _point_selected(run_ids: list[str]) -> None:
    points = st.session_state[CHART_KEY]["selection"]["points"]
    chosen = str(points[0]["customdata"][0]) if points and points[0].get("customdata") else ""
    set_address("selected", chosen)
    rows = [run_ids.index(chosen)] if chosen in run_ids else []
    st.session_state[TABLE_KEY] = {"selection": {"rows": rows, "columns": [], "cells": []}}


def draw_table(project: Project, frame: pd.DataFrame, size: SizeKind) -> None:
    """Draw all runs as a sortable table; a click on a row selects its run."""
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
    set_address("selected", run_ids[rows[0]] if rows and rows[0] < len(run_ids) else "")


def draw_selected(project: Project, runs: list[RunRecord], size: SizeKind) -> None:
    """Draw the selected run in a line, with the way to its page."""
    run = next((run for run in runs if run.run_id == address("selected")), None)
    if run is None:
        st.caption("Select a point or a row to see its run.")
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="project:selected"):
        st.markdown(f"**{as_text(run.name)}**  \n{as_text(_summary(project, run, runs, size))}", width="stretch")
        if st.button("Open run", key="project:open", type="primary"):
            st.switch_page(RUN, query_params={"run": run.run_id})


def _summary(project: Project, run: RunRecord, runs: list[RunRecord], size: SizeKind) -> str:
    if run.result is None:
        return f"{run.recipe.title} · {run.state}"
    name, baseline = project.fit.metric_name, baseline_of(runs)
    new = getattr(run.result, size.field)
    parts = [f"{size.label} {size.text(new)}", metric_text(name, run.result.metric)]
    if baseline and baseline.result and not run.is_baseline:
        parts[0] += f" ({change_percent(new, getattr(baseline.result, size.field))})"
        noise = ", within noise" if is_within_noise(run.result, baseline.result) else ""
        parts[1] += f" ({metric_change(name, run.result.metric - baseline.result.metric)}{noise})"
    return " · ".join([run.recipe.title, *parts])
