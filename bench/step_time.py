"""How long an optimizer step of pruning takes: as Tare trains, as TFMOT's guide does, and without any technique."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from bench.networks import tutorial_cnn
from bench.ratio import Ratio
from intake.fit import Fit
from intake.keras_env import keras2, tfmot
from optimizers.fine_tuning import FineTuning
from optimizers.masks import MaskedKernel, Masks
from optimizers.sparse_patterns import largest_kept
from optimizers.training import train

STEPS, BATCH_SIZE = 200, 128
FIT = Fit(
    task="classification", loss="sparse_categorical_crossentropy", metric_name="accuracy", class_order=tuple(range(10))
)


def step_times(epochs: int) -> list[Ratio]:
    """Train the tutorial's network in the three ways, in turns, and look at the epochs after each one's first.

    Args:
        epochs: of each training, at least 2.
    """
    random = np.random.default_rng(0)
    count = STEPS * BATCH_SIZE
    x, y = random.random((count, 28, 28), np.float32), random.integers(0, 10, count).astype(np.uint8)
    spent: dict[str, list[float]] = {"ours": [], "theirs": [], "bare": []}
    for _ in range(2):
        spent["ours"] += _as_tare_trains(x, y, epochs)
        spent["theirs"] += _as_the_guide(x, y, epochs)
        spent["bare"] += _bare(x, y, epochs)
    ours, theirs, bare = (statistics.median(times) for times in spent.values())
    how = f"tutorial CNN, {BATCH_SIZE} images, {STEPS} steps; median of {2 * (epochs - 1)} epochs, in turns"
    return [
        Ratio.of("Optimizer step of pruning, against TFMOT's wrapper", ours, theirs, "ms", 1.0, how=how),
        Ratio.of("Optimizer step of pruning, against none (the floor)", ours, bare, "ms", 1.1, how=how),
    ]


class _Clock:
    """Times the epochs of a training, in milliseconds a step."""

    def __init__(self) -> None:
        self.times: list[float] = []
        clock = self

        class Watch(keras2().callbacks.Callback):  # type: ignore[misc]
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                self.began = time.perf_counter()

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                clock.times.append((time.perf_counter() - self.began) * 1000 / STEPS)

        self.callback = Watch()

    @property
    def without_first(self) -> list[float]:
        """The first epoch builds graphs."""
        return self.times[1:]


def _as_tare_trains(x: np.ndarray, y: np.ndarray, epochs: int) -> list[float]:
    class Batches(keras2().utils.Sequence):  # type: ignore[misc]
        def __len__(self) -> int:
            return STEPS

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            rows = slice(index * BATCH_SIZE, (index + 1) * BATCH_SIZE)
            return x[rows], y[rows]

    model, clock = tutorial_cnn(), _Clock()
    schedule = _schedule(epochs)
    kernels = [MaskedKernel(layer.kernel, schedule, largest_kept) for layer in model.layers if hasattr(layer, "kernel")]
    settings = FineTuning(epochs=epochs, batch_size=BATCH_SIZE)
    callbacks = [Masks(kernels).callback(), clock.callback]
    train(model, FIT, settings, Batches(), None, callbacks, lambda *_: None, lambda *_: None)
    return clock.without_first


def _as_the_guide(x: np.ndarray, y: np.ndarray, epochs: int) -> list[float]:
    model, clock = tfmot().sparsity.keras.prune_low_magnitude(tutorial_cnn(), _schedule(epochs)), _Clock()
    callbacks = [tfmot().sparsity.keras.UpdatePruningStep(), clock.callback]
    _fit(model, x, y, epochs, callbacks)
    return clock.without_first


def _bare(x: np.ndarray, y: np.ndarray, epochs: int) -> list[float]:
    clock = _Clock()
    _fit(tutorial_cnn(), x, y, epochs, [clock.callback])
    return clock.without_first


def _fit(model: Any, x: np.ndarray, y: np.ndarray, epochs: int, callbacks: list[Any]) -> None:
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, batch_size=BATCH_SIZE, epochs=epochs, callbacks=callbacks, verbose=0)


def _schedule(epochs: int) -> Any:
    return tfmot().sparsity.keras.PolynomialDecay(0.5, 0.8, begin_step=0, end_step=epochs * STEPS)
