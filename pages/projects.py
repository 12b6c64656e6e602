"""Home: all projects, or what Tare is where there are none."""

import streamlit as st

from ui.project_cards import draw_card, draw_example_button, draw_example_progress, draw_welcome
from ui.session import NEW_PROJECT, begin_page, may_change, service

begin_page()
st.title("Projects")
projects = service().projects()
if not projects:
    draw_welcome()
    st.stop()
if may_change():
    with st.container(horizontal=True):
        if st.button("New project", type="primary", key="home:new"):
            st.switch_page(NEW_PROJECT)
        draw_example_button()
    draw_example_progress()
for first in range(0, len(projects), 2):
    for column, project in zip(st.columns(2), projects[first : first + 2], strict=False):
        with column:
            draw_card(project)
