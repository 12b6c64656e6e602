"""Post-training quantization: the exported file stores smaller numbers; no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from intake.errors import InvalidParams
from measure.export import Conversion
from measure.facts import Fact, WeightOf, located, not_located
from measure.weights import WeightTensor
from optimizers.declaration import Condition, parameter
from optimizers.layer_facts import KernelFacts, LayerFacts
from optimizers.technique import Technique, TechniqueParams
from optimizers.treatment import Treatment, acts, left

_INT8 = Condition("mode", ("int8",), "only with full int8")
MIN_QUANTIZED_WEIGHTS = 1024
"""tf.lite's dynamic-range quantizer leaves tensors with fewer weights in float32."""


class PostTrainingParams(TechniqueParams):
    """Which numbers the exported file stores."""

    mode: Literal["dynamic_range", "float16", "int8"] = parameter(
        "dynamic_range",
        "Mode",
        "dynamic_range: int8 weights (optimize for size); float16: half the size; int8: weights and arithmetic.",
    )
    representative_samples: int = parameter(
        200, "Representative samples", "Training samples that calibrate the activations.", unit="samples",
        ge=1, le=10_000, only_if=_INT8,
    )  # fmt: skip
    io_dtype: Literal["float32", "int8", "uint8"] = parameter(
        "float32",
        "Input and output type",
        "int8 and uint8 suit microcontrollers without float arithmetic.",
        only_if=_INT8,
    )
    seed: int = parameter(0, "Seed", "Chooses the representative samples.", ge=0, le=2**31 - 1, step=1, only_if=_INT8)


class PostTrainingQuantization(Technique):
    """The LiteRT converter's own quantization."""

    name = "post_training_quantization"
    title = "Post-training quantization"
    summary = "Stores the trained weights in 8 or 16 bits; takes seconds, needs no training."
    use_when = "first, always: it is the quickest way to a quarter of the size."
    avoid_when = "int8 loses more accuracy than you can accept; then train quantization-aware."
    shrinks = "the raw .tflite, to about a quarter (int8, dynamic range) or half (float16)."
    source = "Jacob et al. 2018, Quantization and training of neural networks (arXiv 1712.05877)"
    Params = PostTrainingParams
    converts = True

    def check(self, params: PostTrainingParams) -> None:
        """Refuse integer inputs on a file whose arithmetic is not integer."""
        if params.mode != "int8" and params.io_dtype != "float32":
            raise InvalidParams(
                f"`io_dtype` {params.io_dtype} is possible only with mode int8, got mode {params.mode}. "
                "Choose mode int8, or io_dtype float32."
            )

    def conversion(self, params: PostTrainingParams, before: Conversion) -> Conversion:
        """The converter's number format."""
        samples = params.representative_samples if params.mode == "int8" else 0
        return replace(
            before,
            number_format=params.mode,
            io_dtype=params.io_dtype,
            representative_samples=samples,
            float_layers=params.leave_as_is,
        )

    def treatment(self, layer: LayerFacts, params: PostTrainingParams) -> Treatment:
        """Every kernel that the chosen mode quantizes."""
        if not layer.kernels:
            if params.mode == "int8":
                return left(layer, "No kernel to store; its arithmetic becomes int8 where LiteRT has it in int8.")
            return left(layer, "It has no kernel to store in fewer bits.")
        weights = quantized_kernels(layer, MIN_QUANTIZED_WEIGHTS if params.mode == "dynamic_range" else 1)
        if not weights:
            return left(
                layer,
                f"The converter leaves kernels of fewer than {MIN_QUANTIZED_WEIGHTS:,} weights in float32 in this mode.",
                "Choose mode int8, or float16.",
            )
        dtype = "float16" if params.mode == "float16" else "int8"
        return acts(layer, f"Its kernel is stored in {dtype}.", weights)

    def treatments(self, layers: Sequence[LayerFacts], params: PostTrainingParams) -> tuple[Treatment, ...]:
        """As of the base; where the file has a loop, int8 holds for the weights only."""
        found = super().treatments(layers, params)
        if params.mode != "int8" or not any(layer.becomes_a_loop for layer in layers):
            return found
        return tuple(
            in_a_loop(layer) if treatment.verdict == "acts" else treatment
            for layer, treatment in zip(layers, found, strict=True)
        )

    def simulate(
        self, values: np.ndarray, params: PostTrainingParams, layer: LayerFacts, kernel: KernelFacts
    ) -> np.ndarray:
        """Rounded to the stored type."""
        return values.astype(np.float16) if params.mode == "float16" else in_eight_bits(values)

    def added_bytes(self, channels: int, params: PostTrainingParams) -> int:
        """Scales of int8; the steps that make float32 of float16, and half of the bias."""
        if params.mode == "float16":
            return HALF_PRECISION_STEPS - 2 * channels
        return scale_bytes(channels, calibrated=params.mode == "int8")

    def verify(self, params: PostTrainingParams, weights: list[WeightOf], tensors: list[WeightTensor]) -> list[Fact]:
        """The dtype of each kernel."""
        return verify_dtype("float16" if params.mode == "float16" else "int8", weights, tensors)


def in_eight_bits(values: np.ndarray) -> np.ndarray:
    """Return int8 of the same shape: symmetric, with a scale for each output channel (row)."""
    largest = np.abs(values).max(axis=1, keepdims=True)
    scaled = values / np.where(largest > 0, largest, 1) * 127
    rounded: np.ndarray = np.rint(scaled).astype(np.int8)
    return rounded


HALF_PRECISION_STEPS = 330
"""Bytes of the operations and tensors that make float32 of a float16 kernel and bias; found by measuring."""
SCALE_BYTES = 12
"""Of a channel: a scale (float32) and a zero point (int64)."""
ACTIVATION_BYTES = 150
"""Of the scales of what goes in and comes out, where arithmetic is int8, too; found by measuring."""


def scale_bytes(channels: int, *, calibrated: bool) -> int:
    """Return the bytes of the scales and zero points of an int8 kernel.

    Where arithmetic is int8 (calibrated), the bias has as many scales, and so have the activations.
    """
    return 2 * SCALE_BYTES * channels + ACTIVATION_BYTES if calibrated else SCALE_BYTES * channels


def quantized_kernels(layer: LayerFacts, least_size: int) -> tuple[WeightOf, ...]:
    """Return the kernels of a layer that have at least `least_size` elements."""
    return tuple(
        WeightOf(layer=layer.name, weight=kernel.name, size=kernel.size)
        for kernel in layer.kernels
        if kernel.size >= least_size
    )


def in_a_loop(layer: LayerFacts) -> Treatment:
    """What int8 means in a model with a loop, which the converter cannot calibrate."""
    weights = quantized_kernels(layer, MIN_QUANTIZED_WEIGHTS)
    why = "A recurrent layer of this model becomes a loop, which cannot be calibrated: arithmetic stays float32"
    if not weights:
        return left(layer, f"{why}, and kernels of fewer than {MIN_QUANTIZED_WEIGHTS:,} weights do, too.")
    return acts(layer, f"{why}; its kernel is stored in int8.", weights)


def verify_dtype(dtype: str, weights: list[WeightOf], tensors: list[WeightTensor]) -> list[Fact]:
    """Return one fact for each kernel: is it stored in `dtype`?"""
    facts = []
    for weight, tensor in located(tensors, weights):
        if tensor is None:
            facts.append(not_located("dtype", weight, dtype))
        else:
            met = tensor.dtype == dtype
            facts.append(Fact(claim="dtype", layer=weight.layer, asked=dtype, measured=tensor.dtype, met=met))
    return facts
