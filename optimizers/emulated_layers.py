"""Which layers TFMOT can emulate in 8 bits while a model trains, and why not the others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from intake.keras_env import keras2
from measure.loops import meets_a_mask
from optimizers.wrapping import fits_a_wrapper


def emulated_layers(model: Any, left_as_is: Collection[str]) -> set[str]:
    """Return the names of the layers to emulate; a BatchNormalization goes with the layer that it is folded into.

    Args:
        model: functional tf_keras model.
        left_as_is: names of layers that must not be touched.
    """
    names = {layer.name for layer in model.layers if layer.name not in left_as_is and not why_not_emulated(layer)}
    alone = {
        layer.name
        for layer in model.layers
        if isinstance(layer, keras2().layers.BatchNormalization)
        and layer.name in names
        and layer.inbound_nodes[0].inbound_layers.name not in names
    }
    return names - alone


_ACTIVATIONS = frozenset({"linear", "relu", "softmax", "sigmoid", "tanh", "swish", "silu", "gelu"})


def why_not_emulated(layer: Any) -> str:
    """Return why TFMOT's 8-bit scheme cannot emulate this layer of a built model, in a sentence; "" where it can."""
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registry,
    )

    layers, kind = keras2().layers, type(layer).__name__
    if isinstance(layer, layers.InputLayer | layers.SeparableConv2D | layers.SeparableConv1D | layers.RNN):
        return f"TFMOT does not emulate {kind}."
    if isinstance(layer, layers.Conv2DTranspose):
        return "The converter cannot calibrate a file with a Conv2DTranspose layer that TFMOT emulates."
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
