"""The layers of a finished run as a graph, coloured by a figure that the reader chooses."""

from __future__ import annotations

import streamlit as st

from runs.layer_outcomes import LayerOutcome
from runs.records import RunRecord
from ui.layer_graph import Measure, dot_of, legend_of, measures_of, shown_layers
from ui.operation_rows import layer_shares
from ui.session import may_change, service

TALLEST = 620
"""Pixels; larger graphs are scrolled."""


def draw_graph(run: RunRecord, layers: tuple[LayerOutcome, ...]) -> None:
    """Draw the graph, with the choice of what its colours show."""
    if not layers:
        return
    with st.expander("The model as a graph", key="run:graph"):
        if not any(layer.inputs for layer in layers):
            st.info("This run is of a version that did not store how layers are connected. Run it again to see them.")
            return
        job = service().operations.measured(run.run_id)
        measures = measures_of(layers, layer_shares(job.result[0]) if job else None)
        if not measures:
            st.info("None of these layers has a figure to show.")
            return
        labels = [measure.label for measure in measures]
        label = st.selectbox("Colour by", labels, key="run:graph:colour", width=220)
        chosen = measures[labels.index(label)] if label in labels else measures[0]
        _draw_measure(layers, chosen)
        if job is None and may_change():
            st.caption("Time each operation above to colour by share of time, too.")


def _draw_measure(layers: tuple[LayerOutcome, ...], chosen: Measure) -> None:
    st.plotly_chart(
        legend_of(chosen), key="run:graph:legend", width="content", config={"displayModeBar": False},
        alt=f"Scale of colours for {chosen.label.lower()}, from {chosen.tick(0)} to {chosen.tick(1)}",
    )  # fmt: skip
    shown = shown_layers(layers)
    st.caption(_caption(layers, shown, chosen))
    with st.container(height=TALLEST if len(shown) > 10 else "content", border=False, key="run:graph:frame"):
        st.graphviz_chart(
            dot_of(shown, chosen),
            alt=f"Graph of {len(shown):,} layers from input to output, coloured by {chosen.label.lower()}. "
            "The tables of this page have the same figures.",
        )


def _caption(layers: tuple[LayerOutcome, ...], shown: list[LayerOutcome], chosen: Measure) -> str:
    folded = len(layers) - len(shown)
    parts = [f"{folded:,} layers that store no weights are left out, the others joined across them."] if folded else []
    if any(layer.layer not in chosen.values for layer in shown):
        parts.append("Layers without a fill have no such figure.")
    return " ".join([*parts, f"The table of {chosen.table} has these figures, too."])
