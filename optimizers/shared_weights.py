"""Weight sharing between the training steps, for layers that TFMOT's clustering wrapper does not fit.

The same method as the wrapper's (Han, Mao and Dally 2016, arXiv 1510.00149, section 3): each kernel keeps N values;
the update of a value is the mean update of the weights that share it; TFMOT's own rule chooses the first values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from intake.keras_env import keras2, tensorflow


class SharedWeights:
    """Keeps a few different values in each of some kernels while a model trains.

    Args:
        kernels: (variable, bool array of its shape that is True where a weight stays 0, or None).
        number_of_clusters: values of each kernel; where weights stay 0, one of them is 0.
        init: TFMOT's CentroidInitialization.
    """

    def __init__(self, kernels: Sequence[tuple[Any, np.ndarray | None]], number_of_clusters: int, init: Any) -> None:
        self._kernels = [_Clustered(kernel, zeros, number_of_clusters, init) for kernel, zeros in kernels]

    def callback(self) -> Any:
        """Return the Keras callback that shares the weights after each step."""
        kernels = self._kernels

        class ShareWeights(keras2().callbacks.Callback):  # type: ignore[misc]
            def on_train_begin(self, logs: Any = None) -> None:
                for kernel in kernels:
                    kernel.share()

            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                for kernel in kernels:
                    kernel.follow()

        return ShareWeights()


class _Clustered:
    def __init__(self, variable: Any, zeros: np.ndarray | None, number_of_clusters: int, init: Any) -> None:
        self._variable = variable
        whole = variable.numpy().reshape(-1)
        self._free = np.flatnonzero(~zeros.reshape(-1)) if zeros is not None and zeros.any() else slice(None)
        self._weights = whole[self._free]
        shares_a_zero = not isinstance(self._free, slice)
        self._values = _first_values(self._weights, number_of_clusters - shares_a_zero, init)
        self._shared = self._weights

    def share(self) -> None:
        """Give each weight that does not stay 0 the nearest of the values."""
        self._members = np.searchsorted((self._values[1:] + self._values[:-1]) / 2, self._weights)
        self._shared = self._values[self._members]
        whole = np.zeros(self._variable.shape, self._shared.dtype)
        whole.reshape(-1)[self._free] = self._shared
        self._variable.assign(whole)

    def follow(self) -> None:
        """Move weights and values by what the optimizer did since `share`, then share again."""
        update = self._variable.numpy().reshape(-1)[self._free] - self._shared
        self._weights = self._weights + update
        count = np.bincount(self._members, minlength=len(self._values))
        moved = np.bincount(self._members, update, minlength=len(self._values)) / np.maximum(count, 1)
        self._values = np.sort(self._values + moved.astype(self._values.dtype))
        self.share()


def _first_values(weights: np.ndarray, count: int, init: Any) -> np.ndarray:
    """Return sorted values to start from, as TFMOT chooses them."""
    from tensorflow_model_optimization.python.core.clustering.keras import clustering_centroids

    if count == 1:
        return weights.mean(keepdims=True)
    factory = clustering_centroids.CentroidsInitializerFactory.get_centroid_initializer(init)
    variable = tensorflow().Variable(weights)
    centroids = factory(variable, count, False, "channels_last", False).get_cluster_centroids()
    return np.sort(np.asarray(centroids).reshape(-1))
