"""Weight clustering: each kernel keeps only N different values."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from intake.keras_env import keras2, tfmot
from measure.facts import Fact, WeightOf, located, not_located
from measure.weights import WeightTensor
from optimizers.declaration import Params, parameter
from optimizers.fine_tuning import FineTuning, TrainingPlan
from optimizers.technique import Technique, clone_with_weights, require_weights


class ClusteringParams(Params):
    """How many values each kernel keeps, and where they start."""

    number_of_clusters: int = parameter(
        16, "Number of clusters", "Different values each kernel keeps; fewer is smaller.", unit="values", ge=2, le=256
    )
    cluster_centroids_init: Literal["LINEAR", "RANDOM", "DENSITY_BASED", "KMEANS_PLUS_PLUS"] = parameter(
        "LINEAR",
        "Centroid initialization",
        "Where the values start; LINEAR spaces them evenly and keeps large weights.",
    )


class Clustering(Technique):
    """TFMOT's `cluster_weights` on every layer whose kernel has more weights than clusters."""

    name = "clustering"
    title = "Clustering"
    summary = "Lets each kernel keep only N different values, which then compress well."
    use_when = "the file travels compressed and accuracy matters more than with pruning."
    avoid_when = "the raw file must shrink and nothing compresses it; very small kernels gain nothing."
    shrinks = (
        "the compressed file; the raw .tflite stays as large as it was, because each weight is still stored in full."
    )
    source = "Han, Mao and Dally 2016, Deep Compression (arXiv 1510.00149)"
    Params = ClusteringParams
    fine_tuning = FineTuning(epochs=1, learning_rate=1e-5)

    def wrap(self, model: Any, params: ClusteringParams, plan: TrainingPlan, representative: np.ndarray) -> Any:
        """Wrap exactly the layers that hold a kernel to cluster."""
        weights = self.weights_of(model, params)
        require_weights(self.title, weights)
        names = {weight.layer for weight in weights}
        clustering = tfmot().clustering.keras
        init = clustering.CentroidInitialization[params.cluster_centroids_init]

        def wrap_layer(layer: Any) -> Any:
            if layer.name not in names:
                return layer
            layer.trainable = True  # a frozen layer has no trainable weights, which is where TFMOT looks for the kernel
            return clustering.cluster_weights(
                layer, number_of_clusters=params.number_of_clusters, cluster_centroids_init=init
            )

        return clone_with_weights(model, wrap_layer)

    def strip(self, model: Any) -> Any:
        """Replace each kernel by its centroids and take the wrappers off."""
        return tfmot().clustering.keras.strip_clustering(model)

    def weights_of(self, model: Any, params: ClusteringParams) -> list[WeightOf]:
        """Kernels of TFMOT's registry; a kernel with no more weights than clusters has nothing to gain."""
        found = []
        for layer in model.layers:
            kernels = [(name, int(np.prod(weight.shape))) for name, weight in _clusterable(layer)]
            if kernels and all(size > params.number_of_clusters for _, size in kernels):
                folded = _is_followed_by_batch_normalization(layer)
                found += [
                    WeightOf(layer=layer.name, weight=name, size=size, is_rescaled=folded) for name, size in kernels
                ]
        return found

    def verify(self, params: ClusteringParams, weights: list[WeightOf], tensors: list[WeightTensor]) -> list[Fact]:
        """Distinct values of each kernel; per output channel where each has a scale of its own."""
        limit = params.number_of_clusters
        facts = []
        for weight, tensor in located(tensors, weights):
            asked = f"at most {limit} values"
            if tensor is None:
                facts.append(not_located("distinct weights", weight, asked))
            else:
                measured, met = _distinct_values(weight, tensor, limit)
                facts.append(
                    Fact(claim="distinct weights", layer=weight.layer, asked=asked, measured=measured, met=met)
                )
        return facts


def _distinct_values(weight: WeightOf, tensor: WeightTensor, limit: int) -> tuple[str, bool | None]:
    """Return what the file shows, and whether that is what was asked (None where it cannot tell)."""
    has_scales = weight.is_rescaled or len(tensor.zero_points) > 1
    if tensor.distinct <= limit or not has_scales:
        return f"{tensor.distinct} values", tensor.distinct <= limit
    if tensor.size // tensor.values.shape[tensor.channel_axis] <= limit:
        return f"{tensor.distinct} values; channels have a scale each and too few weights to tell", None
    count = tensor.distinct_per_channel
    return f"{count} values in each channel, which has a scale of its own", count <= limit


def _is_followed_by_batch_normalization(layer: Any) -> bool:
    after = [node.outbound_layer for node in layer.outbound_nodes]
    return any(isinstance(following, keras2().layers.BatchNormalization) for following in after)


def _clusterable(layer: Any) -> list[tuple[str, Any]]:
    from tensorflow_model_optimization.python.core.clustering.keras import clustering_registry

    registry = clustering_registry.ClusteringRegistry
    if isinstance(layer, keras2().Model) or not layer.weights or not registry.supports(layer):
        return []
    registry.make_clusterable(layer)
    return list(layer.get_clusterable_weights())
