"""Tare: page config and navigation; nothing else. Start it with `streamlit run app.py`."""

import streamlit as st

from ui.brand import ICON, WORDMARK
from ui.session import HOME, NEW_PROJECT, PRESENTATION, PROJECT, RUN, TECHNIQUES_PAGE, run_page

st.set_page_config(page_title="Tare", page_icon=ICON, layout="wide")
st.logo(WORDMARK, size="large")
page = st.navigation(
    [
        st.Page(HOME, title="Projects", default=True),
        st.Page(NEW_PROJECT, title="New project"),
        st.Page(TECHNIQUES_PAGE, title="Techniques"),
        st.Page(PROJECT, title="Project", visibility="hidden"),
        st.Page(RUN, title="Run", visibility="hidden"),
        st.Page(PRESENTATION, title="Presentation", visibility="hidden"),
    ],
    position="top",
)
run_page(page)
