"""Recipes that fill the form: the presets, and a file from the user's disk; and the form as such a file."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from intake.errors import InvalidParams, UserError
from optimizers.declaration import OF_LAYERS, specs
from optimizers.presets import Preset, presets, title_of
from optimizers.recipe import Recipe, RecipeStep, steps_of_yaml
from optimizers.sweep import expand
from runs.records import Project
from ui.chain import MOST_STEPS, fill_form
from ui.estimates import plan_job
from ui.form_origin import forget_origin
from ui.formatting import as_text
from ui.session import service, show_problems

PRESET_KEY = "new_run:preset"
FILE_KEY = "new_run:recipe_file"
FILE_NUMBER_KEY = "new_run:recipe_file_number"
READING_PROBLEMS_KEY = "new_run:reading_problems"


def draw_ready_recipes(project: Project) -> None:
    """Draw the presets, what they do and need; choosing one fills the form."""
    offered = {preset.name: preset for preset in presets()}
    if offered:
        chosen = st.segmented_control(
            "Start from",
            list(offered),
            format_func=title_of,
            key=PRESET_KEY,
            on_change=_take_preset,
            args=(project,),
            persist_state="page",
        )
        for preset in [offered[chosen]] if chosen in offered else offered.values():
            st.caption(_described(preset))
    problems = st.session_state.pop(READING_PROBLEMS_KEY, ())
    if problems:
        show_problems(problems)


def _described(preset: Preset) -> str:
    return f"**{preset.title}:** {as_text(preset.description)}"


def _take_preset(project: Project) -> None:
    name = st.session_state.get(PRESET_KEY)
    for preset in presets():
        if preset.name == name:
            _take(project, preset.steps)


def draw_recipe_file(project: Project, recipe: Recipe | None) -> None:
    """Draw what opens a recipe file into the form, and what saves the form as one."""
    with st.expander("Recipe file", key="new_run:file"):
        key = f"{FILE_KEY}:{st.session_state.get(FILE_NUMBER_KEY, 0)}"
        st.file_uploader(
            "Open a recipe", type=["yaml", "yml"], key=key, on_change=_take_file, args=(project, key), max_upload_size=1
        )
        st.download_button(
            "Save the form as a recipe",
            recipe.to_yaml() if recipe else "",
            file_name="recipe.yaml",
            mime="application/yaml",
            key="new_run:save",
            icon=":material/download:",
            disabled=recipe is None,
            on_click="ignore",
        )


def _take_file(project: Project, key: str) -> None:
    """Fill the form from the file, and offer an empty uploader again."""
    uploaded = st.session_state.get(key)
    if uploaded is not None:
        _take(project, lambda: steps_of_yaml(_text(uploaded.getvalue())))
        st.session_state[FILE_NUMBER_KEY] = st.session_state.get(FILE_NUMBER_KEY, 0) + 1
        st.session_state[PRESET_KEY] = None


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InvalidParams("This is not a recipe file: it is no text in UTF-8.") from None


def _take(project: Project, read: Callable[[], list[RecipeStep]]) -> None:
    """Fill the form with the steps that `read` returns; what cannot be on the form is told instead."""
    try:
        steps = service().with_suggested_epochs(project, read())
        if len(steps) > MOST_STEPS:
            raise InvalidParams(f"This recipe has {len(steps)} steps; the form takes at most {MOST_STEPS}.")
        points = expand(steps)
    except UserError as error:
        st.session_state[READING_PROBLEMS_KEY] = error.problems
        return
    forget_origin()
    layers = known_layers(project.model.upload_id)
    if len(points) == 1:
        steps = list(points[0].recipe.steps)
    fill_form(steps if layers is None else [without_layers(step, layers) for step in steps])
    unknown = set() if layers is None else {name for step in steps for name in named_layers(step)} - layers
    if unknown:
        st.session_state[READING_PROBLEMS_KEY] = (
            f"This model has no layers named {', '.join(sorted(unknown))}; the form leaves them out of the recipe.",
        )


def known_layers(upload_id: str) -> set[str] | None:
    """Return the names of a model's layers; None while they are not known."""
    job = plan_job(upload_id)
    if job is None or not job.is_done or job.problems:
        return None
    return {layer.name for layer in job.result.layers}


def named_layers(step: RecipeStep) -> set[str]:
    """Return the layers that a step names."""
    return {
        name for spec in specs(step.entry.Params) if spec.kind in OF_LAYERS for name in step.params.get(spec.name, ())
    }


def without_layers(step: RecipeStep, layers: set[str]) -> RecipeStep:
    """Return a step without what it says of layers other than these."""
    params = dict(step.params)
    for spec in specs(step.entry.Params):
        if spec.kind in OF_LAYERS and spec.name in params:
            value = params[spec.name]
            kept = [name for name in value if name in layers]
            params[spec.name] = {name: value[name] for name in kept} if isinstance(value, dict) else kept
    return step.model_copy(update={"params": params})
