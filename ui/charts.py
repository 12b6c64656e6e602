"""Figures: size against metric, and the curves of a training. The data half is in `ui.frames`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from intake.fit import Fit
from ui.formatting import as_hover, metric_change
from ui.frames import is_share_curve, pareto_front
from ui.palette import COLOURS, NEUTRAL, look_of, rank_of
from ui.quantities import Quantity, change_text
from ui.wording import METRICS

Curves = dict[str, list[tuple[int, float]]]
_DRAWN = (
    *("run_id", "title", "techniques", "is_baseline", "card", "size", "size_change"),
    *("metric", "metric_low", "metric_high", "metric_change"),
)
DOMINATED_OPACITY = 0.55
"""Of points that another run beats in both axes."""
_FAINT = "rgba(122, 134, 143, 0.45)"


@dataclass(frozen=True)
class Axes:
    """What the chart shows."""

    x: Quantity
    y: Quantity
    log_x: bool = False
    log_y: bool = False
    intervals: bool = True
    """Draw the 95 % intervals of the metric."""


def tradeoff_figure(
    frame: pd.DataFrame, axes: Axes, fit: Fit, *, selected: Sequence[str] = (), kept: pd.Series | None = None
) -> go.Figure:
    """Return one point per measured run; each point carries its run id in `customdata`.

    Args:
        frame: of `ui.frames.with_changes`, made for the x axis.
        axes: what is drawn against what.
        fit: names the metric, and says which way is better.
        selected: ids of the runs to ring.
        kept: for each row whether it keeps the budget; the others are greyed out. None: no budget.
    """
    made_before = ["hover"] if "hover" in frame else []
    needed = frame[list(dict.fromkeys((*_DRAWN, *made_before, axes.x.field, axes.y.field)))]  # it is sliced many times
    shown = needed.assign(y=axes.y.scaled(frame[axes.y.field]), kept=True if kept is None else kept)
    shown = shown.dropna(subset=["size", "y"])
    shown["hover"] = hover_cards(shown, axes, fit)
    affordable = shown[shown["kept"]]
    front = pareto_front(
        affordable,
        axes.x.field,
        axes.y.higher_is_better,
        y_field=axes.y.field,
        more_x_is_better=axes.x.higher_is_better,
    )
    figure = go.Figure()
    _add_baseline_lines(figure, shown)
    _add_missing(figure, shown[~shown["kept"] & ~shown["is_baseline"]])
    _add_front(figure, shown, front)
    for techniques in sorted(set(shown["techniques"]), key=rank_of):
        drawn = shown["kept"] | shown["is_baseline"]
        _add_points(figure, shown[drawn & (shown["techniques"] == techniques)], techniques, axes, set(front))
    _add_ring(figure, shown[shown["run_id"].isin(selected)])
    _lay_out(figure, axes, fit)
    return figure


def _add_baseline_lines(figure: go.Figure, shown: pd.DataFrame) -> None:
    for row in shown[shown["is_baseline"]].tail(1).to_dict("records"):
        line = {"dash": "dot", "width": 1, "color": _FAINT}
        figure.add_hline(y=row["y"], line=line)
        figure.add_vline(x=row["size"], line=line)


def _add_missing(figure: go.Figure, group: pd.DataFrame) -> None:
    if not group.empty:
        figure.add_scatter(
            x=group["size"], y=group["y"], mode="markers", name="Misses the budget",
            customdata=group[["run_id"]].to_numpy(), hovertext=group["hover"], hoverinfo="text",
            marker={"symbol": "x-thin", "size": 9, "line": {"color": _FAINT, "width": 1.5}},
        )  # fmt: skip


def _add_front(figure: go.Figure, shown: pd.DataFrame, front: list[str]) -> None:
    if len(front) < 2:
        return
    points = shown.set_index("run_id").loc[front]
    figure.add_scatter(
        x=points["size"], y=points["y"], mode="lines", name="Pareto front", hoverinfo="skip",
        line={"color": NEUTRAL, "width": 1.5, "shape": "hv"},
    )  # fmt: skip


def _add_points(
    figure: go.Figure, group: pd.DataFrame, techniques: tuple[str, ...], axes: Axes, front: set[str]
) -> None:
    if group.empty:
        return
    look = look_of(techniques)
    is_combined = look.outline != look.colour
    full = group["run_id"].isin(front) | group["is_baseline"]
    figure.add_scatter(
        x=group["size"],
        y=group["y"],
        mode="markers",
        name=str(group["title"].iloc[0]),
        customdata=group[["run_id"]].to_numpy(),
        hovertext=group["hover"],
        hoverinfo="text",
        marker={
            "symbol": look.symbol,
            "color": look.colour,
            "size": 18 if not techniques else 13,
            "opacity": full.map({True: 1.0, False: DOMINATED_OPACITY}).to_numpy(),
            "line": {"color": look.outline, "width": 3.5 if is_combined else 0},
        },
        error_x=_interval(group, axes.x, look.colour) if axes.intervals else None,
        error_y=_interval(group, axes.y, look.colour) if axes.intervals else None,
    )


def _interval(group: pd.DataFrame, axis: Quantity, colour: str) -> dict[str, Any] | None:
    if axis.field != "metric":
        return None
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return {
        "type": "data",
        "symmetric": False,
        "array": axis.scaled(group["metric_high"] - group["metric"]),
        "arrayminus": axis.scaled(group["metric"] - group["metric_low"]),
        "color": f"rgba({red}, {green}, {blue}, 0.35)",
        "thickness": 1.2,
        "width": 3,
    }


def _add_ring(figure: go.Figure, chosen: pd.DataFrame) -> None:
    if not chosen.empty:
        figure.add_scatter(
            x=chosen["size"], y=chosen["y"], mode="markers", hoverinfo="skip", showlegend=False,
            customdata=chosen[["run_id"]].to_numpy(),
            marker={"symbol": "circle-open", "size": 26, "color": NEUTRAL, "line": {"width": 2.5}},
        )  # fmt: skip


def _lay_out(figure: go.Figure, axes: Axes, fit: Fit) -> None:
    figure.update_layout(
        height=480,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        hovermode="closest",
        clickmode="event+select",
        dragmode=False,  # a finger that scrolls the page must not zoom
        showlegend=True,
        legend={"orientation": "h", "yanchor": "top", "y": -0.2, "xanchor": "left", "x": 0, "title": None},
        hoverlabel={"align": "left"},
        xaxis={
            "title": _title(axes.x, fit, "right" if axes.x.higher_is_better else "left"),
            "type": "log" if axes.log_x else "linear",
            "rangemode": "normal" if axes.x.is_share else "tozero",
        },
        yaxis={
            "title": _title(axes.y, fit, "up"),
            "type": "log" if axes.log_y else "linear",
            "autorange": True if axes.y.higher_is_better else "reversed",  # up is always better
        },
    )


def _title(axis: Quantity, fit: Fit, better: str) -> str:
    if axis.field != "metric":
        return f"{axis.heading} ({better} is better)"
    against = " with the uploaded model" if fit.metric_name == "agreement" else ""
    unit = " in %" if fit.is_share else ""
    return f"{METRICS[fit.metric_name]} of the .tflite{against}{unit} ({better} is better)"


def hover_cards(shown: pd.DataFrame, axes: Axes, fit: Fit) -> list[str]:
    """Return the card of each row of `ui.frames.with_changes`, with its changes against the baseline."""
    if "hover" in shown:  # made before, for these axes
        return list(shown["hover"])
    changes = zip(shown["metric_change"], shown["size_change"], strict=True)
    return [card + _changes(*pair, axes, fit) for card, pair in zip(shown["card"], changes, strict=True)]


def _changes(of_metric: float, of_x: float, axes: Axes, fit: Fit) -> str:
    lines = []
    if not math.isnan(of_metric):
        lines.append(f"{metric_change(fit.metric_name, of_metric)} {METRICS[fit.metric_name].lower()}")
    if not math.isnan(of_x) and axes.x.field != "metric":
        lines.append(f"{change_text(axes.x, of_x)} {axes.x.label}")
    return "".join(f"<br>{line}" for line in ("", "<b>Against the baseline</b>", *lines)) if lines else ""


def curve_figures(curves: Curves) -> dict[str, go.Figure]:
    """Return a figure per quantity ("loss", "accuracy", "sparsity"), training and validation in one."""
    names = sorted({name.split("/", 1)[1] for name in curves}, key=lambda name: (name != "loss", name))
    return {name: _curve_figure(name, curves) for name in names}


def _curve_figure(quantity: str, curves: Curves) -> go.Figure:
    figure = go.Figure()
    in_percent = is_share_curve(quantity)
    factor, digits, unit = (100, ".2f", " %") if in_percent else (1, ".4g", "")
    for part, colour, mode in (("train", COLOURS[0], "lines"), ("validation", COLOURS[1], "lines+markers")):
        points = curves.get(f"{part}/{quantity}", [])
        if points:
            steps, values = zip(*points, strict=True)
            figure.add_scatter(
                x=steps, y=[factor * value for value in values], mode=mode if len(points) > 1 else "markers", name=part,
                line={"color": colour, "width": 2}, hovertemplate=f"step %{{x:,}}: %{{y:{digits}}}{unit}<extra></extra>",
            )  # fmt: skip
    figure.update_layout(
        title={"text": quantity.replace("_", " ").capitalize(), "font": {"size": 14}},
        height=240,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        showlegend=len(figure.data) > 1,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "xanchor": "right", "x": 1, "title": None},
        xaxis={"title": "Optimizer step"},
        yaxis={"ticksuffix": unit},
    )
    return figure


def class_balance_figure(class_names: tuple[str, ...], counts: dict[str, tuple[int, ...]]) -> go.Figure:
    """Return bars of samples per class, one colour per part of the dataset."""
    figure = go.Figure()
    for colour, (part, values) in zip(COLOURS, counts.items(), strict=False):
        figure.add_bar(x=[as_hover(name) for name in class_names], y=values, name=part, marker={"color": colour})
    figure.update_layout(
        barmode="stack",
        height=240,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={
            "traceorder": "normal",
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.01,
            "xanchor": "left",
            "x": 0,
            "title": None,
        },
        xaxis={"type": "category"},
        yaxis={"title": "Samples"},
    )
    return figure
