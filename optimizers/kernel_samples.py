"""A few values of each kernel, in the order in which the file stores them: enough to tell how it will compress."""

from __future__ import annotations

import io
import itertools
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intake.keras_env import keras2
from measure.weights import WeightTensor, of_layer
from optimizers.kernels import kernels_of
from optimizers.layer_facts import LayerFacts

VALUES = 16_384
"""Most values of one kernel."""
ALL_VALUES = 500_000
"""Most values of all kernels of a model together, so that an estimate takes a fraction of a second."""
FEWEST_VALUES = 2_048
"""Values of each kernel where a model has very many."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class KernelSample:
    """Some values of one kernel.

    The kernel's largest and smallest value are always among them: they decide where clusters and 8-bit steps lie.
    """

    layer: str
    name: str
    size: int
    """Number of weights of the whole kernel."""
    channels: int
    """Output channels of the whole kernel."""
    values: Floats
    """(channels, values of each) as they are in the Keras model."""
    factor: Floats
    """The same shape: what the converter multiplies them with, where it folds a BatchNormalization into them."""

    @property
    def scale_up(self) -> float:
        """Whole kernel to sample, in numbers of weights."""
        return self.size / self.values.size


def sample_kernels(model: Any, tensors: list[WeightTensor]) -> list[KernelSample]:
    """Return a sample of each kernel of a clean tf_keras model, in the order of `LayerFacts.kernels`.

    Args:
        model: functional tf_keras model.
        tensors: the weights of its float32 `.tflite`, which say how the converter turned and scaled the kernels.
    """
    inputs = keras2().layers.InputLayer
    kernels = [
        (layer.name, kernel) for layer in model.layers if not isinstance(layer, inputs) for kernel in kernels_of(layer)
    ]
    count = min(VALUES, max(FEWEST_VALUES, ALL_VALUES // max(1, len(kernels))))
    return [_sample(layer, kernel.name, kernel.variable.numpy(), tensors, count) for layer, kernel in kernels]


def _sample(layer: str, name: str, weights: np.ndarray, tensors: list[WeightTensor], count: int) -> KernelSample:
    weights = weights.astype(np.float32, copy=False)
    stored = of_layer(tensors, layer, weights.size)
    found = None if stored is None else _turned_like(weights, stored, count)
    turned, factor = found or (_channels_first(weights, weights.ndim - 1), None)
    values = _some(turned, count)
    factor = np.ones_like(values) if factor is None else factor
    flat = values.reshape(-1)
    flat[0], flat[-1] = weights.max(), weights.min()
    return KernelSample(layer, name, weights.size, len(turned), values, factor)


def _channels_first(weights: np.ndarray, axis: int) -> np.ndarray:
    """(channels, values of each); a view where it can be one."""
    return np.moveaxis(weights, axis, 0).reshape(weights.shape[axis], -1)


def _some(rows: np.ndarray, count: int) -> Floats:
    """Whole rows (or the beginnings of long ones), from all over the kernel; a copy."""
    width = min(rows.shape[1], max(64, count // 4))
    height = min(len(rows), max(1, count // width))
    chosen = np.linspace(0, len(rows) - 1, height).astype(int)
    return np.ascontiguousarray(rows[chosen, :width], dtype=np.float32)


def _turned_like(weights: np.ndarray, stored: WeightTensor, count: int) -> tuple[np.ndarray, Floats] | None:
    """Return the kernel with its axes in the file's order, and the factor of each sampled value; None if unrelated."""
    target = _channels_first(stored.values, stored.channel_axis)
    sample = _some(target, count)
    shape = tuple(side for side in np.moveaxis(stored.values, stored.channel_axis, 0).shape if side > 1)
    narrow = weights.reshape([side for side in weights.shape if side > 1] or [1])
    best, likeness = None, 0.9
    for order in itertools.permutations(range(narrow.ndim)):
        if tuple(narrow.shape[axis] for axis in order) != (shape or (1,)):
            continue
        turned = narrow.transpose(order).reshape(target.shape)
        found = _likeness(_some(turned, count), sample)
        if found > likeness:
            best, likeness = turned, found
    if best is None:
        return None
    return best, _factors(_some(best, count), sample)


def _likeness(one: Floats, other: Floats) -> float:
    """Mean cosine of the angle between rows, 0 to 1; a factor for each row does not change it."""
    product = np.abs((one * other).sum(1, dtype=np.float64))
    lengths = np.sqrt((one**2).sum(1, dtype=np.float64) * (other**2).sum(1, dtype=np.float64))
    known = lengths > 0
    return float((product[known] / lengths[known]).mean()) if known.any() else 1.0


def _factors(own: Floats, stored: Floats) -> Floats:
    if np.array_equal(own, stored):
        return np.ones_like(own)
    known = np.abs(own) > 1e-12
    ratios = np.divide(stored, own, out=np.ones_like(own), where=known)
    with np.errstate(divide="ignore"):
        unit = 10.0 ** np.floor(np.log10(np.abs(ratios) + 1e-30))
    return (np.round(ratios / unit, 4) * unit).astype(np.float32)  # one channel has one factor, not many nearly equal


def to_bytes(samples: Sequence[KernelSample]) -> bytes:
    """Return samples as an `.npz` file; which kernels they are of is in the LayerFacts."""
    arrays: dict[str, np.ndarray] = {}
    for index, sample in enumerate(samples):
        arrays[f"values_{index}"] = sample.values
        arrays[f"channels_{index}"] = np.int64(sample.channels)  # type: ignore[assignment]
        if (sample.factor != 1).any():
            arrays[f"factor_{index}"] = sample.factor
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def from_bytes(content: bytes, layers: Sequence[LayerFacts]) -> list[KernelSample]:
    """Return what `to_bytes` wrote; raises ValueError where it is not of these layers."""
    kernels = [(layer.name, kernel) for layer in layers for kernel in layer.kernels]
    try:
        with np.load(io.BytesIO(content)) as arrays:
            return [
                KernelSample(
                    layer=layer,
                    name=kernel.name,
                    size=kernel.size,
                    channels=int(arrays[f"channels_{index}"]),
                    values=(values := arrays[f"values_{index}"]),
                    factor=arrays[f"factor_{index}"] if f"factor_{index}" in arrays else np.ones_like(values),
                )
                for index, (layer, kernel) in enumerate(kernels)
            ]
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"These are not the kernels of this model: {error}") from None
