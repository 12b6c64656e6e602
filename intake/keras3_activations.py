"""What Keras 3 can compute between layers, put into TensorFlow words that a Keras 2 model understands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from intake import keras_env
from intake.errors import UnsupportedModel

_SPLITTABLE = ("Activation", "Dense", "EinsumDense", "Conv", "DepthwiseConv", "SeparableConv")
"""Layers (or beginnings of their names) whose activation is the last thing they do."""


def composed_activation(layer: Any) -> Callable[[Any], Any] | None:
    """Return the activation of a Keras 3 layer as a function of tensors, where Keras 2 has none that is equal.

    None means: leave the activation in the layer.
    """
    if not type(layer).__name__.startswith(_SPLITTABLE) or "LSTM" in type(layer).__name__:
        return None
    name = getattr(getattr(layer, "activation", None), "__name__", None)
    return _compositions().get(str(name))


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


def call_operation(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make one call of a Keras 3 operation (not a layer) on Keras 2 tensors.

    Raises:
        UnsupportedModel: the operation has no translation.
    """
    name = type(operation).__name__
    translation = _operations().get(name)
    if translation is None:
        raise UnsupportedModel(
            f"The operation '{name}' ('{operation.name}') between the layers has no counterpart in Keras 2 here. "
            "Replace it by a layer and save the model again."
        )
    return translation(operation, *args, **kwargs)


def _operations() -> dict[str, Callable[..., Any]]:
    return {**_arithmetic(), **_shaping(), **_reductions()}


def _arithmetic() -> dict[str, Callable[..., Any]]:
    tf = keras_env.tensorflow()
    two = {
        "Add": tf.add, "Subtract": tf.subtract, "Multiply": tf.multiply, "Divide": tf.divide, "TrueDivide": tf.divide,
        "Power": tf.pow, "Matmul": tf.matmul, "Maximum": tf.maximum, "Minimum": tf.minimum,
    }  # fmt: skip
    one = {
        "Absolute": tf.abs, "Abs": tf.abs, "Exp": tf.exp, "Log": tf.math.log, "Negative": tf.negative,
        "Relu": tf.nn.relu, "Relu6": tf.nn.relu6, "Rsqrt": tf.math.rsqrt, "Sigmoid": tf.math.sigmoid,
        "Silu": tf.nn.silu, "Sqrt": tf.math.sqrt, "Square": tf.math.square, "Tanh": tf.math.tanh,
    }  # fmt: skip
    table: dict[str, Callable[..., Any]] = {}
    for name, function in two.items():
        table[name] = lambda operation, x, y, function=function: function(x, y)
    for name, function in one.items():
        table[name] = lambda operation, x, function=function: function(x)
    table["Clip"] = lambda operation, x, x_min=None, x_max=None: tf.clip_by_value(x, x_min, x_max)
    table["Softmax"] = lambda operation, x: tf.nn.softmax(x, axis=operation.axis)
    table["Gelu"] = lambda operation, x: tf.nn.gelu(x, approximate=operation.approximate)
    return table


def _shaping() -> dict[str, Callable[..., Any]]:
    tf = keras_env.tensorflow()
    return {
        "Cast": lambda operation, x, **_: tf.cast(x, operation.dtype),
        "Concatenate": lambda operation, xs: tf.concat(list(xs), axis=operation.axis),
        "ExpandDims": lambda operation, x: tf.expand_dims(x, axis=operation.axis),
        "GetItem": lambda operation, x, key: x[key],
        "Reshape": lambda operation, x: tf.reshape(x, [-1 if size is None else size for size in operation.newshape]),
        "Squeeze": lambda operation, x: tf.squeeze(x, axis=operation.axis),
        "Stack": lambda operation, xs: tf.stack(list(xs), axis=operation.axis),
        "Transpose": lambda operation, x: tf.transpose(x, perm=operation.axes),
    }


def _reductions() -> dict[str, Callable[..., Any]]:
    tf = keras_env.tensorflow()
    functions = {"Max": tf.reduce_max, "Mean": tf.reduce_mean, "Min": tf.reduce_min, "Sum": tf.reduce_sum}
    return {
        name: lambda operation, x, function=function: function(x, axis=operation.axis, keepdims=operation.keepdims)
        for name, function in functions.items()
    }
