"""What became of each layer in a finished run, beside how it stands in the exported file."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from optimizers.recipe import Recipe
from runs.layer_outcomes import LayerOutcome
from ui.formatting import as_text, percent
from ui.layer_table import table_height
from ui.wording import VERDICTS


def draw_outcomes(recipe: Recipe, layers: tuple[LayerOutcome, ...]) -> None:
    """Draw which layers were left as they are and why, and every layer with how it is stored."""
    if not layers:
        return
    st.subheader("Layers")
    chosen = [outcome.layer for outcome in layers if outcome.left_by_choice]
    if chosen:
        st.markdown(f"Left as they are, as you chose: {as_text(', '.join(chosen))}.")
    floats = [outcome for outcome in layers if outcome.dtype == "float32" and _passed_by(outcome)]
    if floats:
        st.markdown(f"{len(floats):,} layers with weights were passed by and stay float32:  \n" + _reasons(floats))
    table = outcome_table(recipe, layers)
    with st.expander(f"All {len(layers):,} layers", key="run:layers"):
        st.dataframe(
            table.style.format({"Weights": "{:,}", "Zeros": percent}, na_rep=""),
            hide_index=True,
            column_config={"Why": st.column_config.TextColumn(width=480)},
            height=table_height(len(table)),
            alt="What was done to each layer, and how its largest kernel is stored",
        )


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


def outcome_table(recipe: Recipe, layers: tuple[LayerOutcome, ...]) -> pd.DataFrame:
    """Return a row for each layer: what each step did, how it is stored, and why."""
    table = pd.DataFrame(
        {
            "Layer": [outcome.layer for outcome in layers],
            "Kind": [outcome.class_name for outcome in layers],
            "Weights": [outcome.parameters for outcome in layers],
        }
    )
    for index, step in enumerate(recipe.steps):
        title = step.entry.title
        column = title if title not in table else f"{title} (step {index + 1})"
        table[column] = [VERDICTS[outcome.treatments[index].verdict] for outcome in layers]
    table["Stored as"] = [outcome.dtype for outcome in layers]
    table["Zeros"] = [outcome.zero_share for outcome in layers]
    table["Why"] = [
        " ".join(dict.fromkeys(f"{treatment.reason} {treatment.fix}".strip() for treatment in outcome.treatments))
        for outcome in layers
    ]
    return table
