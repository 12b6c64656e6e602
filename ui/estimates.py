"""What a run is expected to come to, before it and beside what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from intake.errors import UserError
from optimizers.estimate import EstimatedSizes
from optimizers.recipe import Recipe
from optimizers.sweep import Point
from optimizers.treatment import counted
from runs.jobs import Job
from runs.plan import ModelPlan
from runs.records import Project, Result
from ui.formatting import as_text, change_percent, kilobytes, seconds, sentences, times_smaller
from ui.live import job_progress
from ui.session import service

NOT_TIMED = "one after another; how long they take is known after a run like these"


def plan_job(upload_id: str) -> Job | None:
    """Return the job that finds out what can be done to a model; None where the model is not stored here."""
    try:
        return service().model_plan(upload_id)
    except UserError:
        return None


def draw_estimate(upload_id: str, recipe: Recipe | None) -> None:
    """Draw the expected sizes beside the baseline's, and what the recipe does to the layers.

    Args:
        upload_id: of the model.
        recipe: on the form; None while it contradicts itself.
    """
    job = plan_job(upload_id)
    if job is None:
        st.caption("No estimate: the model's file is no longer stored here.")
    elif not job.is_done:
        job_progress(job)
    elif job.problems:
        st.caption(f"No estimate. {sentences(job.problems)}")
        st.button("Try to estimate again", key="new_run:plan_retry", on_click=service().forget, args=(job,))
    elif recipe is not None:
        _draw_known(upload_id, job.result, recipe)


def _draw_known(upload_id: str, plan: ModelPlan, recipe: Recipe) -> None:
    if plan.problem:
        st.warning(f"No estimate: {sentences([plan.problem])}")
        return
    try:
        expected = service().estimate(upload_id, recipe)
        said = [(step.entry.title, step.entry.treatments(plan.layers, step.checked_params)) for step in recipe.steps]
    except UserError as error:
        st.warning(sentences(error.problems))
        return
    with st.container(border=True, key="new_run:estimate", gap="xsmall"):
        if expected is not None:
            st.markdown(f"**Estimate:** {sizes_text(expected, plan)}")
            st.caption(
                f"Baseline: .tflite {kilobytes(plan.tflite_bytes)}, gzip {kilobytes(plan.gzip_bytes)}. "
                "Measured exactly by the run."
            )
        for title, treatments in said:
            st.caption(f"{title} {counted(treatments)}.")
            if not any(treatment.verdict == "acts" for treatment in treatments):
                st.warning(f"{title} would change nothing: it acts on no layer.")


def draw_grid_estimate(project: Project, points: Sequence[Point]) -> None:
    """Draw how many runs a grid makes, how long they will take, and between which sizes they are expected to lie."""
    recipes = [point.recipe for point in points]
    with st.container(border=True, key="new_run:grid", gap="xsmall"):
        took = service().expected_seconds(project, recipes)
        how_long = f"about {seconds(took / service().settings.slots)} in all" if took else NOT_TIMED
        st.markdown(f"**{len(points)} runs**, {how_long}.")
        try:
            sizes = [size for recipe in _some(recipes) if (size := service().estimate(project.model.upload_id, recipe))]
        except UserError as error:
            st.warning(sentences(error.problems))
            return
        if sizes:
            raw, compressed = ([size.tflite_bytes for size in sizes], [size.gzip_bytes for size in sizes])
            st.caption(f"Estimate: .tflite {_between(raw)}, gzip {_between(compressed)}. Measured exactly by the runs.")


def _some(recipes: list[Recipe], most: int = 16) -> list[Recipe]:
    """The first, the last and some between them: an estimate of a large model takes a moment."""
    step = max(1, (len(recipes) - 1) / (most - 1))
    return [recipes[round(index * step)] for index in range(min(most, len(recipes)))]


def _between(sizes: list[int]) -> str:
    least, most = kilobytes(min(sizes)), kilobytes(max(sizes))
    return least if least == most else f"{least} to {most}"


def sizes_text(expected: EstimatedSizes, plan: ModelPlan) -> str:
    """Return ".tflite 23.0 kB (÷3.4), gzip 19.0 kB (÷3.9)"."""
    return (
        f".tflite {kilobytes(expected.tflite_bytes)} ({times_smaller(expected.tflite_bytes, plan.tflite_bytes)}), "
        f"gzip {kilobytes(expected.gzip_bytes)} ({times_smaller(expected.gzip_bytes, plan.gzip_bytes)})"
    )


def draw_estimate_beside(expected: EstimatedSizes | None, result: Result) -> None:
    """Draw what was expected before the run beside what was measured."""
    if expected is None:
        return
    parts = [
        f"{label} estimated {kilobytes(guess)}, measured {kilobytes(measured)} ({change_percent(measured, guess)})"
        for label, guess, measured in (
            (".tflite", expected.tflite_bytes, result.tflite_bytes),
            ("gzip", expected.gzip_bytes, result.gzip_bytes),
        )
    ]
    st.caption(as_text(f"Before the run: {'; '.join(parts)}."))
