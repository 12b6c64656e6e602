"""How many bits the weights of which layer are stored in. numpy only, no TensorFlow.

What LiteRT has in fewer than 8 bits was found by converting: convolutions and dense layers. Others come out in int8.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from measure.conversion import PACKED_BITS
from measure.facts import Fact, WeightOf, located, not_located
from measure.weights import WeightTensor
from optimizers.layer_facts import LayerFacts

_LOW_BIT_LAYERS = ("Conv2D", "Dense")


def why_eight_bits(layer: LayerFacts) -> str:
    """Return why the weights of a layer with kernels cannot have fewer than 8 bits, in a sentence; "" where they can."""
    if layer.class_name not in _LOW_BIT_LAYERS:
        return f"LiteRT has the kernel of a {layer.class_name} layer in 8 bits only."
    if layer.has_rescaled_inputs:
        return (
            "The converter multiplies the BatchNormalization before it into its kernel, and that comes out in 8 bits."
        )
    if layer.class_name == "Dense" and layer.input_rank != 2:
        return "The kernel of a Dense layer on sequences or images comes out of the converter in 8 bits."
    if layer.class_name == "Dense" and layer.is_rescaled:
        return "The converter multiplies the BatchNormalization after it into its kernel, and that comes out in 8 bits."
    return ""


def stored_dtype(bits: int) -> str:
    """Return the dtype in the file of weights of so many bits."""
    return "int4" if bits <= PACKED_BITS else "int8"


def most_values(bits: int) -> int:
    """Return how many values weights of so many bits have: one code is left out, so that 0 is exact."""
    return 2**bits - 1


def in_bits(values: np.ndarray, bits: int, *, per_axis: bool = True, least_error: bool = False) -> np.ndarray:
    """Return codes of so many bits, rounded symmetrically, in the same shape: int8, or int4 of `ml_dtypes`.

    Args:
        values: float32 (output channels, values of each).
        bits: 2 to 8.
        per_axis: a scale for each output channel (row), or one for all.
        least_error: the range ends where the squared error is least; else at the largest value.
    """
    return _stored(_codes_and_steps(values, bits, per_axis, least_error)[0], bits)


def rounded_to_bits(
    values: np.ndarray, bits: int, *, per_axis: bool = True, least_error: bool = False
) -> NDArray[np.float32]:
    """Return what the codes of `in_bits` stand for, float32 in the same shape; up to 16 bits."""
    codes, steps = _codes_and_steps(values, bits, per_axis, least_error)
    return (codes * steps).astype(np.float32)


def _codes_and_steps(values: np.ndarray, bits: int, per_axis: bool, least_error: bool) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers in the shape of the values, and what one is worth in each row (or in all)."""
    levels = most_values(bits) // 2
    axis = 1 if per_axis else None
    largest = np.abs(values).max(axis=axis, keepdims=True)
    largest = np.where(largest > 0, largest, 1)
    best = np.clip(np.rint(values / largest * levels), -levels, levels)
    steps = largest / levels
    if not least_error:
        return best, steps
    least = ((best / levels * largest - values) ** 2).sum(axis=axis, keepdims=True)
    for share in SHARES:
        step = share * largest / levels
        codes = np.clip(np.rint(values / step), -levels, levels)
        error = ((codes * step - values) ** 2).sum(axis=axis, keepdims=True)
        better = error < least
        best, steps, least = np.where(better, codes, best), np.where(better, step, steps), np.minimum(error, least)
    return best, steps


def _stored(codes: np.ndarray, bits: int) -> np.ndarray:
    if bits > PACKED_BITS:
        return codes.astype(np.int8)
    from ml_dtypes import int4

    return codes.astype(np.int8).astype(int4)


SHARES = np.linspace(0.15, 1, 35, dtype=np.float32)
"""Shares of the largest weight that are tried as the end of a range."""


def verify_bits(weights: Sequence[WeightOf], tensors: list[WeightTensor]) -> list[Fact]:
    """Return the facts of each kernel: its dtype and, under 8 bits, how many different values it has."""
    facts = []
    for weight, tensor in located(tensors, list(weights)):
        dtype = stored_dtype(weight.bits)
        if tensor is None:
            facts.append(not_located("dtype", weight, dtype))
            continue
        met = tensor.dtype == dtype
        facts.append(Fact(claim="dtype", layer=weight.layer, asked=dtype, measured=tensor.dtype, met=met))
        if weight.bits < 8:
            facts.append(_values_fact(weight, tensor))
    return facts


def _values_fact(weight: WeightOf, tensor: WeightTensor) -> Fact:
    per_channel = len(tensor.zero_points) > 1
    count = tensor.distinct_per_channel if per_channel else tensor.distinct
    limit = most_values(weight.bits)
    return Fact(
        claim=f"{weight.bits}-bit weights",
        layer=weight.layer,
        asked=f"at most {limit} values",
        measured=f"{count} values{' in each channel' if per_channel else ''}",
        met=count <= limit,
    )
