"""What each layer costs by itself, as sentence, table and figure. No Streamlit."""

from __future__ import annotations

import math

import pandas as pd
import plotly.graph_objects as go

from intake.fit import SHARES, Metric
from optimizers.sensitivity import LayerCost, Sensitivity
from ui.formatting import as_hover, as_text, metric_change, metric_text, percent
from ui.palette import COLOURS, NEUTRAL
from ui.wording import METRICS

MOST_BARS = 25
"""Layers that the figure has room for: those that cost the most."""
PARTS = {"validation": "validation", "train": "training"}
_GRID = "rgba(122, 134, 143, 0.35)"


def loss_of(cost: LayerCost, name: Metric) -> float:
    """Return how much worse the metric gets; below 0 where it gets better, NaN where it was not measured."""
    if cost.change is None:
        return math.nan
    return -cost.change if name in SHARES else cost.change


def worst_first(found: Sensitivity) -> list[LayerCost]:
    """Return the layers, those that cost most first and those that were not measured last."""

    def rank(cost: LayerCost) -> tuple[bool, float]:
        loss = loss_of(cost, found.metric_name)
        return math.isnan(loss), 0.0 if math.isnan(loss) else -loss

    return sorted(found.layers, key=rank)


def costly(found: Sensitivity, most: int = 3) -> list[LayerCost]:
    """Return the layers that cost more than noise, the worst first, at most so many."""
    beyond = [cost for cost in worst_first(found) if loss_of(cost, found.metric_name) > (cost.noise or 0)]
    return beyond[:most]


def sensitivity_sentence(found: Sensitivity) -> str:
    """Return as Markdown, names escaped, which layer costs most."""
    measured = [cost for cost in found.layers if cost.change is not None]
    if not measured:
        return as_text("No layer could be measured: see the table.")
    worst = costly(found, most=len(found.layers))
    if not worst:
        return as_text(f"None of {len(measured):,} layers costs more by itself than noise explains.")
    first = worst[0]
    change = f"{metric_change(found.metric_name, first.change or 0.0)} ({_noise(found, first)})"
    several = f" {len(worst):,} of {len(measured):,} layers cost more than noise." if len(worst) > 1 else ""
    return f"**{as_text(first.layer)}** costs most by itself: {as_text(f'{change}.{several}')}"


def _noise(found: Sensitivity, cost: LayerCost) -> str:
    return "±" + metric_change(found.metric_name, cost.noise or 0.0).lstrip("+")


def how_measured(found: Sensitivity) -> str:
    """Return what the figures are, in sentences."""
    missing = sum(cost.change is None for cost in found.layers)
    words = [
        f"Each layer is treated alone by this recipe, without training, in the uploaded Keras model: "
        f"{METRICS[found.metric_name].lower()} {metric_text(found.metric_name, found.whole)} with none treated, on "
        f"{found.samples:,} {PARTS[found.part]} samples. Test samples are left out: layers chosen by them would make "
        "the test part look better than it is. Fine-tuning wins back part of what a layer costs here.",
        *found.notes,
    ]
    if found.notes:
        words.append("Only what becomes of the kernels is in these figures.")
    if missing:
        words.append(f"{missing:,} of {len(found.layers):,} layers were not measured.")
    return " ".join(words)


def sensitivity_table(found: Sensitivity) -> pd.DataFrame:
    """Return a row for each layer, those that cost most first."""
    ranked, name = worst_first(found), found.metric_name
    saved = sum(max(0, cost.saved_bytes or 0) for cost in ranked)
    table = pd.DataFrame(
        {
            "Layer": [cost.layer for cost in ranked],
            "Change": ["" if cost.change is None else metric_change(name, cost.change) for cost in ranked],
            "95 % noise": ["" if cost.noise is None else _noise(found, cost) for cost in ranked],
            METRICS[name]: ["" if cost.metric is None else metric_text(name, cost.metric) for cost in ranked],
        }
    )
    if saved and any(cost.saved_bytes is not None for cost in ranked):
        table["Share of bytes saved"] = [_share(cost.saved_bytes, saved) for cost in ranked]
    table["Weights"] = [f"{cost.weights:,}" for cost in ranked]
    table["Kind"] = [cost.class_name for cost in ranked]
    if any(cost.reason for cost in ranked):
        table["Not measured"] = [cost.reason for cost in ranked]
    return table


def _share(saved_bytes: int | None, whole: int) -> str:
    return "" if saved_bytes is None else percent(max(0, saved_bytes) / whole, 1)


def sensitivity_figure(found: Sensitivity) -> go.Figure:
    """Return a bar for each layer that was measured, the worst on top, with its 95 % interval."""
    name = found.metric_name
    shown = [cost for cost in worst_first(found) if cost.change is not None][:MOST_BARS]
    scale = 100 if name in SHARES else 1
    losses = [scale * loss_of(cost, name) for cost in shown]
    noises = [scale * (cost.noise or 0) for cost in shown]
    figure = go.Figure(
        go.Bar(
            x=losses,
            y=list(range(len(shown))),
            orientation="h",
            marker={"color": [COLOURS[1] if loss > noise else NEUTRAL for loss, noise in zip(losses, noises, strict=True)]},
            error_x={"type": "data", "array": noises, "color": NEUTRAL, "thickness": 1, "width": 3},
            hovertext=[_hover(found, cost) for cost in shown],
            hoverinfo="text",
        )
    )  # fmt: skip
    title = f"{METRICS[name]} lost, points" if name in SHARES else f"{METRICS[name]} added"
    figure.update_layout(
        height=max(160, 80 + 22 * len(shown)),
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        showlegend=False,
        xaxis={"title": title, "gridcolor": _GRID, "zerolinecolor": NEUTRAL},
        yaxis={
            "tickvals": list(range(len(shown))),
            "ticktext": [_short(cost.layer) for cost in shown],
            "autorange": "reversed",
            "showgrid": False,
        },
    )
    return figure


def _hover(found: Sensitivity, cost: LayerCost) -> str:
    name = found.metric_name
    return (
        f"{as_hover(cost.layer)}: {METRICS[name].lower()} {metric_text(name, cost.metric or 0.0)}, "
        f"{metric_change(name, cost.change or 0.0)} ({_noise(found, cost)})"
    )


def _short(name: str, most: int = 24) -> str:
    """For an axis; both ends are kept, since layers are told apart by either."""
    return as_hover(name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most // 2) :]}")
