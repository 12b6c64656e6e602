"""Activations of Keras 3 that Keras 2 has not got, or computes differently, in TensorFlow functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from intake import keras_env

SAME_IN_KERAS2 = frozenset(
    (
        "elu",
        "exponential",
        "gelu",
        "linear",
        "mish",
        "relu",
        "selu",
        "sigmoid",
        "silu",
        "softmax",
        "softplus",
        "softsign",
        "swish",
        "tanh",
    )
)
"""Activations that mean the same in both Kerases. hard_sigmoid does not: the slopes differ."""
ONLY_IN_KERAS3 = (
    "celu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "leaky_relu", "log_sigmoid",
    "log_softmax", "relu6", "soft_shrink", "sparse_plus", "sparse_sigmoid", "sparsemax", "squareplus", "tanh_shrink",
    "threshold",
)  # fmt: skip
_SPLITTABLE = ("Activation", "Dense", "EinsumDense", "Conv", "DepthwiseConv", "SeparableConv")
"""Layers (or beginnings of their names) whose activation is the last thing they do."""


def composed_activation(layer: Any) -> Callable[[Any], Any] | None:
    """Return the activation of a Keras 3 layer as a function of tensors, where Keras 2 has none that is equal.

    None means: leave the activation in the layer.
    """
    if not type(layer).__name__.startswith(_SPLITTABLE) or "LSTM" in type(layer).__name__:
        return None
    name = getattr(getattr(layer, "activation", None), "__name__", None)
    return activation_function(name) if name in ONLY_IN_KERAS3 else None


def activation_function(name: str) -> Callable[[Any], Any]:
    """Return an activation of Keras 3 as a function of Keras 2 tensors."""
    compositions = _compositions()
    return compositions[name] if name in compositions else getattr(keras_env.keras3().activations, name)


class Keras3Activation:
    """An activation of Keras 3 inside a Keras 2 layer that cannot give it away, such as a recurrent one.

    A function would not survive an HDF5 file: tf_keras 2.21 writes its registered name there and does not read it.
    """

    def __init__(self, activation: str) -> None:
        self.activation = activation

    def __call__(self, x: Any) -> Any:
        return activation_function(self.activation)(x)

    def get_config(self) -> dict[str, Any]:
        """What `from_config` needs."""
        return {"activation": self.activation}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Keras3Activation:
        """The same activation again."""
        return cls(**config)


def _compositions() -> dict[str, Callable[[Any], Any]]:
    tf = keras_env.tensorflow()

    def gate(x: Any) -> Any:
        return tf.nn.relu6(x + 3.0) * (1.0 / 6.0)

    return {
        "hard_sigmoid": gate,
        "hard_silu": lambda x: x * gate(x),
        "hard_swish": lambda x: x * gate(x),
        "relu6": tf.nn.relu6,
        "leaky_relu": lambda x: tf.nn.leaky_relu(x, alpha=0.2),
        "log_softmax": tf.nn.log_softmax,
        "log_sigmoid": tf.math.log_sigmoid,
        "celu": lambda x: tf.nn.relu(x) + tf.math.expm1(tf.minimum(x, 0.0)),
        "hard_tanh": lambda x: tf.clip_by_value(x, -1.0, 1.0),
        "tanh_shrink": lambda x: x - tf.math.tanh(x),
        "squareplus": lambda x: (x + tf.math.sqrt(tf.math.square(x) + 4.0)) * 0.5,
    }
