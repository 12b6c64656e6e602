"""Preprocessed samples for fine-tuning and for calibrating a quantization, never from the test part."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from intake.agreement import training_targets
from intake.datasets import Dataset
from intake.fit import Fit
from intake.parts import Array, chunks
from intake.preprocessing import apply_labels, model_inputs
from intake.shape_steps import shape_after
from intake.split import stratified_draw
from intake.teacher import Teacher

IN_MEMORY_LIMIT_BYTES = 2**30
"""A part is kept preprocessed in memory below this, end excluded; else every batch is preprocessed anew."""


def representative_samples(dataset: Dataset, fit: Fit, count: int, seed: int) -> tuple[NDArray[np.float32], ...]:
    """Return preprocessed training samples, for each input float32 (min(count, training samples), *input shape).

    Stratified by class; the same seed gives the same samples in the same (random) order.

    Args:
        count: samples wanted, at least 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    classes = dataset.y_train if dataset.info.label_kind == "class" else None
    index = stratified_draw(len(dataset.x_train), classes, count, seed)
    samples = model_inputs(fit, [np.asarray(array[index]) for array in dataset.part("train").arrays])
    order = np.random.default_rng(seed).permutation(len(index))
    return tuple(array[order] for array in samples)


def training_batches(
    dataset: Dataset,
    fit: Fit,
    batch_size: int,
    seed: int,
    part: Literal["train", "validation"] = "train",
    teacher: Teacher | None = None,
) -> Any:
    """Return a `tf_keras.utils.Sequence` of preprocessed (x, y) batches: x float32, y as `apply_labels` returns it.

    Where the model has several inputs x is a tuple; for agreement y is what the teacher answers, a tuple where the
    model has several outputs.

    The train part is shuffled anew each epoch, depending on the seed only; call `fit(..., shuffle=False)`, or
    Keras shuffles the batches once more by its own seed. The validation part keeps its order. The last batch may
    be smaller than the others.

    Args:
        batch_size: samples per batch, at least 1.
        part: the test part is refused, so that no training can see it.
        teacher: needed for agreement.
    """
    if part not in ("train", "validation"):
        raise ValueError(f"part must be 'train' or 'validation', got {part!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    from intake.keras_env import keras2

    samples = _Samples(dataset, fit, part, teacher)

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

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            if not 0 <= index < len(self):
                raise IndexError(f"batch index must be in 0..{len(self) - 1}, got {index}")
            return samples.take(self._order[index * batch_size : (index + 1) * batch_size])

        def on_epoch_end(self) -> None:
            self._epoch += 1
            self._order = self._new_order()

    return Batches()


class _Samples:
    """Preprocessed samples by index: all in memory, or made when they are asked for."""

    def __init__(
        self, dataset: Dataset, fit: Fit, part: Literal["train", "validation"], teacher: Teacher | None
    ) -> None:
        if fit.task == "agreement" and teacher is None:
            raise ValueError("agreement is trained towards a teacher; none was given")
        self._info, self._fit, self._part = dataset.info, fit, dataset.part(part)
        self._name, self._teacher = part, teacher
        arrays = dataset.info.sample_arrays
        shapes = [shape_after(feed.preprocessing, arrays[feed.array].sample_shape) for feed in fit.feeds]
        self._x: tuple[Array, ...] | None = None
        if len(self) * sum(math.prod(shape) for shape in shapes) * 4 < IN_MEMORY_LIMIT_BYTES:
            self._x = tuple(np.empty((len(self), *shape), np.float32) for shape in shapes)
            for start, rows in chunks(self._part.x):
                part_of_all = slice(start, start + len(rows))
                made = model_inputs(fit, [array[part_of_all] for array in self._part.arrays])
                for kept, new in zip(self._x, made, strict=True):
                    kept[part_of_all] = new

    def __len__(self) -> int:
        return len(self._part.x)

    def take(self, index: Array) -> tuple[Any, Any]:
        if self._x is not None:
            inputs = tuple(array[index] for array in self._x)
        else:
            inputs = model_inputs(self._fit, [np.asarray(array[index]) for array in self._part.arrays])
        x = inputs if len(inputs) > 1 else inputs[0]
        if self._fit.task == "agreement" and self._teacher is not None:
            targets = training_targets(self._fit, self._teacher.answers(self._name, index, inputs))
            return x, tuple(targets) if len(targets) > 1 else targets[0]
        y = None if self._part.y is None else np.asarray(self._part.y[index])
        return x, apply_labels(self._fit, self._info, y, inputs[0])
