"""The form for a new run: generated from the declarations, checked by them, submitted to the service."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intake.errors import InvalidParams, UserError
from intake.fit import Fit
from intake.tasks import impossible_losses
from optimizers import TECHNIQUES, technique
from optimizers.declaration import ParameterSpec, specs
from optimizers.fine_tuning import FineTuning
from optimizers.recipe import Recipe, RecipeStep
from optimizers.technique import Technique
from runs.records import Project, RunRecord
from ui.forms import (
    draw_params,
    fill_draft,
    fine_tuning_prefix,
    fine_tuning_specs,
    start_from,
    start_of,
    without_choices,
)
from ui.session import service, show_problems

TECHNIQUE_KEY = "new_run:technique"
THEN_KEY = "new_run:then"
NAME_KEY = "new_run:name"
RUN_KEY = "new_run:run"
PROJECT_KEY = "new_run:project"


def draw_new_run(project: Project) -> None:
    """Draw the form; a press on Run queues the recipe and draws the page anew."""
    st.subheader("New run")
    _forget_epochs_of_another(project)
    entry = technique(_choose_technique())
    _explain(entry)
    steps = [_draw_step(entry, project, entry.name)]
    then = _choose_then(entry)
    if then:
        with st.container(border=True):
            st.markdown(f"**{technique(then).title}**")
            steps.append(_draw_step(technique(then), project, then_prefix(then)))
    recipe = _checked(steps)
    name = st.text_input(
        "Name (optional)", key=NAME_KEY, max_chars=120, placeholder=recipe.title if recipe else "", persist_state="page"
    )
    if st.button("Run", key=RUN_KEY, type="primary", width="stretch", disabled=recipe is None) and recipe:
        _submit(project, recipe, name)


def _forget_epochs_of_another(project: Project) -> None:
    """Drafts follow the user from project to project, but how many epochs suit is a matter of the dataset."""
    if st.session_state.get(PROJECT_KEY) not in (None, project.project_id):
        for key in [key for key in st.session_state if str(key).endswith(":fine_tuning:epochs")]:
            del st.session_state[key]
    st.session_state[PROJECT_KEY] = project.project_id


def then_prefix(technique_name: str) -> str:
    """Return the prefix of the widgets of a technique that comes second."""
    return f"then:{technique_name}"


def _title(name: str) -> str:
    return technique(name).title if name else "nothing: keep float32"


def _choose_technique() -> str:
    names = [entry.name for entry in TECHNIQUES]
    return str(
        st.radio(
            "Technique",
            names,
            names.index(start_of(TECHNIQUE_KEY, names[0])),
            format_func=_title,
            key=TECHNIQUE_KEY,
            persist_state="session",
        )
    )


def _explain(entry: Technique) -> None:
    st.caption(entry.summary)
    with st.expander("When to use it", key=f"{entry.name}:explain"):
        st.markdown(
            f"**When:** {entry.use_when}\n\n**When not:** {entry.avoid_when}\n\n**What shrinks:** {entry.shrinks}"
        )


def _draw_step(entry: Technique, project: Project, prefix: str) -> tuple[str, dict[str, Any], dict[str, Any] | None]:
    params = draw_params(prefix, specs(entry.Params))
    suggested = service().suggested_fine_tuning(project, entry)
    if suggested is None:
        return entry.name, params, None
    with st.expander("Fine-tuning", key=f"{prefix}:fine_tuning"):
        settings = draw_params(fine_tuning_prefix(prefix), offered_settings(suggested, project.fit))
    return entry.name, params, settings


def offered_settings(defaults: FineTuning, fit: Fit) -> tuple[ParameterSpec, ...]:
    """Return the fine-tuning settings, without the losses that cannot train the project's task."""
    reasons = dict(impossible_losses(fit.task))
    return tuple(without_choices(spec, reasons) for spec in fine_tuning_specs(defaults))


def followers(entry: Technique) -> list[str]:
    """Return the techniques that can write the file after `entry`, by the rules of recipes."""
    found = []
    for other in TECHNIQUES:
        try:
            Recipe.checked([RecipeStep(technique=entry.name), RecipeStep(technique=other.name)])
        except InvalidParams:
            continue
        if other.converts:
            found.append(other.name)
    return found


def _choose_then(entry: Technique) -> str:
    offered = followers(entry)
    if not offered:
        return ""
    start = start_of(THEN_KEY, "")
    return str(
        st.selectbox(
            "Then also",
            ["", *offered],
            index=offered.index(start) + 1 if start in offered else 0,
            format_func=_title,
            key=THEN_KEY,
            help="A second technique on the result of the first, in the same run.",
            persist_state="session",
        )
    )


def _checked(steps: list[tuple[str, dict[str, Any], dict[str, Any] | None]]) -> Recipe | None:
    """Return the recipe, or None after its problems were shown."""
    built: list[RecipeStep] = []
    problems: list[str] = []
    for name, params, settings in steps:
        try:
            built.append(RecipeStep.checked(name, params, settings))
        except InvalidParams as error:
            problems += error.problems
    if not problems:
        try:
            return Recipe.checked(built)
        except InvalidParams as error:
            problems += error.problems
    show_problems(tuple(problems))
    return None


def _submit(project: Project, recipe: Recipe, name: str) -> None:
    try:
        run = service().submit(project.project_id, recipe, name)
    except UserError as error:
        show_problems(error.problems)
        return
    st.session_state["new_run:queued"] = run.run_id
    st.rerun()


def draft_of(run: RunRecord) -> None:
    """Set the form to the recipe of a run, to change it and run it again."""
    first, *rest = run.recipe.steps
    start_from(TECHNIQUE_KEY, first.technique)
    fill_draft(first.technique, first.params, first.fine_tuning)
    start_from(THEN_KEY, rest[0].technique if rest else "")
    for step in rest[:1]:
        fill_draft(then_prefix(step.technique), step.params, step.fine_tuning)


def announce_queued() -> None:
    """Say once that a run was queued."""
    run_id = st.session_state.pop("new_run:queued", "")
    if run_id:
        st.toast("Run queued")
