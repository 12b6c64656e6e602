"""In which type post-training quantization stores a kernel, decided without the file. numpy only, no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence

from measure.conversion import STATIC, Conversion
from measure.facts import WeightOf
from measure.quantizer import BY_TABLE, EIGHT_BITS, FOUR_BITS, LEAST_WEIGHTS
from optimizers.layer_facts import KernelFacts, LayerFacts

WITHOUT_INTEGERS = ("CONV_3D", "CONV_3D_TRANSPOSE")
"""Operations that LiteRT has in floats only; neither quantizer touches their kernels but to make float16 of them."""


def stored_kernels(layer: LayerFacts, conversion: Conversion) -> tuple[WeightOf, ...]:
    """Return the kernels of a layer that are stored in fewer bits, each with its type."""
    return tuple(
        WeightOf(layer=layer.name, weight=kernel.name, size=kernel.size, shape=kernel.shape, dtype=dtype)
        for kernel in layer.kernels
        if (dtype := stored_dtype(kernel, conversion)) != "float32"
    )


def stored_dtype(kernel: KernelFacts, conversion: Conversion) -> str:
    """Return "float32", "float16", "int8", "int4" or "int16"."""
    if conversion.number_format == "dynamic_range" and conversion.weights.bits == 8 and kernel.size < LEAST_WEIGHTS:
        return "float32"
    if kernel.operation in WITHOUT_INTEGERS and conversion.number_format != "float16":
        return "float32"
    whole = "float16" if conversion.number_format == "float16" else "int8"
    if conversion.is_known_to_the_converter:
        return whole
    if conversion.weights.bits == 4 and kernel.operation in FOUR_BITS:
        return "int4"
    if kernel.operation == "GATHER" and conversion.number_format in STATIC:
        return "int8" if conversion.number_format == "int8" else "int16"
    if kernel.operation == BY_TABLE and conversion.number_format in ("dynamic_range", "weight_only"):
        return "int8"
    return whole if kernel.operation in EIGHT_BITS else "float32"


def blocks_of(kernel: KernelFacts, channels: int, conversion: Conversion) -> int:
    """Return how many blocks of weights a kernel with so many output channels has; 0 where each channel is one."""
    size = conversion.weights.block_size
    fits = size and kernel.operation == "FULLY_CONNECTED" and (kernel.size // channels) % size == 0
    return kernel.size // size if fits else 0


def is_sparse(kernel: KernelFacts, conversion: Conversion) -> bool:
    """True where a kernel's zeros take no bytes, if it has enough of them."""
    return conversion.sparse and not (conversion.number_format == "int8" and kernel.operation == "FULLY_CONNECTED")


def why_float(layer: LayerFacts, conversion: Conversion) -> str:
    """Return why the kernels of a layer stay float32, in a sentence."""
    small = all(kernel.size < LEAST_WEIGHTS for kernel in layer.kernels)
    if small and conversion.number_format == "dynamic_range" and conversion.weights.bits == 8:
        return f"Kernels of fewer than {LEAST_WEIGHTS:,} weights stay float32 in this mode."
    operations = sorted({kernel.operation for kernel in layer.kernels} - {""})
    if not operations:
        return "It is no layer whose operation LiteRT's quantizer is known to have, so its kernel may stay float32."
    return f"LiteRT's quantizer has no {' or '.join(operations)}, so its kernel stays float32."


def types_of(weights: Sequence[WeightOf]) -> str:
    """For people: "int4", "int4 and int8"."""
    return " and ".join(sorted({weight.dtype for weight in weights}))
