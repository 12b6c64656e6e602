"""Weight sharing between the training steps, for layers that TFMOT's clustering wrapper does not fit.

The same method as the wrapper's (Han, Mao and Dally 2016, arXiv 1510.00149, section 3): each kernel keeps N values;
the update of a value is the mean update of the weights that share it; TFMOT's own rule chooses the first values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from intake.keras_env import keras2, tensorflow
from optimizers.checkpoint import Arrays


@dataclass(frozen=True)
class SharedKernel:
    """One kernel, and how its weights are shared."""

    variable: Any
    number_of_clusters: int
    """Different values; where weights stay 0, one of them is 0."""
    zeros: np.ndarray | None = None
    """bool, the kernel's shape: True where a weight stays 0."""
    channel_axis: int | None = None
    """Axis whose every index has values of its own; None where the whole kernel shares them."""


class SharedWeights:
    """Keeps a few different values in each of some kernels while a model trains.

    Args:
        kernels: to share the weights of.
        init: TFMOT's CentroidInitialization.
    """

    def __init__(self, kernels: Sequence[SharedKernel], init: Any) -> None:
        self._kernels = [_Clustered(kernel, init) for kernel in kernels]
        self.follow = tensorflow().function(self._follow, autograph=False)

    def share(self) -> None:
        """Give each weight the nearest of the values, before the first step."""
        for kernel in self._kernels:
            kernel.share()

    def _follow(self) -> None:
        for kernel in self._kernels:
            kernel.follow()

    def callback(self) -> Any:
        """Return the Keras callback that shares the weights after each step."""
        shared = self

        class ShareWeights(keras2().callbacks.Callback):  # type: ignore[misc]
            def training_state(self) -> dict[str, Any]:
                return {
                    f"{index}/{name}": array
                    for index, kernel in enumerate(shared._kernels)
                    for name, array in kernel.kept().items()
                }

            def restore_training_state(self, arrays: Arrays) -> None:
                for index, kernel in enumerate(shared._kernels):
                    kernel.bring_back({name: arrays[f"{index}/{name}"] for name in kernel.kept()})

            def on_train_begin(self, logs: Any = None) -> None:
                shared.share()

            def after_step(self) -> None:
                shared.follow()

        return ShareWeights()


class _Clustered:
    """Weights and values of one kernel, as rows that share nothing with each other: one row, or one for a channel."""

    def __init__(self, kernel: SharedKernel, init: Any) -> None:
        tf = tensorflow()
        self._variable, self._axis = kernel.variable, kernel.channel_axis
        weights = _rows(kernel.variable.numpy(), kernel.channel_axis)
        zeros = None if kernel.zeros is None or not kernel.zeros.any() else _rows(kernel.zeros, kernel.channel_axis)
        count = kernel.number_of_clusters - (zeros is not None)
        free = [row if zeros is None else row[~zeros[index]] for index, row in enumerate(weights)]
        self._zeros = None if zeros is None else tf.constant(zeros)
        self._weights = tf.Variable(weights, trainable=False)
        self._values = tf.Variable(np.stack([_first_values(row, count, init) for row in free]), trainable=False)
        self._shared = tf.Variable(weights, trainable=False)
        self._members = tf.Variable(np.zeros(weights.shape, np.int32), trainable=False)

    def share(self) -> None:
        """Give each weight that does not stay 0 the nearest of the values of its row."""
        tf = tensorflow()
        rows, count = self._values.shape
        nearest = _bounds_below(self._weights, (self._values[:, 1:] + self._values[:, :-1]) / 2)
        if rows > 1:
            nearest += count * tf.range(rows)[:, None]
        if self._zeros is not None:
            nearest = tf.where(self._zeros, rows * count, nearest)
        values = tf.concat([tf.reshape(self._values, [-1]), tf.zeros([1], self._values.dtype)], 0)
        self._members.assign(nearest)
        self._shared.assign(tf.gather(values, nearest))
        self._variable.assign(self._unrowed(self._shared))

    def kept(self) -> dict[str, np.ndarray]:
        """Return what `share` starts from, for `bring_back`."""
        return {"weights": self._weights.numpy(), "values": self._values.numpy()}

    def bring_back(self, arrays: Arrays) -> None:
        """Go on from what `kept` returned."""
        self._weights.assign(arrays["weights"])
        self._values.assign(arrays["values"])

    def follow(self) -> None:
        """Move weights and values by what the optimizer did since `share`, then share again."""
        tf = tensorflow()
        rows, count = self._values.shape
        update = self._rowed(self._variable) - self._shared
        moved = tf.math.unsorted_segment_mean(
            tf.reshape(update, [-1]), tf.reshape(self._members, [-1]), rows * count + 1
        )
        self._weights.assign_add(update)
        self._values.assign(tf.sort(self._values + tf.reshape(moved[:-1], [rows, count])))
        self.share()

    def _rowed(self, kernel: Any) -> Any:
        tf = tensorflow()
        if self._axis is not None:
            kernel = tf.transpose(kernel, _to_front(self._axis, kernel.shape.rank))
        return tf.reshape(kernel, self._weights.shape)

    def _unrowed(self, rows: Any) -> Any:
        tf = tensorflow()
        shape = self._variable.shape
        if self._axis is None:
            return tf.reshape(rows, shape)
        order = _to_front(self._axis, shape.rank)
        turned = tf.reshape(rows, [shape[axis] for axis in order])
        return tf.transpose(turned, np.argsort(order))


WORTH_COMPILING = 2**16
"""Weights from which on compiling takes less time than it saves; found by measuring."""
MOST_COMPARED = 64
"""Bounds up to which comparing with each is quicker than a binary search; found by measuring."""


def _bounds_below(weights: Any, bounds: Any) -> Any:
    """Return int32 (rows, n): how many of the bounds (rows, b) of its row are below each weight (rows, n).

    On a million weights and 15 bounds a binary search takes 20 ms of a core, the same comparisons compiled 1 ms.
    """
    tf = tensorflow()
    count = bounds.shape[1]
    if count == 0:
        return tf.zeros(weights.shape, tf.int32)
    if count > MOST_COMPARED or weights.shape.num_elements() < WORTH_COMPILING:
        return tf.searchsorted(bounds, weights)

    def compare(weights: Any, bounds: Any) -> Any:
        return tf.add_n([tf.cast(weights > bounds[:, index : index + 1], tf.int32) for index in range(count)])

    return tf.function(compare, autograph=False, jit_compile=True)(weights, bounds)


def _to_front(axis: int, rank: int) -> list[int]:
    return [axis, *(other for other in range(rank) if other != axis)]


def _rows(values: np.ndarray, axis: int | None) -> np.ndarray:
    if axis is None:
        return values.reshape(1, -1)
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def _first_values(weights: np.ndarray, count: int, init: Any) -> np.ndarray:
    """Return `count` sorted values to start from, as TFMOT chooses them."""
    from tensorflow_model_optimization.python.core.clustering.keras import clustering_centroids

    different = np.unique(weights)
    if len(different) <= count:  # TFMOT's k-means fails on fewer weights than values
        return np.pad(different if len(different) else np.zeros(1, weights.dtype), (0, count), "edge")[:count]
    if count == 1:
        return weights.mean(keepdims=True)
    if init.name == "LINEAR":  # as TFMOT's, which takes milliseconds: much where each of many channels is a kernel
        return np.linspace(weights.min(), weights.max(), count, dtype=weights.dtype)
    factory = clustering_centroids.CentroidsInitializerFactory.get_centroid_initializer(init)
    centroids = factory(tensorflow().Variable(weights), count, False, "channels_last", False).get_cluster_centroids()
    return np.sort(np.asarray(centroids).reshape(-1))
