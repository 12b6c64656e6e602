"""The form for new runs: generated from the declarations, checked by them, submitted to the service."""

from __future__ import annotations

import streamlit as st

from intake.errors import InvalidParams, UserError
from optimizers import TECHNIQUES
from optimizers.advice import advice_on
from optimizers.sweep import MANY_POINTS, Point, expand
from runs.records import Project
from ui.chain import SWEEP_KEY, form_steps
from ui.estimates import draw_estimate, draw_grid_estimate
from ui.form_origin import PARAMETERS, fixed_steps, parent_of_form, take_origin
from ui.formatting import sentences
from ui.layer_table import draw_layers, layer_specs
from ui.origin_view import draw_origin
from ui.ready_recipes import draw_ready_recipes, draw_recipe_file
from ui.recipe_steps import draw_steps, first_points, read_steps
from ui.session import ONLY_LOOKING, address, may_change, service, show_problems
from ui.several import ENDING, begin_sweep

NAME_KEY = "new_run:name"
RUN_KEY = "new_run:run"
CONFIRM_KEY = "new_run:confirm"
PROJECT_KEY = "new_run:project"
PROBLEMS_KEY = "new_run:problems"
QUEUED_KEY = "new_run:queued"


def draw_new_run(project: Project) -> None:
    """Draw the form; a press on Run queues the recipe, or each point of the grid."""
    st.subheader("New run")
    _forget_what_belongs_to_another(project)
    take_origin(project)
    draw_origin(project)
    if not fixed_steps(project):
        draw_ready_recipes(project)
    draw_steps(project)
    points, problems = _points_of_form(project)
    draw_recipe_file(project, points[0].recipe if len(points) == 1 else None)
    st.toggle(
        "Sweep",
        key=SWEEP_KEY,
        on_change=begin_sweep,
        help="Settings take several values, like `0.5, 0.7, 0.9`, `0.5..0.9 step 0.1` or `8..64 x2`; each combination "
        "becomes a run.",
        persist_state="session",
    )
    if advice := advice_on(points):
        st.warning(sentences(advice))
    if len(points) > 1:
        draw_grid_estimate(project, points)
    else:
        draw_estimate(project.model.upload_id, points[0].recipe if points else None)
    _draw_submit(project, points)
    problems = (*problems, *st.session_state.pop(PROBLEMS_KEY, ()))
    if problems:
        show_problems(problems)


def draw_no_form() -> None:
    """Say why there is no form to a viewer who followed a link to one that is filled."""
    if not may_change() and any(address(name) for name in PARAMETERS.values()):
        st.info(ONLY_LOOKING)


def _draw_submit(project: Project, points: tuple[Point, ...]) -> None:
    several = len(points) > 1
    st.text_input(
        "Name of the sweep (optional)" if several else "Name (optional)",
        key=NAME_KEY,
        max_chars=120,
        placeholder=points[0].recipe.title if points else "",
        persist_state="page",
    )
    confirmed = len(points) <= MANY_POINTS or st.checkbox(f"Yes, queue all {len(points)} runs", key=CONFIRM_KEY)
    st.button(
        f"Queue {len(points)} runs" if several else "Run",
        key=RUN_KEY,
        type="primary",
        width="stretch",
        disabled=not points or not confirmed,
        on_click=_submit,
        args=(project,),
    )


def _forget_what_belongs_to_another(project: Project) -> None:
    """Drafts follow the user from project to project, but epochs suit a dataset, and layers are those of a model."""
    if st.session_state.get(PROJECT_KEY) not in (None, project.project_id):
        epochs = ":fine_tuning:epochs"
        own = (epochs, epochs + ENDING, *(f":{spec.name}" for entry in TECHNIQUES for spec in layer_specs(entry)))
        for key in [key for key in st.session_state if str(key).endswith(own)]:
            del st.session_state[key]
    st.session_state[PROJECT_KEY] = project.project_id


def _points_of_form(project: Project) -> tuple[tuple[Point, ...], tuple[str, ...]]:
    """Return what the widgets say: one recipe, or a grid of them; or none, and its problems."""
    try:
        return expand([*fixed_steps(project), *read_steps(project)]), ()
    except InvalidParams as error:
        return (), error.problems


def draw_form_layers(project: Project) -> None:
    """Draw what the steps on the form will do to each layer, and what can be set for one layer."""
    draw_layers(
        project.model.upload_id, list(zip(form_steps(), first_points(project), strict=True)), len(fixed_steps(project))
    )


def _submit(project: Project) -> None:
    """Queue what is on the form. A callback: the script of a page can be cut short by the next click, a callback cannot."""
    points, problems = _points_of_form(project)
    name = str(st.session_state.get(NAME_KEY) or "")
    if points:
        try:
            st.session_state[QUEUED_KEY] = _queue(project, points, name)
        except UserError as error:
            problems = error.problems
    st.session_state[PROBLEMS_KEY] = problems


def _queue(project: Project, points: tuple[Point, ...], name: str) -> str:
    """Submit, and return what to say of it."""
    if len(points) == 1:
        service().submit(project.project_id, points[0].recipe, name, parent_of_form(project))
        return "Run queued"
    confirmed = bool(st.session_state.get(CONFIRM_KEY))
    parent = parent_of_form(project)
    runs = service().submit_sweep(project.project_id, points, name, confirmed=confirmed, parent=parent)
    return f"{len(runs)} runs queued, tagged {runs[0].tags[0]}"


def announce_queued() -> None:
    """Say once that runs were queued."""
    said = st.session_state.pop(QUEUED_KEY, "")
    if said:
        st.toast(said)
