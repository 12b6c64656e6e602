"""How numbers are stored in an exported file, and which of these wishes no `.tflite` file can fulfil together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NumberFormat = Literal["float32", "dynamic_range", "weight_only", "float16", "int8", "int8_weights_int16_activations"]
PACKED_BITS = 4
"""Two weights a byte; weights of fewer bits are stored so, too."""
STATIC: tuple[NumberFormat, ...] = ("int8", "int8_weights_int16_activations")
"""Formats whose arithmetic is integer, in ranges that are calibrated beforehand."""


@dataclass(frozen=True)
class WeightQuantization:
    """How kernels are rounded to integers. The defaults are what the LiteRT converter does, too."""

    bits: Literal[8, 4] = 8
    """4 where LiteRT has it: dense and convolutional kernels; depthwise and transposed ones take 8."""
    block_size: Literal[0, 32, 64, 128, 256] = 0
    """Weights of a row that share a scale, in dense kernels whose rows it divides; 0: the whole row."""
    algorithm: Literal["min_max", "MSE", "OCTAV"] = "min_max"
    """What the scale is chosen by: the largest weight, or the least error of all (OCTAV: arXiv 2206.06501)."""
    granularity: Literal["per_channel", "per_tensor"] = "per_channel"


@dataclass(frozen=True)
class Conversion:
    """How numbers are stored in the exported file.

    float32: as they are. dynamic_range: integer weights, float32 activations that are quantized as they come.
    weight_only: integer weights, float arithmetic. float16: half-precision weights. int8: weights and activations,
    calibrated on representative samples. int8_weights_int16_activations: the same with finer activations.
    """

    number_format: NumberFormat = "float32"
    io_dtype: Literal["float32", "int8", "uint8"] = "float32"
    """dtype of the file's inputs and outputs; other than float32 only with int8."""
    representative_samples: int = 0
    """How many training samples calibrate the activations; 0 where none are needed."""
    float_layers: tuple[str, ...] = ()
    """Keras layers whose weights and arithmetic stay float32."""
    after_training: bool = False
    """True where the float32 file says all there is to know. False after quantization-aware training, whose ranges are
    in the model and known to the converter only."""
    weights: WeightQuantization = WeightQuantization()
    """How kernels are rounded; other than the defaults only after training."""
    trained_bits: int = 8
    """Fewest bits that any weights were trained for, 2 to 8; 4 and fewer are packed, two to a byte."""
    sparse: bool = False
    """Zeros take no bytes of the file: its kernels store which weights are not zero, and these."""

    @property
    def is_known_to_the_converter(self) -> bool:
        """True for what the LiteRT converter can do, too; the rest only ai-edge-quantizer can."""
        usual = self.number_format in ("float32", "dynamic_range", "float16", "int8")
        selective = bool(self.float_layers) and self.number_format in ("dynamic_range", "float16")
        return usual and not selective and self.weights == WeightQuantization()

    def problems(self) -> list[str]:
        """Return what cannot go together, in sentences."""
        if not self.sparse:
            return []
        asked = _NOT_SPARSE.get(self.number_format)
        if asked:
            return [f"Sparse encoding {asked} Turn `sparse_encoding` off, or choose mode int8 or float16."]
        if self.trained_bits <= PACKED_BITS:
            return [
                f"Sparse encoding and training in {self.trained_bits} bits cannot go together: the converter crashes on "
                f"sparse kernels of {PACKED_BITS} bits and fewer. Turn `sparse_encoding` off, or train all layers in "
                f"more than {PACKED_BITS} bits."
            ]
        if self.float_layers:
            return [
                "Sparse encoding and layers left as they are by quantization cannot go together: only the converter "
                "writes sparse kernels, and it quantizes all layers or none. Turn `sparse_encoding` off, or leave no "
                "layer as it is in the step that quantizes."
            ]
        if self.weights != WeightQuantization():
            return [
                "Sparse encoding needs 8-bit weights, rounded per channel by min_max: only the converter writes sparse "
                "kernels, and it knows nothing else. Turn `sparse_encoding` off, or set `weight_bits` 8, `algorithm` "
                "min_max and `granularity` per_channel."
            ]
        return []


_NOT_SPARSE: dict[NumberFormat, str] = {
    "dynamic_range": "fails with mode dynamic_range: LiteRT cannot prepare operations on sparse int8 kernels there.",
    "weight_only": "is not possible with mode weight_only: only the converter writes sparse kernels, and it has no such "
    "mode.",
    "int8_weights_int16_activations": "fails with mode int8_weights_int16_activations: LiteRT cannot prepare "
    "convolutions with sparse kernels there.",
}
"""Formats whose sparse files fail -> how, as found with LiteRT 2.3 (XNNPACK)."""


def integers_in_and_out_of_a_loop(io_dtype: str) -> str:
    """Return why a model with a recurrent layer that becomes a loop cannot have integer inputs and outputs."""
    return (
        f"`io_dtype` {io_dtype} needs a model without loops, but a recurrent layer of this one becomes a loop, whose "
        "arithmetic stays float32. Choose io_dtype float32."
    )
