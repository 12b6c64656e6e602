"""The parts of a run's page that depend on its state: header, what to do after a failure."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from intake.errors import UserError
from runs.records import Project, Result, RunRecord
from ui.downloads import draw_downloads
from ui.estimates import draw_estimate_beside
from ui.form_origin import open_form
from ui.formatting import as_text, seconds, sentences
from ui.frames import baseline_of
from ui.lineage import draw_continue, draw_lineage
from ui.live import draw_curves
from ui.presentation_link import draw_present_link
from ui.run_behaviour import draw_behaviour
from ui.run_details import draw_facts, draw_headline, draw_origin, draw_recipe, draw_sizes, draw_tensors
from ui.run_graph import draw_graph
from ui.run_labels import draw_note, draw_run_menu
from ui.run_layers import draw_outcomes
from ui.run_sensitivity import draw_sensitivity
from ui.run_speed import draw_speed
from ui.session import PROJECT, RUN, may_change, service, show_problems
from ui.try_it import draw_try_it
from ui.wording import STATES

_TALLEST_LOG = 420
"""Pixels."""
_LOG_ROWS, _LOG_LETTERS = 18, 120
"""That fit into it, and into a row of it."""
_COLOURS = {"finished": "green", "failed": "red", "interrupted": "orange", "cancelled": "gray"}


def draw_head(run: RunRecord, project: Project) -> None:
    """Draw the way back, name, technique, state and what can be done with the run."""
    st.page_link(
        PROJECT,
        label=as_text(project.name),
        icon=":material/arrow_back:",
        query_params={"project": project.project_id, "selected": run.run_id},
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(f"{'★ ' if run.starred else ''}{as_text(run.name)}", width="stretch")
        _draw_actions(run, project)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(STATES[run.state], color=_COLOURS.get(run.state, "blue"))  # type: ignore[arg-type]
        if run.archived:
            st.badge("archived", color="gray")
        st.caption(as_text(_subtitle(run)), width="content")
    draw_lineage(run)
    draw_note(run)
    if run.result is not None and run.error:
        st.error(sentences([run.error]))
    if run.notes:
        st.info(sentences(run.notes))


def _subtitle(run: RunRecord) -> str:
    parts = [run.recipe.title, *run.tags, f"{run.created_at.astimezone():%d %b %Y, %H:%M}"]
    if run.owner:
        parts.append(f"queued by {run.owner}")
    if run.started_at and run.ended_at:
        parts.append(f"took {seconds((run.ended_at - run.started_at).total_seconds())}")
    return " · ".join(parts)


def _draw_actions(run: RunRecord, project: Project) -> None:
    if run.is_active:
        return
    if not may_change():
        draw_present_link(project, run)
        return
    if epochs := service().resumable_epochs(run):
        _draw_resume(run, epochs)
    draw_present_link(project, run)
    if st.button("Run again", key="run:again", help="Queue the same recipe once more."):
        _go_on(run)
    if run.recipe.steps and st.button("Change and run", key="run:change", help="Fill the form with this recipe."):
        open_form(run, "changed")
    draw_continue(run)
    draw_run_menu(run)


def _draw_resume(run: RunRecord, epochs: int) -> None:
    done = f"{epochs:,} epoch{'' if epochs == 1 else 's'}"
    if st.button("Resume", key="run:resume", type="primary", help=f"Go on after {done}, from its checkpoint."):
        try:
            service().resume(run.run_id)
        except UserError as error:
            show_problems(error.problems)
            return
        st.rerun()


def _go_on(run: RunRecord) -> None:
    try:
        again = service().run_again(run.run_id)
    except UserError as error:
        show_problems(error.problems)
        return
    st.switch_page(RUN, query_params={"run": again.run_id})


def draw_ended_without_result(run: RunRecord) -> None:
    """Draw why a run has no result, its curves so far and its log."""
    if run.error:
        st.error(sentences([run.error]))
    elif run.state == "cancelled":
        st.info("This run was cancelled. Nothing was measured.")
    draw_recipe(run.recipe)
    draw_curves(service().curves(run.run_id))
    _draw_log(run, expanded=True)


def draw_finished(run: RunRecord, result: Result, project: Project) -> None:
    """Draw everything that a finished run left."""
    newest = baseline_of(service().runs(project.project_id))
    baseline = None if run.is_baseline or newest is None else newest.result
    report = service().report(run.run_id)
    draw_headline(result, baseline, project.fit)
    draw_downloads(run, project)
    left, right = st.columns([1.4, 1], gap="large")
    with left:
        draw_sizes(result, baseline, report)
        if report is not None:
            draw_estimate_beside(report.estimate, result)
            draw_facts(report.facts)
    with right:
        draw_recipe(run.recipe)
    if report is not None:
        draw_behaviour(report.behaviour, project, run.is_baseline)
    draw_try_it(run, project, report)
    draw_speed(run, result, baseline)
    curves = service().curves(run.run_id)
    if curves:
        st.subheader("Training")
        draw_curves(curves)
    if report is not None:
        draw_outcomes(run.recipe, report.layers)
        draw_graph(run, report.layers)
    draw_sensitivity(run, project)
    if report is not None:
        draw_tensors(report)
        draw_origin(run, report)
    _draw_log(run, expanded=False)


def _draw_log(run: RunRecord, expanded: bool) -> None:
    log = service().log(run.run_id)
    if log:
        with st.expander("Log", key="run:log", expanded=expanded):
            st.code(log, language=None, height=log_height(log), wrap_lines=True)


def log_height(log: str) -> int | Literal["content"]:
    """Return the height of a log: what its lines take, up to some; longer ones scroll."""
    rows = sum(1 + len(line) // _LOG_LETTERS for line in log.splitlines())
    return "content" if rows <= _LOG_ROWS else _TALLEST_LOG
