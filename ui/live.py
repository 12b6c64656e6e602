"""What moves while something is at work: fragments that poll, with no input but Cancel, gone when all is done."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intake.errors import UserError
from runs.jobs import Job
from runs.records import RunRecord
from ui.charts import curve_figures
from ui.formatting import as_text, percent, seconds_left
from ui.frames import curve_tables, is_share_curve
from ui.selection import select, selected_ids
from ui.session import RUN, may_change, service, show_problems

POLL_SECONDS = 1.0
JOB_POLL_SECONDS = 0.4


@st.fragment(run_every=JOB_POLL_SECONDS)
def job_progress(job: Job) -> None:
    """Show how far a job is; the page is drawn anew once it is done."""
    if job.is_done:
        st.rerun()
    st.progress(min(max(job.fraction, 0.0), 1.0), text=as_text(job.message or f"{job.title}: waiting for its turn"))


def finished(job: Job) -> bool:
    """Return True where a job has a result; else show how far it is, or its problems with a way to try again."""
    if not job.is_done:
        job_progress(job)
        return False
    if job.problems:
        show_problems(job.problems)
        return False
    return True


@st.fragment(run_every=POLL_SECONDS)
def active_runs(project_id: str, drawn: dict[str, str]) -> None:
    """Show the runs at work in a project; the page is drawn anew when one of them begins or ends.

    Args:
        project_id: of the project on the page.
        drawn: run id -> state of the runs that were active when the page was drawn.
    """
    runs = service().runs(project_id)
    active = [run for run in runs if run.is_active]
    if {run.run_id: run.state for run in active} != drawn:
        _select_ended([run for run in runs if run.run_id in drawn and not run.is_active])
        st.rerun()
    for run in active:
        with st.container(border=True, key=f"active:{run.run_id}"):
            _active_card(run)


def _select_ended(ended: list[RunRecord]) -> None:
    """Have the page point at what just ended; a failure also where another run is, but never into a comparison."""
    for run in ended:
        selected = selected_ids()
        if len(selected) > 1 and run.state == "failed":
            st.toast(f"{as_text(run.name)} failed.")
        elif not selected or run.state == "failed":
            select([run.run_id])


def _active_card(run: RunRecord) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.page_link(RUN, label=as_text(run.name), query_params={"run": run.run_id})
        st.space("stretch")
        cancel_button(run)
    progress_bar(run)
    curves = service().curves(run.run_id) if run.state == "running" else {}
    trained = {name: points for name, points in curves.items() if name.startswith("train/")}
    if trained:
        for column, (name, points) in zip(st.columns(len(trained)), trained.items(), strict=True):
            _sparkline(column, name.removeprefix("train/"), points)


def _sparkline(column: Any, name: str, points: list[tuple[int, float]]) -> None:
    values = [value for _, value in points[-60:]]
    label = name.replace("_", " ").capitalize()
    text = percent(values[-1]) if is_share_curve(name) else f"{values[-1]:.4g}"
    column.metric(label, text, chart_data=values if len(values) > 1 else None)


def progress_bar(run: RunRecord) -> None:
    """Show where an active run is: its place in the line, or phase and time left."""
    if run.progress is None:
        st.progress(0.0, text=_waiting_text(run))
        return
    left = seconds_left(run.progress.remaining_s)
    text = " · ".join(part for part in (run.progress.phase, left) if part)
    st.progress(min(max(run.progress.fraction, 0.0), 1.0), text=as_text(text))


def _waiting_text(run: RunRecord) -> str:
    if run.state == "running":
        return "Starting"
    ahead = service().queue_position(run.run_id)
    if not ahead:
        return "Queued, next"
    return f"Queued, {ahead} run{'s' if ahead > 1 else ''} ahead"


def cancel_button(run: RunRecord) -> None:
    """Draw the button that stops a run; it says so until the worker has stopped. Nothing for viewers."""
    if not may_change():
        return
    asked = f"cancelling:{run.run_id}"
    label = "Cancelling …" if st.session_state.get(asked) else "Cancel"
    if st.button(label, key=f"cancel:{run.run_id}", disabled=bool(st.session_state.get(asked)), on_click=_cancel,
                 args=(run.run_id,)):  # fmt: skip
        st.rerun(scope="fragment")


def _cancel(run_id: str) -> None:
    st.session_state[f"cancelling:{run_id}"] = True
    try:
        service().cancel(run_id)
    except UserError as error:
        show_problems(error.problems)


@st.fragment(run_every=POLL_SECONDS)
def active_run(run_id: str) -> None:
    """Show one run at work with its curves and log; the page is drawn anew when it ends."""
    try:
        run = service().run(run_id)
    except UserError:
        st.rerun()
    if not run.is_active:
        st.rerun()
    progress_bar(run)
    cancel_button(run)
    _draw_moving_curves(service().curves(run_id))
    log = service().log(run_id, 40)
    if log:
        st.markdown("**Log**")
        st.code(log, language=None, height=220)


def _draw_moving_curves(curves: dict[str, list[tuple[int, float]]]) -> None:
    """Draw the curves of a run at work with Vega, which moves in place: each new plotly figure is mounted anew."""
    tables = curve_tables(curves)
    for first in range(0, len(tables), 2):
        pair = list(tables.items())[first : first + 2]
        for column, (name, table) in zip(st.columns(2), pair, strict=False):
            unit = ", %" if is_share_curve(name) else ""
            column.markdown(f"**{name.replace('_', ' ').capitalize()}{unit}**")
            column.line_chart(
                table, x="Optimizer step", y="Value", color="Part", y_label="", height=220, alt=f"{name} by step"
            )


def draw_curves(curves: dict[str, list[tuple[int, float]]]) -> None:
    """Draw the curves of a training, two beside each other."""
    figures = curve_figures(curves)
    for first in range(0, len(figures), 2):
        pair = list(figures.items())[first : first + 2]
        for column, (name, figure) in zip(st.columns(2), pair, strict=False):
            column.plotly_chart(figure, key=f"curve:{name}", config={"displayModeBar": False},
                                alt=f"{name} by optimizer step")  # fmt: skip
