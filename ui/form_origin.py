"""What the form of a project came of: a run that it continues, or one that it changes. It stands in the address."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from intake.errors import UserError
from optimizers import TECHNIQUES
from optimizers.recipe import RecipeStep
from optimizers.technique import Technique
from runs.records import Parent, Project, Relation, RunRecord
from ui.chain import MOST_STEPS, fill_form, reasons_against
from ui.session import PROJECT, address, service, set_address

PARAMETERS: dict[Relation, str] = {"continues": "continue", "changed": "change"}
"""Relation -> the name in the address that has the id of the run."""
FILLED_KEY = "new_run:filled_from"


def open_form(run: RunRecord, relation: Relation) -> None:
    """Go to the form of a run's project, to continue or to change the run."""
    st.session_state.pop(FILLED_KEY, None)
    st.switch_page(PROJECT, query_params={"project": run.project_id, PARAMETERS[relation]: run.run_id})


def parent_of_form(project: Project) -> Parent | None:
    """Return what a run from this form comes of; None where it is begun from nothing."""
    found = origin_of_form(project)
    return None if found is None else Parent(run_id=found[0].run_id, relation=found[1])


def fixed_steps(project: Project) -> tuple[RecipeStep, ...]:
    """Return the steps of the run that the form continues, which come before those on it; empty where it does not."""
    found = origin_of_form(project)
    return found[0].recipe.steps if found and found[1] == "continues" else ()


def origin_of_form(project: Project) -> tuple[RunRecord, Relation] | None:
    """Return the run that the form came of and how; None where the address names none that it can have come of."""
    for relation, name in PARAMETERS.items():
        run = _run_of(project, address(name))
        if run is not None and (relation == "changed" or not why_nothing_follows(run)):
            return run, relation
    return None


def _run_of(project: Project, run_id: str) -> RunRecord | None:
    if not run_id:
        return None
    try:
        run = service().run(run_id)
    except UserError:
        return None
    return run if run.project_id == project.project_id else None


def why_nothing_follows(run: RunRecord) -> str:
    """Return why a run cannot be continued, in sentences; "" where it can."""
    if run.state != "finished" or run.result is None:
        return "Only a finished run can be continued."
    if not run.recipe.steps:
        return "The baseline has no steps to continue. Choose a technique on the page of the project."
    if len(run.recipe.steps) >= MOST_STEPS:
        return f"A recipe has at most {MOST_STEPS} steps, and this one has {len(run.recipe.steps)}."
    if offered_after(run.recipe.steps):
        return ""
    reasons = [reason for entry in TECHNIQUES for reason in reasons_against(entry.name, run.recipe.steps)]
    return " ".join(dict.fromkeys(reasons))


def offered_after(steps: Sequence[RecipeStep]) -> list[Technique]:
    """Return the techniques that can follow some steps."""
    return [entry for entry in TECHNIQUES if not steps or not reasons_against(entry.name, steps)]


def take_origin(project: Project) -> None:
    """Fill the form where the address names another run than the form was filled from."""
    found = origin_of_form(project)
    filled = "" if found is None else f"{found[1]}:{found[0].run_id}"
    if found is not None and st.session_state.get(FILLED_KEY) != filled:
        run, relation = found
        new = [RecipeStep(technique=offered_after(run.recipe.steps)[0].name)] if relation == "continues" else None
        fill_form(new or run.recipe.steps)
    st.session_state[FILLED_KEY] = filled


def forget_origin() -> None:
    """Let the form come of nothing; what is on it stays."""
    for name in PARAMETERS.values():
        set_address(name, "")
