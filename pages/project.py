"""One project: every run as a point, the table of runs, what selected runs differ in, and the form for the next run."""

import streamlit as st

from ui.comparison_view import draw_comparison, draw_selection_note, selected_of
from ui.frames import baseline_of
from ui.live import active_runs
from ui.new_run import announce_queued, draw_form_layers, draw_new_run, draw_no_form
from ui.project_head import draw_failure, draw_head, draw_waiting
from ui.run_filter import RunFilter, matching
from ui.run_list import draw_table
from ui.selection import open_chosen
from ui.session import begin_page, may_change, project_of_address, service
from ui.tradeoff import changes_of, draw_budget, draw_chart, draw_controls

begin_page()
open_chosen()
project = project_of_address()
runs = service().runs(project.project_id)
active = {run.run_id: str(run.state) for run in runs if run.is_active}
baseline = baseline_of(runs)
measured = baseline.result if baseline else None

draw_head(project)
draw_no_form()
announce_queued()
draw_failure(runs)
left, right = st.columns([1.9, 1], gap="large") if may_change() else (st.container(), None)
with left:
    axes, wanted = draw_controls(project, runs)
    shown = matching(runs, wanted)
    chosen = selected_of(shown)
    frame = changes_of(shown, axes, measured, project.fit)
    if frame["metric"].notna().any():
        kept = draw_budget(project, frame, axes, measured)
        draw_chart(project, frame, axes, kept)
        draw_selection_note(chosen)
    else:
        draw_waiting(project, runs)
    if active:
        st.subheader("At work")
        active_runs(project.project_id, active)
    count = len(matching(runs, RunFilter(archived=wanted.archived)))
    draw_table(project, frame, baseline, chosen, count, axes, any(run.owner for run in runs))
    draw_comparison(project, chosen, measured)
    layers = st.container(key="project:layers")
if right is not None:
    with right:
        draw_new_run(project)
    with layers:
        draw_form_layers(project)
