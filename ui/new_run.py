"""The form for a new run: generated from the declarations, checked by them, submitted to the service."""

from __future__ import annotations

from typing import Any

import streamlit as st

from intake.errors import InvalidParams, UserError
from optimizers import TECHNIQUES, technique
from optimizers.declaration import ParameterSpec, specs
from optimizers.fine_tuning import FineTuning
from optimizers.recipe import Recipe, RecipeStep
from optimizers.technique import Technique
from runs.records import Project, RunRecord
from ui.estimates import draw_estimate
from ui.forms import (
    draw_params,
    fill_draft,
    fine_tuning_prefix,
    fine_tuning_specs,
    read_params,
    start_from,
    start_of,
    without_choices,
)
from ui.layer_table import draw_layers, layer_specs
from ui.session import service, show_problems

TECHNIQUE_KEY = "new_run:technique"
THEN_KEY = "new_run:then"
NAME_KEY = "new_run:name"
RUN_KEY = "new_run:run"
PROJECT_KEY = "new_run:project"
PROBLEMS_KEY = "new_run:problems"
QUEUED_KEY = "new_run:queued"


def draw_new_run(project: Project) -> None:
    """Draw the form; a press on Run queues the recipe."""
    st.subheader("New run")
    _forget_what_belongs_to_another(project)
    entry = technique(_choose_technique())
    _explain(entry)
    _draw_step(entry, project, entry.name)
    then = _choose_then(entry)
    if then:
        with st.container(border=True):
            st.markdown(f"**{technique(then).title}**")
            _draw_step(technique(then), project, then_prefix(then))
    recipe, problems = _recipe_of_form(project)
    draw_estimate(project.model.upload_id, recipe)
    st.text_input(
        "Name (optional)", key=NAME_KEY, max_chars=120, placeholder=recipe.title if recipe else "", persist_state="page"
    )
    st.button(
        "Run", key=RUN_KEY, type="primary", width="stretch", disabled=recipe is None, on_click=_submit, args=(project,)
    )
    problems = (*problems, *st.session_state.pop(PROBLEMS_KEY, ()))
    if problems:
        show_problems(problems)


def _forget_what_belongs_to_another(project: Project) -> None:
    """Drafts follow the user from project to project, but epochs suit a dataset, and layers are those of a model."""
    if st.session_state.get(PROJECT_KEY) not in (None, project.project_id):
        own = (":fine_tuning:epochs", *(f":{spec.name}" for entry in TECHNIQUES for spec in layer_specs(entry)))
        for key in [key for key in st.session_state if str(key).endswith(own)]:
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


def _draw_step(entry: Technique, project: Project, prefix: str) -> None:
    draw_params(prefix, specs(entry.Params))
    settings = _settings_specs(entry, project)
    if settings:
        with st.expander("Fine-tuning", key=f"{prefix}:fine_tuning"):
            draw_params(fine_tuning_prefix(prefix), settings)


def _read_step(entry: Technique, project: Project, prefix: str) -> RecipeStep:
    settings = _settings_specs(entry, project)
    return RecipeStep(
        technique=entry.name,
        params=read_params(prefix, specs(entry.Params)),
        fine_tuning=read_params(fine_tuning_prefix(prefix), settings) if settings else None,
    )


def _settings_specs(entry: Technique, project: Project) -> tuple[ParameterSpec, ...]:
    suggested = service().suggested_fine_tuning(project, entry)
    return offered_settings(suggested, service().unsuited_choices(project)) if suggested else ()


def offered_settings(defaults: FineTuning, unsuited: dict[str, dict[Any, str]]) -> tuple[ParameterSpec, ...]:
    """Return the fine-tuning settings, without the choices (by setting, with the reason) that a project has no use for."""
    return tuple(without_choices(spec, unsuited.get(spec.name, {})) for spec in fine_tuning_specs(defaults))


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


def _recipe_of_form(project: Project) -> tuple[Recipe | None, tuple[str, ...]]:
    """Return what the widgets say as a recipe, or None and its problems."""
    entry = technique(st.session_state[TECHNIQUE_KEY])
    steps = [_read_step(entry, project, entry.name)]
    then = st.session_state.get(THEN_KEY)
    if then in followers(entry):
        steps.append(_read_step(technique(then), project, then_prefix(then)))
    try:
        return Recipe.checked(steps), ()
    except InvalidParams as error:
        return None, error.problems


def draw_form_layers(project: Project) -> None:
    """Draw what the techniques on the form will do to each layer, and the switches that leave one as it is."""
    entry = technique(st.session_state[TECHNIQUE_KEY])
    steps = [(entry, entry.name)]
    then = st.session_state.get(THEN_KEY)
    if then in followers(entry):
        steps.append((technique(then), then_prefix(then)))
    draw_layers(project.model.upload_id, steps)


def _submit(project: Project) -> None:
    """Queue the recipe. A callback: the script of a page can be cut short by the next click, a callback cannot."""
    recipe, problems = _recipe_of_form(project)
    if recipe is not None:
        try:
            run = service().submit(project.project_id, recipe, str(st.session_state.get(NAME_KEY) or ""))
            st.session_state[QUEUED_KEY] = run.run_id
        except UserError as error:
            problems = error.problems
    st.session_state[PROBLEMS_KEY] = problems


def draft_of(run: RunRecord) -> None:
    """Set the form to the recipe of a run, to change it and run it again."""
    first, *rest = run.recipe.steps
    st.session_state[PROJECT_KEY] = run.project_id
    start_from(TECHNIQUE_KEY, first.technique)
    fill_draft(first.technique, first.params, first.fine_tuning)
    start_from(THEN_KEY, rest[0].technique if rest else "")
    for step in rest[:1]:
        fill_draft(then_prefix(step.technique), step.params, step.fine_tuning)


def announce_queued() -> None:
    """Say once that a run was queued."""
    run_id = st.session_state.pop(QUEUED_KEY, "")
    if run_id:
        st.toast("Run queued")
