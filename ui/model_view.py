"""What was understood of an uploaded model."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from intake.model_info import ModelInfo
from ui.cells import as_cells
from ui.formatting import as_text, kilobytes, shape_text
from ui.wording import FORMATS


def draw_model(info: ModelInfo) -> None:
    """Draw how the model was saved, what goes in and out, its layers, and what was changed on the way in."""
    facts = [
        f"**{as_text(info.saved_by)}**, {FORMATS[info.uploaded_format]}, {kilobytes(info.file_bytes)}",
        f"{info.parameters:,} parameters ({info.trainable_parameters:,} trainable)",
        f"Input {_shapes(info.input_shapes)} → output {_shapes(info.output_shapes)}, "
        f"activation {as_text(info.output_activation)}",
    ]
    st.markdown("  \n".join(facts))
    st.caption(_opened_text(info))
    for note in info.notes:
        st.caption(as_text(note))
    with st.expander(f"{len(info.layers):,} layers", key=f"layers:{info.sha256[:12]}"):
        st.dataframe(
            as_cells(_layers(info)).style.format({"Parameters": "{:,}", "Weights, kB": "{:,.1f}"}),
            hide_index=True,
            alt="Layers with their parameters and bytes",
        )


def _shapes(shapes: tuple[tuple[int | None, ...], ...]) -> str:
    return " and ".join(shape_text(shape) for shape in shapes)


def _opened_text(info: ModelInfo) -> str:
    if not info.rebuilt:
        return "Opened in Keras 2 as it is."
    difference = f"{info.probe_max_difference:.1g}" if info.probe_max_difference else "none"
    return f"Rebuilt in Keras 2, which the techniques need; largest output difference on random input: {difference}."


def _layers(info: ModelInfo) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Layer": [layer.name for layer in info.layers],
            "Kind": [layer.class_name for layer in info.layers],
            "Output": [shape_text(layer.output_shape) if layer.output_shape else "several" for layer in info.layers],
            "Activation": [layer.activation or "" for layer in info.layers],
            "Parameters": [layer.parameters for layer in info.layers],
            "Weights, kB": [layer.weight_bytes / 1000 for layer in info.layers],
        }
    )
