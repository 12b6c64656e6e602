"""Which epoch was best on the validation part: when to stop, and which weights to end with.

Keras has EarlyStopping for this, but it restores only where it stopped early, and judges by one figure, while
accuracies on a small part are often equal.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from intake.fit import SHARES
from intake.keras_env import keras2
from optimizers.checkpoint import Arrays
from optimizers.fine_tuning import FineTuning

_METRICS = ("accuracy", "agreement", "mae", "mse")


def merit(figures: dict[str, float]) -> tuple[float, float]:
    """Return how good an epoch was, to be compared: the project's metric, then the loss, on the validation part.

    Where a model has several outputs, only the loss speaks for all of them.
    """
    metric = 0.0
    for name in _METRICS:
        if (value := figures.get(f"val_{name}")) is not None:
            metric = value if name in SHARES else -value
    return _or_worst(metric), _or_worst(-figures["val_loss"])


def _or_worst(value: float) -> float:
    """No number compares with NaN, so that one would stay the best for ever."""
    return value if math.isfinite(value) else -math.inf


class BestEpoch:
    """Watches a fine-tuning.

    Args:
        model: in training.
        settings: patience, and whether the best weights are to be restored.
        settled_step: epochs that end before this optimizer step neither count as best nor towards the patience.
    """

    def __init__(self, model: Any, settings: FineTuning, settled_step: int) -> None:
        self._settings, self._settled_step = settings, settled_step
        self._variables = list({id(variable): variable for variable in model.variables}.values())
        self._best: tuple[float, float] | None = None
        self._weights: list[np.ndarray] = []
        self.best_epoch = 0
        """From 1; 0 while no epoch counted."""
        self.is_over = False
        """True once it is time to stop."""

    def sees(self, epoch: int, steps: int, figures: dict[str, float]) -> bool:
        """Take note of an epoch (from 1) that ended after `steps` optimizer steps; True where it is time to stop."""
        if steps < self._settled_step:
            return False
        found = merit(figures)
        if self._best is None or found > self._best:
            self._best, self.best_epoch = found, epoch
            if self._settings.restore_best_weights:
                self._weights = [variable.numpy() for variable in self._variables]
        patience = self._settings.early_stopping_patience
        self.is_over = 0 < patience <= epoch - self.best_epoch
        return self.is_over

    def restore(self) -> None:
        """Bring the best weights back, where that was asked for.

        They were taken at the end of an epoch, when a technique's callbacks had brought every kernel to what it must
        keep, and with everything that wrappers keep in variables (centroids, indices, ranges), so they go together.
        """
        for variable, weights in zip(self._variables, self._weights, strict=False):
            variable.assign(weights)

    def kept(self) -> dict[str, Any]:
        """Return what is known so far, for `bring_back`."""
        weights = {f"weights/{index}": array for index, array in enumerate(self._weights)}
        merits = {} if self._best is None else {"best": np.array(self._best)}
        return {"best_epoch": self.best_epoch, "is_over": self.is_over, **merits, **weights}

    def bring_back(self, arrays: Arrays) -> None:
        """Know again what `kept` returned."""
        self.best_epoch, self.is_over = int(arrays["best_epoch"]), bool(arrays["is_over"])
        if "best" in arrays:
            self._best = float(arrays["best"][0]), float(arrays["best"][1])
        count = sum(name.startswith("weights/") for name in arrays)
        self._weights = [arrays[f"weights/{index}"] for index in range(count)]

    def callback(self) -> Any:
        """Return the Keras callback that watches; it must come after those that change the kernels."""
        best = self

        class Watch(keras2().callbacks.Callback):  # type: ignore[misc]
            def training_state(self) -> dict[str, Any]:
                return best.kept()

            def restore_training_state(self, arrays: Arrays) -> None:
                best.bring_back(arrays)

            def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
                if best.sees(epoch + 1, int(self.model.optimizer.iterations), dict(logs or {})):
                    self.model.stop_training = True

        return Watch()
