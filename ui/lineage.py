"""Where a run came from and what came of it, and the way to continue it."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from runs.records import Relation, RunRecord
from ui.form_origin import open_form, why_nothing_follows
from ui.formatting import as_text
from ui.session import RUN, service

MOST_CHILDREN = 8
_FROM: dict[Relation, str] = {"continues": "Continues", "changed": "Changed from"}
_TO: dict[Relation, str] = {"continues": "Continued by", "changed": "Changed to"}


def draw_continue(run: RunRecord) -> None:
    """Draw the button that continues a finished run, or why nothing can follow."""
    if run.state != "finished" or not run.recipe.steps:
        return
    problem = why_nothing_follows(run)
    if st.button(
        "Continue from this run",
        key="run:continue",
        disabled=bool(problem),
        help=as_text(problem) if problem else "Add a step that goes on from the weights of this run.",
    ):
        open_form(run, "continues")


def draw_lineage(run: RunRecord) -> None:
    """Draw links to the run that this one came of, and to those that came of it."""
    runs = service().runs(run.project_id)
    if run.parent is not None:
        found = [other for other in runs if other.run_id == run.parent_run_id]
        _draw_links(_FROM[run.parent.relation], found, "parent")
        if not found:
            st.caption(f"{_FROM[run.parent.relation]} a run that was deleted.")
    for relation, words in _TO.items():
        children = [other for other in runs if other.parent_run_id == run.run_id]
        _draw_links(words, [one for one in children if one.parent and one.parent.relation == relation], relation)


def _draw_links(words: str, runs: Sequence[RunRecord], key: str) -> None:
    if not runs:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"run:lineage:{key}"):
        st.caption(words, width="content")
        for other in runs[:MOST_CHILDREN]:
            st.page_link(RUN, label=as_text(other.name), query_params={"run": other.run_id})
        if len(runs) > MOST_CHILDREN:
            st.caption(f"and {len(runs) - MOST_CHILDREN:,} more", width="content")
