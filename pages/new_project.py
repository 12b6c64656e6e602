"""A new project: model, dataset, how they fit. Every step keeps what it has, whatever happens to the others."""

import streamlit as st

from ui.new_project import create_step, dataset_step, fit_step, model_step
from ui.session import HOME, begin_page, end_where_only_looking

begin_page()
st.page_link(HOME, label="All projects", icon=":material/arrow_back:")
st.title("New project")
end_where_only_looking()
with st.container(border=True, key="new:step_model"):
    st.subheader("1 · Model")
    model = model_step()
with st.container(border=True, key="new:step_data"):
    st.subheader("2 · Dataset")
    dataset = dataset_step(model)
with st.container(border=True, key="new:step_fit"):
    st.subheader("3 · How they fit")
    if model and dataset:
        report = fit_step(model, dataset)
        if report:
            create_step(model, dataset, report)
    else:
        st.caption("Found out automatically as soon as model and data are there.")
