"""Post-training quantization: the exported file stores smaller numbers; no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from intake.errors import InvalidParams
from measure.conversion import STATIC, Conversion, WeightQuantization, integers_in_and_out_of_a_loop
from measure.facts import Fact, WeightOf, located, not_located
from measure.plain_tools import NeedsTare
from measure.quantizer import LEAST_WEIGHTS
from measure.weights import WeightTensor
from optimizers.declaration import Condition, parameter
from optimizers.layer_facts import KernelFacts, LayerFacts
from optimizers.plain_training import ScriptStep
from optimizers.stored_kernels import WITHOUT_INTEGERS, blocks_of, stored_dtype, stored_kernels, types_of, why_float
from optimizers.technique import Technique, TechniqueParams
from optimizers.treatment import Treatment, acts, left
from optimizers.weight_bits import rounded_to_bits

Mode = Literal["dynamic_range", "weight_only", "float16", "int8", "int8_weights_int16_activations"]
_INT8 = Condition("mode", ("int8",), "only with full int8")
_STATIC = Condition("mode", STATIC, "only where activations are integers, too")
_INTEGER = Condition("mode", ("dynamic_range", "weight_only", *STATIC), "only where weights are integers")
_FOUR_BITS = Condition("weight_bits", (4,), "only with 4-bit weights")


class PostTrainingParams(TechniqueParams):
    """Which numbers the exported file stores."""

    mode: Mode = parameter(
        "dynamic_range",
        "Mode",
        "dynamic_range: int8 weights (optimize for size); weight_only: the same with float arithmetic, a little more "
        "exact and slower; float16: half the size; int8: weights and arithmetic; int8_weights_int16_activations: int8 "
        "with finer activations (16x8), more exact and slower.",
    )
    weight_bits: Literal[8, 4] = parameter(
        8, "Weight bits", "4 halves dense and convolutional kernels again and costs accuracy; LiteRT keeps depthwise "
        "and transposed ones in 8.", unit="bits", only_if=_INTEGER,
    )  # fmt: skip
    block_size: Literal[0, 32, 64, 128, 256] = parameter(
        0, "Block size", "Weights that share a scale in dense kernels, with mode dynamic_range; fewer is more exact and "
        "larger, 0 means one scale for each output channel.", unit="weights", only_if=_FOUR_BITS, advanced=True,
    )  # fmt: skip
    algorithm: Literal["min_max", "MSE", "OCTAV"] = parameter(
        "min_max", "Algorithm", "How scales are chosen: min_max spans all weights; MSE and OCTAV clip the largest to "
        "round the others finer, which helps most with 4 bits.", only_if=_INTEGER, advanced=True,
    )  # fmt: skip
    granularity: Literal["per_channel", "per_tensor"] = parameter(
        "per_channel", "Granularity", "One scale for each output channel, or for a whole kernel: smaller, less exact.",
        only_if=_INTEGER, advanced=True,
    )  # fmt: skip
    representative_samples: int = parameter(
        200, "Representative samples", "Training samples that calibrate the activations.", unit="samples",
        ge=1, le=10_000, only_if=_STATIC,
    )  # fmt: skip
    io_dtype: Literal["float32", "int8", "uint8"] = parameter(
        "float32",
        "Input and output type",
        "int8 and uint8 suit microcontrollers without float arithmetic.",
        only_if=_INT8,
    )
    seed: int = parameter(0, "Seed", "Chooses the representative samples.", ge=0, le=2**31 - 1, step=1, only_if=_STATIC)


class PostTrainingQuantization(Technique):
    """LiteRT's own quantization of the finished model, by its quantizer or its converter."""

    name = "post_training_quantization"
    title = "Post-training quantization"
    summary = "Stores the trained weights in 4, 8 or 16 bits; takes seconds, needs no training."
    use_when = "first, always: it is the quickest way to a quarter of the size."
    avoid_when = "int8 loses more accuracy than you can accept; then train quantization-aware."
    shrinks = "the raw .tflite, to about a quarter (8-bit weights), an eighth (4-bit weights) or half (float16)."
    source = "Jacob et al. 2018, Quantization and training of neural networks (arXiv 1712.05877)"
    Params = PostTrainingParams
    converts = True

    def check(self, params: PostTrainingParams) -> None:
        """Refuse what LiteRT has no file for."""
        problems = [*_of_inputs(params), *_of_float16(params), *_of_blocks(params)]
        if problems:
            raise InvalidParams(problems)

    def conversion(self, params: PostTrainingParams, before: Conversion) -> Conversion:
        """The number format, from the float32 file."""
        return replace(
            before,
            number_format=params.mode,
            io_dtype=params.io_dtype,
            representative_samples=params.representative_samples if params.mode in STATIC else 0,
            float_layers=params.leave_as_is,
            after_training=True,
            weights=WeightQuantization(
                bits=params.weight_bits,
                block_size=params.block_size,
                algorithm=params.algorithm,
                granularity=params.granularity,
            ),
        )

    def treatment(self, layer: LayerFacts, params: PostTrainingParams) -> Treatment:
        """Every kernel that the chosen mode quantizes."""
        return _stored(layer, params.mode, self.conversion(params, Conversion()))

    def treatments(self, layers: Sequence[LayerFacts], params: PostTrainingParams) -> tuple[Treatment, ...]:
        """As of the base; where the file has a loop, integer arithmetic is left out and only the weights are stored."""
        found = super().treatments(layers, params)
        if params.mode not in STATIC or not any(layer.becomes_a_loop for layer in layers):
            return found
        if params.io_dtype != "float32":
            raise InvalidParams(integers_in_and_out_of_a_loop(params.io_dtype))
        conversion = self.conversion(params, Conversion())
        return tuple(
            _stored_beside_a_loop(layer, conversion) if treatment.verdict == "acts" else treatment
            for layer, treatment in zip(layers, found, strict=True)
        )

    def simulate(
        self, values: np.ndarray, params: PostTrainingParams, layer: LayerFacts, kernel: KernelFacts
    ) -> np.ndarray:
        """Rounded to the stored type."""
        if params.mode == "float16":
            return values.astype(np.float16)
        conversion = self.conversion(params, Conversion())
        return rounded(values, conversion.weights, in_four_bits=stored_dtype(kernel, conversion) == "int4")

    def imitate(
        self, values: np.ndarray, params: PostTrainingParams, layer: LayerFacts, kernel: KernelFacts
    ) -> np.ndarray:
        """Rounded to the stored type and taken back to floats."""
        conversion = self.conversion(params, Conversion())
        dtype = stored_dtype(kernel, conversion)
        if dtype in ("float32", "float16"):
            return values.astype(dtype).astype(np.float32)
        bits = {"int4": 4, "int8": 8, "int16": 16}[dtype]
        blocks = blocks_of(kernel, len(values), conversion)
        rows = values.reshape(blocks or (1 if params.granularity == "per_tensor" else len(values)), -1)
        if params.algorithm == "MSE" and bits in _LEAST_ERROR_STEPS:
            rounded_rows = _of_least_error(rows, bits).astype(np.float32) * _least_error_step(rows, bits)
        else:
            rounded_rows = rounded_to_bits(rows, bits, least_error=params.algorithm == "OCTAV")
        return rounded_rows.reshape(values.shape)

    def not_imitated(self, params: PostTrainingParams) -> str:
        """What flows between the layers, where that becomes integers."""
        return f"{self.title} also rounds what the layers put out." if params.mode in STATIC else ""

    def added_bytes(self, channels: int, params: PostTrainingParams, kernel: KernelFacts) -> int:
        """Scales of integers; the steps that make float32 of float16, and half of the bias."""
        if params.mode == "float16":
            return HALF_PRECISION_STEPS - 2 * channels
        blocks = blocks_of(kernel, channels, self.conversion(params, Conversion()))
        if blocks:
            return blocks * BLOCK_BYTES
        scales = 1 if params.granularity == "per_tensor" else channels
        return scale_bytes(scales, calibrated=params.mode in STATIC)

    def verify(self, params: PostTrainingParams, weights: list[WeightOf], tensors: list[WeightTensor]) -> list[Fact]:
        """The dtype of each kernel."""
        return verify_dtype("float16" if params.mode == "float16" else "int8", weights, tensors)

    def script_lines(self, params: PostTrainingParams, step: ScriptStep) -> list[str]:
        """Nothing but the conversion, which follows."""
        if any(layer.becomes_a_loop for layer in step.layers):
            raise NeedsTare("A recurrent layer becomes a loop in the file, which no quantizer can calibrate.")
        return [f"# The weights stay as they are; {params.mode} is a way of writing the file, below."]


def _of_inputs(params: PostTrainingParams) -> list[str]:
    if params.mode == "int8" or params.io_dtype == "float32":
        return []
    return [
        f"`io_dtype` {params.io_dtype} is possible only with mode int8, got mode {params.mode}. "
        "Choose mode int8, or io_dtype float32."
    ]


def _of_float16(params: PostTrainingParams) -> list[str]:
    if params.mode != "float16":
        return []
    usual = {"weight_bits": 8, "algorithm": "min_max", "granularity": "per_channel"}
    return [
        f"`{name}` {value} rounds weights to integers, but mode float16 has none. Choose another mode, or {name} {given}."
        for name, given in usual.items()
        if (value := getattr(params, name)) != given
    ]


def _of_blocks(params: PostTrainingParams) -> list[str]:
    if not params.block_size:
        return []
    asked, wanted = f"`block_size` {params.block_size}", {"mode": "dynamic_range", "weight_bits": 4}
    problems = [
        f"{asked} is possible only with {name} {value}, got {getattr(params, name)}. Choose {name} {value}, or "
        "block_size 0."
        for name, value in wanted.items()
        if getattr(params, name) != value
    ]
    if params.algorithm == "MSE":
        problems.append(f"{asked} has no MSE scales. Choose algorithm min_max or OCTAV, or block_size 0.")
    if params.granularity == "per_tensor":
        problems.append(
            f"{asked} gives each block a scale, granularity per_tensor all of them one. Choose granularity "
            "per_channel, or block_size 0."
        )
    return problems


def _stored(layer: LayerFacts, mode: str, conversion: Conversion) -> Treatment:
    if not layer.kernels:
        if mode in STATIC:
            return left(layer, "No kernel to store; its arithmetic becomes integer where LiteRT has it in integers.")
        return left(layer, "It has no kernel to store in fewer bits.")
    weights = stored_kernels(layer, conversion)
    if not weights:
        return left(layer, why_float(layer, conversion), _other_mode(layer))
    return acts(layer, f"Its kernel is stored in {types_of(weights)}.", weights)


def _other_mode(layer: LayerFacts) -> str:
    if any(kernel.operation in WITHOUT_INTEGERS for kernel in layer.kernels):
        return "Choose mode float16."
    return "Choose mode int8, or float16, with 8-bit weights."


def _stored_beside_a_loop(layer: LayerFacts, conversion: Conversion) -> Treatment:
    """What integer arithmetic means in a model with a loop, which neither quantizer can calibrate."""
    if conversion.is_known_to_the_converter:
        return in_a_loop(layer)
    weights = stored_kernels(layer, replace(conversion, number_format="weight_only"))
    if not weights:
        return left(layer, why_float(layer, conversion))
    return acts(layer, f"{_LOOP}; its kernel is stored in {types_of(weights)}.", weights)


def rounded(values: np.ndarray, weights: WeightQuantization, *, in_four_bits: bool) -> np.ndarray:
    """Return what integers a kernel's values become, in the same shape: int8, or int4 of `ml_dtypes`.

    Args:
        values: float32 (output channels, values of each).
        weights: how they are rounded.
        in_four_bits: else in eight.
    """
    rows = values.reshape(1, -1) if weights.granularity == "per_tensor" else values
    if weights.algorithm == "MSE":
        return _of_least_error(rows, 4 if in_four_bits else 8).reshape(values.shape)
    eight = in_eight_bits(rows).reshape(values.shape)
    if not in_four_bits:
        return eight
    from ml_dtypes import int4

    four: np.ndarray = np.rint(eight / 127 * 7).astype(np.int8).astype(int4)
    return four


_LEAST_ERROR_STEPS = {8: 0.05408, 4: 0.37755}
"""Steps of least error for normal weights, as a share of their root mean square (ai-edge-quantizer 0.10, mse.py)."""


def _of_least_error(rows: np.ndarray, bits: int) -> np.ndarray:
    from ml_dtypes import int4

    most = 2 ** (bits - 1) - 1
    codes = np.clip(np.rint(rows / _least_error_step(rows, bits)), -most, most).astype(np.int8)
    return codes.astype(int4) if bits == 4 else codes


def _least_error_step(rows: np.ndarray, bits: int) -> np.ndarray:
    step: np.ndarray = _LEAST_ERROR_STEPS[bits] * np.sqrt(np.mean(np.square(rows), axis=1, keepdims=True))
    return np.where(step > 0, step, 1)


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
BLOCK_BYTES = 2
"""Of a block of weights: a scale (float16)."""
ACTIVATION_BYTES = 150
"""Of the scales of what goes in and comes out, where arithmetic is int8, too; found by measuring."""


def scale_bytes(channels: int, *, calibrated: bool) -> int:
    """Return the bytes of the scales and zero points of an int8 kernel.

    Where arithmetic is int8 (calibrated), the bias has as many scales, and so have the activations.
    """
    return 2 * SCALE_BYTES * channels + ACTIVATION_BYTES if calibrated else SCALE_BYTES * channels


def quantized_kernels(layer: LayerFacts, least_size: int) -> tuple[WeightOf, ...]:
    """Return the kernels of a layer that have at least `least_size` elements, and integers in LiteRT."""
    return tuple(
        WeightOf(layer=layer.name, weight=kernel.name, size=kernel.size, shape=kernel.shape)
        for kernel in layer.kernels
        if kernel.size >= least_size and kernel.operation not in WITHOUT_INTEGERS
    )


_LOOP = "A recurrent layer of this model becomes a loop, which cannot be calibrated: arithmetic stays float32"


def in_a_loop(layer: LayerFacts) -> Treatment:
    """What int8 means in a model with a loop, which the converter cannot calibrate."""
    weights = quantized_kernels(layer, LEAST_WEIGHTS)
    if not weights:
        return left(layer, f"{_LOOP}, and kernels of fewer than {LEAST_WEIGHTS:,} weights do, too.")
    return acts(layer, f"{_LOOP}; its kernel is stored in int8.", weights)


def verify_dtype(dtype: str, weights: list[WeightOf], tensors: list[WeightTensor]) -> list[Fact]:
    """Return one fact for each kernel: is it stored in `dtype`, or in its own where it has one?"""
    facts = []
    for weight, tensor in located(tensors, weights):
        asked = weight.dtype or dtype
        if tensor is None:
            facts.append(not_located("dtype", weight, asked))
        else:
            met = tensor.dtype == asked
            facts.append(Fact(claim="dtype", layer=weight.layer, asked=asked, measured=tensor.dtype, met=met))
    return facts
