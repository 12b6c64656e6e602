"""Top of a project page: name, what it is made of, and what to say before there is a point to draw."""

from __future__ import annotations

import streamlit as st

from intake.dataset_info import RANDOM_INPUTS_NOTE
from runs.records import Project, RunRecord
from ui.dataset_view import draw_dataset
from ui.dialogs import delete_project, rename_project
from ui.fit_view import draw_fit
from ui.formatting import as_text, sentences
from ui.model_view import draw_model
from ui.presentation_link import draw_present_link
from ui.selection import selected_ids
from ui.session import HOME, RUN, may_change, service


def draw_head(project: Project) -> None:
    """Draw the way home, the name, what can be done with the project, and what it is made of."""
    st.page_link(HOME, label="All projects", icon=":material/arrow_back:")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.title(as_text(project.name), width="stretch")
        draw_present_link(project)
        chosen = None
        if may_change():
            chosen = st.menu_button("Manage", ["Rename", "Delete"], key="project:menu", type="tertiary")
    if chosen == "Rename":
        rename_project(project)
    elif chosen == "Delete":
        delete_project(project)
    if project.owner:
        st.caption(f"Created by {as_text(project.owner)}")
    if project.dataset is None:
        st.info(RANDOM_INPUTS_NOTE)
    with st.expander("Model, data and how they fit", key="project:parts"):
        _draw_parts(project)


def _draw_parts(project: Project) -> None:
    model, data, fit = st.tabs(["Model", "Data", "Fit"])
    with model:
        _draw_model(project)
    with data:
        _draw_dataset(project)
    with fit:
        draw_fit(project.fit, _class_names(project))


def _draw_model(project: Project) -> None:
    try:
        draw_model(service().model_info(project))
    except OSError:
        st.caption("What was read of the model is no longer stored here; the next run reads it again.")


def _draw_dataset(project: Project) -> None:
    try:
        draw_dataset(service().dataset_info(project), project.dataset_id, project.options, "project")
    except OSError:
        st.caption("What was read of the data is no longer stored here; the next run reads it again.")


def _class_names(project: Project) -> tuple[str, ...]:
    try:
        return service().dataset_info(project).class_names
    except OSError:
        return ()


def draw_waiting(project: Project, runs: list[RunRecord]) -> None:
    """Say what happens before the first point is there, or why it is missing."""
    failed = next((run for run in reversed(runs) if run.is_baseline and run.state == "failed"), None)
    with st.container(border=True, key="project:waiting"):
        if failed is not None:
            st.markdown("**The baseline could not be measured**")
            st.error(sentences([failed.error]))
            st.page_link(RUN, label="Open the run with its log", query_params={"run": failed.run_id})
        else:
            st.markdown("**The baseline is on its way**")
            st.caption(
                "It measures the uploaded model as it is: the point that every run is compared with. "
                "You can queue the first run already."
            )


def draw_failure(runs: list[RunRecord]) -> None:
    """Say why the run that the address marks has failed, as one that just ended does."""
    selected = selected_ids()
    failed = next((run for run in runs if run.run_id in selected and run.state == "failed"), None)
    if failed is not None:
        st.error(sentences([f"{failed.name}: {failed.error}"]))
        st.page_link(RUN, label="Open the run with its log", query_params={"run": failed.run_id})
