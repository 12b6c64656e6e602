"""What keeps a model from XNNPACK's sparse inference, by the rules of TFMOT's PruneForLatencyOnXNNPack.

XNNPACK multiplies only with the weights that are left where everything between a stem convolution and the global
pooling suits it; elsewhere zeros cost as much time as any weight.
"""

from __future__ import annotations

from typing import Any

from intake.keras_env import tfmot

_STEM = (
    "each input must first go through a ZeroPadding2D of 1 on each side and a 3x3 Conv2D on 3 channels with strides 2 "
    'and padding "valid"'
)
_POOLING = "each output must come from a GlobalAveragePooling2D"
_OF_KIND = {
    "Conv2D": "a convolution must be 1x1 with strides 1, no dilation and one group",
    "DepthwiseConv2D": (
        'a depthwise convolution must be 3x3 or 5x5 without dilation or multiplier, with strides 1 and padding "same", '
        "or right after a ZeroPadding2D of 1 (3x3) or 2 (5x5) on each side, with strides 1 or 2 and padding "
        '"valid"'
    ),
    "GlobalAveragePooling2D": "a global pooling must keep its dimensions (keepdims)",
    "BatchNormalization": "a BatchNormalization must normalize the last of four axes",
    "UpSampling2D": "an UpSampling2D must be bilinear",
    "Activation": "an activation must be relu, relu6, leaky_relu, elu or sigmoid",
}
_OTHERS = (
    "between the first convolution and the global pooling there may be only Conv2D, DepthwiseConv2D, "
    "BatchNormalization, Add, Multiply, ZeroPadding2D, UpSampling2D, ReLU, LeakyReLU, ELU, Activation, Dropout and "
    "GlobalAveragePooling2D"
)


def obstacles_to_sparse_inference(model: Any) -> dict[str, str]:
    """Return the name of each layer where the rules are broken, with the rule in a sentence; empty where none is.

    Args:
        model: functional tf_keras model, alone in the use of its layers.
    """
    policy = tfmot().sparsity.keras.PruneForLatencyOnXNNPack()
    inputs = [tensor._keras_history.layer for tensor in model.inputs]
    outputs = [tensor._keras_history.layer for tensor in model.outputs]
    found: dict[str, str] = {}
    starts: set[Any] = set()
    for layer in inputs:
        reached = policy._lookup_layers([layer], policy._start_layer_stop_fn, policy._get_consumers)
        starts |= reached
        if not reached:
            found |= {reader.name: _sentence(reader, _STEM) for reader in policy._get_consumers(layer)}
    ends = policy._lookup_layers(outputs, policy._end_layer_stop_fn, policy._get_producers)
    if not ends:
        found |= {layer.name: _sentence(layer, _POOLING) for layer in outputs}
    return found | (_unsupported(policy, starts, ends) if starts and ends else {})


def _unsupported(policy: Any, starts: set[Any], ends: set[Any]) -> dict[str, str]:
    found: dict[str, str] = {}

    def stop_at(layer: Any) -> bool:
        if layer not in ends and not policy._check_layer_support(layer):
            found[layer.name] = _sentence(layer, _OF_KIND.get(type(layer).__name__, _OTHERS))
        return layer in ends

    after = [reader for start in starts for reader in policy._get_consumers(start)]
    policy._lookup_layers(after, stop_at, policy._get_consumers)
    return found


def _sentence(layer: Any, rule: str) -> str:
    return f"XNNPACK's sparse inference does not take this {type(layer).__name__}: {rule}."
