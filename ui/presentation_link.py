"""The link to the presentation of a project, or of one of its runs."""

from __future__ import annotations

import streamlit as st

from runs.records import Project, RunRecord
from ui.session import PRESENTATION

_HELP = "Plot, three figures and some samples on one page without controls. Its address can be shared."


def draw_present_link(project: Project, run: RunRecord | None = None) -> None:
    """Draw the link; nothing for a run that has nothing to show beside the original."""
    if run is not None and (run.result is None or run.is_baseline):
        return
    query = {"project": project.project_id} | ({"run": run.run_id} if run else {})
    st.page_link(
        PRESENTATION, label="Present", icon=":material/slideshow:", query_params=query, width="content", help=_HELP
    )
