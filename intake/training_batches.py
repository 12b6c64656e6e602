"""Preprocessed minibatches for fine-tuning and for watching it, never from the test part."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np

from intake.agreement import training_targets, with_answers
from intake.augmentation import Augmentation
from intake.datasets import Dataset
from intake.fit import Fit
from intake.parts import Array, PartName, chunks
from intake.preprocessing import apply_labels, model_inputs
from intake.shape_steps import shape_after
from intake.teacher import Teacher

IN_MEMORY_LIMIT_BYTES = 2**30
"""A part is kept preprocessed in memory below this, end excluded; else every batch is preprocessed anew."""
TrainingPart = Literal["train", "validation", "train_and_validation"]


def training_batches(
    dataset: Dataset,
    fit: Fit,
    batch_size: int,
    seed: int,
    part: TrainingPart = "train",
    teacher: Teacher | None = None,
    *,
    with_teacher: bool = False,
    balanced: bool = False,
    augmentation: Augmentation | None = None,
) -> Any:
    """Return a `tf_keras.utils.Sequence` of preprocessed (x, y) batches: x float32, y as `apply_labels` returns it.

    Where the model has several inputs x is a tuple; for agreement y is what the teacher answers, a tuple where the
    model has several outputs.

    What is trained on is shuffled anew each epoch, depending on the seed only; call `fit(..., shuffle=False)`, or
    Keras shuffles the batches once more by its own seed. The validation part keeps its order. The last batch may
    be smaller than the others.

    Args:
        batch_size: samples per batch, at least 1.
        part: the test part is refused, so that no training can see it.
        teacher: needed for agreement, and with `with_teacher`.
        with_teacher: y holds what the teacher answers beside the labels, as `with_answers` returns it.
        balanced: batches are (x, y, weights), float32 (n,), such that every class counts alike.
        augmentation: of images; the same seed gives the same ones. The teacher sees what the model sees.
    """
    if part not in get_args(TrainingPart):
        raise ValueError(f"part must be one of {', '.join(get_args(TrainingPart))}, got {part!r}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if (with_teacher or fit.task == "agreement") and teacher is None:
        raise ValueError("agreement and distillation are trained towards a teacher; none was given")
    from intake.keras_env import keras2

    names: tuple[PartName, ...] = ("train", "validation") if part == "train_and_validation" else (part,)
    parts = [_Part(dataset, fit, name) for name in names]
    samples = _Samples(parts, teacher, with_teacher, augmentation or Augmentation())
    weights = _class_weights(dataset, names) if balanced else None

    class Batches(keras2().utils.Sequence):  # type: ignore[misc]
        """Minibatches in an order that depends on seed and epoch."""

        def __init__(self) -> None:
            self._epoch = 0
            self._order = self._new_order()

        def _new_order(self) -> Array:
            if part == "validation":
                return np.arange(len(samples))
            return np.random.default_rng((seed, self._epoch)).permutation(len(samples))

        def __len__(self) -> int:
            return math.ceil(len(samples) / batch_size)

        def __getitem__(self, index: int) -> tuple[Any, ...]:
            if not 0 <= index < len(self):
                raise IndexError(f"batch index must be in 0..{len(self) - 1}, got {index}")
            rows = self._order[index * batch_size : (index + 1) * batch_size]
            batch = samples.take(rows, np.random.default_rng((seed, self._epoch, index + 1)))
            return batch if weights is None else (*batch, weights[rows])

        def begin_with(self, epoch: int) -> None:
            """Go on as if so many epochs were over."""
            self._epoch = epoch
            self._order = self._new_order()

        def on_epoch_end(self) -> None:
            self.begin_with(self._epoch + 1)

    return Batches()


def _class_weights(dataset: Dataset, names: tuple[PartName, ...]) -> Array:
    """Return the weight of each sample, float32 (n,), on average 1: n / (classes * samples of its class).

    The heuristic of scikit-learn's class_weight="balanced" (King and Zeng 2001).
    """
    labels = np.concatenate([np.asarray(dataset.part(name).y) for name in names])
    _, members, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return np.asarray((len(labels) / (len(counts) * counts))[members], np.float32)


class _Part:
    """Preprocessed samples of one part by index: all in memory, or made when they are asked for."""

    def __init__(self, dataset: Dataset, fit: Fit, name: PartName) -> None:
        self.name, self._info, self.fit, self._part = name, dataset.info, fit, dataset.part(name)
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

    def inputs(self, index: Array) -> tuple[Array, ...]:
        if self._x is not None:
            return tuple(array[index] for array in self._x)
        return model_inputs(self.fit, [np.asarray(array[index]) for array in self._part.arrays])

    def labels(self, index: Array, inputs: tuple[Array, ...]) -> Array:
        y = None if self._part.y is None else np.asarray(self._part.y[index])
        return apply_labels(self.fit, self._info, y, inputs[0])


class _Samples:
    """Inputs and targets of one part, or of several one after the other."""

    def __init__(
        self, parts: list[_Part], teacher: Teacher | None, with_teacher: bool, augmentation: Augmentation
    ) -> None:
        self._parts, self._teacher = parts, teacher
        self._with_teacher, self._augmentation = with_teacher, augmentation

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def take(self, index: Array, random: np.random.Generator) -> tuple[Any, Any]:
        starts = np.cumsum([0, *map(len, self._parts)])
        which = np.searchsorted(starts, index, side="right") - 1
        found = [
            self._of_part(part, index[which == number] - starts[number], random)
            for number, part in enumerate(self._parts)
            if (which == number).any()
        ]
        inputs, targets = found[0] if len(found) == 1 else _in_order(found, which)
        return _one_or_all(inputs), _one_or_all(targets)

    def _of_part(self, part: _Part, index: Array, random: np.random.Generator) -> _Taken:
        inputs = part.inputs(index)
        if self._augmentation.changes:
            inputs = self._augmentation.applied(inputs, random)
        if part.fit.task == "agreement":
            return inputs, tuple(training_targets(part.fit, self._answers(part, index, inputs)))
        labels = part.labels(index, inputs)
        if not self._with_teacher:
            return inputs, (labels,)
        return inputs, (with_answers(labels, self._answers(part, index, inputs)[0]),)

    def _answers(self, part: _Part, index: Array, inputs: tuple[Array, ...]) -> list[Array]:
        assert self._teacher is not None
        if self._augmentation.changes:
            return self._teacher.ask(inputs)
        return self._teacher.answers(part.name, index, inputs)


_Taken = tuple[tuple[Array, ...], tuple[Array, ...]]
"""Inputs and targets."""


def _in_order(found: list[_Taken], which: Array) -> _Taken:
    """Join what came from several parts; sample i came from part which[i], in order within it."""
    back = np.argsort(np.argsort(which, kind="stable"))
    inputs, targets = (
        tuple(np.concatenate(arrays)[back] for arrays in zip(*each, strict=True)) for each in zip(*found, strict=True)
    )
    return inputs, targets


def _one_or_all(arrays: tuple[Array, ...]) -> Any:
    return arrays if len(arrays) > 1 else arrays[0]
