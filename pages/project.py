"""One project: every run as a point of size against accuracy, and the form for the next run."""

import streamlit as st

from ui.frames import tags_of, with_tags
from ui.live import active_runs
from ui.new_run import announce_queued, draw_form_layers, draw_new_run
from ui.project_head import draw_failure, draw_head, draw_waiting
from ui.session import begin_page, project_of_address, service
from ui.tradeoff import changes_of, draw_chart, draw_controls, draw_table, open_chosen

begin_page()
open_chosen()
project = project_of_address()
runs = service().runs(project.project_id)
active = {run.run_id: str(run.state) for run in runs if run.is_active}

draw_head(project)
announce_queued()
draw_failure(runs)
left, right = st.columns([1.9, 1], gap="large")
with left:
    axes = draw_controls(tags_of(runs))
    frame = changes_of(with_tags(runs, axes.tags), axes.size)
    if frame["metric"].notna().any():
        draw_chart(project, frame, axes)
        st.caption("Click a point or a row to open its run.")
    else:
        draw_waiting(project, runs)
    layers = st.container(key="project:layers")
    if active:
        st.subheader("At work")
        active_runs(project.project_id, active)
with right:
    draw_new_run(project)
with layers:
    draw_form_layers(project)
st.subheader("All runs")
draw_table(project, frame, axes.size)
