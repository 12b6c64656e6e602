"""The steps on the form: which there are, in which order, and what may follow.

Each step has a number that is never used again, and its widgets have it in their keys: what is added, removed or filled
in never meets the widgets of another step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from intake.errors import InvalidParams
from optimizers import TECHNIQUES, technique
from optimizers.declaration import specs
from optimizers.fine_tuning import FineTuning
from optimizers.recipe import RecipeStep, problems_between
from optimizers.technique import Technique
from ui.drafts import forget_drafts, start_from
from ui.forms import fine_tuning_prefix, widget_key
from ui.several import draft_several, has_several

STEPS_KEY = "new_run:steps"
LAST_NUMBER_KEY = "new_run:last_number"
SWEEP_KEY = "new_run:sweep"
MOST_STEPS = 4


@dataclass(frozen=True)
class FormStep:
    """One step on the form."""

    number: int
    technique: str

    @property
    def entry(self) -> Technique:
        """Its technique."""
        return technique(self.technique)

    @property
    def prefix(self) -> str:
        """Prefix of the keys of its widgets; each technique keeps its own values while another is looked at."""
        return f"step{self.number}:{self.technique}"


def form_steps() -> list[FormStep]:
    """Return the steps on the form, in order; at least one."""
    return [FormStep(*pair) for pair in st.session_state.get(STEPS_KEY, [[1, TECHNIQUES[0].name]])]


def _store(steps: Sequence[FormStep]) -> None:
    st.session_state[STEPS_KEY] = [[step.number, step.technique] for step in steps]


def _fresh_number() -> int:
    number = int(st.session_state.get(LAST_NUMBER_KEY, 1)) + 1
    st.session_state[LAST_NUMBER_KEY] = number
    return number


def is_open(step: FormStep) -> bool:
    """True where a step is not folded to one line; at first only a step that is alone."""
    return bool(st.session_state.get(_open_key(step.number), len(form_steps()) == 1))


def _open_key(number: int) -> str:
    return f"step{number}:is_open"


def fold_key(step: FormStep) -> str:
    """Return the key of what folds a step."""
    return f"step{step.number}:fold"


def note_fold(step: FormStep) -> None:
    """Take over what the user folded. Streamlit itself would forget it where the label changes."""
    if fold_key(step) in st.session_state:
        st.session_state[_open_key(step.number)] = bool(st.session_state[fold_key(step)])


def technique_key(step: FormStep) -> str:
    """Return the key of the choice of a step's technique."""
    return f"step{step.number}:technique"


def add_step(name: str) -> None:
    """Add a step at the end, open; the others are folded."""
    before, added = form_steps(), FormStep(_fresh_number(), name)
    for step in before:
        st.session_state[_open_key(step.number)] = False
    st.session_state[_open_key(added.number)] = True
    _store([*before, added])


def remove_step(number: int) -> None:
    """Take a step out with what was set on it."""
    left = [step for step in form_steps() if step.number != number]
    forget_drafts(f"step{number}:")
    _store(left)
    if len(left) == 1:
        st.session_state[_open_key(left[0].number)] = True


def change_technique(number: int) -> None:
    """Take over the technique that was chosen for a step.

    Streamlit also calls this, with nothing chosen, for a step that was just taken off the form: a page that has not been
    drawn anew still sends the value of its widget, which by then differs from none.
    """
    chosen = st.session_state.get(f"step{number}:technique")
    if chosen is None:
        return
    _store([FormStep(number, str(chosen)) if step.number == number else step for step in form_steps()])


def fill_form(steps: Sequence[RecipeStep]) -> None:
    """Have the form hold these steps, which were read from a file or a run and need not be complete or right."""
    for old in form_steps():
        forget_drafts(f"step{old.number}:")
    filled = [(FormStep(_fresh_number(), step.technique), step) for step in steps]
    _store([new for new, _ in filled])
    st.session_state[SWEEP_KEY] = any([_draft(new.prefix, step) for new, step in filled])


def _draft(prefix: str, step: RecipeStep) -> bool:
    """Leave the values of a step for its widgets; True where some setting has several."""
    several = False
    parts = (
        (prefix, specs(technique(step.technique).Params), step.params),
        (fine_tuning_prefix(prefix), specs(FineTuning), step.fine_tuning or {}),
    )
    for own_prefix, declared, values in parts:
        for spec in declared:
            if spec.name in values:
                key, value = widget_key(own_prefix, spec.name), values[spec.name]
                if has_several(spec, value):
                    draft_several(spec, key, value)
                    several = True
                else:
                    start_from(key, value)
    return several


def reasons_against(name: str, steps: Sequence[RecipeStep]) -> list[str]:
    """Return why a technique cannot follow these steps, in sentences; empty where it can.

    Args:
        name: of the technique.
        steps: first points, unchecked; one that is wrong by itself counts with its defaults.
    """
    before = [_checked(step) for step in steps]
    known = problems_between(before)
    return [problem for problem in problems_between([*before, RecipeStep.checked(name, {})]) if problem not in known]


def _checked(step: RecipeStep) -> RecipeStep:
    try:
        return RecipeStep.checked(step.technique, step.params, step.fine_tuning)
    except InvalidParams:
        return RecipeStep.checked(step.technique, {})
