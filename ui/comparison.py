"""What some runs differ in: settings and results, as a table and as parallel coordinates. Plain data, no Streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from intake.fit import Fit
from optimizers.declaration import specs
from optimizers.fine_tuning import FineTuning
from optimizers.recipe import Recipe, RecipeStep
from runs.records import Result, RunRecord
from ui.formatting import as_hover, metric_text
from ui.palette import COLOURS, NEUTRAL
from ui.quantities import Quantity, change_text, metric_of, quantities, value_of
from ui.setting_texts import label_text, short_value
from ui.wording import STATES

FEWEST, MOST = 2, 6
"""Runs that are compared in a table."""
ABSENT = "–"
TECHNIQUES = "Techniques"
_LONGEST_NAME = 18
_LONGEST_TICK = 12


def differences(runs: Sequence[RunRecord], fit: Fit, baseline: Result | None) -> pd.DataFrame:
    """Return a row for each setting, then for each result, in which the runs differ; a column of text for each run.

    Args:
        runs: two or more, with different ids.
        fit: names the metric.
        baseline: what the changes are against; None: there are none.
    """
    columns = column_names(runs)
    rows = [[TECHNIQUES, *(run.recipe.title for run in runs)], ["State", *(STATES[run.state] for run in runs)]]
    rows += [[name, *map(_text, values)] for name, values in _settings_that_differ(runs).items()]
    for quantity in quantities(fit):
        rows.append([quantity.label, *(_result_text(run, quantity, baseline) for run in runs)])
        if quantity.field == "metric":
            rows.append([f"{quantity.label}, 95 % interval", *(_interval_text(run, fit) for run in runs)])
    rows.append(["Claims verified", *(f"{run.verified_met} of {run.verified_count}" for run in runs)])
    return pd.DataFrame([row for row in rows if len(set(row[1:])) > 1], columns=["", *columns])


def column_names(runs: Sequence[RunRecord]) -> list[str]:
    """Return the names of the runs, with the beginning of the id where two share one."""
    names = [run.name for run in runs]
    return [run.name if names.count(run.name) == 1 else f"{run.name} ({run.run_id[:6]})" for run in runs]


def settings_of(recipe: Recipe) -> dict[str, Any]:
    """Return "Pruning: Final sparsity" -> value of every setting of a recipe, defaults too."""
    return {name: value for name, (value, _) in _settings(recipe).items()}


def _settings(recipe: Recipe) -> dict[str, tuple[Any, bool]]:
    """Every setting with its value, and whether that is the default."""
    found: dict[str, tuple[Any, bool]] = {}
    techniques = [step.technique for step in recipe.steps]
    for number, step in enumerate(recipe.steps, start=1):
        again = f"{number} · " if step.technique in techniques[: number - 1] else ""
        found |= {f"{again}{step.entry.title}: {label}": pair for label, pair in _settings_of_step(step).items()}
    return found


def _settings_of_step(step: RecipeStep) -> dict[str, tuple[Any, bool]]:
    usual = step.entry.Params().model_dump(mode="json")
    given = dict(step.params)
    labels = {spec.name: label_text(spec) for spec in (*specs(step.entry.Params), *specs(FineTuning))}
    if step.fine_tuning is not None:
        usual |= (step.entry.fine_tuning or FineTuning()).model_dump()
        given |= step.fine_tuning
    values = {**usual, **given}
    return {labels.get(name, name): (value, usual.get(name) == value) for name, value in values.items()}


def _settings_that_differ(runs: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """Name -> value in each run, None where the run has no such setting.

    A setting at its default in all runs that have it is left out: the techniques say already who has it.
    """
    found = [_settings(run.recipe) for run in runs]
    names = dict.fromkeys(name for given in found for name in given)
    values = {name: [given.get(name, (None, True)) for given in found] for name in names}
    return {
        name: [value for value, _ in pairs]
        for name, pairs in values.items()
        if not all(is_default for _, is_default in pairs) and len({_text(value) for value, _ in pairs}) > 1
    }


def _text(value: Any) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, dict):
        return ", ".join(f"{layer} {short_value(of)}" for layer, of in value.items()) or "none"
    return short_value(value)


def _result_text(run: RunRecord, quantity: Quantity, baseline: Result | None) -> str:
    value = value_of(run.result, quantity) if run.result else None
    if value is None:
        return ABSENT
    whole = value_of(baseline, quantity) if baseline else None
    if run.is_baseline or whole is None or value == whole:
        return quantity.text(value)
    change = change_text(quantity, quantity.change(value, whole))
    return f"{quantity.text(value)}, {change}" if change else quantity.text(value)


def _interval_text(run: RunRecord, fit: Fit) -> str:
    if run.result is None:
        return ABSENT
    low, high = (metric_text(fit.metric_name, end) for end in (run.result.metric_low, run.result.metric_high))
    return f"{low} to {high}"


@dataclass(frozen=True)
class Dimension:
    """One axis of the parallel coordinates."""

    label: str
    values: tuple[float, ...]
    """One for each run."""
    ticks: tuple[str, ...] = ()
    """Names of the values 0, 1, 2, ...; empty: the values are numbers."""
    written: str = ",.4~g"
    """How numbers are written, in the language of d3."""


def dimensions(runs: Sequence[RunRecord], fit: Fit) -> list[Dimension]:
    """Return an axis for each setting, then for each result, that is not the same in all runs."""
    found = [_dimension(TECHNIQUES, [run.recipe.title for run in runs])]
    found += [_dimension(name, values) for name, values in _settings_that_differ(runs).items()]
    for quantity in quantities(fit):
        values = [value_of(run.result, quantity) if run.result else None for run in runs]
        axis = _dimension(quantity.heading, [None if v is None else quantity.scaled(v) for v in values])
        found.append(replace(axis, written=f",.{quantity.digits}f") if quantity.unit else axis)
    return [dimension for dimension in found if len(set(dimension.values)) > 1]


def _dimension(label: str, values: Sequence[Any]) -> Dimension:
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return Dimension(label, tuple(map(float, values)))
    texts = [_text(value) for value in values]
    numbers = {text: value for text, value in zip(texts, values, strict=True) if isinstance(value, int | float)}
    ticks = sorted(set(texts), key=lambda text: (text != ABSENT, text not in numbers, numbers.get(text, 0), text))
    return Dimension(label, tuple(float(ticks.index(text)) for text in texts), tuple(ticks))


def usual_dimensions(found: Sequence[Dimension], fit: Fit) -> list[str]:
    """Return the labels of the axes to begin with: settings that vary, sizes and metric; few enough for a phone."""
    results = {quantity.heading for quantity in quantities(fit)}
    wanted = (".tflite, kB", ".tflite, gzip, kB", metric_of(fit).heading)
    labels = [dimension.label for dimension in found]
    settings = [label for label in labels if label not in results and label != TECHNIQUES]
    return [*settings[:2], *(name for name in wanted if name in labels)] or labels


def parallel_figure(runs: Sequence[RunRecord], shown: Sequence[Dimension], fit: Fit) -> go.Figure:
    """Return parallel coordinates: a line for each run, in colours of their own where they are few, else by metric."""
    drawn = [_as_axis(dimension) for dimension in shown]
    if len(runs) <= MOST:
        names = Dimension("Run", tuple(map(float, range(len(runs)))), tuple(column_names(runs)))
        drawn.insert(0, _as_axis(names, _LONGEST_NAME))
    figure = go.Figure(go.Parcoords(dimensions=drawn, line=_colours(runs, fit), labelangle=-18, labelside="top"))
    figure.update_layout(
        height=400,
        margin={"l": 120 if len(runs) <= MOST else 40, "r": 50, "t": 90, "b": 24},
        shapes=[_line_of_axis(place / max(1, len(drawn) - 1)) for place in range(len(drawn))],
    )
    return figure


def _line_of_axis(across: float) -> dict[str, Any]:
    """A line behind an axis: plotly's own are black and nearly transparent, and vanish in the dark."""
    ends = {"x0": across, "x1": across, "y0": 0, "y1": 1, "xref": "paper", "yref": "paper"}
    return {"type": "line", "layer": "below", "line": {"color": NEUTRAL, "width": 1}, **ends}


def _as_axis(dimension: Dimension, longest: int = _LONGEST_TICK) -> dict[str, Any]:
    label = dimension.label.rsplit(": ", 1)[-1]
    axis: dict[str, Any] = {"label": as_hover(label), "values": list(dimension.values)}
    if dimension.ticks:
        axis |= {
            "tickvals": list(range(len(dimension.ticks))),
            "ticktext": [as_hover(_short(text, longest)) for text in dimension.ticks],
        }
        axis["range"] = [-0.2, max(len(dimension.ticks) - 0.8, 0.2)]
    else:
        axis["tickformat"] = dimension.written
    return axis


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _colours(runs: Sequence[RunRecord], fit: Fit) -> dict[str, Any]:
    if len(runs) <= MOST:
        last = len(runs) - 1
        scale = [[number / last, COLOURS[number % len(COLOURS)]] for number in range(len(runs))]
        return {"color": list(range(len(runs))), "colorscale": scale, "cmin": 0, "cmax": last}
    metric = metric_of(fit)
    values = [metric.scaled(run.result.metric) if run.result else float("nan") for run in runs]
    return {"color": values, "colorscale": "Viridis", "showscale": True, "colorbar": {"title": metric.heading}}
