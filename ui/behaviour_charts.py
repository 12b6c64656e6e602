"""Figures of what changed in a model's answers: classes, confusion, calibration, errors. No Streamlit."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from measure.behaviour import ClassChange, NumberChange, Reliability
from ui.formatting import as_hover
from ui.palette import COLOURS, NEUTRAL, colour_between, text_colour

MOST_CLASSES = 40
"""Classes that a figure has room for; of more, those that changed most."""
CLASSES, CONFUSION, CALIBRATION = "Each class, before and now", "How the confusion matrix changed", "Calibration"
CLASSES_ALONE = "Each class"
"""Titles of figures."""
BETTER, WORSE = COLOURS[0], COLOURS[1]
_SLIGHTLY_BETTER, _SLIGHTLY_WORSE = "#C5DCEC", "#F3D3BC"
_GRID = "rgba(122, 134, 143, 0.35)"
_MARGIN = {"l": 8, "r": 8, "t": 8, "b": 8}
_LEGEND = {"orientation": "h", "yanchor": "bottom", "y": 1.01, "xanchor": "left", "x": 0, "title": None}


def class_figure(change: ClassChange, alone: bool = False) -> go.Figure:
    """Return the share of right answers of each class, before and after, joined by a line; alone: only after."""
    rows = [row for row in change.classes if row.samples]
    if len(rows) > MOST_CLASSES:
        ranked = sorted(rows, key=lambda row: -abs(row.right_after - row.right_before) / row.samples)[:MOST_CLASSES]
        rows = [row for row in rows if row in ranked]
    names = [_short(row.name) for row in rows]
    before = [100 * row.right_before / row.samples for row in rows]
    after = [100 * row.right_after / row.samples for row in rows]
    figure = go.Figure()
    for name, old, new in zip(names, before, after, strict=True) if not alone else ():
        figure.add_scatter(
            x=[old, new], y=[name, name], mode="lines", hoverinfo="skip", showlegend=False,
            line={"color": BETTER if new > old else WORSE, "width": 3},
        )  # fmt: skip
    hover = [
        f"{as_hover(row.name)}: {row.right_after:,} of {row.samples:,} right"
        if alone
        else f"{as_hover(row.name)}: {row.right_before:,} of {row.samples:,} right before, {row.right_after:,} now"
        for row in rows
    ]
    colours = [BETTER if alone else _colour(old, new) for old, new in zip(before, after, strict=True)]
    both: list[tuple[str, list[float], dict[str, Any]]] = [
        ("before", before, {"color": NEUTRAL, "size": 11, "symbol": "circle-open", "line": {"width": 2}}),
        ("now", after, {"color": colours, "size": 10}),
    ]
    for label, values, marker in both[1:] if alone else both:
        figure.add_scatter(
            x=values, y=names, mode="markers", name=label, marker=marker, hovertext=hover, hoverinfo="text"
        )
    figure.update_layout(
        height=max(180, 70 + 22 * len(rows)),
        margin=_MARGIN,
        showlegend=not alone,
        legend=_LEGEND,
        xaxis={"title": "Right answers, %", "gridcolor": _GRID},
        yaxis={"type": "category", "autorange": "reversed", "gridcolor": _GRID},
    )
    return figure


def _colour(before: float, after: float) -> str:
    return NEUTRAL if after == before else BETTER if after > before else WORSE


def confusion_figure(change: ClassChange) -> go.Figure | None:
    """Return a heat map of how the confusion matrix changed; None where no cell did.

    One colour for what got better, more right answers or fewer of a mistake, the other for what got worse.
    """
    cells = [cell for cell in change.cells if cell.after != cell.before]
    if not cells:
        return None
    involved = dict.fromkeys(number for cell in cells for number in (cell.truth, cell.answer))
    shown = sorted(list(involved)[:MOST_CLASSES])  # the cells that changed most come first
    place = {number: index for index, number in enumerate(shown)}
    goodness: list[list[float | None]] = [[None] * len(shown) for _ in shown]
    texts, hover = [[""] * len(shown) for _ in shown], [[""] * len(shown) for _ in shown]
    for cell in cells:
        if cell.truth in place and cell.answer in place:
            row, column, more = place[cell.truth], place[cell.answer], cell.after - cell.before
            goodness[row][column] = more if cell.truth == cell.answer else -more
            texts[row][column] = f"{more:+,}"
            hover[row][column] = (
                f"{as_hover(change.names[cell.truth])} answered as {as_hover(change.names[cell.answer])}: "
                f"{cell.before:,} before, {cell.after:,} now"
            )
    most = max(abs(value) for row in goodness for value in row if value is not None)
    texts = [[_on_cell(*cell, most) for cell in zip(*row, strict=True)] for row in zip(texts, goodness, strict=True)]
    labels = [_short(change.names[number]) for number in shown]
    figure = go.Figure(
        go.Heatmap(
            z=goodness, x=labels, y=labels, zmin=-most, zmax=most, showscale=False, xgap=2, ygap=2,
            colorscale=[[0, WORSE], [0.499, _SLIGHTLY_WORSE], [0.501, _SLIGHTLY_BETTER], [1, BETTER]],
            text=texts, texttemplate="%{text}" if len(shown) <= 20 else "", hovertext=hover, hoverinfo="text",
            hoverongaps=False, textfont={"size": 12},
        )
    )  # fmt: skip
    axis = {"type": "category", "showgrid": False}
    figure.update_layout(
        height=max(220, 90 + 24 * len(shown)),
        margin=_MARGIN,
        xaxis={**axis, "title": "Answer"},
        yaxis={**axis, "title": "Right would be", "autorange": "reversed"},
    )
    return figure


def _on_cell(text: str, goodness: float | None, most: float) -> str:
    """A number of the confusion matrix in black or white, whichever can be read on its cell."""
    if goodness is None:
        return text
    ends = (_SLIGHTLY_BETTER, BETTER) if goodness > 0 else (_SLIGHTLY_WORSE, WORSE)
    return f'<span style="color:{text_colour(colour_between(*ends, abs(goodness) / most))}">{text}</span>'


def calibration_figure(before: Reliability | None, after: Reliability) -> go.Figure:
    """Return how often answers of each probability are right, beside what the probability says; before where given."""
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 100], y=[0, 100], mode="lines", name="probability at its word", hoverinfo="skip",
        line={"color": NEUTRAL, "dash": "dot", "width": 1},
    )  # fmt: skip
    drawn = [("now" if before else "this model", after, BETTER, "circle")]
    if before is not None:
        drawn.insert(0, ("before", before, NEUTRAL, "circle-open"))
    for label, bins, colour, symbol in drawn:
        filled = [index for index, count in enumerate(bins.samples) if count]
        figure.add_scatter(
            x=[100 * bins.probability[index] for index in filled],
            y=[100 * bins.right[index] for index in filled],
            mode="lines+markers",
            name=label,
            line={"color": colour, "width": 2},
            marker={"symbol": symbol, "size": 8},
            hovertext=[f"{label}: {bins.samples[index]:,} answers" for index in filled],
            hovertemplate="%{hovertext}, probability %{x:.1f} %, right %{y:.1f} %<extra></extra>",
        )
    figure.update_layout(
        height=260,
        margin=_MARGIN,
        legend=_LEGEND,
        xaxis={"title": "Probability of the answer, %", "range": [0, 102], "gridcolor": _GRID},
        yaxis={"title": "Of these right, %", "range": [0, 104], "gridcolor": _GRID},
    )
    return figure


def number_figure(change: NumberChange, alone: bool = False) -> go.Figure:
    """Return the distribution of errors before and after, or of the differences where there are no labels.

    Alone: only after.
    """
    figure = go.Figure()
    middles = [(low + high) / 2 for low, high in zip(change.edges, change.edges[1:], strict=False)]
    both = [("before", change.before, NEUTRAL), ("now", change.after, BETTER)]
    for label, counts, colour in both if change.before and not alone else both[1:]:
        figure.add_scatter(
            x=middles, y=counts, mode="lines", name=label, line={"color": colour, "width": 2, "shape": "hvh"},
            fill="tozeroy" if label == "now" else None, fillcolor="rgba(0, 114, 178, 0.18)",
            hovertemplate="%{x:.4g}: %{y:,} samples<extra>" + label + "</extra>",
        )  # fmt: skip
    figure.update_layout(
        height=260,
        margin=_MARGIN,
        showlegend=bool(change.before) and not alone,
        legend=_LEGEND,
        xaxis={"title": _number_title(change), "gridcolor": _GRID, "zeroline": True, "zerolinecolor": _GRID},
        yaxis={"title": "Samples", "rangemode": "tozero", "gridcolor": _GRID},
    )
    return figure


def _number_title(change: NumberChange) -> str:
    if change.before:
        return "Answer minus truth" if change.is_signed else "Mean absolute error of a sample"
    return "Answer minus that of the uploaded model" if change.is_signed else "Mean absolute difference of a sample"


def _short(name: str, most: int = 18) -> str:
    """Of a class for an axis."""
    plain = " ".join(name.split())
    return as_hover(plain if len(plain) <= most else f"{plain[: most - 1]}…")


def as_figures(change: ClassChange, alone: bool = False) -> dict[str, Any]:
    """Return title -> figure, of those that there are; alone: of the answers by themselves, with nothing before them."""
    figures: dict[str, Any] = {}
    if change.classes:
        figures[CLASSES_ALONE if alone else CLASSES] = class_figure(change, alone)
        if not alone and (confusion := confusion_figure(change)) is not None:
            figures[CONFUSION] = confusion
    if change.before is not None and change.after is not None:
        figures[CALIBRATION] = calibration_figure(None if alone else change.before, change.after)
    return figures
