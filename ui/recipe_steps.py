"""The steps of the form, drawn and read: each folds to a line that says what differs from the defaults."""

from __future__ import annotations

from typing import Any

import streamlit as st

from optimizers import TECHNIQUES, technique
from optimizers.declaration import ParameterSpec, specs
from optimizers.fine_tuning import FineTuning, fine_tuning_specs
from optimizers.recipe import RecipeStep
from optimizers.sweep import first_point
from optimizers.technique import Technique
from runs.records import Project
from ui.chain import (
    MOST_STEPS,
    SWEEP_KEY,
    FormStep,
    add_step,
    change_technique,
    fold_key,
    form_steps,
    is_open,
    note_fold,
    reasons_against,
    remove_step,
    technique_key,
)
from ui.form_origin import fixed_steps, offered_after
from ui.formatting import as_text
from ui.forms import draw_params, fine_tuning_prefix, read_params, without_choices
from ui.session import service
from ui.setting_texts import setting_text


def draw_steps(project: Project) -> None:
    """Draw every step and what may follow the last one; before them come those of a run that is continued."""
    steps, fixed = form_steps(), fixed_steps(project)
    for place, step in enumerate(steps, start=1):
        with st.expander(
            _label(len(fixed) + place, step, project),
            expanded=is_open(step),
            key=fold_key(step),
            on_change=note_fold,
            args=(step,),
        ):
            _draw_step(step, project, is_first=place == 1, is_only=len(steps) == 1)
    _draw_add(project)


def _label(place: int, step: FormStep, project: Project) -> str:
    """The title; where the step is folded, with what differs from the defaults."""
    title = f"**{place} · {step.entry.title}**"
    summary = "" if is_open(step) else summary_of(_read_step(step, project), _settings_specs(step.entry, project))
    return f"{title}  \n{as_text(summary)}" if summary else title


def _draw_step(step: FormStep, project: Project, *, is_first: bool, is_only: bool) -> None:
    if is_first:
        names = [entry.name for entry in offered_after(fixed_steps(project)) or [step.entry]]
        st.radio(
            "Technique",
            names,
            names.index(step.technique) if step.technique in names else 0,
            format_func=_title,
            key=technique_key(step),
            on_change=change_technique,
            args=(step.number,),
            persist_state="session",
        )
    _explain(step)
    sweeping = is_sweeping()
    draw_params(step.prefix, specs(step.entry.Params), sweeping=sweeping)
    settings = _settings_specs(step.entry, project)
    if settings:
        with st.expander("Fine-tuning", key=f"{step.prefix}:fine_tuning"):
            draw_params(fine_tuning_prefix(step.prefix), settings, sweeping=sweeping)
    if not is_only:
        st.button(
            "Remove this step",
            key=f"step{step.number}:remove",
            icon=":material/delete:",
            type="tertiary",
            on_click=remove_step,
            args=(step.number,),
        )


def _title(name: str) -> str:
    return technique(name).title


def _explain(step: FormStep) -> None:
    entry = step.entry
    st.caption(entry.summary)
    with st.expander("When to use it", key=f"{step.prefix}:explain"):
        st.markdown(
            f"**When:** {entry.use_when}\n\n**When not:** {entry.avoid_when}\n\n**What shrinks:** {entry.shrinks}"
        )


def _draw_add(project: Project) -> None:
    """Draw a button for each technique that may follow, and why the others may not."""
    steps = [*fixed_steps(project), *first_points(project)]
    if len(steps) >= MOST_STEPS:
        st.caption(f"A recipe has at most {MOST_STEPS} steps.")
        return
    against = {entry.name: reasons_against(entry.name, steps) for entry in TECHNIQUES}
    offered = [name for name, reasons in against.items() if not reasons]
    if offered:
        with st.container(horizontal=True, vertical_alignment="center", gap="small", key="new_run:add"):
            st.caption("Then also", width="content")
            for name in offered:
                title = technique(name).title
                st.button(title, key=f"new_run:add:{name}", icon=":material/add:", on_click=add_step, args=(name,))
    refused = {name: reasons for name, reasons in against.items() if reasons}
    if refused:
        with st.expander(
            "What cannot follow, and why" if offered else "Nothing can follow: why", key="new_run:refused"
        ):
            for name, reasons in refused.items():
                st.markdown(f"**{technique(name).title}**: {as_text(' '.join(reasons))}")


def is_sweeping() -> bool:
    """True while settings take several values."""
    return bool(st.session_state.get(SWEEP_KEY))


def read_steps(project: Project) -> list[RecipeStep]:
    """Return what the widgets of all steps say, unchecked; while sweeping, settings can have several values."""
    return [_read_step(step, project) for step in form_steps()]


def first_points(project: Project) -> list[RecipeStep]:
    """Return the steps with one value for each setting, unchecked: the first where there are several."""
    return [first_point(step) for step in read_steps(project)]


def _read_step(step: FormStep, project: Project) -> RecipeStep:
    entry, sweeping = step.entry, is_sweeping()
    settings = _settings_specs(entry, project)
    prefix = fine_tuning_prefix(step.prefix)
    return RecipeStep(
        technique=entry.name,
        params=read_params(step.prefix, specs(entry.Params), sweeping=sweeping),
        fine_tuning=read_params(prefix, settings, sweeping=sweeping) if settings else None,
    )


def _settings_specs(entry: Technique, project: Project) -> tuple[ParameterSpec, ...]:
    suggested = service().suggested_fine_tuning(project, entry)
    return offered_settings(suggested, service().unsuited_choices(project)) if suggested else ()


def offered_settings(defaults: FineTuning, unsuited: dict[str, dict[Any, str]]) -> tuple[ParameterSpec, ...]:
    """Return the fine-tuning settings, without the choices (by setting, with the reason) that a project has no use for."""
    return tuple(without_choices(spec, unsuited.get(spec.name, {})) for spec in fine_tuning_specs(defaults))


def summary_of(step: RecipeStep, settings: tuple[ParameterSpec, ...]) -> str:
    """Return what differs from the defaults in one line: "final sparsity 0.9, epochs 4"; "" where nothing does.

    Args:
        step: as `read_steps` has it.
        settings: the fine-tuning settings on the form, with their defaults.
    """
    declared = ((specs(step.entry.Params), step.params), (settings, step.fine_tuning or {}))
    texts = [
        setting_text(spec, values[spec.name])
        for part, values in declared
        for spec in part
        if spec.name in values and _differs(values[spec.name], spec.default)
    ]
    return ", ".join(texts)


def _differs(value: Any, default: Any) -> bool:
    """A list of one value and a text of one number are the value."""
    plain = tuple(value) if isinstance(default, tuple) and isinstance(value, list) else value
    is_number = isinstance(plain, str) and isinstance(default, int | float)
    return plain != default and plain != [default] and not (is_number and plain in (str(default), f"{default:g}"))
