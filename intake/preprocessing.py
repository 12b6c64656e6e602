"""Carrying out the declared preprocessing: raw samples -> model input, stored labels -> what the loss needs.

numpy only. The steps themselves are data (`intake.fit`); proposing them is in `intake.shape_steps`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from intake.dataset_info import DatasetInfo
from intake.errors import DoesNotFit
from intake.fit import ChannelAxis, Colour, Columns, Fit, Reshape, Resize, Scale, ScaleMode, Step
from intake.parts import Array, chunks
from intake.shape_steps import propose_shape_steps, shape_after

__all__ = [
    "apply_labels",
    "apply_steps",
    "model_input",
    "model_inputs",
    "propose_shape_steps",
    "scale_step",
    "shape_after",
]

Floats = NDArray[np.float32]
_LUMA = np.asarray([0.299, 0.587, 0.114], np.float32)
_STATISTICS_SAMPLES = 20_000
"""Mean and deviation are taken from so many training samples at most, evenly spaced."""


def model_input(fit: Fit, x: Array) -> Floats:
    """Return raw samples (n, ...) as the model takes them: float32 (n, *input shape). `x` is not changed."""
    return apply_steps(fit.preprocessing, x)


def model_inputs(fit: Fit, arrays: Sequence[Array]) -> tuple[Floats, ...]:
    """Return what each input of the model takes, float32 (n, *input shape), from all arrays of samples (n, ...)."""
    return tuple(apply_steps(feed.preprocessing, arrays[feed.array]) for feed in fit.feeds)


def apply_steps(steps: Sequence[Step], x: Array) -> Floats:
    """Apply preprocessing steps in order to raw samples (n, ...) of any numeric dtype; return float32 (n, ...).

    Always a new array (or a view of a new one); `x` is not changed.

    Raises:
        DoesNotFit: a step cannot be applied to the shape that reaches it, or a scale lacks its numbers.
    """
    for step in steps:
        shape_after([step], x.shape[1:])
        x = _apply(step, x)
    return np.array(x, np.float32)


def _apply(step: Step, x: Array) -> Array:
    match step:
        case Scale():
            return _scaled(step, x)
        case Resize():
            return resized(x, step.height, step.width)
        case Colour(to="rgb"):
            return np.repeat(x, 3, axis=-1)
        case Colour():
            return (x.astype(np.float32) @ _LUMA)[..., None]
        case ChannelAxis():
            return _moved(step.action, x)
        case Reshape():
            return x.reshape(len(x), *step.shape)
        case Columns():
            return x[..., step.first : step.first + step.count]


def _scaled(step: Scale, x: Array) -> Array:
    match step.mode:
        case "none":
            return x
        case "divide_255":
            return x.astype(np.float32) / np.float32(255)
        case "minus_one_to_one":
            return x.astype(np.float32) / np.float32(127.5) - np.float32(1)
        case "multiply_255":
            return x.astype(np.float32) * np.float32(255)
        case "standardize" | "min_max":
            if len(step.mean) != x.shape[-1] or len(step.std) != x.shape[-1]:
                raise DoesNotFit(
                    f"The scale {step.mode!r} must hold a mean and a deviation for each of the {x.shape[-1]} entries of the "
                    f"last axis, but it holds {len(step.mean)} and {len(step.std)}. Match model and dataset again."
                )
            # In float64, because raw features may be large numbers close together.
            scaled: Array = (x.astype(np.float64) - np.asarray(step.mean)) / np.asarray(step.std)
            return scaled.astype(np.float32)


def resized(x: Array, height: int, width: int) -> Array:
    """Return images (n, h, w, c) as (n, height, width, c), bilinear; uint8 stays uint8."""
    if x.shape[1:3] == (height, width):
        return x
    from PIL import Image

    eight_bits = x.dtype == np.uint8
    planes = x if eight_bits else x.astype(np.float32)
    resized = np.empty((len(x), height, width, x.shape[3]), planes.dtype)
    for i, image in enumerate(planes):
        for channel in range(x.shape[3]):
            plane = Image.fromarray(np.ascontiguousarray(image[:, :, channel]))
            resized[i, :, :, channel] = np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR))
    return resized


def _moved(action: str, x: Array) -> Array:
    match action:
        case "add_last":
            return x[..., None]
        case "remove_last":
            return x[..., 0]
        case "first_to_last":
            return np.moveaxis(x, 1, -1)
        case _:
            return np.moveaxis(x, -1, 1)


def scale_step(mode: ScaleMode, x_train: Array, shape_steps: Sequence[Step] = ()) -> Scale:
    """Return the scale step of a mode, with the numbers it needs from the training part.

    Args:
        x_train: raw training samples (n, ...), n >= 1; at most 20,000 evenly spaced ones are looked at.
        shape_steps: steps that come before the scale; they are applied first.

    Returns:
        For "standardize" and "min_max" one mean and one std per entry of the last axis (std 0 becomes 1).
    """
    if mode not in ("standardize", "min_max"):
        return Scale(mode=mode)
    step = -(-len(x_train) // _STATISTICS_SAMPLES)
    running = RunningStatistics()
    for _, rows in chunks(x_train[::step]):
        prepared = apply_steps(shape_steps, rows)
        running.add(prepared.reshape(-1, prepared.shape[-1]).astype(np.float64))
    if mode == "min_max":
        mean, std = running.low, running.high - running.low
    else:
        mean, std = running.mean, running.deviation
    # A constant entry has nothing to scale by; rounding leaves a tiny deviation where there is none.
    std = np.where(std <= 1e-7 * np.maximum(1.0, np.abs(mean)), 1.0, std)
    return Scale(mode=mode, mean=tuple(mean.tolist()), std=tuple(std.tolist()))


class RunningStatistics:
    """Mean, squared deviations, minimum and maximum per column, added up chunk by chunk (Chan's merge)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean, self.squares = np.zeros(1), np.zeros(1)
        self.low, self.high = np.asarray([np.inf]), np.asarray([-np.inf])

    @property
    def deviation(self) -> NDArray[np.float64]:
        """Standard deviation per column."""
        return np.asarray(np.sqrt(self.squares / self.count))

    def add(self, rows: NDArray[np.float64]) -> None:
        """Take note of some rows (n, columns), n >= 1."""
        mean, count = rows.mean(axis=0), self.count + len(rows)
        delta = mean - self.mean
        self.squares = self.squares + ((rows - mean) ** 2).sum(axis=0) + delta**2 * self.count * len(rows) / count
        self.mean = self.mean + delta * len(rows) / count
        self.count = count
        self.low, self.high = np.minimum(self.low, rows.min(axis=0)), np.maximum(self.high, rows.max(axis=0))


def apply_labels(fit: Fit, info: DatasetInfo, y: Array | None, x_preprocessed: Floats) -> Array:
    """Return the targets that the loss of `fit` takes, in the order of the model's output units.

    Args:
        y: stored labels, int64 (n,) or float32 (n, k); not needed for reconstruction.
        x_preprocessed: float32 (n, *input shape); the target of reconstruction.

    Returns:
        int64 (n,) for sparse_categorical_crossentropy; float32 one-hot (n, classes) for the other losses of
        classification; float32 (n, 1) of 0/1 for binary classification; float32 (n, k) of 0/1 or values else.

    Raises:
        DoesNotFit: the task needs labels that the dataset does not have.
    """
    if fit.task == "reconstruction":
        return x_preprocessed
    if y is None:
        raise DoesNotFit(f"The task {fit.task} needs labels, but the dataset has none. Choose agreement.")
    match fit.task:
        case "classification":
            units = _unit_of_class(fit, len(info.class_names))[y]
            if fit.loss == "sparse_categorical_crossentropy":
                return np.asarray(units, np.int64)
            return np.eye(len(info.class_names), dtype=np.float32)[units]
        case "binary_classification":
            positive = fit.class_order[1] if fit.class_order else 1
            return np.asarray(y == positive, np.float32).reshape(-1, 1)
        case "multilabel_classification":
            return np.asarray(y, np.float32)[:, list(fit.class_order) or slice(None)]
        case _:
            return label_numbers(info, y)


def _unit_of_class(fit: Fit, classes: int) -> Array:
    units = np.arange(classes)
    if fit.class_order:
        units[list(fit.class_order)] = np.arange(classes)
    return units


def label_numbers(info: DatasetInfo, y: Array) -> Floats:
    """Return labels as numbers to predict, float32 (n, k): values as they are, classes by the number in their name."""
    if info.label_kind == "class":
        return np.asarray([float(name) for name in info.class_names], np.float32)[y].reshape(-1, 1)
    return np.asarray(y, np.float32)
