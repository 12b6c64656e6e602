"""Help: what each technique does, when to use it, what its parameters mean. All read from the declarations."""

import streamlit as st

from optimizers import TECHNIQUES
from optimizers.fine_tuning import FineTuning
from ui.parameter_list import parameter_list
from ui.session import begin_page

begin_page()
st.title("Techniques")
st.markdown(
    "Each run applies one technique, or several in a row: the form offers what can follow, and says of the others why "
    "they cannot. Below is what the forms are made of."
)
for entry in TECHNIQUES:
    with st.container(border=True, key=f"technique:{entry.name}"):
        st.subheader(entry.title)
        st.markdown(entry.summary)
        st.markdown(
            f"- **When:** {entry.use_when}\n- **When not:** {entry.avoid_when}\n- **What shrinks:** {entry.shrinks}"
        )
        if entry.fine_tuning is not None:
            st.markdown("It trains: the fine-tuning settings below apply, with its own defaults.")
        with st.expander("Parameters", key=f"technique:{entry.name}:parameters"):
            st.markdown(parameter_list(entry.Params))
        st.caption(f"Source: {entry.source}")
st.subheader("Fine-tuning")
st.markdown(parameter_list(FineTuning))
