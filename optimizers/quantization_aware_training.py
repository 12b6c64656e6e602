"""Quantization-aware training: the model fine-tunes while it already feels the rounding to 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from intake.errors import InvalidParams
from measure.conversion import PACKED_BITS
from measure.export import Conversion
from measure.facts import Fact, WeightOf
from measure.loops import becomes_a_loop
from measure.plain_tools import NeedsTare
from measure.weights import WeightTensor
from optimizers.activation_ranges import set_activation_ranges
from optimizers.declaration import parameter
from optimizers.emulated_layers import emulated_layers, why_not_emulated
from optimizers.fine_tuning import FineTuning, TrainingPlan
from optimizers.kept import Kept, KernelKey
from optimizers.layer_facts import KernelFacts, LayerFacts
from optimizers.plain_training import ScriptStep, after_training_lines, training_lines
from optimizers.post_training_quantization import in_a_loop, quantized_kernels, scale_bytes
from optimizers.quantization_scheme import WeightScheme, float_weights, last_part, quantization_aware
from optimizers.technique import Technique, TechniqueParams, Wrapped, clone_with_weights
from optimizers.treatment import Treatment, acts, left
from optimizers.weight_bits import in_bits, rounded_to_bits, verify_bits, why_eight_bits
from optimizers.weight_ranges import WeightRange

Bits = Annotated[int, Field(ge=2, le=8)]


class QuantizationAwareParams(TechniqueParams):
    """8-bit activations, 2- to 8-bit weights; ranges start from representative samples."""

    weight_bits: int = parameter(
        8,
        "Bits of a weight",
        "8: int8; 4: half of it; 2 and 3 are stored as 4, but compress better: train 10 epochs, learning rate 1e-3.",
        unit="bits",
        ge=2,
        le=8,
    )
    layer_weight_bits: dict[str, Bits] = parameter(
        {}, "Bits by layer", "More bits for layers that lose much (often the first and the last), fewer for large ones."
    )
    weight_range: WeightRange = parameter(
        "min_max",
        "Range of weights",
        "min_max ends it at the largest weight, which compresses better; mse where rounding loses least: fewer epochs.",
    )
    per_axis: bool = parameter(
        True,
        "Scale for each channel",
        "A scale for each output channel of a convolution, which is more accurate; off: one for the whole kernel.",
        advanced=True,
    )
    representative_samples: int = parameter(
        200,
        "Representative samples",
        "Training samples on which the value ranges start.",
        unit="samples",
        ge=1,
        le=10_000,
    )

    @property
    def fewest_bits(self) -> int:
        """Of any layer."""
        return min(self.weight_bits, *self.layer_weight_bits.values(), 8)

    def bits_of(self, layer: LayerFacts) -> int:
        """Return the bits of the weights of a layer."""
        return 8 if why_eight_bits(layer) else self.layer_weight_bits.get(layer.name, self.weight_bits)


class QuantizationAwareTraining(Technique):
    """TFMOT's scheme on every layer that it supports; the converter calibrates the rest."""

    name = "quantization_aware_training"
    title = "Quantization-aware training"
    summary = (
        "Fine-tunes the model with the rounding in the loop, then stores it in int8, or its weights in 2 to 4 bits."
    )
    use_when = "int8 after training loses accuracy, or 8 bits are too many, and you have training data."
    avoid_when = "post-training quantization is already accurate enough: it is quicker and as small."
    shrinks = "the raw .tflite, to about a quarter (8 bits) or an eighth (4 bits); arithmetic is int8."
    source = "Jacob et al. 2018, Quantization and training of neural networks (arXiv 1712.05877)"
    Params = QuantizationAwareParams
    fine_tuning = FineTuning(epochs=1, learning_rate=1e-4)
    converts = True

    def check(self, params: QuantizationAwareParams) -> None:
        """Refuse what cannot go together, all at once."""
        problems = []
        if not params.per_axis and params.fewest_bits < 8:
            problems.append(
                f"`per_axis` off is possible only with 8 bits, got {params.fewest_bits}: where the converter multiplies "
                "a BatchNormalization into a kernel with one scale, it comes out in 8 bits again. Leave `per_axis` on."
            )
        if params.leave_as_is and params.fewest_bits < 8:
            problems.append(
                f"`leave_as_is` is possible only with 8 bits, got {params.fewest_bits}: the converter brings the layers "
                "around one in float32 back to 8 bits. Give such a layer 8 bits in `layer_weight_bits` instead."
            )
        elif both := sorted(set(params.layer_weight_bits) & set(params.leave_as_is)):
            problems.append(
                f"`layer_weight_bits` gives bits to layers that `leave_as_is` leaves in float32: {', '.join(both)}. "
                "Name each in one of them only."
            )
        if problems:
            raise InvalidParams(problems)

    def wrap(
        self,
        model: Any,
        params: QuantizationAwareParams,
        weights: Sequence[WeightOf],
        plan: TrainingPlan,
        representative: Sequence[np.ndarray],
        kept: Kept,
    ) -> Wrapped:
        """Annotate what TFMOT can emulate, then start every range from real activations."""
        model = clone_with_weights(model)  # stripped of earlier wrappers, layers look as if they were called twice
        emulated = emulated_layers(model, params.leave_as_is)
        if not emulated or any(becomes_a_loop(layer, model.outputs) for layer in model.layers):
            return Wrapped(model)  # there is nothing to emulate, or the file could not keep the ranges
        chosen = {weight.layer: weight.bits for weight in weights}
        bits = {name: chosen.get(name, 8) for name in emulated}
        wrapped = quantization_aware(model, WeightScheme(bits, params.per_axis, params.weight_range))
        set_activation_ranges(wrapped, model, representative)
        return Wrapped(wrapped)

    def plain(self, trained: Any, clean: Any) -> Any:
        """Copy the float weights under the quantizers back into the uploaded architecture."""
        wrapped = {layer.name.removeprefix("quant_"): layer for layer in trained.layers}
        for layer in clean.layers:
            if layer.weights:
                layer.set_weights(float_weights(layer, wrapped[layer.name]))
        return clean

    def kernel_variables(self, wrapped: Any) -> dict[KernelKey, Any]:
        """As of the base, also from within the quantizing wrappers, which hide the kernel of the layer inside."""
        found = super().kernel_variables(wrapped)
        for layer in wrapped.layers:
            if layer.name.startswith("quant_") and hasattr(layer, "layer"):
                for variable in layer.trainable_weights:
                    found[(layer.layer.name, last_part(variable))] = variable
        return found

    def conversion(self, params: QuantizationAwareParams, before: Conversion) -> Conversion:
        """int8; the trained ranges stand, and layers that TFMOT could not emulate are calibrated."""
        return replace(
            before,
            number_format="int8",
            representative_samples=params.representative_samples,
            float_layers=params.leave_as_is,
            trained_bits=params.fewest_bits,
        )

    def obstacle(self, layer: Any) -> str:
        """Why TFMOT cannot emulate the layer."""
        return why_not_emulated(layer)

    def treatment(self, layer: LayerFacts, params: QuantizationAwareParams) -> Treatment:
        """Layers that TFMOT emulates train with rounding; the others are quantized by the converter."""
        why = layer.obstacles.get(self.name)
        if not layer.kernels:
            if why:
                return left(layer, f"{why} The converter quantizes it after the training, from representative samples.")
            return acts(layer, "Trained with 8-bit rounding of what it puts out.")
        if why:
            weights = quantized_kernels(layer, 1)
            if not weights:
                return left(layer, "LiteRT has three-dimensional convolutions in float32 only.")
            return acts(
                layer, f"{why} Stored in int8 after the training, calibrated on representative samples.", weights
            )
        bits = params.bits_of(layer)
        weights = tuple(weight.model_copy(update={"bits": bits}) for weight in quantized_kernels(layer, 1))
        return acts(layer, _what_happens(layer, bits, params), weights)

    def treatments(self, layers: Sequence[LayerFacts], params: QuantizationAwareParams) -> tuple[Treatment, ...]:
        """As of the base; where the file has a loop, it trains in float and stores the weights in int8."""
        found = super().treatments(layers, params)
        has_loop = any(layer.becomes_a_loop for layer in layers)
        if params.fewest_bits < 8 and (problems := self._bits_that_cannot_be(layers, params)):
            raise InvalidParams(problems)
        if not has_loop:
            return found
        return tuple(
            in_a_loop(layer) if treatment.verdict == "acts" else treatment
            for layer, treatment in zip(layers, found, strict=True)
        )

    def _bits_that_cannot_be(self, layers: Sequence[LayerFacts], params: QuantizationAwareParams) -> list[str]:
        if any(layer.becomes_a_loop for layer in layers):
            return [_IN_A_LOOP]
        return [
            f"`layer_weight_bits` gives {layer.name} {bits} bits, which is not possible. {why} Leave it out there."
            for layer in layers
            if (bits := params.layer_weight_bits.get(layer.name, 8)) < 8 and (why := self._why_eight_bits(layer))
        ]

    def _why_eight_bits(self, layer: LayerFacts) -> str:
        if not layer.kernels:
            return "It has no kernel."
        return layer.obstacles.get(self.name) or why_eight_bits(layer)

    def simulate(
        self, values: np.ndarray, params: QuantizationAwareParams, layer: LayerFacts, kernel: KernelFacts
    ) -> np.ndarray:
        """Rounded to the layer's bits."""
        bits = 8 if self._why_eight_bits(layer) else params.bits_of(layer)
        return in_bits(values, bits, per_axis=False, least_error=params.weight_range == "mse")

    def imitate(
        self, values: np.ndarray, params: QuantizationAwareParams, layer: LayerFacts, kernel: KernelFacts
    ) -> np.ndarray:
        """Rounded to the layer's bits, with the scales of the training: dense kernels have one."""
        bits = 8 if self._why_eight_bits(layer) else params.bits_of(layer)
        per_axis = params.per_axis and kernel.operation != "FULLY_CONNECTED"
        return rounded_to_bits(values, bits, per_axis=per_axis, least_error=params.weight_range == "mse")

    def not_imitated(self, params: QuantizationAwareParams) -> str:
        """What flows between the layers is rounded as well."""
        return f"{self.title} also rounds what the layers put out to 8 bits, and trains with it."

    def spare(self, params: QuantizationAwareParams, layer: str) -> TechniqueParams:
        """8 bits where others have fewer: a layer in float32 beside them would bring them back to 8."""
        if params.fewest_bits == 8:
            return super().spare(params, layer)
        bits = {**params.layer_weight_bits, layer: 8}
        return params.checked({**params.model_dump(), "layer_weight_bits": bits})

    def added_bytes(self, channels: int, params: QuantizationAwareParams, kernel: KernelFacts) -> int:
        """The scales."""
        return scale_bytes(channels, calibrated=True)

    def verify(
        self, params: QuantizationAwareParams, weights: list[WeightOf], tensors: list[WeightTensor]
    ) -> list[Fact]:
        """The dtype of each kernel and, under 8 bits, its number of values."""
        return verify_bits(weights, tensors)

    def script_lines(self, params: QuantizationAwareParams, step: ScriptStep) -> list[str]:
        """TFMOT's 8-bit scheme on every layer, where it can take every layer."""
        if params.fewest_bits < 8 or not params.per_axis or params.weight_range != "min_max":
            raise NeedsTare("TFMOT's scheme rounds every layer to 8 bits, by its largest weight.")
        if "values" in step.kept:
            raise NeedsTare("TFMOT's scheme loses the shared values of an earlier step.")
        if params.leave_as_is:
            raise NeedsTare("It leaves layers in float32, which TFMOT's scheme quantizes beside the others.")
        obstacle = next((layer for layer in step.layers if layer.obstacles.get(self.name)), None)
        if obstacle is not None:
            raise NeedsTare(f"{obstacle.obstacles[self.name]} It stops at the layer {obstacle.name}.")
        settings, names = step.settings, [layer.name for layer in step.layers if layer.kernels]
        assert settings is not None
        return [
            f"samples = representative({params.representative_samples}, seed={settings.seed})",
            f"tf_keras.utils.set_random_seed({settings.seed})",
            "wrapped = tfmot.quantization.keras.quantize_model(clone(model))",
            "start_ranges(wrapped, samples)",
            *training_lines(step, f"[keep_zeros(wrapped, model, {names!r})]" if "zeros" in step.kept else "[]"),
            "model = wrapped",
            *after_training_lines(step),
        ]


_IN_A_LOOP = (
    "A recurrent layer of this model becomes a loop, which trains and computes in float32; its weights can be stored "
    "in 8 bits only. Set `weight_bits` to 8 and leave `layer_weight_bits` empty."
)


def _what_happens(layer: LayerFacts, bits: int, params: QuantizationAwareParams) -> str:
    if bits <= PACKED_BITS:
        values = "" if bits == PACKED_BITS else f" with {2**bits - 1} values"
        return f"Trained with {bits}-bit rounding of its weights, stored in int4{values}."
    if bits < 8:
        return f"Trained with {bits}-bit rounding of its weights, stored in int8 with {2**bits - 1} values."
    stays = why_eight_bits(layer) if params.weight_bits < 8 else ""
    return f"Trained with 8-bit rounding, stored in int8. {stays}".strip()
