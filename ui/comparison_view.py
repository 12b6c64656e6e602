"""The selected runs beside each other: only what differs, and lines through the settings and results that vary."""

from __future__ import annotations

from pathlib import PurePath

import streamlit as st

from runs.records import Project, Result, RunRecord
from ui.cells import as_cells
from ui.comparison import FEWEST, MOST, differences, dimensions, parallel_figure, usual_dimensions
from ui.selection import select, selected_ids
from ui.session import service

ANCHOR = "comparison"


def selected_of(runs: list[RunRecord]) -> list[RunRecord]:
    """Return the selected ones of some runs, in the order in which they were selected."""
    known = {run.run_id: run for run in runs}
    return [known[run_id] for run_id in selected_ids() if run_id in known]


def draw_selection_note(chosen: list[RunRecord]) -> None:
    """Say below the chart what a click does, or how many runs are selected and where they are compared."""
    if len(chosen) < FEWEST:
        st.caption("Click a point to open its run. Draw around points with lasso or box to compare them.")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{len(chosen):,} runs selected**: [what they differ in](#{ANCHOR})", width="content")
        st.button("Clear the selection", key="project:clear", type="tertiary", on_click=select, args=([],))


def draw_comparison(project: Project, chosen: list[RunRecord], baseline: Result | None) -> None:
    """Draw what the selected runs differ in; nothing where fewer than two are selected."""
    if len(chosen) < FEWEST:
        return
    st.subheader(f"{len(chosen):,} runs beside each other", anchor=ANCHOR)
    if len(chosen) <= MOST:
        _draw_differences(project, chosen, baseline)
        _draw_report(project, chosen)
    else:
        st.caption(f"Select {FEWEST} to {MOST} runs to see a table of what they differ in.")
    _draw_parallel(project, chosen)


def _draw_differences(project: Project, chosen: list[RunRecord], baseline: Result | None) -> None:
    table = differences(chosen, project.fit, baseline)
    if table.empty:
        st.caption("These runs have the same settings and the same results.")
        return
    st.dataframe(
        as_cells(table),
        key="comparison:table",
        hide_index=True,
        height="content",
        column_config={"": st.column_config.TextColumn(pinned=True, width=190)},
        alt="Settings and results in which the selected runs differ",
    )
    st.caption("Everything else is the same. Changes are against the baseline.")


def _draw_report(project: Project, chosen: list[RunRecord]) -> None:
    """Offer the comparison as a file, of those that are measured; it is made only when somebody asks for it."""
    ids = [run.run_id for run in chosen if run.result and run.state == "finished"]
    if len(ids) < FEWEST:
        return
    st.download_button(
        "Report of this comparison (.html)",
        lambda: service().handovers.comparison(ids)[1],
        file_name=f"{PurePath(project.model.file_name).stem}-{len(ids)}-runs.html",
        mime="text/html",
        key="comparison:report",
        icon=":material/download:",
        on_click="ignore",
        help="One file with figures, sizes, settings and hashes of these runs. It opens without a network.",
    )


def _draw_parallel(project: Project, chosen: list[RunRecord]) -> None:
    found = dimensions(chosen, project.fit)
    if len(found) < FEWEST:
        return
    labels = [dimension.label for dimension in found]
    usual = usual_dimensions(found, project.fit)
    with st.popover("Axes of the lines", icon=":material/tune:"):
        wanted = st.multiselect("What varies", labels, usual, key=f"comparison:axes:{'|'.join(labels)}")
    shown = [dimension for dimension in found if dimension.label in wanted]
    if not shown:
        return
    st.plotly_chart(
        parallel_figure(chosen, shown, project.fit),
        key="comparison:parallel",
        config={"displaylogo": False, "displayModeBar": False},
        alt="A line for each selected run through the settings and results that vary",
    )
    st.caption("Drag along an axis to keep only the lines that pass there; drag a name to move its axis.")
