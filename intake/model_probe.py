"""Compare two models on a small random batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from intake import keras_env
from intake.errors import UnsupportedModel
from intake.random_inputs import filled_shape, index_limits

TOLERANCE = 1e-4
"""Largest accepted difference, absolute for outputs up to 1 and relative to the largest output above that."""
_SAMPLES = 4


def probe_batch(model: Any) -> list[np.ndarray[Any, Any]]:
    """Return one random array of 4 samples per input of a clean tf_keras model, the same on each call.

    Inputs that feed an Embedding get valid indices (zeros included, for masks); images are half in [0, 1) and half
    in [0, 255); other floats are standard normal, with some zero time steps.
    """
    generator = np.random.default_rng(20240229)
    limits = index_limits(model)
    only_positive = any(type(layer).__name__ == "Embedding" for layer in model.layers)
    return [
        _random_input(generator, tensor, limit, only_positive)
        for tensor, limit in zip(model.inputs, limits, strict=True)
    ]


def _random_input(
    generator: np.random.Generator, tensor: Any, limit: int | None, only_positive: bool
) -> np.ndarray[Any, Any]:
    rank = len(tensor.shape)
    shape = (_SAMPLES, *filled_shape(tensor))
    dtype = tensor.dtype.as_numpy_dtype
    if limit is not None:
        return generator.integers(0, limit, shape).astype(dtype)
    if not np.issubdtype(dtype, np.floating):
        return generator.integers(0, 2, shape).astype(dtype)
    values = generator.random(shape) if rank == 4 or only_positive else generator.normal(size=shape)
    if rank == 4 and not only_positive:
        values[_SAMPLES // 2 :] *= 255.0
    if rank == 3 and shape[1] > 1:
        values[0, -1] = 0.0
    return values.astype(dtype)


def outputs_of(model: Any, batch: Sequence[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """Run a model of either Keras in inference mode and return its outputs as arrays."""
    run = model
    if _keeps_channels_first(model):  # TensorFlow runs it on a processor only when XLA compiles it
        run = keras_env.tensorflow().function(model, jit_compile=True)
    outputs = run(_in_its_structure(model, batch), training=False)
    return [np.asarray(output) for output in keras_env.tensorflow().nest.flatten(outputs)]


def _in_its_structure(model: Any, batch: Sequence[np.ndarray[Any, Any]]) -> Any:
    """Keras 3 takes arrays for a dictionary of inputs only by their names."""
    structure = getattr(getattr(model, "_functional", None) or model, "_inputs_struct", None)
    if isinstance(structure, dict):
        return keras_env.keras3().tree.pack_sequence_as(structure, list(batch))
    return batch[0] if len(batch) == 1 else list(batch)


def _keeps_channels_first(model: Any) -> bool:
    return any(getattr(layer, "data_format", None) == "channels_first" for layer in model._flatten_layers())


def difference(first: Sequence[np.ndarray[Any, Any]], second: Sequence[np.ndarray[Any, Any]]) -> tuple[float, bool]:
    """Return the largest absolute difference, and whether it is within the tolerance. NaN equals NaN."""
    largest, within = 0.0, True
    for one, other in zip(first, second, strict=True):
        if one.shape != other.shape or not np.array_equal(np.isnan(one), np.isnan(other)):
            return float("inf"), False
        gap = float(np.nanmax(np.abs(one.astype(np.float64) - other), initial=0.0))
        scale = max(1.0, float(np.nanmax(np.abs(one), initial=0.0)))
        largest, within = max(largest, gap), within and gap <= TOLERANCE * scale
    return largest, within


def require_equal_outputs(original: Any, rebuilt: Any, first_difference: Any) -> float:
    """Compare an original model with its rebuilt twin and return the largest absolute difference.

    Args:
        original: model of either Keras.
        rebuilt: clean tf_keras model.
        first_difference: called without arguments after a mismatch; returns the name of the layer where it starts,
            or None.

    Raises:
        UnsupportedModel: the outputs differ by more than the tolerance.
    """
    batch = probe_batch(rebuilt)
    largest, within = difference(outputs_of(original, batch), outputs_of(rebuilt, batch))
    if within:
        return largest
    name = first_difference(batch)
    where = f" It starts at layer '{name}'." if name else ""
    raise UnsupportedModel(
        f"The model could be rebuilt in Keras 2, but computes something else there: on random inputs its outputs "
        f"differ by up to {largest:.3g}, and at most {TOLERANCE:g} is accepted.{where} Replace that layer by a simpler "
        "built-in one and save the model again."
    )
