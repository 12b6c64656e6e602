"""Run records as a table: what chart, run table and CSV are drawn from. Plain data, no Streamlit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from intake.fit import SHARES, Fit
from optimizers.fine_tuning import FineTuning
from optimizers.recipe import Recipe, RecipeStep
from runs.records import Result, RunRecord
from ui.hover_card import card_of
from ui.quantities import OTHERS, SIZES, Quantity, value_of
from ui.recently_made import RecentlyMade

_MEASURED = (*SIZES, *OTHERS)
_INTERVAL = ("metric", "metric_low", "metric_high")
_NUMBERS = (*_INTERVAL, *(quantity.field for quantity in _MEASURED))
_COLUMNS = (
    *("run_id", "name", "title", "techniques", "state", "is_baseline", "settings", "card", "created_at"),
    *("tags", "note", "starred", "archived", "owner", "verified_met", "verified_count"),
    *_NUMBERS,
)
ROWS_KEPT = 20_000
_ROWS: dict[str, tuple[RunRecord, dict[str, Any]]] = {}
"""Run id -> the record and its row. Sessions share it: rows are only read."""


_FRAMES: RecentlyMade[pd.DataFrame] = RecentlyMade(8)


def runs_frame(runs: Iterable[RunRecord]) -> pd.DataFrame:
    """Return a row per run, oldest first; figures of runs without a result are NaN.

    Of the same records it is the same frame: it is only to be read.
    """
    records = list(runs)
    return _FRAMES.of(records, None, lambda: _frame_of(records))


def _frame_of(runs: list[RunRecord]) -> pd.DataFrame:
    rows = [_known_row(run) for run in runs]
    # By columns: pandas takes several times as long to find out the columns of a thousand dictionaries.
    frame = pd.DataFrame({name: [row[name] for row in rows] for name in _COLUMNS})
    frame[list(_NUMBERS)] = frame[list(_NUMBERS)].astype(float)
    return frame.astype({"is_baseline": bool, "starred": bool, "archived": bool})


def _known_row(run: RunRecord) -> dict[str, Any]:
    """The row of a run; worked out once for each record, as a record never changes."""
    known = _ROWS.get(run.run_id)
    if known is not None and known[0] is run:
        return known[1]
    while len(_ROWS) >= ROWS_KEPT:
        _ROWS.pop(next(iter(_ROWS)), None)
    row = _row(run)
    _ROWS[run.run_id] = (run, row)
    return row


def _row(run: RunRecord) -> dict[str, Any]:
    settings = changed_settings(run.recipe)
    figures: dict[str, Any] = dict.fromkeys(_NUMBERS)
    if run.result is not None:
        figures = {name: getattr(run.result, name) for name in _INTERVAL}
        figures |= {quantity.field: value_of(run.result, quantity) for quantity in _MEASURED}
    return {
        "run_id": run.run_id,
        "name": run.name,
        "title": run.recipe.title,
        "techniques": tuple(step.technique for step in run.recipe.steps),
        "state": run.state,
        "is_baseline": run.is_baseline,
        "settings": "; ".join(settings),
        "card": card_of(run, settings),
        "created_at": run.created_at,
        "tags": run.tags,
        "note": run.note,
        "starred": run.starred,
        "archived": run.archived,
        "owner": run.owner,
        "verified_met": run.verified_met,
        "verified_count": run.verified_count,
        **figures,
    }


def changed_settings(recipe: Recipe) -> list[str]:
    """Return "name value" of every setting that is not at its default."""
    return [text for step in recipe.steps for text in _changed(step)]


def _changed(step: RecipeStep) -> list[str]:
    defaults: dict[str, Any] = step.entry.Params().model_dump(mode="json")
    given = dict(step.params)
    if step.fine_tuning is not None:
        defaults |= (step.entry.fine_tuning or FineTuning()).model_dump()
        given |= step.fine_tuning
    return [f"{name} {_value_text(value)}" for name, value in given.items() if defaults.get(name) != value]


def _value_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{layer}={_value_text(entry)}" for layer, entry in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def baseline_of(runs: Iterable[RunRecord]) -> RunRecord | None:
    """Return the newest baseline that was measured and is not archived; None where there is none yet."""
    return next((run for run in reversed(list(runs)) if run.is_baseline and run.result and not run.archived), None)


def with_changes(frame: pd.DataFrame, x: Quantity, baseline: Result | None) -> pd.DataFrame:
    """Add the x axis in its unit as `size`, and size_change and metric_change against the baseline; NaN on baselines.

    size_change is a share, or points (0 to 1) where the axis shows a share; metric_change is a difference.
    """
    added = frame.assign(size=x.scaled(frame[x.field]))
    if baseline is None:
        return added.assign(size_change=float("nan"), metric_change=float("nan"))
    compared = frame[[x.field, "metric"]].mask(frame["is_baseline"])
    whole = value_of(baseline, x)
    return added.assign(
        size_change=float("nan") if whole is None else x.change(compared[x.field], whole),
        metric_change=compared["metric"] - baseline.metric,
    )


def pareto_front(
    frame: pd.DataFrame,
    x_field: str,
    higher_is_better: bool,
    *,
    y_field: str = "metric",
    more_x_is_better: bool = False,
) -> list[str]:
    """Return the ids of the runs that no other run beats in both x and y, the best x first.

    Args:
        frame: of `runs_frame`.
        x_field: column of the x axis; less is better unless `more_x_is_better`.
        higher_is_better: whether more is better on the y axis.
        y_field: column of the y axis.
        more_x_is_better: whether more is better on the x axis.
    """
    front: list[str] = []
    best = float("nan")
    measured = frame.dropna(subset=[x_field, y_field])
    ordered = measured.sort_values([x_field, y_field], ascending=[not more_x_is_better, not higher_is_better])
    for run_id, value in zip(ordered["run_id"], ordered[y_field], strict=True):
        if not front or (value > best if higher_is_better else value < best):
            front.append(str(run_id))
            best = float(value)
    return front


def is_within_noise(result: Result, baseline: Result) -> bool:
    """True where the baseline's metric lies in the 95 % interval of the run's: no difference was shown."""
    return result.metric_low <= baseline.metric <= result.metric_high


def best_run(runs: list[RunRecord], fit: Fit) -> RunRecord | None:
    """Return the run with the smallest `.tflite` that keeps its promises and loses no accuracy beyond noise; or None."""
    baseline = baseline_of(runs)
    if baseline is None or baseline.result is None:
        return None
    kept = [
        run
        for run in runs
        if run.result
        and run.state == "finished"
        and not run.error
        and not run.is_baseline
        and not run.archived
        and _holds(run.result, baseline.result, fit)
    ]
    return min(kept, key=lambda run: run.result.tflite_bytes if run.result else 0, default=None)


def _holds(result: Result, baseline: Result, fit: Fit) -> bool:
    gain = result.metric - baseline.metric if fit.higher_is_better else baseline.metric - result.metric
    return gain >= 0 or is_within_noise(result, baseline)


def is_share_curve(quantity: str) -> bool:
    """Return True for curves of shares from 0 to 1, which are written in %: "accuracy", "sparsity", and not "loss"."""
    return quantity == "sparsity" or quantity.split("_")[-1] in SHARES


def curve_tables(curves: dict[str, list[tuple[int, float]]]) -> dict[str, pd.DataFrame]:
    """Return a table per quantity ("loss", "accuracy", "sparsity"), a row per point, training and validation in one.

    Shares are in %.
    """
    rows: dict[str, list[tuple[str, int, float]]] = {}
    for name, points in curves.items():
        part, quantity = name.split("/", 1)
        factor = 100 if is_share_curve(quantity) else 1
        rows.setdefault(quantity, []).extend((part, step, factor * value) for step, value in points)
    names = sorted(rows, key=lambda name: (name != "loss", name))
    return {name: pd.DataFrame(rows[name], columns=["Part", "Optimizer step", "Value"]) for name in names}
