"""What a run tells while it works: phase, share done, time left, live curves; at most twice a second."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable

from runs.records import Progress
from runs.store import Store

log = logging.getLogger("tare")
INTERVAL_S = 0.5
TRAINING_STARTS, TRAINING_ENDS = 0.05, 0.75
MEASURING_STARTS, MEASURING_ENDS = 0.85, 0.98
"""Shares of the whole run at which its phases begin and end."""
AFTER_TRAINING_S = 4.0
"""Conversion and evaluation usually take about this long; added to the estimate of the time left."""


class ProgressReporter:
    """Throttled writes of one run's progress into the store."""

    def __init__(self, store: Store, run_id: str) -> None:
        self._store, self._run_id = store, run_id
        self._last_write = 0.0
        self._training_started: float | None = None
        self._first_step = 1  # of a resumed run a later one
        self.total_steps = 0
        """Optimizer steps that the fine-tuning was given; 0 while there was none. It may stop earlier."""

    def phase(self, name: str, fraction: float) -> None:
        """Enter a phase (or move on within it): always written."""
        self._store.set_progress(self._run_id, Progress(phase=name, fraction=fraction))

    def on_step(self, step: int, total_steps: int, values: Callable[[], dict[str, float]]) -> None:
        """Take note of an optimizer step; written to the store at most twice a second, and at the last step."""
        now = time.monotonic()
        self.total_steps = max(self.total_steps, total_steps)
        if self._training_started is None:
            self._training_started, self._first_step = now, step
        if now - self._last_write < INTERVAL_S and step < total_steps:
            return
        self._last_write = now
        self._store.log_curves(self._run_id, step, {f"train/{_plain(name)}": value for name, value in values().items()})
        self._store.set_progress(self._run_id, self._training_progress(step, total_steps, now))

    def _training_progress(self, step: int, total_steps: int, now: float) -> Progress:
        share = step / total_steps
        elapsed = now - (self._training_started or now)
        # The first step also builds the graph, which says nothing of the others.
        taken = step - self._first_step
        remaining = elapsed / taken * (total_steps - step) + AFTER_TRAINING_S if taken > 0 else None
        return Progress(
            phase=f"Fine-tuning, step {step:,} of {total_steps:,}",
            fraction=TRAINING_STARTS + (TRAINING_ENDS - TRAINING_STARTS) * share,
            remaining_s=remaining,
        )

    def on_epoch(self, epoch: int, step: int, values: dict[str, float]) -> None:
        """Note the figures of a whole epoch; validation figures become curves of their own."""
        log.info("Epoch %d: %s", epoch, ", ".join(f"{name} {value:.4f}" for name, value in values.items()))
        points = {f"validation/{_plain(name[4:])}": value for name, value in values.items() if name.startswith("val_")}
        if points:
            self._store.log_curves(self._run_id, step, points)


def _plain(name: str) -> str:
    """Curves of several outputs carry the names of layers, in which people write what MLflow does not take."""
    return re.sub(r"[^A-Za-z0-9_.\- ]", "_", name)
