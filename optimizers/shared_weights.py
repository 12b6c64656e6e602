"""Weight sharing between the training steps, for layers that TFMOT's clustering wrapper does not fit.

The same method as the wrapper's (Han, Mao and Dally 2016, arXiv 1510.00149, section 3): each kernel keeps N values;
the update of a value is the mean update of the weights that share it; TFMOT's own rule chooses the first values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from intake.keras_env import keras2


class SharedWeights:
    """Keeps a few different values in each of some kernels while a model trains."""

    def __init__(self, kernels: list[Any], number_of_clusters: int, init: Any) -> None:
        self._kernels = [_Clustered(kernel, number_of_clusters, init) for kernel in kernels]

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
    def __init__(self, variable: Any, number_of_clusters: int, init: Any) -> None:
        self._variable = variable
        self._weights = variable.numpy().reshape(-1)
        self._values = _first_values(variable, number_of_clusters, init)
        self._shared = self._weights

    def share(self) -> None:
        """Give each weight the nearest of the values."""
        self._members = np.searchsorted((self._values[1:] + self._values[:-1]) / 2, self._weights)
        self._shared = self._values[self._members]
        self._variable.assign(self._shared.reshape(self._variable.shape))

    def follow(self) -> None:
        """Move weights and values by what the optimizer did since `share`, then share again."""
        update = self._variable.numpy().reshape(-1) - self._shared
        self._weights = self._weights + update
        count = np.bincount(self._members, minlength=len(self._values))
        moved = np.bincount(self._members, update, minlength=len(self._values)) / np.maximum(count, 1)
        self._values = np.sort(self._values + moved.astype(self._values.dtype))
        self.share()


def _first_values(variable: Any, number_of_clusters: int, init: Any) -> np.ndarray:
    from tensorflow_model_optimization.python.core.clustering.keras import clustering_centroids

    factory = clustering_centroids.CentroidsInitializerFactory.get_centroid_initializer(init)
    centroids = factory(variable, number_of_clusters, False, "channels_last", False).get_cluster_centroids()
    return np.sort(np.asarray(centroids).reshape(-1))
