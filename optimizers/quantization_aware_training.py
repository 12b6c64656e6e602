"""Quantization-aware training: the model fine-tunes while it already feels the rounding to 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from intake.errors import DoesNotFit
from intake.keras_env import keras2, tfmot
from measure.export import Conversion
from measure.facts import Fact, WeightOf
from measure.weights import WeightTensor
from optimizers.activation_ranges import set_activation_ranges
from optimizers.declaration import Params, parameter
from optimizers.fine_tuning import FineTuning, TrainingPlan
from optimizers.post_training_quantization import kernels_of, verify_dtype
from optimizers.technique import Technique, clone_with_weights


class QuantizationAwareParams(Params):
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

    def wrap(self, model: Any, params: QuantizationAwareParams, plan: TrainingPlan, representative: np.ndarray) -> Any:
        """Annotate what TFMOT can emulate, then start every range from real activations."""
        annotated = _annotate(model)
        try:
            wrapped = tfmot().quantization.keras.quantize_apply(annotated)
        except (ValueError, RuntimeError, TypeError) as error:
            raise DoesNotFit(
                f"Quantization-aware training cannot emulate this model. TFMOT says: {str(error).splitlines()[0]} "
                "Choose post-training quantization, which needs no emulation."
            ) from error
        set_activation_ranges(wrapped, model, representative)
        return wrapped

    def plain(self, trained: Any, clean: Any) -> Any:
        """Copy the float weights under the quantizers back into the uploaded architecture."""
        wrapped = {layer.name.removeprefix("quant_"): layer for layer in trained.layers}
        for layer in clean.layers:
            if layer.weights:
                layer.set_weights(_weights_named_like(layer, wrapped[layer.name]))
        return clean

    def conversion(self, params: QuantizationAwareParams) -> Conversion:
        """int8; the trained ranges stand, and layers that TFMOT could not emulate are calibrated."""
        return Conversion(number_format="int8", representative_samples=params.representative_samples)

    def weights_of(self, model: Any, params: QuantizationAwareParams) -> list[WeightOf]:
        """Every kernel."""
        return kernels_of(model, 1)

    def verify(
        self, params: QuantizationAwareParams, weights: list[WeightOf], tensors: list[WeightTensor]
    ) -> list[Fact]:
        """The dtype of each kernel."""
        return verify_dtype("int8", weights, tensors)


def _annotate(model: Any) -> Any:
    """Annotate only the layers that TFMOT supports: one that it does not would abort the whole model."""
    quantization = tfmot().quantization.keras
    supported = {layer.name for layer in model.layers if can_emulate(layer)}

    def wrap_layer(layer: Any) -> Any:
        return quantization.quantize_annotate_layer(layer) if layer.name in supported else layer

    return clone_with_weights(model, wrap_layer)


_ACTIVATIONS = frozenset({"linear", "relu", "softmax", "sigmoid", "tanh", "swish", "silu", "gelu"})


def can_emulate(layer: Any) -> bool:
    """True where TFMOT's 8-bit scheme emulates this layer of a built model."""
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registry,
    )

    layers = keras2().layers
    if isinstance(layer, keras2().Model | layers.SeparableConv2D | layers.SeparableConv1D):
        return False
    if isinstance(layer, layers.BatchNormalization):
        return _follows_a_lone_convolution(layer)
    if not registry.Default8BitQuantizeRegistry().supports(layer) or isinstance(layer, layers.RNN):
        return False
    return _activation_name(layer) in _ACTIVATIONS or (isinstance(layer, layers.Activation) and _relu6(layer))


def _activation_name(layer: Any) -> str:
    activation = getattr(layer, "activation", None)
    return "linear" if activation is None else getattr(activation, "__name__", type(activation).__name__)


def _relu6(layer: Any) -> bool:
    return _activation_name(layer) == "relu6"


def _follows_a_lone_convolution(layer: Any) -> bool:
    """TFMOT folds a BatchNormalization only into a convolution or dense layer without activation, used once (#628)."""
    layers = keras2().layers
    nodes = layer.inbound_nodes
    if len(nodes) != 1 or isinstance(nodes[0].inbound_layers, list):
        return False
    before = nodes[0].inbound_layers
    foldable = isinstance(before, layers.Conv2D | layers.DepthwiseConv2D | layers.Dense)
    return foldable and _activation_name(before) == "linear" and len(before.outbound_nodes) == 1


def _weights_named_like(layer: Any, wrapped: Any) -> list[np.ndarray]:
    """The quantizing wrapper replaces `layer.kernel` by a tensor, so weights are found by name among its variables."""
    found = {str(weight.name).split(":")[0].split("/")[-1]: weight for weight in wrapped.weights}
    return [found[str(weight.name).split(":")[0].split("/")[-1]].numpy() for weight in layer.weights]
