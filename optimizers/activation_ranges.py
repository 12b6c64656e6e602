"""Start the value ranges of a quantization-aware model from real activations.

TFMOT starts every range at -6 to 6 and moves it by a thousandth per step (MovingAverageQuantizer, decay 0.999), so
after a short fine-tuning the ranges are still the made-up ones: wide activations are clipped, narrow ones coarse.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from intake.keras_env import keras2

BATCH_SIZE = 32


def set_activation_ranges(wrapped: Any, model: Any, samples: Sequence[np.ndarray]) -> None:
    """Set the minimum and maximum of each activation quantizer to what the float model shows.

    Args:
        wrapped: quantization-aware tf_keras model; its layers are named "quant_<name of the float layer>".
        model: the float model it was made from.
        samples: for each input of the model an array (n, *input_shape), preprocessed, n >= 1.
    """
    float_layers = {layer.name: layer for layer in model.layers}
    inputs = {tensor._keras_history.layer.name: array for tensor, array in zip(model.inputs, samples, strict=True)}
    for layer in wrapped.layers:
        if type(layer).__name__ == "QuantizeLayer" and layer.quantizer:  # an input may be left as it is
            array = inputs[layer.inbound_nodes[0].inbound_layers.name]
            _assign(layer.quantizer_vars, array.min(), array.max())
    wanted = [
        (variables, float_layers[name], before)
        for layer in wrapped.layers
        if (name := layer.name.removeprefix("quant_")) in float_layers
        for variables, before in _quantizer_variables(layer)
    ]
    for variables, low, high in _observed(model, wanted, samples):
        _assign(variables, low, high)


def _quantizer_variables(layer: Any) -> list[tuple[dict[str, Any], bool]]:
    """Pairs of (min and max variable, True where they quantize what goes into the activation function)."""
    found = []
    for activation in getattr(layer, "_quantize_activations", []):
        if hasattr(activation, "_pre_activation_vars"):
            found.append((activation._pre_activation_vars, True))
        if hasattr(activation, "_post_activation_vars"):
            found.append((activation._post_activation_vars, False))
    if getattr(layer, "_output_quantizer_vars", None):
        found.append((layer._output_quantizer_vars, False))
    return found


def _observed(
    model: Any, wanted: list[Any], samples: Sequence[np.ndarray]
) -> list[tuple[dict[str, Any], float, float]]:
    if not wanted:
        return []
    outputs = [_before_activation(layer) if before else layer.get_output_at(0) for _, layer, before in wanted]
    observer = keras2().Model(model.inputs, outputs)
    lows, highs = np.full(len(wanted), np.inf), np.full(len(wanted), -np.inf)
    for start in range(0, len(samples[0]), BATCH_SIZE):
        values = observer([array[start : start + BATCH_SIZE] for array in samples], training=False)
        for index, value in enumerate(values if isinstance(values, list) else [values]):
            lows[index] = min(lows[index], float(np.min(value)))
            highs[index] = max(highs[index], float(np.max(value)))
    return [(variables, low, high) for (variables, _, _), low, high in zip(wanted, lows, highs, strict=True)]


def _before_activation(layer: Any) -> Any:
    """Output of the layer as if it had no activation function, as a symbolic tensor."""
    inputs = layer.get_input_at(0)
    if isinstance(layer, keras2().layers.Activation):
        return inputs
    config = {**layer.get_config(), "activation": "linear", "name": f"{layer.name}_before_activation"}
    twin = type(layer).from_config(config)
    outputs = twin(inputs)
    twin.set_weights(layer.get_weights())
    return outputs


def _assign(variables: Any, low: float, high: float) -> None:
    """Ranges must contain 0, which quantization represents exactly."""
    variables["min_var"].assign(min(float(low), 0.0))
    variables["max_var"].assign(max(float(high), 1e-6))
