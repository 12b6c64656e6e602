"""Run records as a table: what chart, run table and CSV are drawn from. Plain data, no Streamlit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from intake.fit import Fit
from optimizers.fine_tuning import FineTuning
from optimizers.recipe import Recipe, RecipeStep
from runs.records import Result, RunRecord
from ui.formatting import as_cell, kilobytes
from ui.wording import METRICS, STATES


@dataclass(frozen=True)
class SizeKind:
    """One of the honest sizes of a run."""

    field: str
    """Of `measure.sizes.Sizes`."""
    label: str
    help: str
    is_bytes: bool = True

    @property
    def unit(self) -> str:
        """ "kB" or "weights"."""
        return "kB" if self.is_bytes else "weights"

    def scaled(self, value: float) -> float:
        """Return a size in its unit (1 kB = 1000 bytes)."""
        return value / 1000 if self.is_bytes else value

    def text(self, value: float | None) -> str:
        """Return a size for people: "12.3 kB", "43,050"; a dash where it was not measured."""
        if value is None or math.isnan(value):
            return "–"
        return kilobytes(value) if self.is_bytes else f"{value:,.0f}"


SIZES: tuple[SizeKind, ...] = (
    SizeKind("tflite_bytes", ".tflite", "The deployable file as it lies on the device."),
    SizeKind("gzip_bytes", ".tflite, gzip", "The same file compressed, as it travels."),
    SizeKind("zstd_bytes", ".tflite, zstd", "The same, compressed for fast unpacking."),
    SizeKind("xz_bytes", ".tflite, xz", "The same, compressed harder."),
    SizeKind("compact_bytes", "Compact file", "The same in our own code for pruned, clustered and quantized weights."),
    SizeKind("uploaded_format_bytes", "Uploaded format", "The model in the format it was uploaded in."),
    SizeKind("uploaded_format_gzip_bytes", "Uploaded format, gzip", "The same, compressed."),
    SizeKind(
        "entropy_floor_bytes",
        "Entropy floor",
        "Σ n·H: no coder that takes each weight by itself goes below; which values there are is not counted.",
    ),
    SizeKind("nonzero_parameters", "Non-zero parameters", "Weights of the .tflite that are not zero.", is_bytes=False),
)


_RESULT_COLUMNS = ("metric", "metric_low", "metric_high", "latency_ms", *(kind.field for kind in SIZES))
_COLUMNS = (
    *("run_id", "name", "title", "techniques", "state", "is_baseline", "settings", "tags"),
    *_RESULT_COLUMNS,
    *("verified_met", "verified_count", "duration_s"),
)


def runs_frame(runs: Iterable[RunRecord]) -> pd.DataFrame:
    """Return a row per run, oldest first; figures of runs without a result are NaN."""
    frame = pd.DataFrame([_row(run) for run in runs], columns=list(_COLUMNS))
    numbers = [*_RESULT_COLUMNS, "duration_s"]
    frame[numbers] = frame[numbers].astype(float)
    return frame.astype({"is_baseline": bool})


def _row(run: RunRecord) -> dict[str, Any]:
    figures: dict[str, Any] = dict.fromkeys([*_RESULT_COLUMNS, "duration_s"])
    if run.result is not None:
        figures = {name: getattr(run.result, name) for name in figures}
    return {
        "run_id": run.run_id,
        "name": run.name,
        "title": run.recipe.title,
        "techniques": tuple(step.technique for step in run.recipe.steps),
        "state": run.state,
        "is_baseline": run.is_baseline,
        "settings": "; ".join(changed_settings(run.recipe)),
        "tags": run.tags,
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


def tags_of(runs: Iterable[RunRecord]) -> list[str]:
    """Return all tags of some runs, the newest first."""
    return list(dict.fromkeys(tag for run in reversed(list(runs)) for tag in run.tags))


def with_tags(runs: Iterable[RunRecord], chosen: Iterable[str]) -> list[RunRecord]:
    """Return the runs that have one of the tags, and the baselines to compare them with; all where none is chosen."""
    wanted = set(chosen)
    return [run for run in runs if not wanted or run.is_baseline or wanted & set(run.tags)]


def baseline_of(runs: Iterable[RunRecord]) -> RunRecord | None:
    """Return the newest baseline that was measured; None where there is none yet."""
    return next((run for run in reversed(list(runs)) if run.is_baseline and run.result), None)


def with_changes(frame: pd.DataFrame, size: SizeKind, baseline: Result | None) -> pd.DataFrame:
    """Add the size in its unit, and size_change (share) and metric_change against the baseline; NaN on baselines."""
    added = frame.assign(size=frame[size.field].map(size.scaled, na_action="ignore"))
    if baseline is None:
        return added.assign(size_change=float("nan"), metric_change=float("nan"))
    whole = getattr(baseline, size.field)
    compared = frame.mask(frame["is_baseline"])
    return added.assign(
        size_change=compared[size.field] / whole - 1 if whole else float("nan"),
        metric_change=compared["metric"] - baseline.metric,
    )


def pareto_front(frame: pd.DataFrame, size_field: str, higher_is_better: bool) -> list[str]:
    """Return the ids of the runs that no other run beats in both size and metric, smallest first."""
    front: list[str] = []
    best = float("nan")
    measured = frame.dropna(subset=[size_field, "metric"])
    for row in measured.sort_values([size_field, "metric"], ascending=[True, not higher_is_better]).itertuples():
        better = not front or (row.metric > best if higher_is_better else row.metric < best)
        if better:
            front.append(str(row.run_id))
            best = float(row.metric)
    return front


def is_within_noise(result: Result, baseline: Result) -> bool:
    """True where the baseline's metric lies in the 95 % interval of the run's: no difference was shown."""
    return result.metric_low <= baseline.metric <= result.metric_high


def best_run(runs: list[RunRecord], fit: Fit) -> RunRecord | None:
    """Return the run with the smallest `.tflite` that does not lose accuracy beyond noise; None without one."""
    baseline = baseline_of(runs)
    if baseline is None or baseline.result is None:
        return None
    kept = [
        run
        for run in runs
        if run.result and run.state == "finished" and not run.is_baseline and _holds(run.result, baseline.result, fit)
    ]
    return min(kept, key=lambda run: run.result.tflite_bytes if run.result else 0, default=None)


def _holds(result: Result, baseline: Result, fit: Fit) -> bool:
    gain = result.metric - baseline.metric if fit.higher_is_better else baseline.metric - result.metric
    return gain >= 0 or is_within_noise(result, baseline)


def curve_tables(curves: dict[str, list[tuple[int, float]]]) -> dict[str, pd.DataFrame]:
    """Return a table per quantity ("loss", "accuracy", "sparsity"), a row per point, training and validation in one."""
    rows: dict[str, list[tuple[str, int, float]]] = {}
    for name, points in curves.items():
        part, quantity = name.split("/", 1)
        rows.setdefault(quantity, []).extend((part, step, value) for step, value in points)
    names = sorted(rows, key=lambda name: (name != "loss", name))
    return {name: pd.DataFrame(rows[name], columns=["Part", "Optimizer step", "Value"]) for name in names}


def csv_text(frame: pd.DataFrame, size: SizeKind, fit: Fit) -> str:
    """Return the table as CSV, with units in the column names."""
    metric = METRICS[fit.metric_name]
    sizes = {f"{kind.label}{', bytes' if kind.is_bytes else ''}": frame[kind.field] for kind in SIZES}
    table = pd.DataFrame(
        {
            "Run": frame["name"].map(as_cell),
            "Technique": frame["title"],
            "State": frame["state"].map(lambda state: STATES[state]),
            "Changed settings": frame["settings"].map(as_cell),
            "Tags": frame["tags"].map(", ".join).map(as_cell),
            metric: frame["metric"],
            f"{metric}, 95 % low": frame["metric_low"],
            f"{metric}, 95 % high": frame["metric_high"],
            f"{metric}, change": frame["metric_change"],
            f"{size.label}, change": frame["size_change"],
            **sizes,
            "Latency, ms": frame["latency_ms"],
            "Verified": frame["verified_met"],
            "Claims": frame["verified_count"],
            "Duration, s": frame["duration_s"],
            "Run id": frame["run_id"],
        }
    )
    return str(table.to_csv(index=False))
