"""Which run the form of a project continues or changes, above its steps."""

from __future__ import annotations

import streamlit as st

from optimizers.fine_tuning import fine_tuning_specs
from runs.records import Project, Relation, RunRecord
from ui.form_origin import PARAMETERS, forget_origin, origin_of_form
from ui.formatting import as_text
from ui.recipe_steps import summary_of
from ui.session import RUN, address


def draw_origin(project: Project) -> None:
    """Draw which run the form continues or changes, and the way to stop that."""
    found = origin_of_form(project)
    if found is not None:
        with st.container(border=True, key="new_run:origin", gap="xsmall"):
            _draw_origin(*found)
    elif any(address(name) for name in PARAMETERS.values()):
        st.warning("The run that this form was to go on from is not here, or nothing can follow it.")
        st.button("Start a new run", key="new_run:forget_origin", on_click=forget_origin)


def _draw_origin(run: RunRecord, relation: Relation) -> None:
    continues = relation == "continues"
    label = f"{'Continues from' if continues else 'Changes'} {as_text(run.name)}"
    st.page_link(RUN, label=label, icon=":material/account_tree:", query_params={"run": run.run_id})
    if continues:
        for place, step in enumerate(run.recipe.steps, start=1):
            settings = fine_tuning_specs(step.entry.fine_tuning) if step.entry.fine_tuning else ()
            changed = summary_of(step, settings)
            st.markdown(f"**{place} · {step.entry.title}**{': ' + as_text(changed) if changed else ''}")
        st.caption("What was done stays and is not trained again. Choose what comes next.")
    st.button(
        "Stop continuing" if continues else "Forget where it came from",
        key="new_run:forget_origin",
        type="tertiary",
        icon=":material/close:",
        on_click=forget_origin,
    )
