"""Layer by layer: what each step on the form will do, why, and what can be set for one layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import streamlit as st

from intake.errors import InvalidParams
from optimizers.declaration import OF_LAYERS, ParameterSpec, specs
from optimizers.layer_facts import LayerFacts
from optimizers.recipe import RecipeStep
from optimizers.technique import Technique
from optimizers.treatment import Treatment, counted
from runs.plan import ModelPlan
from ui.chain import FormStep
from ui.drafts import start_of
from ui.estimates import plan_job
from ui.formatting import sentences
from ui.forms import widget_key
from ui.wording import VERDICTS

TALLEST = 390
"""Pixels of a table; longer ones scroll."""


def layer_specs(entry: Technique) -> tuple[ParameterSpec, ...]:
    """Return the parameters of a technique that name layers; they are set in the table."""
    return tuple(spec for spec in specs(entry.Params) if spec.kind in OF_LAYERS)


def draw_layers(upload_id: str, steps: Sequence[tuple[FormStep, RecipeStep]], before: int = 0) -> None:
    """Draw a table for each step on the form.

    Args:
        upload_id: of the model.
        steps: with what is set on them, one value for each setting, unchecked.
        before: how many steps come before them, of a run that is continued.
    """
    with st.expander("Layer by layer: what will happen, and what to set for one layer", key="project:layer_table"):
        job = plan_job(upload_id)
        if job is None or job.problems:
            st.caption("Nothing is known of the layers: see the estimate beside the form.")
        elif not job.is_done:
            st.caption("The layers are being looked at.")
        else:
            for place, (step, values) in enumerate(steps, start=before + 1):
                title = f"{place} · {step.entry.title}" if before + len(steps) > 1 else step.entry.title
                _draw_step(upload_id, job.result, step, values, title)


def _draw_step(upload_id: str, plan: ModelPlan, step: FormStep, values: RecipeStep, title: str) -> None:
    entry = step.entry
    try:
        treatments = entry.treatments(plan.layers, entry.Params.checked(values.params))
        st.markdown(f"**{title}** {counted(treatments)}.")
    except InvalidParams as error:  # it may be what was set in this very table
        treatments = entry.treatments(plan.layers, entry.Params())
        st.markdown(f"**{title}:** {sentences(error.problems)} Until then this is what its defaults do.")
    pairs = list(zip(plan.layers, treatments, strict=True))
    weighty = [pair for pair in pairs if pair[0].parameters]
    _draw_table(f"{step.prefix}:layers:{upload_id}", step.prefix, layer_specs(entry), weighty)
    others = [treatment for layer, treatment in pairs if not layer.parameters]
    if others:
        st.caption(f"{len(others):,} layers have no weights: {_some_names(others)}.")


def _some_names(treatments: list[Treatment], most: int = 12) -> str:
    names = [f"`{treatment.layer}`" for treatment in treatments[:most]]
    more = len(treatments) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def _draw_table(
    key: str, prefix: str, declared: tuple[ParameterSpec, ...], pairs: list[tuple[LayerFacts, Treatment]]
) -> None:
    """Draw the table with a column that can be edited for each parameter; an edit changes the parameter at once."""
    names = [layer.name for layer, _ in pairs]
    table = treatment_table(pairs)
    for place, spec in enumerate(declared):
        table.insert(place, spec.label, _column(spec, _value(prefix, spec), names))
    st.data_editor(
        table,
        key=key,
        hide_index=True,
        disabled=[column for column in table if column not in {spec.label for spec in declared}],
        column_config={
            **{spec.label: _column_config(spec) for spec in declared},
            "Layer": st.column_config.TextColumn(width=110, pinned=len(declared) > 1),
            "What happens": st.column_config.TextColumn(width=110),
            "Why": st.column_config.TextColumn(width=330),
            "What would help": st.column_config.TextColumn(width=200),
            "Kind": st.column_config.TextColumn(width=110),
            "Weights": st.column_config.NumberColumn(format="localized", width=80),
        },
        height=table_height(len(table)),
        on_change=_take_edits,
        args=(key, prefix, declared, names),
        alt="What happens to each layer, with what can be set for it",
    )


def _column(spec: ParameterSpec, value: Any, names: list[str]) -> list[Any]:
    if spec.kind == "layers":
        return [name in value for name in names]
    return [value.get(name, np.nan) for name in names]


def _column_config(spec: ParameterSpec) -> Any:
    if spec.kind == "layers":
        return st.column_config.CheckboxColumn(help=spec.help, width=105)
    whole = spec.kind == "layer_integer"
    return st.column_config.NumberColumn(
        help=f"{spec.help}\n\nEmpty: the common value.",
        min_value=spec.low,
        max_value=spec.high,
        step=1 if whole else spec.step,
        width=105,
    )


def table_height(rows: int) -> int | Literal["content"]:
    """Return the height of a table of layers: as many rows as there are, up to some."""
    return "content" if rows <= 10 else TALLEST


def treatment_table(pairs: list[tuple[LayerFacts, Treatment]]) -> pd.DataFrame:
    """Return a row for each layer: its name, what happens to it, why, what would help, its kind and weights."""
    return pd.DataFrame(
        {
            "Layer": [layer.name for layer, _ in pairs],
            "What happens": [VERDICTS[treatment.verdict] for _, treatment in pairs],
            "Why": [treatment.reason for _, treatment in pairs],
            "What would help": [treatment.fix for _, treatment in pairs],
            "Kind": [layer.class_name for layer, _ in pairs],
            "Weights": [layer.parameters for layer, _ in pairs],
        }
    )


def _value(prefix: str, spec: ParameterSpec) -> Any:
    """Names of layers, or layer -> value."""
    key = widget_key(prefix, spec.name)
    return st.session_state.get(key, start_of(key, spec.default))


def _take_edits(key: str, prefix: str, declared: tuple[ParameterSpec, ...], names: list[str]) -> None:
    """Keep what was edited as the values of the parameters. A callback: the form above is drawn with them.

    As every callback of a step it can come for one that is no longer on the form: `ui.chain.change_technique`.
    """
    rows = st.session_state[key]["edited_rows"] if key in st.session_state else {}
    edits = {names[int(row)]: changed for row, changed in rows.items()}
    for spec in declared:
        changed = {name: cells[spec.label] for name, cells in edits.items() if spec.label in cells}
        if changed:
            st.session_state[widget_key(prefix, spec.name)] = edited(spec, _value(prefix, spec), changed, names)


def edited(spec: ParameterSpec, value: Any, changed: dict[str, Any], names: list[str]) -> Any:
    """Return the value of a parameter after edits, in the order of the layers.

    Args:
        spec: of the parameter.
        value: names of layers, or layer -> value.
        changed: layer -> what its cell holds now: True or False, or a number, None where it was emptied.
        names: of the layers of the table.
    """
    if spec.kind == "layers":
        return [name for name in names if changed.get(name, name in value)]
    numbers = {**dict(value), **changed}
    as_kind = int if spec.kind == "layer_integer" else float
    return {name: as_kind(numbers[name]) for name in names if numbers.get(name) is not None}
