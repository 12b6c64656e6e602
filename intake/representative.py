"""Preprocessed samples for fine-tuning and for calibrating a quantization, never from the test part."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from intake.datasets import Dataset
from intake.fit import Fit
from intake.parts import Array, chunks
from intake.preprocessing import apply_labels, model_input
from intake.shape_steps import shape_after
from intake.split import stratified_draw

IN_MEMORY_LIMIT_BYTES = 2**30
"""A part is kept preprocessed in memory below this, end excluded; else every batch is preprocessed anew."""


def representative_samples(dataset: Dataset, fit: Fit, count: int, seed: int) -> NDArray[np.float32]:
    """Return preprocessed training samples, float32 (min(count, training samples), *input shape).

    Stratified by class; the same seed gives the same samples in the same (random) order.

    Args:
        count: samples wanted, at least 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    classes = dataset.y_train if dataset.info.label_kind == "class" else None
    index = stratified_draw(len(dataset.x_train), classes, count, seed)
    samples = model_input(fit, np.asarray(dataset.x_train[index]))
    return samples[np.random.default_rng(seed).permutation(len(samples))]


def training_batches(
    dataset: Dataset, fit: Fit, batch_size: int, seed: int, part: Literal["train", "validation"] = "train"
) -> Any:
    """Return a `tf_keras.utils.Sequence` of preprocessed (x, y) batches: x float32, y as `apply_labels` returns it.

    The train part is shuffled anew each epoch, depending on the seed only; call `fit(..., shuffle=False)`, or
    Keras shuffles the batches once more by its own seed. The validation part keeps its order. The last batch may
    be smaller than the others.

    Args:
        batch_size: samples per batch, at least 1.
        part: the test part is refused, so that no training can see it.
    """
    if part not in ("train", "validation"):
        raise ValueError(f"part must be 'train' or 'validation', got {part!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    from intake.keras_env import keras2

    samples = _Samples(dataset, fit, part)

    class Batches(keras2().utils.Sequence):  # type: ignore[misc]
        """Minibatches in an order that depends on seed and epoch."""

        def __init__(self) -> None:
            self._epoch = 0
            self._order = self._new_order()

        def _new_order(self) -> Array:
            if part != "train":
                return np.arange(len(samples))
            return np.random.default_rng((seed, self._epoch)).permutation(len(samples))

        def __len__(self) -> int:
            return math.ceil(len(samples) / batch_size)

        def __getitem__(self, index: int) -> tuple[Array, Array]:
            if not 0 <= index < len(self):
                raise IndexError(f"batch index must be in 0..{len(self) - 1}, got {index}")
            return samples.take(self._order[index * batch_size : (index + 1) * batch_size])

        def on_epoch_end(self) -> None:
            self._epoch += 1
            self._order = self._new_order()

    return Batches()


class _Samples:
    """Preprocessed samples by index: all in memory, or made when they are asked for."""

    def __init__(self, dataset: Dataset, fit: Fit, part: Literal["train", "validation"]) -> None:
        self._info, self._fit, self._part = dataset.info, fit, dataset.part(part)
        shape = shape_after(fit.preprocessing, dataset.info.sample_shape)
        self._x: Array | None = None
        if len(self) * math.prod(shape) * 4 < IN_MEMORY_LIMIT_BYTES:
            self._x = np.empty((len(self), *shape), np.float32)
            for start, rows in chunks(self._part.x):
                self._x[start : start + len(rows)] = model_input(fit, rows)

    def __len__(self) -> int:
        return len(self._part.x)

    def take(self, index: Array) -> tuple[Array, Array]:
        x = self._x[index] if self._x is not None else model_input(self._fit, np.asarray(self._part.x[index]))
        y = None if self._part.y is None else np.asarray(self._part.y[index])
        return x, apply_labels(self._fit, self._info, y, x)
