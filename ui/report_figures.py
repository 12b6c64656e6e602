"""The chart of the project's page for a report: the baseline and some runs. No Streamlit."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from intake.fit import Fit
from runs.handover.source import FinishedRun
from ui.charts import Axes, tradeoff_figure
from ui.frames import runs_frame, with_changes
from ui.quantities import SIZES, metric_of


def tradeoff_of(runs: Sequence[FinishedRun], fit: Fit) -> go.Figure:
    """Return size of the `.tflite` against the metric, the baseline among the runs."""
    shown = [finished.run for finished in runs]
    baseline_run = next((finished.baseline_run for finished in runs if finished.baseline_run is not None), None)
    if baseline_run is not None and baseline_run.run_id not in {run.run_id for run in shown}:
        shown.insert(0, baseline_run)
    baseline = baseline_run.result if baseline_run else None
    frame = with_changes(runs_frame(shown), SIZES[0], baseline)
    return tradeoff_figure(frame, Axes(SIZES[0], metric_of(fit)), fit)
