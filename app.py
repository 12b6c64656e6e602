"""Tare: page config and navigation; nothing else. Start it with `streamlit run app.py`."""

import streamlit as st

from ui.brand import ICON, WORDMARK
from ui.navigation import run_app

st.set_page_config(page_title="Tare", page_icon=ICON, layout="wide")
st.logo(WORDMARK, size="large")
run_app()
