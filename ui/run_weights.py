"""The weights of one layer of a run: their values before and now, and the few that clustering left."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from measure.weight_histograms import WeightHistogram
from runs.layer_outcomes import LayerOutcome
from ui.formatting import as_text, percent
from ui.palette import COLOURS, NEUTRAL

_GRID = "rgba(122, 134, 143, 0.35)"


def draw_weights(layers: tuple[LayerOutcome, ...]) -> None:
    """Draw the histogram of the layer that is chosen, the largest one first; nothing for runs of older versions."""
    found = {outcome.layer: outcome for outcome in layers if outcome.histogram is not None}
    if not found:
        return
    with st.expander("Values of the weights", key="run:weights"):
        ranked = sorted(found, key=lambda name: -found[name].parameters)
        name = st.selectbox(
            "Layer", ranked, key="run:weights:layer", help="The layers with the most weights come first."
        )
        outcome = found[name]
        if outcome.histogram is None:
            return
        st.caption(as_text(weights_sentence(outcome.histogram, outcome)))
        st.plotly_chart(
            weights_figure(outcome.histogram),
            key="run:weights:figure",
            config={"displayModeBar": False},
            alt="Values of the weights of the layer, before and now",
        )


def weights_sentence(histogram: WeightHistogram, outcome: LayerOutcome) -> str:
    """Return how many zeros and different values the largest kernel of a layer has."""
    was = f" ({percent(histogram.zeros_before)} before)" if histogram.zeros_before else ""
    any_zeros = histogram.zeros_after or histogram.zeros_before
    said = [f"{percent(histogram.zeros_after)} zeros{was}, not drawn." if any_zeros else "No weight is zero."]
    if outcome.distinct is not None:
        said.append(f"{outcome.distinct:,} different values are stored, as {outcome.dtype}.")
    if histogram.values:
        said.append("Each line is a value that weights share.")
    if histogram.is_as_stored:
        said.append("The values are the integers of the file: each block of weights has a scale of its own.")
    return " ".join(said)


def weights_figure(histogram: WeightHistogram) -> go.Figure:
    """Return the share of the weights in each bin, before as a line and now as bars; lines for values where few."""
    figure = go.Figure()
    width = (histogram.high - histogram.low) / max(1, len(histogram.after))
    middles = [histogram.low + (index + 0.5) * width for index in range(len(histogram.after))]
    if histogram.before:
        figure.add_scatter(
            x=middles, y=[100 * share for share in histogram.before], mode="lines", name="before, float32",
            line={"color": NEUTRAL, "width": 2, "shape": "hvh"},
            hovertemplate="about %{x:.4g}: %{y:.2f} % of the weights<extra>before</extra>",
        )  # fmt: skip
    if histogram.values:
        _add_values(figure, histogram)
    else:
        figure.add_bar(
            x=middles, y=[100 * share for share in histogram.after], width=width, name="now",
            marker={"color": COLOURS[0], "line": {"width": 0}}, opacity=0.6,
            hovertemplate="about %{x:.4g}: %{y:.2f} % of the weights<extra>now</extra>",
        )  # fmt: skip
    figure.update_layout(
        height=280,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        showlegend=True,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.01, "xanchor": "left", "x": 0, "title": None},
        xaxis={
            "title": "Stored integer" if histogram.is_as_stored else "Weight",
            "range": [histogram.low - width, histogram.high + width],
            "gridcolor": _GRID,
        },
        yaxis={"title": "Weights, %", "rangemode": "tozero", "gridcolor": _GRID},
    )
    return figure


def _add_values(figure: go.Figure, histogram: WeightHistogram) -> None:
    stems_x: list[float | None] = []
    stems_y: list[float | None] = []
    for value, share in histogram.values:
        stems_x += [value, value, None]
        stems_y += [0, 100 * share, None]
    figure.add_scatter(
        x=stems_x, y=stems_y, mode="lines", hoverinfo="skip", showlegend=False, line={"color": COLOURS[0], "width": 2}
    )
    figure.add_scatter(
        x=[value for value, _ in histogram.values],
        y=[100 * share for _, share in histogram.values],
        mode="markers",
        name=f"now, {len(histogram.values):,} values{' beside 0' if histogram.zeros_after else ''}",
        marker={"color": COLOURS[0], "size": 8},
        hovertemplate="%{x:.4g}: %{y:.2f} % of the weights<extra>now</extra>",
    )
