"""What Keras 3 computes between its layers (`keras.ops`), put into TensorFlow functions on Keras 2 tensors.

tf_keras turns every TensorFlow function that is called on its tensors into a layer that can be saved. The frequent
operations are written as one such function each. The others are called as Keras 3 itself computes them on TensorFlow,
which gives the same numbers in more and smaller layers.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from intake import keras_env
from intake.dtypes import alike
from intake.einsum import einsum
from intake.errors import UnsupportedModel

Translation = Callable[..., Any]
"""Takes the operation (for its settings) and the arguments of one call."""


def call_operation(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Make one call of a Keras 3 operation, or of a layer without weights, on Keras 2 tensors.

    Raises:
        UnsupportedModel: it cannot be computed by TensorFlow functions on symbolic tensors.
    """
    name = type(operation).__name__
    translation = translations().get(name) if type(operation).__module__.startswith("keras.src.ops") else None
    try:
        if translation is not None:
            return translation(operation, *args, **kwargs)
        return operation.call(*args, **kwargs)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UnsupportedModel(
            f"The operation '{name}' ('{operation.name}') between the layers has no counterpart in Keras 2 here "
            f"({reason}). Replace it by a layer and save the model again."
        ) from error


def translations() -> dict[str, Translation]:
    """Translation by class name, for the frequent operations and those that Keras 3 cannot compute symbolically."""
    return {**_of_two(), **_of_one(), **_shaping(), **_reductions(), **_others()}


def _of_two() -> dict[str, Translation]:
    tf = keras_env.tensorflow()
    functions = {
        "Add": tf.add, "Subtract": tf.subtract, "Multiply": tf.multiply, "Divide": tf.divide, "TrueDivide": tf.divide,
        "Power": tf.pow, "Maximum": tf.maximum, "Minimum": tf.minimum, "FloorDivide": tf.math.floordiv,
        "Mod": tf.math.floormod, "Arctan2": tf.math.atan2,
        "Equal": tf.equal, "NotEqual": tf.not_equal, "Greater": tf.greater, "GreaterEqual": tf.greater_equal,
        "Less": tf.less, "LessEqual": tf.less_equal,
        "LogicalAnd": tf.logical_and, "LogicalOr": tf.logical_or, "LogicalXor": tf.math.logical_xor,
    }  # fmt: skip
    return {name: _two(function) for name, function in functions.items()}


def _two(function: Callable[[Any, Any], Any]) -> Translation:
    def call(operation: Any, x1: Any, x2: Any) -> Any:
        first, second = alike(x1, x2)
        return function(first, second)

    return call


def _of_one() -> dict[str, Translation]:
    tf = keras_env.tensorflow()
    functions = {
        "Absolute": tf.abs, "Abs": tf.abs, "Negative": tf.negative, "Sign": tf.sign, "Square": tf.square,
        "Sqrt": tf.sqrt, "Rsqrt": tf.math.rsqrt, "Exp": tf.exp, "Expm1": tf.math.expm1, "Log": tf.math.log,
        "Log1p": tf.math.log1p, "Sin": tf.sin, "Cos": tf.cos, "Tan": tf.tan, "Tanh": tf.tanh, "Floor": tf.floor,
        "Ceil": tf.math.ceil, "Erf": tf.math.erf, "LogicalNot": tf.logical_not, "StopGradient": tf.stop_gradient,
        "Relu": tf.nn.relu, "Relu6": tf.nn.relu6, "Sigmoid": tf.sigmoid, "Silu": tf.nn.silu, "Elu": None,
        "Softplus": tf.math.softplus, "Softsign": tf.nn.softsign, "Selu": tf.nn.selu, "Isnan": tf.math.is_nan,
        "OnesLike": tf.ones_like, "ZerosLike": tf.zeros_like, "Reciprocal": tf.math.reciprocal,
    }  # fmt: skip
    return {name: _one(function) for name, function in functions.items() if function is not None}


def _one(function: Callable[[Any], Any]) -> Translation:
    return lambda operation, x, **_: function(x)


def _shaping() -> dict[str, Translation]:
    tf = keras_env.tensorflow()
    return {
        "BroadcastTo": lambda operation, x: tf.broadcast_to(x, _sizes(x, operation.shape)),
        "Cast": lambda operation, x, **_: tf.cast(x, operation.dtype),
        "Concatenate": lambda operation, xs: tf.concat(list(xs), axis=operation.axis),
        "ExpandDims": lambda operation, x: _expand_dims(x, operation.axis),
        "Flip": lambda operation, x: tf.reverse(x, _axes(operation.axis, len(x.shape))),
        "GetItem": lambda operation, x, key: x[_key(key)],
        "Moveaxis": lambda operation, x: tf.transpose(x, _moved(len(x.shape), operation.source, operation.destination)),
        "Ravel": lambda operation, x: tf.reshape(x, [-1]),
        "Repeat": lambda operation, x: tf.repeat(x, operation.repeats, axis=operation.axis),
        "Reshape": lambda operation, x: tf.reshape(x, [-1 if size is None else size for size in operation.newshape]),
        "Roll": lambda operation, x: tf.roll(x, operation.shift, operation.axis),
        "Squeeze": lambda operation, x: tf.squeeze(x, axis=operation.axis),
        "Stack": lambda operation, xs: tf.stack(list(xs), axis=operation.axis),
        "Swapaxes": lambda operation, x: tf.transpose(x, _moved(len(x.shape), operation.axis1, operation.axis2, True)),
        "Tile": lambda operation, x: tf.tile(x, _repeats(x, operation.repeats)),
        "Transpose": lambda operation, x: tf.transpose(x, perm=operation.axes),
    }


def _key(key: Any) -> Any:
    """Keras stores a tuple of slices as a list."""
    return tuple(key) if isinstance(key, list) else key


def _sizes(x: Any, shape: Any) -> list[Any]:
    """A size that is not known before the model runs is that of `x` at the same place, counted from the end."""
    own = list(x.shape)
    padded = [1] * (len(shape) - len(own)) + own
    return [
        keras_env.tensorflow().shape(x)[place - len(shape)] if size is None and padded[place] is None else size
        for place, size in enumerate(shape)
    ]


def _expand_dims(x: Any, axis: Any) -> Any:
    tf = keras_env.tensorflow()
    axes = [axis] if isinstance(axis, int) else list(axis)
    rank = len(x.shape) + len(axes)
    for place in sorted(one % rank for one in axes):
        x = tf.expand_dims(x, place)
    return x


def _axes(axis: Any, rank: int) -> list[int]:
    if axis is None:
        return list(range(rank))
    return [axis] if isinstance(axis, int) else list(axis)


def _moved(rank: int, source: Any, destination: Any, swap: bool = False) -> list[int]:
    sources = [place % rank for place in _axes(source, rank)]
    destinations = [place % rank for place in _axes(destination, rank)]
    if swap:
        order = list(range(rank))
        order[sources[0]], order[destinations[0]] = destinations[0], sources[0]
        return order
    order = [place for place in range(rank) if place not in sources]
    for target, place in sorted(zip(destinations, sources, strict=True)):
        order.insert(target, place)
    return order


def _repeats(x: Any, repeats: Any) -> list[int]:
    given = [repeats] if isinstance(repeats, int) else list(repeats)
    return [1] * (len(x.shape) - len(given)) + given


def _reductions() -> dict[str, Translation]:
    tf = keras_env.tensorflow()
    functions = {
        "All": tf.reduce_all, "Amax": tf.reduce_max, "Amin": tf.reduce_min, "Any": tf.reduce_any,
        "Logsumexp": tf.reduce_logsumexp, "Max": tf.reduce_max, "Mean": tf.reduce_mean, "Min": tf.reduce_min,
        "Prod": tf.reduce_prod, "Std": tf.math.reduce_std, "Sum": tf.reduce_sum, "Var": tf.math.reduce_variance,
    }  # fmt: skip
    return {name: _reduction(function) for name, function in functions.items()}


def _reduction(function: Callable[..., Any]) -> Translation:
    def call(operation: Any, x: Any) -> Any:
        axis = operation.axis
        tf = keras_env.tensorflow()
        if function in (tf.reduce_mean, tf.math.reduce_std, tf.math.reduce_variance) and not x.dtype.is_floating:
            x = tf.cast(x, "float32")
        if function is tf.reduce_sum and x.dtype == tf.bool:
            x = tf.cast(x, "int32")
        return function(x, axis=list(axis) if isinstance(axis, tuple) else axis, keepdims=operation.keepdims)

    return call


def _others() -> dict[str, Translation]:
    tf = keras_env.tensorflow()

    def index_of(function: Callable[..., Any]) -> Translation:
        def call(operation: Any, x: Any) -> Any:
            flat = tf.reshape(x, [-1]) if operation.axis is None else x
            found = function(flat, axis=0 if operation.axis is None else operation.axis, output_type=tf.int32)
            return tf.expand_dims(found, operation.axis) if operation.keepdims else found

        return call

    def matmul(operation: Any, x1: Any, x2: Any) -> Any:
        x1, x2 = alike(x1, x2)
        if len(x1.shape) > 1 and len(x2.shape) > 1:
            return tf.matmul(x1, x2)
        return operation.call(x1, x2)

    def where(operation: Any, condition: Any, x1: Any = None, x2: Any = None) -> Any:
        return tf.where(tf.cast(condition, "bool"), *alike(x1, x2))

    def take(operation: Any, x: Any, indices: Any) -> Any:
        if operation.axis is None:
            return tf.gather(tf.reshape(x, [-1]), indices, axis=0)
        return tf.gather(x, indices, axis=operation.axis)

    def one_hot(operation: Any, x: Any) -> Any:
        return tf.one_hot(tf.cast(x, "int32"), operation.num_classes, axis=operation.axis, dtype=operation.dtype)

    def pad(operation: Any, x: Any, constant_values: Any = None) -> Any:
        mode = {"constant": "CONSTANT", "reflect": "REFLECT", "symmetric": "SYMMETRIC"}[operation.mode]
        width = operation.pad_width
        pairs = [[width, width]] * len(x.shape) if isinstance(width, int) else [list(pair) for pair in width]
        if len(pairs) == 1:
            pairs = pairs * len(x.shape)
        return tf.pad(x, pairs, mode=mode, constant_values=constant_values or 0)

    def split(operation: Any, x: Any) -> Any:
        sections, axis = operation.indices_or_sections, operation.axis
        if isinstance(sections, int):
            return tf.split(x, sections, axis=axis)
        total = x.shape[axis]
        edges = [0, *sections, total]
        return tf.split(x, [end - start for start, end in pairwise(edges)], axis=axis)

    def softmax(operation: Any, x: Any) -> Any:
        return tf.nn.softmax(x, axis=operation.axis) if isinstance(operation.axis, int) else operation.call(x)

    return {
        "Argmax": index_of(tf.argmax),
        "Argmin": index_of(tf.argmin),
        "Clip": lambda operation, x, **_: tf.clip_by_value(x, operation.x_min, operation.x_max),
        "Einsum": lambda operation, *xs: einsum(operation.subscripts, *xs),
        "Gelu": lambda operation, x: tf.nn.gelu(x, approximate=operation.approximate),
        "LeakyRelu": lambda operation, x: tf.nn.leaky_relu(x, alpha=operation.negative_slope),
        "Matmul": matmul,
        "OneHot": one_hot,
        "Pad": pad,
        "Softmax": softmax,
        "Split": split,
        "Take": take,
        "Where": where,
    }
