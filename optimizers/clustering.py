"""Weight clustering: each kernel keeps only N different values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from intake.keras_env import tfmot
from measure.facts import Fact, WeightOf, located, not_located
from measure.weights import WeightTensor
from optimizers.declaration import parameter
from optimizers.fine_tuning import FineTuning, TrainingPlan
from optimizers.kept import Kept, KeptKernel, Won
from optimizers.kernels import Kernel, is_depthwise, kernels_of
from optimizers.layer_facts import LayerFacts
from optimizers.shared_weights import SharedWeights
from optimizers.technique import Technique, TechniqueParams, Wrapped, clone_with_weights
from optimizers.treatment import Treatment, acts, left
from optimizers.wrapping import fits_a_wrapper, passing_masks


class ClusteringParams(TechniqueParams):
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
    """TFMOT's `cluster_weights` where its wrapper fits, shared weights of the same kind elsewhere."""

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
    wins: ClassVar[Won | None] = "values"
    keeps: ClassVar[frozenset[Won]] = frozenset({"zeros"})

    def wrap(
        self,
        model: Any,
        params: ClusteringParams,
        weights: Sequence[WeightOf],
        plan: TrainingPlan,
        representative: Sequence[np.ndarray],
        kept: Kept,
    ) -> Wrapped:
        """Wrap the layers that TFMOT can wrap, and share the weights of the others between the steps."""
        names = {weight.layer for weight in weights}
        sparse = {layer for (layer, _), rule in kept.items() if rule.zeros is not None}
        wrapped_names = {
            layer.name
            for layer in model.layers
            if layer.name in names - sparse and _can_wrap(layer, params)  # TFMOT's wrapper lets zeros drift (PR #720)
        }
        clustering = tfmot().clustering.keras
        init = clustering.CentroidInitialization[params.cluster_centroids_init]

        def wrap_layer(layer: Any) -> Any:
            if layer.name not in wrapped_names:
                return layer
            wrapper = clustering.cluster_weights(
                layer, number_of_clusters=params.number_of_clusters, cluster_centroids_init=init
            )
            return passing_masks(wrapper)

        wrapped = clone_with_weights(model, wrap_layer)
        others = [
            (kernel.variable, kept.get((layer.name, kernel.name), KeptKernel()).zeros)
            for layer in wrapped.layers
            if layer.name in names - wrapped_names
            for kernel in _clustered(layer, params)
        ]
        if not others:
            return Wrapped(wrapped)
        shared = SharedWeights(others, params.number_of_clusters, init)
        return Wrapped(wrapped, [shared.callback()])

    def strip(self, model: Any) -> Any:
        """Replace each kernel by its centroids and take the wrappers off."""
        return tfmot().clustering.keras.strip_clustering(model)

    def treatment(self, layer: LayerFacts, params: ClusteringParams) -> Treatment:
        """Every kernel but depthwise ones and those with no more weights than clusters."""
        if not layer.kernels:
            return left(layer, "It has weights, but no kernel." if layer.parameters else "It has no weights.")
        kernels = [kernel for kernel in layer.kernels if not kernel.is_depthwise]
        if not kernels:
            return left(layer, "Depthwise kernels lose too much accuracy when clustered (as TFMOT's rules say).")
        large = [kernel for kernel in kernels if kernel.size > params.number_of_clusters]
        if not large:
            size = max(kernel.size for kernel in kernels)
            fix = f"Lower `number_of_clusters` below {size}." if size > 2 else ""
            return left(layer, f"Its kernel has {size} weights, not more than there are clusters.", fix)
        weights = tuple(
            WeightOf(
                layer=layer.name,
                weight=kernel.name,
                size=kernel.size,
                is_rescaled=layer.is_rescaled,
                has_rescaled_inputs=layer.has_rescaled_inputs,
            )
            for kernel in large
        )
        return acts(layer, f"Its kernel keeps {params.number_of_clusters} different values.", weights)

    def simulate(self, values: np.ndarray, params: ClusteringParams) -> np.ndarray:
        """Each weight takes the nearest of the values, where they are spread as at the start."""
        centroids = _spread(values, params)
        nearest = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values.reshape(-1))
        return centroids[nearest].reshape(values.shape)

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


def _spread(values: np.ndarray, params: ClusteringParams) -> np.ndarray:
    """Return the values to start from, sorted, about as TFMOT's initializations place them."""
    flat, count = values.reshape(-1), params.number_of_clusters
    if params.cluster_centroids_init in ("LINEAR", "RANDOM"):
        return np.linspace(flat.min(), flat.max(), count, dtype=np.float32)
    return np.quantile(flat, np.linspace(0, 1, count)).astype(np.float32)  # close where the weights are


def _distinct_values(weight: WeightOf, tensor: WeightTensor, limit: int) -> tuple[str, bool | None]:
    """Return what the file shows, and whether that is what was asked (None where it cannot tell)."""
    by_output = weight.is_rescaled or len(tensor.zero_points) > 1
    if tensor.distinct <= limit or not (by_output or weight.has_rescaled_inputs):
        return f"{tensor.distinct} values", tensor.distinct <= limit
    if by_output and weight.has_rescaled_inputs:
        return f"{tensor.distinct} values; inputs and outputs have a scale each, which leaves nothing to count", None
    axis, which = (tensor.channel_axis, "channel") if by_output else (tensor.values.ndim - 1, "input")
    if tensor.size // tensor.values.shape[axis] <= limit:
        return f"{tensor.distinct} values; each {which} has a scale of its own and too few weights to tell", None
    count = tensor.distinct_per_channel if by_output else tensor.distinct_per_input
    return f"{count} values in each {which}, which has a scale of its own", count <= limit


def _clustered(layer: Any, params: ClusteringParams) -> list[Kernel]:
    """The kernels of a layer to cluster: all of them or, where one is too small, none."""
    chosen = [kernel for kernel in kernels_of(layer) if not is_depthwise(kernel)]
    return [kernel for kernel in chosen if kernel.size > params.number_of_clusters]


LARGEST_LOOKUP = 2**28
"""TFMOT compares each weight with each centroid at once: weights times clusters, in elements of 4 bytes."""


def _can_wrap(layer: Any, params: ClusteringParams) -> bool:
    """True where TFMOT has a rule for the layer, for exactly the kernels to cluster, and its wrapper fits."""
    from tensorflow_model_optimization.python.core.clustering.keras import clustering_registry

    registry = clustering_registry.ClusteringRegistry
    if not layer.trainable or not registry.supports(layer) or not fits_a_wrapper(layer):
        return False
    kernels = _clustered(layer, params)
    if max(kernel.size for kernel in kernels) * params.number_of_clusters > LARGEST_LOOKUP:
        return False
    registry.make_clusterable(layer)
    try:
        theirs = layer.get_clusterable_weights()
    except (AttributeError, ValueError):  # a recurrent layer with a cell that TFMOT does not know
        return False
    return {id(weight) for _, weight in theirs} == {id(kernel.variable) for kernel in kernels}
