"""Dialogs that rename and delete. Each ends by drawing the page anew, or by going home."""

from __future__ import annotations

import streamlit as st

from intake.errors import UserError
from runs.records import Project
from ui.formatting import as_text
from ui.session import HOME, service, show_problems


@st.dialog("Rename project")
def rename_project(project: Project) -> None:
    """Ask for another name of a project."""
    name = st.text_input("Name", project.name, max_chars=120, key=f"rename_project:{project.project_id}")
    if st.button("Rename", type="primary", key="rename_project:do"):
        try:
            service().rename_project(project.project_id, name)
        except UserError as error:
            show_problems(error.problems)
            return
        st.rerun()


@st.dialog("Delete project")
def delete_project(project: Project) -> None:
    """Ask before a project is deleted."""
    count = len(service().runs(project.project_id))
    st.markdown(f"Delete **{as_text(project.name)}** with its {count} run{'s' if count != 1 else ''}?")
    st.caption("Runs that are at work are cancelled. The uploaded files stay on the server.")
    if st.button("Delete project", type="primary", key="delete_project:do"):
        try:
            service().delete_project(project.project_id)
        except UserError as error:
            show_problems(error.problems)
            return
        st.switch_page(HOME)
