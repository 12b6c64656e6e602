"""What can be an axis of the chart or a column of the table: sizes, the metric, latency, sparsity, times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from intake.fit import Fit
from runs.records import Result
from ui.formatting import kilobytes, metric_change
from ui.wording import METRIC_HELP, METRICS


@dataclass(frozen=True)
class Quantity:
    """One figure of a run: where it stands, how it is written, which way is better."""

    field: str
    """Column of `ui.frames.runs_frame`."""
    label: str
    help: str
    unit: str
    factor: float = 1.0
    """From the stored figure to the unit."""
    digits: int = 1
    """After the point, where it is written."""
    higher_is_better: bool = False
    is_share: bool = False
    """Written in %; its changes are points and not relative."""

    @property
    def is_bytes(self) -> bool:
        """True for sizes of files."""
        return self.unit == "kB"

    @property
    def heading(self) -> str:
        """Label with unit: "Latency, ms"."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    @property
    def direction(self) -> str:
        """Which way is better, for an axis."""
        return "more is better" if self.higher_is_better else "less is better"

    def scaled(self, value: Any) -> Any:
        """Return a stored figure (or a column of them) in the unit."""
        return value * self.factor

    def text(self, value: float | None) -> str:
        """Return a stored figure for people: "12.3 kB", "43,050"; a dash where it was not measured."""
        if value is None or math.isnan(value):
            return "–"
        if self.is_bytes:
            return kilobytes(value)
        return self.text_of_scaled(self.scaled(value))

    def text_of_scaled(self, value: float) -> str:
        """Return a figure that is in the unit already, for people."""
        written = f"{value:,.{self.digits}f}" if self.digits else f"{value:,.4g}" if value < 1000 else f"{value:,.0f}"
        return f"{written} {self.unit}" if self.unit and self.unit != "weights" else written

    def change(self, values: Any, of_baseline: float) -> Any:
        """Return the change against the baseline: points of a share, else relative (-0.5: half as much)."""
        if self.is_share:
            return values - of_baseline
        return values / of_baseline - 1 if of_baseline else values * float("nan")


SIZES: tuple[Quantity, ...] = (
    Quantity("tflite_bytes", ".tflite", "The deployable file as it lies on the device.", "kB", 0.001),
    Quantity("gzip_bytes", ".tflite, gzip", "The same file compressed, as it travels.", "kB", 0.001),
    Quantity("zstd_bytes", ".tflite, zstd", "The same, compressed for fast unpacking.", "kB", 0.001),
    Quantity("xz_bytes", ".tflite, xz", "The same, compressed harder.", "kB", 0.001),
    Quantity(
        "compact_bytes",
        "Compact file",
        "The same in our own code for pruned, clustered and quantized weights.",
        "kB",
        0.001,
    ),
    Quantity("uploaded_format_bytes", "Uploaded format", "The model in the format it was uploaded in.", "kB", 0.001),
    Quantity("uploaded_format_gzip_bytes", "Uploaded format, gzip", "The same, compressed.", "kB", 0.001),
    Quantity(
        "entropy_floor_bytes",
        "Entropy floor",
        "Σ n·H: no coder that takes each weight by itself goes below; which values there are is not counted.",
        "kB",
        0.001,
    ),
    Quantity("nonzero_parameters", "Non-zero parameters", "Weights of the .tflite that are not zero.", "weights", 1, 0),
)
OTHERS: tuple[Quantity, ...] = (
    Quantity("latency_ms", "Latency", "Median of one call with one sample, on one thread.", "ms", 1, 3),
    Quantity("sparsity", "Sparsity", "Share of the weights in the .tflite that are zero.", "%", 100, 1, True, True),
    Quantity("training_s", "Training time", "Spent in fine-tuning; 0 where none was needed.", "s"),
    Quantity("duration_s", "Duration", "Of the whole run, from start to end.", "s"),
)


def metric_of(fit: Fit) -> Quantity:
    """Return the metric of a project as a quantity."""
    name = fit.metric_name
    help_text = f"Of the .tflite on test samples. {METRIC_HELP.get(name, '')}".strip()
    if fit.is_share:
        return Quantity("metric", METRICS[name], help_text, "%", 100, 2, fit.higher_is_better, True)
    return Quantity("metric", METRICS[name], help_text, "", 1, 0, fit.higher_is_better)


def quantities(fit: Fit) -> tuple[Quantity, ...]:
    """Return everything that an axis or a column can show, the metric first."""
    return (metric_of(fit), *SIZES, *OTHERS)


def change_text(quantity: Quantity, change: float) -> str:
    """Return a change (`Quantity.change`) for people: "-0.28 points", "-70.1 %"; "" where there is none."""
    if pd.isna(change):
        return ""
    if quantity.is_share:
        return metric_change("accuracy", change)
    return f"{change * 100:+,.1f} %"


def value_of(result: Result, quantity: Quantity) -> float | None:
    """Return the stored figure of a result."""
    if quantity.field == "sparsity":
        return sparsity_of(result)
    value = getattr(result, quantity.field)
    return None if value is None else float(value)


def sparsity_of(result: Result) -> float | None:
    """Return the share of weights that are zero, 0 to 1; None for a model without weights."""
    return 1 - result.nonzero_parameters / result.parameters if result.parameters else None
