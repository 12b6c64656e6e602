"""One run: live while it is at work, then its figures, claims and files."""

import streamlit as st

from ui.live import active_run
from ui.run_details import draw_recipe
from ui.run_page import draw_ended_without_result, draw_finished, draw_head
from ui.session import begin_page, project_of, run_of_address

begin_page()
run = run_of_address()
project = project_of(run)
draw_head(run, project)
if run.is_active:
    active_run(run.run_id)
    draw_recipe(run.recipe)
elif run.result is None or run.state != "finished":
    draw_ended_without_result(run)
else:
    draw_finished(run, run.result, project)
if run.state == "finished" and run.result is None:
    st.warning("This run finished but left no figures. Run it again.")
