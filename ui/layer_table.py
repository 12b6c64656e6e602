"""Layer by layer: what a technique on the form will do, why, and a switch that leaves the layer as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd
import streamlit as st

from intake.errors import InvalidParams
from optimizers.declaration import ParameterSpec, specs
from optimizers.layer_facts import LayerFacts
from optimizers.technique import Technique
from optimizers.treatment import Treatment, counted
from runs.plan import ModelPlan
from ui.estimates import plan_job
from ui.forms import read_params, start_of, widget_key
from ui.wording import VERDICTS

SWITCH = "Leave as is"
TALLEST = 390
"""Pixels of a table; longer ones scroll."""


def layer_specs(entry: Technique) -> tuple[ParameterSpec, ...]:
    """Return the parameters of a technique that name layers; they are chosen in the table."""
    return tuple(spec for spec in specs(entry.Params) if spec.kind == "layers")


def draw_layers(upload_id: str, steps: Sequence[tuple[Technique, str]]) -> None:
    """Draw a table for each technique on the form.

    Args:
        upload_id: of the model.
        steps: techniques with the prefix of their widgets.
    """
    with st.expander("Layer by layer: what will happen, and what to leave as is", key="project:layer_table"):
        job = plan_job(upload_id)
        if job is None or job.problems:
            st.caption("Nothing is known of the layers: see the estimate beside the form.")
        elif not job.is_done:
            st.caption("The layers are being looked at.")
        else:
            for entry, prefix in steps:
                _draw_step(upload_id, job.result, entry, prefix)


def _draw_step(upload_id: str, plan: ModelPlan, entry: Technique, prefix: str) -> None:
    try:
        params = entry.Params.checked(read_params(prefix, specs(entry.Params)))
        treatments = entry.treatments(plan.layers, params)
    except InvalidParams:
        st.caption(f"{entry.title}: correct the form first.")
        return
    st.markdown(f"**{entry.title}** {counted(treatments)}.")
    pairs = list(zip(plan.layers, treatments, strict=True))
    weighty = [pair for pair in pairs if pair[0].parameters]
    for spec in layer_specs(entry):
        _draw_switches(f"{prefix}:layers:{upload_id}", widget_key(prefix, spec.name), spec, weighty)
    others = [treatment for layer, treatment in pairs if not layer.parameters]
    if others:
        st.caption(f"{len(others):,} layers have no weights: {_some_names(others)}.")


def _some_names(treatments: list[Treatment], most: int = 12) -> str:
    names = [f"`{treatment.layer}`" for treatment in treatments[:most]]
    more = len(treatments) - len(names)
    return ", ".join(names) + (f" and {more:,} more" if more else "")


def _draw_switches(key: str, value_key: str, spec: ParameterSpec, pairs: list[tuple[LayerFacts, Treatment]]) -> None:
    """Draw the table with its one column that can be edited; a click changes the parameter at once."""
    names = [layer.name for layer, _ in pairs]
    table = treatment_table(pairs)
    chosen = _chosen(value_key, spec)
    table.insert(0, SWITCH, [name in chosen for name in names])
    st.data_editor(
        table,
        key=key,
        hide_index=True,
        disabled=[column for column in table if column != SWITCH],
        column_config={
            SWITCH: st.column_config.CheckboxColumn(help=spec.help, width=105),
            "Layer": st.column_config.TextColumn(width=110),
            "What happens": st.column_config.TextColumn(width=110),
            "Why": st.column_config.TextColumn(width=330),
            "What would help": st.column_config.TextColumn(width=200),
            "Kind": st.column_config.TextColumn(width=110),
            "Weights": st.column_config.NumberColumn(format="localized", width=80),
        },
        height=table_height(len(table)),
        on_change=_take_edits,
        args=(key, value_key, spec, names),
        alt="What happens to each layer, with a switch that leaves it as it is",
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


def _chosen(value_key: str, spec: ParameterSpec) -> set[str]:
    return set(st.session_state.get(value_key, start_of(value_key, spec.default)))


def _take_edits(key: str, value_key: str, spec: ParameterSpec, names: list[str]) -> None:
    """Keep what was ticked as the value of the parameter. A callback: the form above is drawn with it."""
    chosen = _chosen(value_key, spec)
    for row, changed in st.session_state[key]["edited_rows"].items():
        if SWITCH in changed:
            (chosen.add if changed[SWITCH] else chosen.discard)(names[int(row)])
    st.session_state[value_key] = [name for name in names if name in chosen]
