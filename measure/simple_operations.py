"""What LiteRT lacks or gets wrong, computed in operations that it has.

Group normalization: Keras weighs what it averages by a mask, also where there is none, which the converter writes as a
BROADCAST_TO that LiteRT cannot prepare. One-hot encodings: of a quantized ONE_HOT the converter makes 0.5 of each 0
(TensorFlow 2.21), and it has nothing for the counting with which Keras encodes categories. Pooling in three dimensions
is none of LiteRT's operations, but is pooling in two and then in one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from intake.keras_env import keras2, part_of, tensorflow

Function = Callable[..., Any]


@contextmanager
def simple_operations(model: Any) -> Iterator[None]:
    """Let a tf_keras model compute the same in operations that LiteRT has, while it is traced."""
    preprocessing_utils = part_of(keras2(), "src.layers.preprocessing.preprocessing_utils")

    layers = keras2().layers
    with ExitStack() as changes:
        for layer in model._flatten_layers():
            if isinstance(layer, layers.GroupNormalization) and _is_on_last_axis(layer):
                changes.enter_context(mock.patch.object(layer, "call", _group_normalization(layer, layer.call)))
            elif isinstance(layer, layers.MaxPooling3D | layers.AveragePooling3D):
                changes.enter_context(mock.patch.object(layer, "call", _pooling(layer, layer.call)))
            elif getattr(layer, "symbol", None) == "one_hot":
                changes.enter_context(mock.patch.object(layer, "function", _one_hot(layer.function)))
        changes.enter_context(
            mock.patch.object(preprocessing_utils, "dense_bincount", _bincount(preprocessing_utils.dense_bincount))
        )
        yield


def _is_on_last_axis(layer: Any) -> bool:
    return bool(layer.built) and layer.axis in (-1, layer.input_spec.ndim - 1)


def _group_normalization(layer: Any, original: Function) -> Function:
    def call(inputs: Any, mask: Any = None) -> Any:
        if mask is not None:
            return original(inputs, mask=mask)
        tf = tensorflow()
        *places, channels = inputs.shape[1:]
        size = channels // layer.groups
        is_open = None in places
        count = -1 if is_open else math.prod(places)
        grouped = tf.reshape(inputs, [tf.shape(inputs)[0] if is_open else -1, count, layer.groups, size])
        mean = tf.reduce_mean(grouped, [1, 3], keepdims=True)
        variance = tf.reduce_mean(tf.math.squared_difference(grouped, mean), [1, 3], keepdims=True)
        normal = (grouped - mean) * tf.math.rsqrt(variance + layer.epsilon)
        if layer.scale:
            normal = normal * tf.reshape(layer.gamma, [layer.groups, size])
        if layer.center:
            normal = normal + tf.reshape(layer.beta, [layer.groups, size])
        return tf.reshape(normal, tf.shape(inputs) if is_open else [-1, *places, channels])

    return call


def _pooling(layer: Any, original: Function) -> Function:
    def call(inputs: Any) -> Any:
        depth, *sides, channels = inputs.shape[1:]
        if layer.data_format != "channels_last" or None in (depth, *sides):
            return original(inputs)
        tf, padding = tensorflow(), layer.padding.upper()
        pool = tf.nn.max_pool2d if isinstance(layer, keras2().layers.MaxPooling3D) else tf.nn.avg_pool2d
        planes = pool(tf.reshape(inputs, [-1, *sides, channels]), layer.pool_size[1:], layer.strides[1:], padding)
        height, width = planes.shape[1:3]
        stacks = tf.reshape(planes, [-1, depth, height * width, channels])
        pooled = pool(stacks, [layer.pool_size[0], 1], [layer.strides[0], 1], padding)
        return tf.reshape(pooled, [-1, pooled.shape[1], height, width, channels])

    return call


def _one_hot(original: Function) -> Function:
    def call(indices: Any, depth: Any, *args: Any, axis: Any = -1, dtype: Any = None, **kwargs: Any) -> Any:
        if args or axis not in (None, -1) or any(kwargs.get(name) is not None for name in ("on_value", "off_value")):
            return original(indices, depth, *args, axis=axis, dtype=dtype, **kwargs)
        return _ones_at(indices, depth, dtype or "float32")

    return call


def _bincount(original: Function) -> Function:
    def call(inputs: Any, depth: Any, binary_output: bool, dtype: Any, count_weights: Any = None) -> Any:
        if count_weights is not None:
            return original(inputs, depth, binary_output, dtype, count_weights)
        tf = tensorflow()
        ones = _ones_at(inputs, depth, dtype)
        return tf.reduce_max(ones, axis=-2) if binary_output else tf.reduce_sum(ones, axis=-2)

    return call


def _ones_at(indices: Any, depth: Any, dtype: Any) -> Any:
    """Vectors of zeros with a one at each index; compared by difference, or the converter makes a ONE_HOT of it."""
    tf = tensorflow()
    return tf.cast(tf.equal(tf.cast(indices, "int32")[..., None] - tf.range(depth), 0), dtype)
