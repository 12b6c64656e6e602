"""TFMOT's 8-bit scheme, with the number of bits and the ranges of each layer's weights chosen.

TFMOT's own scheme for other bit widths (DefaultNBitQuantizeScheme) has one width for all layers, and a layer that goes
into a Concatenate gets the width of its defaults. Here the weight quantizer is exchanged after TFMOT has decided
everything else, so that each layer can have its own; activations stay at 8 bits, which is what LiteRT computes with.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from intake.keras_env import keras2, tfmot
from optimizers.technique import clone_with_weights
from optimizers.weight_ranges import WeightRange, weight_quantizer


@dataclass(frozen=True)
class WeightScheme:
    """How weights are rounded while the model trains."""

    bits: Mapping[str, int]
    """Layer -> bits of its weights, of each layer to emulate."""
    per_axis: bool
    """True: a scale for each output channel. False: one for the kernel."""
    weight_range: WeightRange


def quantization_aware(model: Any, weight_scheme: WeightScheme) -> Any:
    """Return a copy of a functional tf_keras model that feels the rounding; its layers are named "quant_<name>".

    Args:
        model: its layers in `weight_scheme.bits` are ones that TFMOT can emulate; the others stay as they are.
        weight_scheme: how weights are rounded.
    """
    annotated = _annotated(model, set(weight_scheme.bits))
    return tfmot().quantization.keras.quantize_apply(annotated, _scheme(model, weight_scheme))


def _annotated(model: Any, names: set[str]) -> Any:
    """Annotate only these layers: one that TFMOT does not support would abort the whole model."""
    quantization = tfmot().quantization.keras

    def wrap_layer(layer: Any) -> Any:
        return quantization.quantize_annotate_layer(layer) if layer.name in names else layer

    return clone_with_weights(model, wrap_layer)


def _scheme(model: Any, weight_scheme: WeightScheme) -> Any:
    """TFMOT's scheme, kept off the layers that are not emulated: it would quantize what a layer before an annotated one
    puts out, and fail on its activation."""
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_layout_transform as layout,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_registry as registry,
    )
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_scheme as scheme,
    )

    others = {layer.name for layer in model.layers} - set(weight_scheme.bits)
    kinds = {layer.name: layer for layer in model.layers}

    class Registry(registry.Default8BitQuantizeRegistry):
        def supports(self, layer: Any) -> bool:
            return layer.name not in others and bool(super().supports(layer))

        def get_quantize_config(self, layer: Any) -> Any:
            return _with_own_weights(super().get_quantize_config(layer), layer, weight_scheme)

    class Layout(layout.Default8BitQuantizeLayoutTransform):
        def apply(self, model: Any, layer_quantize_map: Any) -> Any:
            """What goes into a Concatenate gets a configuration here, past the registry."""
            transformed, configs = super().apply(model, layer_quantize_map)
            for name, entry in configs.items():
                if name in kinds and entry.get("quantize_config") is not None:
                    entry["quantize_config"] = _with_own_weights(entry["quantize_config"], kinds[name], weight_scheme)
            return transformed, configs

    class Scheme(scheme.Default8BitQuantizeScheme):
        def get_layout_transformer(self) -> Any:
            return Layout()

        def get_quantize_registry(self) -> Any:
            return Registry(disable_per_axis=not weight_scheme.per_axis)

    return Scheme()


def _with_own_weights(config: Any, layer: Any, weight_scheme: WeightScheme) -> Any:
    """Return a copy of a layer's configuration with the chosen weight quantizer; TFMOT shares one among layers."""
    layers = keras2().layers
    if type(layer) not in (layers.Conv2D, layers.Dense) or not hasattr(config, "weight_quantizer"):
        return config
    own = copy.copy(config)
    per_axis = weight_scheme.per_axis and type(layer) is layers.Conv2D  # the converter fails on a Dense with it
    own.weight_quantizer = weight_quantizer(weight_scheme.bits.get(layer.name, 8), per_axis, weight_scheme.weight_range)
    return own


def float_weights(layer: Any, wrapped: Any) -> list[np.ndarray]:
    """Return the weights of `layer`, in its order, from the layer that quantizes it.

    The quantizing wrapper replaces `layer.kernel` by a tensor, so weights are found by name among its variables.
    """
    if type(wrapped) is type(layer):
        return list(wrapped.get_weights())
    found = {last_part(weight): weight for weight in wrapped.weights}
    return [found[last_part(weight)].numpy() for weight in layer.weights]


def last_part(weight: Any) -> str:
    """Return "kernel" of "quant_conv/kernel:0"."""
    return str(weight.name).split(":")[0].split("/")[-1]
