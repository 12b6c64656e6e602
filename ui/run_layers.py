"""What became of each layer in a finished run and why, and how it stands in the exported file."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from measure.layer_errors import SAME_DB
from optimizers.recipe import Recipe
from optimizers.treatment import Treatment
from runs.layer_outcomes import LayerOutcome
from ui.formatting import as_text, percent
from ui.layer_table import table_height
from ui.run_weights import draw_weights
from ui.wording import VERDICTS

TALLEST_TREATMENTS = 480
"""Pixels of the table of reasons; longer ones scroll."""
_REASON_PIXELS, _LETTER_PIXELS = 960, 5.6
"""Of all columns of reasons together, and of a letter of them on average."""
_ROW_PIXELS, _LINE_PIXELS = 35, 20
_FRACTIONS = ("SQNR, dB", "Cosine")
_HELP = {
    "Bytes before": "Of the layer's weights in the float32 file of the uploaded model.",
    "Bytes now": "Of the layer's weights in the exported file.",
    "Bytes": "Of the layer's weights in the exported file.",
    "SQNR, dB": "Of what the layer puts out against the float32 file of the uploaded model, on a few test samples: power "
    "of the original over power of the difference. Higher is closer, 6 dB are one bit. What earlier layers changed is "
    "in it, and so is fine-tuning.",
    "Cosine": "The same as an angle: 1 where both point the same way.",
}


def draw_outcomes(recipe: Recipe, layers: tuple[LayerOutcome, ...]) -> None:
    """Draw which layers were left as they are and why, and every layer with how it is stored.

    Of a baseline only the latter.
    """
    if not layers:
        return
    st.subheader("Layers")
    chosen = [outcome.layer for outcome in layers if outcome.left_by_choice]
    if chosen:
        st.markdown(f"Left as they are, as you chose: {as_text(', '.join(chosen))}.")
    floats = [outcome for outcome in layers if outcome.dtype == "float32" and _passed_by(outcome)]
    if recipe.steps and floats:
        st.markdown(f"{len(floats):,} layers with weights were passed by and stay float32:  \n" + _reasons(floats))
    if said := error_sentence(layers):
        st.markdown(as_text(said))
    with st.expander(f"All {len(layers):,} layers", key="run:layers"):
        _draw_stored(recipe, layers)
        if recipe.steps:
            _draw_treatments(recipe, layers)
    draw_weights(layers)


def _draw_stored(recipe: Recipe, layers: tuple[LayerOutcome, ...]) -> None:
    table = stored_table(recipe, layers)
    st.dataframe(
        table.style.format(_FORMATS, na_rep=""),
        hide_index=True,
        column_config={
            "Layer": st.column_config.TextColumn(pinned=True),
            **{name: st.column_config.NumberColumn(help=text) for name, text in _HELP.items() if name in table},
        },
        height=table_height(len(table)),
        placeholder="",
        alt="Weights of each layer, and how its largest kernel is stored",
    )


def _draw_treatments(recipe: Recipe, layers: tuple[LayerOutcome, ...]) -> None:
    """Draw what each step did and why; rows as high as the longest reason, which no one would scroll to read."""
    table = reasons_table(recipe, layers)
    pixels = _REASON_PIXELS // len(recipe.steps)
    longest = max(len(text) for column in table.columns[1:] for text in table[column])
    lines = max(1, math.ceil(longest * _LETTER_PIXELS / pixels))
    row_pixels = _ROW_PIXELS + (lines - 1) * _LINE_PIXELS
    st.markdown("**What was done to each, and why**")
    st.dataframe(
        table,
        hide_index=True,
        column_config={name: st.column_config.TextColumn(width=pixels) for name in table.columns[1:]},
        row_height=row_pixels if lines > 1 else None,
        height="content" if row_pixels * len(table) <= TALLEST_TREATMENTS else TALLEST_TREATMENTS,
        alt="What each step did to each layer, and why",
    )


def error_sentence(layers: tuple[LayerOutcome, ...]) -> str:
    """Return which layer puts out what is furthest from the original; "" where nothing differs, or none is known."""
    known = [(outcome.error.sqnr_db, outcome.layer) for outcome in layers if outcome.error is not None]
    decibels, layer = min(known, default=(SAME_DB, ""))
    if decibels >= SAME_DB:
        return ""
    return f"Furthest from the original is what {layer} puts out: {decibels:.1f} dB of signal to noise."


def _passed_by(outcome: LayerOutcome) -> bool:
    """True where no step acted, not even one that stores the layer as it came."""
    return all(treatment.verdict != "acts" for treatment in outcome.treatments)


def _reasons(outcomes: list[LayerOutcome], most: int = 8) -> str:
    shown = [
        f"- {as_text(outcome.layer)}: {as_text(outcome.treatments[-1].reason)} {as_text(outcome.treatments[-1].fix)}"
        for outcome in outcomes[:most]
    ]
    more = len(outcomes) - len(shown)
    return "\n".join([*shown, *([f"- and {more:,} more, in the table"] if more else [])])


def _measured(layers: tuple[LayerOutcome, ...]) -> dict[str, list[float | None]]:
    """Columns of figures; runs of older versions have none."""
    return {
        "Distinct values": [outcome.distinct for outcome in layers],
        "Bytes before": [outcome.bytes_before for outcome in layers],
        "Bytes now": [outcome.bytes_after for outcome in layers],
        "SQNR, dB": [outcome.error.sqnr_db if outcome.error else None for outcome in layers],
        "Cosine": [outcome.error.cosine if outcome.error else None for outcome in layers],
    }


def _decibels(value: float) -> str:
    return "same" if value >= SAME_DB else f"{value:.1f}"


def stored_table(recipe: Recipe, layers: tuple[LayerOutcome, ...]) -> pd.DataFrame:
    """Return a row for each layer: how it is stored, and how far it is from the original where there is a recipe."""
    table = pd.DataFrame(
        {
            "Layer": [outcome.layer for outcome in layers],
            "Kind": [outcome.class_name for outcome in layers],
            "Weights": [outcome.parameters for outcome in layers],
        }
    )
    table["Stored as"] = [outcome.dtype for outcome in layers]
    table["Zeros"] = [outcome.zero_share for outcome in layers]
    for column, values in _measured(layers).items():
        if any(value is not None for value in values):
            table[column] = pd.Series(values, dtype="Float64" if column in _FRACTIONS else "Int64")
    return table if recipe.steps else table.rename(columns={"Bytes now": "Bytes"})


def reasons_table(recipe: Recipe, layers: tuple[LayerOutcome, ...]) -> pd.DataFrame:
    """Return a row for each layer, a column for each step: what it did, and why."""
    table = pd.DataFrame({"Layer": [outcome.layer for outcome in layers]})
    for index, step in enumerate(recipe.steps):
        title = step.entry.title
        column = title if title not in table else f"{title} (step {index + 1})"
        table[column] = [_said(outcome.treatments[index]) for outcome in layers]
    return table


def _said(treatment: Treatment) -> str:
    return f"{VERDICTS[treatment.verdict].split()[0]} {treatment.reason} {treatment.fix}".strip()


_FORMATS = {
    "Weights": "{:,}",
    "Zeros": percent,
    "Distinct values": "{:,}",
    "Bytes before": "{:,}",
    "Bytes now": "{:,}",
    "Bytes": "{:,}",
    "SQNR, dB": _decibels,
    "Cosine": "{:.4f}",
}
