"""Quantization-aware training: the model fine-tunes while it already feels the rounding to 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from intake.keras_env import keras2, tfmot
from measure.export import Conversion
from measure.facts import Fact, WeightOf
from measure.loops import becomes_a_loop, meets_a_mask
from measure.weights import WeightTensor
from optimizers.activation_ranges import set_activation_ranges
from optimizers.declaration import parameter
from optimizers.fine_tuning import FineTuning, TrainingPlan
from optimizers.kept import Kept, KernelKey
from optimizers.layer_facts import KernelFacts, LayerFacts
from optimizers.post_training_quantization import (
    in_a_loop,
    in_eight_bits,
    quantized_kernels,
    scale_bytes,
    verify_dtype,
)
from optimizers.technique import Technique, TechniqueParams, Wrapped, clone_with_weights
from optimizers.treatment import Treatment, acts, left
from optimizers.wrapping import fits_a_wrapper


class QuantizationAwareParams(TechniqueParams):
    """8-bit quantization; ranges start from representative samples."""

    representative_samples: int = parameter(
        200,
        "Representative samples",
        "Training samples on which the value ranges start.",
        unit="samples",
        ge=1,
        le=10_000,
    )


class QuantizationAwareTraining(Technique):
    """TFMOT's 8-bit scheme on every layer that it supports; the converter calibrates the rest."""

    name = "quantization_aware_training"
    title = "Quantization-aware training"
    summary = "Fine-tunes the model with 8-bit rounding in the loop, then stores everything in int8."
    use_when = "int8 after training loses accuracy and you have training data."
    avoid_when = "post-training quantization is already accurate enough: it is quicker and as small."
    shrinks = "the raw .tflite, to about a quarter; weights and arithmetic are int8."
    source = "Jacob et al. 2018, Quantization and training of neural networks (arXiv 1712.05877)"
    Params = QuantizationAwareParams
    fine_tuning = FineTuning(epochs=1, learning_rate=1e-4)
    converts = True

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
        emulated = _emulated(model, params)
        if not emulated or any(becomes_a_loop(layer) for layer in model.layers):
            return Wrapped(model)  # there is nothing to emulate, or the file could not keep the ranges
        wrapped = tfmot().quantization.keras.quantize_apply(
            _annotated(model, emulated), _scheme_without(model, emulated)
        )
        set_activation_ranges(wrapped, model, representative)
        return Wrapped(wrapped)

    def plain(self, trained: Any, clean: Any) -> Any:
        """Copy the float weights under the quantizers back into the uploaded architecture."""
        wrapped = {layer.name.removeprefix("quant_"): layer for layer in trained.layers}
        for layer in clean.layers:
            if layer.weights:
                layer.set_weights(_float_weights(layer, wrapped[layer.name]))
        return clean

    def kernel_variables(self, wrapped: Any) -> dict[KernelKey, Any]:
        """As of the base, also from within the quantizing wrappers, which hide the kernel of the layer inside."""
        found = super().kernel_variables(wrapped)
        for layer in wrapped.layers:
            if layer.name.startswith("quant_") and hasattr(layer, "layer"):
                for variable in layer.trainable_weights:
                    found[(layer.layer.name, _last_part(variable))] = variable
        return found

    def conversion(self, params: QuantizationAwareParams, before: Conversion) -> Conversion:
        """int8; the trained ranges stand, and layers that TFMOT could not emulate are calibrated."""
        return replace(
            before,
            number_format="int8",
            representative_samples=params.representative_samples,
            float_layers=params.leave_as_is,
        )

    def obstacle(self, layer: Any) -> str:
        """Why TFMOT cannot emulate the layer."""
        return why_not_emulated(layer)

    def treatment(self, layer: LayerFacts, params: QuantizationAwareParams) -> Treatment:
        """Layers that TFMOT emulates train with rounding; the others are quantized by the converter."""
        why = layer.obstacles.get(self.name)
        if not why:
            return acts(layer, "Trained with 8-bit rounding, stored in int8.", quantized_kernels(layer, 1))
        if not layer.kernels:
            return left(layer, f"{why} The converter quantizes it after the training, from representative samples.")
        weights = quantized_kernels(layer, 1)
        return acts(layer, f"{why} Stored in int8 after the training, calibrated on representative samples.", weights)

    def treatments(self, layers: Sequence[LayerFacts], params: QuantizationAwareParams) -> tuple[Treatment, ...]:
        """As of the base; where the file has a loop, it trains in float and stores the weights in int8."""
        found = super().treatments(layers, params)
        if not any(layer.becomes_a_loop for layer in layers):
            return found
        return tuple(
            in_a_loop(layer) if treatment.verdict == "acts" else treatment
            for layer, treatment in zip(layers, found, strict=True)
        )

    def simulate(
        self, values: np.ndarray, params: QuantizationAwareParams, layer: LayerFacts, kernel: KernelFacts
    ) -> np.ndarray:
        """Rounded to int8."""
        return in_eight_bits(values.reshape(1, -1)).reshape(values.shape)

    def added_bytes(self, channels: int, params: QuantizationAwareParams, kernel: KernelFacts) -> int:
        """The scales."""
        return scale_bytes(channels, calibrated=True)

    def verify(
        self, params: QuantizationAwareParams, weights: list[WeightOf], tensors: list[WeightTensor]
    ) -> list[Fact]:
        """The dtype of each kernel."""
        return verify_dtype("int8", weights, tensors)


def _emulated(model: Any, params: QuantizationAwareParams) -> set[str]:
    """Names of the layers to annotate; a BatchNormalization goes with the layer that it is folded into."""
    names = {
        layer.name for layer in model.layers if layer.name not in params.leave_as_is and not why_not_emulated(layer)
    }
    alone = {
        layer.name
        for layer in model.layers
        if isinstance(layer, keras2().layers.BatchNormalization)
        and layer.name in names
        and layer.inbound_nodes[0].inbound_layers.name not in names
    }
    return names - alone


def _scheme_without(model: Any, emulated: set[str]) -> Any:
    """TFMOT's 8-bit scheme, kept off the other layers: it would quantize what a layer before an annotated one puts out,
    and fail on its activation."""
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registry,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_scheme as scheme,
    )

    others = {layer.name for layer in model.layers} - emulated

    class Registry(registry.Default8BitQuantizeRegistry):
        def supports(self, layer: Any) -> bool:
            return layer.name not in others and bool(super().supports(layer))

    class Scheme(scheme.Default8BitQuantizeScheme):
        def get_quantize_registry(self) -> Any:
            return Registry()

    return Scheme()


def _annotated(model: Any, names: set[str]) -> Any:
    """Annotate only these layers: one that TFMOT does not support would abort the whole model."""
    quantization = tfmot().quantization.keras

    def wrap_layer(layer: Any) -> Any:
        return quantization.quantize_annotate_layer(layer) if layer.name in names else layer

    return clone_with_weights(model, wrap_layer)


_ACTIVATIONS = frozenset({"linear", "relu", "softmax", "sigmoid", "tanh", "swish", "silu", "gelu"})


def why_not_emulated(layer: Any) -> str:
    """Return why TFMOT's 8-bit scheme cannot emulate this layer of a built model, in a sentence; "" where it can."""
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registry,
    )

    layers, kind = keras2().layers, type(layer).__name__
    if isinstance(layer, layers.InputLayer | layers.SeparableConv2D | layers.SeparableConv1D | layers.RNN):
        return f"TFMOT does not emulate {kind}."
    if isinstance(layer, layers.BatchNormalization):
        if _follows_a_lone_convolution(layer):
            return ""
        return "TFMOT emulates BatchNormalization only right after a convolution or dense layer without activation."
    if not registry.Default8BitQuantizeRegistry().supports(layer):
        return f"TFMOT does not emulate {kind}."
    activation = _activation_name(layer)
    if activation not in _ACTIVATIONS and not (isinstance(layer, layers.Activation) and activation == "relu6"):
        return f"TFMOT does not emulate the activation {activation}."
    if not fits_a_wrapper(layer) or len(layer.inbound_nodes) > 1:
        return "TFMOT emulates layers that are called once and with one argument."
    if meets_a_mask(layer):
        return "TFMOT would lose the mask of padded steps here."
    return ""


def _activation_name(layer: Any) -> str:
    activation = getattr(layer, "activation", None)
    return "linear" if activation is None else getattr(activation, "__name__", type(activation).__name__)


def _follows_a_lone_convolution(layer: Any) -> bool:
    """TFMOT folds a BatchNormalization only into a convolution or dense layer without activation, used once (#628)."""
    layers = keras2().layers
    nodes = layer.inbound_nodes
    if len(nodes) != 1 or isinstance(nodes[0].inbound_layers, list):
        return False
    before = nodes[0].inbound_layers
    foldable = isinstance(before, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense)
    return (
        foldable
        and _activation_name(before) == "linear"
        and len(before.outbound_nodes) == 1
        and not why_not_emulated(before)
    )


def _float_weights(layer: Any, wrapped: Any) -> list[np.ndarray]:
    """The quantizing wrapper replaces `layer.kernel` by a tensor, so weights are found by name among its variables."""
    if type(wrapped) is type(layer):
        return list(wrapped.get_weights())
    found = {_last_part(weight): weight for weight in wrapped.weights}
    return [found[_last_part(weight)].numpy() for weight in layer.weights]


def _last_part(weight: Any) -> str:
    """ "kernel" of "quant_conv/kernel:0"."""
    return str(weight.name).split(":")[0].split("/")[-1]
