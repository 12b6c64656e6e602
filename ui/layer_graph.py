"""The layers of a model as a graph in Graphviz's language, and what they can be coloured by. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale, unlabel_rgb

from measure.layer_errors import SAME_DB
from runs.layer_outcomes import LayerOutcome
from ui.formatting import kilobytes, percent
from ui.palette import NEUTRAL, text_colour

MOST_LAYERS = 150
"""Of larger models only layers that store weights are drawn, and those where branches meet."""
SCALE = "Viridis"
"""Even steps of lightness, for colour-blind readers and in grey alike."""
FAR_DB = 60.0
"""What is closer to the original than this is coloured alike: ten bits."""
LONGEST_NAME = 30


@dataclass(frozen=True)
class Measure:
    """A figure of layers that they can be coloured by."""

    label: str
    text: Callable[[float], str]
    """The value with its unit."""
    values: dict[str, float]
    """Of the layers that have one."""
    is_log: bool = False
    low: float | None = None
    """Where the scale begins; None: at the smallest value."""
    high: float | None = None
    """Where it ends; larger values have the colour of this one. None: at the largest value."""
    table: str = "all layers"
    """Which table has the same figures."""

    @property
    def ends(self) -> tuple[float, float]:
        """First and last value of the scale."""
        low = min(self.values.values()) if self.low is None else self.low
        return low, max(self.values.values()) if self.high is None else self.high

    def place(self, value: float) -> float:
        """Return where a value stands on the scale, 0 to 1."""
        low, high = map(self._scaled, self.ends)
        return 1.0 if high == low else min(1.0, max(0.0, (self._scaled(value) - low) / (high - low)))

    def value_at(self, place: float) -> float:
        """Return the value of a place, the other way round."""
        low, high = map(self._scaled, self.ends)
        at = low + place * (high - low)
        return 10**at if self.is_log else at

    def tick(self, place: float) -> str:
        """Return the words at a place of the scale."""
        more = " or more" if place == 1 and max(self.values.values()) > self.ends[1] else ""
        less = " or less" if place == 0 and min(self.values.values()) < self.ends[0] else ""
        return self.text(self.value_at(place)) + more + less

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1.0)) if self.is_log else value


def measures_of(layers: Sequence[LayerOutcome], time_shares: Mapping[str, float] | None = None) -> list[Measure]:
    """Return what the layers of a run can be coloured by; what no layer has a figure of is left out.

    Args:
        layers: of the run.
        time_shares: layer -> its share of the time of a call, 0 to 1, where that was measured.
    """
    known = [
        Measure("Bytes now", _bytes, _values(layers, lambda one: one.bytes_after), is_log=True),
        Measure("Bytes saved", _bytes, _values(layers, _saved)),
        Measure("Zeros", lambda value: percent(value, 1), _values(layers, lambda one: one.zero_share), low=0, high=1),
        Measure("Distinct values", _count, _values(layers, lambda one: one.distinct), is_log=True),
        Measure(
            "Bits per weight", lambda value: f"{value:.0f} bits", _values(layers, _bits), is_log=True, low=2, high=32
        ),
        Measure(
            "SQNR", _decibels, _values(layers, lambda one: one.error.sqnr_db if one.error else None), low=0, high=FAR_DB
        ),
        Measure(
            "Share of time", lambda value: percent(value, 1), dict(time_shares or {}), low=0, table="all operations"
        ),
    ]
    return [measure for measure in known if measure.values]


def _values(layers: Sequence[LayerOutcome], value_of: Callable[[LayerOutcome], float | None]) -> dict[str, float]:
    found = {layer.layer: value_of(layer) for layer in layers}
    return {name: value for name, value in found.items() if value is not None}


def _saved(layer: LayerOutcome) -> float | None:
    return None if layer.bytes_before is None else layer.bytes_before - (layer.bytes_after or 0)


def _bits(layer: LayerOutcome) -> float | None:
    found = re.search(r"\d+$", layer.dtype)
    return float(found.group()) if found else None


def _bytes(value: float) -> str:
    return f"-{kilobytes(-value)}" if value < 0 else kilobytes(value)


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _decibels(value: float) -> str:
    return "same" if value >= SAME_DB else f"{value:.1f} dB"


def shown_layers(layers: Sequence[LayerOutcome]) -> list[LayerOutcome]:
    """Return the layers to draw: all, or those that store weights and where branches meet, joined across the others."""
    if len(layers) <= MOST_LAYERS:
        return list(layers)
    known = any(layer.bytes_after for layer in layers)
    kept = {
        layer.layer
        for layer in layers
        if len(layer.inputs) > 1 or (layer.bytes_after if known else layer.parameters)  # a BatchNormalization is merged
    }
    every = {layer.layer for layer in layers}
    sources: dict[str, tuple[str, ...]] = {}
    for layer in layers:  # a model lists its layers after what they take from
        near = [name for one in layer.inputs for name in ((one,) if one in kept else sources.get(one, (one,)))]
        sources[layer.layer] = tuple(dict.fromkeys(name for name in near if name in kept or name not in every))
    return [layer.model_copy(update={"inputs": sources[layer.layer]}) for layer in layers if layer.layer in kept]


def dot_of(layers: Sequence[LayerOutcome], measure: Measure) -> str:
    """Return the graph in Graphviz's language: a node for each layer, coloured by its figure, from top to bottom."""
    given = dict.fromkeys(name for layer in layers for name in layer.inputs)
    names = dict.fromkeys([*given, *(one.layer for one in layers)])
    numbers = {name: f"n{index}" for index, name in enumerate(names)}
    own = {layer.layer for layer in layers}
    lines = [
        "digraph {",
        'graph [bgcolor="transparent" rankdir="TB" nodesep="0.18" ranksep="0.26" margin="0.05"]',
        'node [shape="box" style="filled,rounded" fontname="Helvetica,Arial,sans-serif" fontsize="10" margin="0.12,0.05" '
        f'color="{NEUTRAL}" height="0.3"]',
        f'edge [color="{NEUTRAL}" arrowsize="0.6"]',
        *(f'{numbers[name]} [label={_quoted([name, "input"])} style="dashed" fontcolor="{NEUTRAL}" shape="oval"]'
          for name in given if name not in own),
        *(_node(numbers[layer.layer], layer, measure) for layer in layers),
        *(f"{numbers[one]} -> {numbers[layer.layer]}" for layer in layers for one in layer.inputs),
        "}",
    ]  # fmt: skip
    return "\n".join(lines)


def _node(number: str, layer: LayerOutcome, measure: Measure) -> str:
    value = measure.values.get(layer.layer)
    weights = f" · {layer.parameters:,} weights" if layer.parameters else ""
    rows = [layer.layer, f"{layer.class_name}{weights}", *([] if value is None else [measure.text(value)])]
    tip = _quoted([*rows, measure.label])
    if value is None:
        return f'{number} [label={_quoted(rows)} tooltip={tip} style="rounded" fontcolor="{NEUTRAL}"]'
    fill = colour_at(measure.place(value))
    return f'{number} [label={_quoted(rows)} tooltip={tip} fillcolor="{fill}" fontcolor="{text_colour(fill)}"]'


def _quoted(rows: Sequence[str]) -> str:
    escaped = [_short(row).replace("\\", "\\\\").replace('"', '\\"') for row in rows]
    return '"' + "\\n".join(escaped) + '"'


def _short(text: str) -> str:
    half = LONGEST_NAME // 2
    return text if len(text) <= LONGEST_NAME + 10 else f"{text[:half]}…{text[-half:]}"


def colour_at(place: float) -> str:
    """Return the colour of a place from 0 to 1 on the scale, "#rrggbb"."""
    red, green, blue = unlabel_rgb(sample_colorscale(SCALE, [min(1.0, max(0.0, place))])[0])
    return f"#{round(red):02x}{round(green):02x}{round(blue):02x}"


def legend_of(measure: Measure) -> go.Figure:
    """Return the scale as a strip of colours, its values with their unit below."""
    places = np.linspace(0, 1, 64)
    same = measure.ends[0] == measure.ends[1]
    ticks = [0.5] if same else [0, 0.25, 0.5, 0.75, 1]
    colours = [[0, colour_at(1)], [1, colour_at(1)]] if same else SCALE
    figure = go.Figure(
        go.Heatmap(z=[places], x=places, colorscale=colours, zmin=0, zmax=1, showscale=False, hoverinfo="skip")
    )
    figure.update_layout(
        height=70,
        width=420,
        margin={"l": 30, "r": 40, "t": 4, "b": 38},
        dragmode=False,
        xaxis={
            "tickvals": ticks,
            "ticktext": [measure.tick(1 if same else tick) for tick in ticks],
            "range": [0, 1],
            "showgrid": False,
        },
        yaxis={"visible": False},
    )
    return figure
