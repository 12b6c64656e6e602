"""What a presentation says: which run it shows and why, and its three headline figures. No Streamlit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from intake.fit import Fit
from runs.records import Result, RunRecord
from ui.formatting import kilobytes, metric_change, metric_text, times_smaller
from ui.frames import best_run, is_within_noise
from ui.try_words import short_times
from ui.wording import METRICS

WITHIN_NOISE = "Chosen: the smallest .tflite among the runs whose loss is within the noise."
LEAST_LOSS = "Chosen: the run that loses least. None keeps its loss within the noise."


@dataclass(frozen=True)
class Headline:
    """One figure in large type."""

    label: str
    value: str
    note: str


def presentable(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Return the runs that a presentation can be about."""
    return [run for run in runs if run.result and run.state == "finished" and not run.is_baseline]


def chosen_run(runs: Sequence[RunRecord], fit: Fit) -> tuple[RunRecord, str] | None:
    """Return the run to show where none was asked for, and the rule that chose it; None where there is no run.

    It is the smallest `.tflite` whose loss is within the noise, else the run that loses least.
    """
    best = best_run(list(runs), fit)
    if best is not None:
        return best, WITHIN_NOISE
    left = [run for run in presentable(runs) if not run.archived]
    if not left:
        return None
    sign = -1 if fit.higher_is_better else 1
    return min(left, key=lambda run: sign * run.result.metric if run.result else 0.0), LEAST_LOSS


def headlines(result: Result, baseline: Result, fit: Fit) -> tuple[Headline, Headline, Headline]:
    """Return how much smaller, what it costs, and how fast."""
    name = fit.metric_name
    low, high = metric_text(name, result.metric_low), metric_text(name, result.metric_high)
    change = result.metric - baseline.metric
    noise = ": within the noise" if is_within_noise(result, baseline) else ""
    return (
        Headline(
            *_smaller(result.tflite_bytes, baseline.tflite_bytes),
            f"{kilobytes(baseline.tflite_bytes)} → {kilobytes(result.tflite_bytes)}, as the deployable .tflite; in gzip "
            f"{kilobytes(baseline.gzip_bytes)} → {kilobytes(result.gzip_bytes)}",
        ),
        Headline(
            METRICS[name],
            metric_change(name, change) if change else "no change",
            f"{metric_text(name, baseline.metric)} → {metric_text(name, result.metric)}, 95 % interval {low} to {high}"
            f"{noise}; {result.test_samples:,} test samples",
        ),
        Headline(
            "Time of a call",
            " → ".join(short_times(baseline.latency_ms, result.latency_ms)),
            "Median with one sample, on one thread",
        ),
    )


def _smaller(new: float, old: float) -> tuple[str, str]:
    """Label and value: "Times smaller", "9.8"."""
    times = times_smaller(new, old)
    if times.startswith("÷"):
        return "Smaller", f"{times[1:]} times"
    return ("Larger", f"{times[1:]} times") if times.startswith("×") else ("Size", "as large")
