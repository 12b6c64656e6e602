"""Weight clustering: each kernel keeps only N different values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from intake.errors import InvalidParams
from intake.keras_env import tfmot
from measure.facts import Fact, WeightOf, located, not_located
from measure.plain_tools import NeedsTare
from measure.weights import WeightTensor
from optimizers.declaration import parameter
from optimizers.fine_tuning import FineTuning, TrainingPlan
from optimizers.kept import Kept, KeptKernel, Won
from optimizers.kernels import Kernel, kernels_of
from optimizers.layer_facts import KernelFacts, LayerFacts, kernel_facts
from optimizers.plain_training import ScriptStep, after_training_lines, require_plain_layers, training_lines
from optimizers.shared_weights import SharedKernel, SharedWeights
from optimizers.technique import Technique, TechniqueParams, Wrapped, clone_with_weights
from optimizers.treatment import Treatment, acts, left
from optimizers.wrapping import fits_a_wrapper, passing_masks


class ClusteringParams(TechniqueParams):
    """How many values each kernel keeps, and where they start."""

    number_of_clusters: int = parameter(
        16, "Number of clusters", "Different values each kernel keeps; fewer is smaller.", unit="values", ge=2, le=256
    )
    layer_number_of_clusters: dict[str, Annotated[int, Field(ge=2, le=256)]] = parameter(
        {}, "Clusters by layer", "Different values of single layers, in place of the common number.", step=1
    )
    cluster_per_channel: bool = parameter(
        False, "Cluster per channel", "Each output channel of a two-dimensional convolution keeps values of its own; "
        "larger, but more accurate.",
    )  # fmt: skip
    cluster_centroids_init: Literal["LINEAR", "RANDOM", "DENSITY_BASED", "KMEANS_PLUS_PLUS"] = parameter(
        "LINEAR",
        "Centroid initialization",
        "Where the values start; LINEAR spaces them evenly and keeps large weights.",
    )

    def clusters_of(self, layer: str) -> int:
        """Different values of each kernel of a layer, or of each output channel."""
        return self.layer_number_of_clusters.get(layer, self.number_of_clusters)

    def shares_per_channel(self, kernel: KernelFacts) -> bool:
        """True where each output channel of a kernel has values of its own."""
        return self.cluster_per_channel and kernel.channel_axis is not None

    def sharing(self, kernel: KernelFacts) -> int:
        """Weights that share their values: of a kernel, or of each output channel of it."""
        return kernel.size // (kernel.shape[kernel.channel_axis or 0] if self.shares_per_channel(kernel) else 1)

    def is_large_enough(self, layer: str, kernel: KernelFacts) -> bool:
        """True where a kernel (or each output channel of it) has more weights than values."""
        return self.sharing(kernel) > self.clusters_of(layer)

    def values_of(self, layer: str, weights: int) -> int:
        """Different values for so many weights; half as many where that is not more than asked."""
        asked = self.clusters_of(layer)
        return asked if weights > asked else max(2, weights // 2)


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

    def check(self, params: ClusteringParams) -> None:
        """Refuse a number of clusters for a layer that is left as it is."""
        both = sorted(set(params.layer_number_of_clusters) & set(params.leave_as_is))
        if both:
            raise InvalidParams(
                "`layer_number_of_clusters` is for layers that are clustered, but `leave_as_is` leaves as they are: "
                f"{', '.join(both)}. Take them out of one of the two."
            )

    def advice(self, params: ClusteringParams, settings: FineTuning | None) -> list[str]:
        """A shared value moves by the gradients of all its weights together, which SGD follows as they are."""
        if settings is None or settings.optimizer != "sgd" or settings.learning_rate < _FAST_FOR_SGD:
            return []
        return [
            f"Clustering with `optimizer` sgd often goes astray at `learning_rate` {settings.learning_rate:g}: each value "
            "moves by the gradients of all weights that share it. Choose adam, or a learning rate below "
            f"{_FAST_FOR_SGD:g}."
        ]

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
        chosen = {(weight.layer, weight.weight) for weight in weights}
        sparse = {layer for (layer, _), rule in kept.items() if rule.zeros is not None}
        names = {
            layer.name
            for layer in model.layers
            if layer.name not in sparse and _can_wrap(layer, _chosen_of(layer, chosen), params)
        }  # TFMOT's wrapper lets zeros drift (PR #720)
        clustering = tfmot().clustering.keras
        init = clustering.CentroidInitialization[params.cluster_centroids_init]

        def wrap_layer(layer: Any) -> Any:
            if layer.name not in names:
                return layer
            clusters = params.clusters_of(layer.name)
            wrapper = clustering.cluster_weights(layer, number_of_clusters=clusters, cluster_centroids_init=init)
            return passing_masks(wrapper)

        wrapped = clone_with_weights(model, wrap_layer)
        others = [
            _shared(layer, kernel, params, kept)
            for layer in wrapped.layers
            for kernel in _chosen_of(layer, chosen)  # none in TFMOT's wrappers, which have names of their own
        ]
        return Wrapped(wrapped, [SharedWeights(others, init).callback()] if others else [])

    def strip(self, model: Any) -> Any:
        """Replace each kernel by its centroids and take the wrappers off."""
        return tfmot().clustering.keras.strip_clustering(model)

    def treatment(self, layer: LayerFacts, params: ClusteringParams) -> Treatment:
        """Every kernel but depthwise ones and those with no more weights than clusters."""
        return _treatment(layer, params, small_too=False)

    def treatments(self, layers: Sequence[LayerFacts], params: ClusteringParams) -> tuple[Treatment, ...]:
        """As of the base; where the model has no larger kernels, small ones keep fewer values than they have weights."""
        found = super().treatments(layers, params)
        if any(treatment.verdict == "acts" for treatment in found):
            return found
        return tuple(
            treatment if layer.name in params.leave_as_is else _treatment(layer, params, small_too=True)
            for layer, treatment in zip(layers, found, strict=True)
        )

    def simulate(
        self, values: np.ndarray, params: ClusteringParams, layer: LayerFacts, kernel: KernelFacts
    ) -> np.ndarray:
        """Each weight takes the nearest of the values, where they are spread as at the start."""
        rows = values if params.shares_per_channel(kernel) else values.reshape(1, -1)
        count, init = params.values_of(layer.name, params.sharing(kernel)), params.cluster_centroids_init
        return np.concatenate([_nearest(row, count, init) for row in rows]).reshape(values.shape)

    def imitate(
        self, values: np.ndarray, params: ClusteringParams, layer: LayerFacts, kernel: KernelFacts
    ) -> np.ndarray:
        """The same, from the values that training starts from."""
        return self.simulate(values, params, layer, kernel)

    def verify(self, params: ClusteringParams, weights: list[WeightOf], tensors: list[WeightTensor]) -> list[Fact]:
        """Distinct values of each kernel; per output channel where each has values or a scale of its own."""
        facts = []
        for weight, tensor in located(tensors, weights):
            limit = params.values_of(weight.layer, _sharing(weight, tensor))
            asked = f"at most {limit} values{' in each channel' if weight.is_per_channel else ''}"
            if tensor is None:
                facts.append(not_located("distinct weights", weight, asked))
            else:
                measured, met = _distinct_values(weight, tensor, limit)
                facts.append(
                    Fact(claim="distinct weights", layer=weight.layer, asked=asked, measured=measured, met=met)
                )
        return facts

    def script_lines(self, params: ClusteringParams, step: ScriptStep) -> list[str]:
        """TFMOT's `cluster_weights` around the same layers."""
        if step.kept:
            raise NeedsTare("TFMOT's clustering lets the zeros of an earlier step drift (PR #720).")
        if params.cluster_per_channel:
            raise NeedsTare("TFMOT's clustering by channel passes convolutions without bias by.")
        require_plain_layers(step)
        acted_on = {weight.layer for weight in self.weights_of(step.layers, params)}
        for layer in step.layers:
            if layer.name in acted_on and not _fits_plain_tfmot(layer, params):
                raise NeedsTare(f"TFMOT's wrapper cannot cluster the {layer.class_name} layer {layer.name} so.")
        name = f"CLUSTERS_{step.number}"
        clusters = {layer.name: params.clusters_of(layer.name) for layer in step.layers if layer.name in acted_on}
        settings = step.settings
        assert settings is not None
        return [
            f"{name} = {clusters!r}",
            f"tf_keras.utils.set_random_seed({settings.seed})",
            "",
            "def cluster(layer):",
            f"    if layer.name not in {name}:",
            "        return layer",
            "    layer.trainable = True",
            "    return tfmot.clustering.keras.cluster_weights(",
            f"        layer, number_of_clusters={name}[layer.name],",
            "        cluster_centroids_init=tfmot.clustering.keras.CentroidInitialization."
            f"{params.cluster_centroids_init},",
            "    )",
            "",
            "wrapped = clone(model, cluster)",
            *training_lines(step, "[]"),
            "model = tfmot.clustering.keras.strip_clustering(wrapped)",
            *after_training_lines(step),
        ]


def _fits_plain_tfmot(layer: LayerFacts, params: ClusteringParams) -> bool:
    kinds = ("Dense", "Conv1D", "Conv2D", "Conv3D")
    large = [params.is_large_enough(layer.name, kernel) for kernel in layer.kernels]
    fits = all(kernel.size * params.clusters_of(layer.name) <= LARGEST_LOOKUP for kernel in layer.kernels)
    return layer.class_name in kinds and all(large) and fits


def _treatment(layer: LayerFacts, params: ClusteringParams, small_too: bool) -> Treatment:
    if not layer.kernels:
        return left(layer, "It has weights, but no kernel." if layer.parameters else "It has no weights.")
    kernels = [kernel for kernel in layer.kernels if not kernel.is_depthwise]
    if not kernels:
        return left(layer, "Depthwise kernels lose too much accuracy when clustered (as TFMOT's rules say).")
    large = [kernel for kernel in kernels if params.is_large_enough(layer.name, kernel)]
    if small_too:
        large = [kernel for kernel in kernels if params.sharing(kernel) > 2]
    if not large:
        return _too_small(layer, max(kernels, key=lambda kernel: kernel.size), params)
    weights = tuple(
        WeightOf(
            layer=layer.name,
            weight=kernel.name,
            size=kernel.size,
            shape=kernel.shape,
            is_per_channel=params.shares_per_channel(kernel),
            is_rescaled=layer.is_rescaled,
            has_rescaled_inputs=layer.has_rescaled_inputs,
        )
        for kernel in large
    )
    whose = "Each output channel of its kernel" if weights[0].is_per_channel else "Its kernel"
    values = params.values_of(layer.name, max(map(params.sharing, large)))
    return acts(layer, f"{whose} keeps {values} different values.", weights)


def _too_small(layer: LayerFacts, kernel: KernelFacts, params: ClusteringParams) -> Treatment:
    per_channel = params.shares_per_channel(kernel)
    size = kernel.size // kernel.shape[kernel.channel_axis or 0] if per_channel else kernel.size
    which = "layer_number_of_clusters" if layer.name in params.layer_number_of_clusters else "number_of_clusters"
    fix = f"Lower `{which}` below {size}." if size > 2 else ""
    whose = "Each output channel of its kernel" if per_channel else "Its kernel"
    return left(layer, f"{whose} has {size} weights, not more than there are clusters.", fix)


def _nearest(values: np.ndarray, count: int, init: str) -> np.ndarray:
    """Return the values (n,) with each replaced by the nearest of those that a training starts from."""
    if init in ("LINEAR", "RANDOM"):
        centroids = np.linspace(values.min(), values.max(), count, dtype=np.float32)
    else:
        centroids = np.quantile(values, np.linspace(0, 1, count)).astype(np.float32)  # close where the weights are
    return centroids[np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values)]


def _sharing(weight: WeightOf, tensor: WeightTensor | None) -> int:
    """Weights that share their values."""
    if tensor is None or not weight.is_per_channel:
        return weight.size
    return weight.size // int(tensor.values.shape[tensor.channel_axis])


def _distinct_values(weight: WeightOf, tensor: WeightTensor, limit: int) -> tuple[str, bool | None]:
    """Return what the file shows, and whether that is what was asked (None where it cannot tell)."""
    by_output = weight.is_per_channel or weight.is_rescaled or len(tensor.zero_points) > 1
    if tensor.distinct <= limit or not (by_output or weight.has_rescaled_inputs):
        return f"{tensor.distinct} values", tensor.distinct <= limit
    if by_output and weight.has_rescaled_inputs:
        return f"{tensor.distinct} values; inputs and outputs have a scale each, which leaves nothing to count", None
    axis, which = (tensor.channel_axis, "channel") if by_output else (tensor.values.ndim - 1, "input")
    if tensor.size // tensor.values.shape[axis] <= limit:
        return f"{tensor.distinct} values; each {which} has a scale of its own and too few weights to tell", None
    count = tensor.distinct_per_channel if by_output else tensor.distinct_per_input
    why = "" if weight.is_per_channel else ", which has a scale of its own"
    return f"{count} values in each {which}{why}", count <= limit


def _chosen_of(layer: Any, chosen: set[tuple[str, str]]) -> list[Kernel]:
    return [kernel for kernel in kernels_of(layer) if (layer.name, kernel.name) in chosen]


def _shared(layer: Any, kernel: Kernel, params: ClusteringParams, kept: Kept) -> SharedKernel:
    facts = kernel_facts(layer, kernel)
    return SharedKernel(
        kernel.variable,
        params.values_of(layer.name, params.sharing(facts)),
        kept.get((layer.name, kernel.name), KeptKernel()).zeros,
        facts.channel_axis if params.shares_per_channel(facts) else None,
    )


_FAST_FOR_SGD = 0.003
"""Learning rate from which on SGD was seen to lose the accuracy that clustering leaves; how soon depends on the model."""
LARGEST_LOOKUP = 2**28
"""TFMOT compares each weight with each centroid at once: weights times clusters, in elements of 4 bytes."""


def _can_wrap(layer: Any, kernels: Sequence[Kernel], params: ClusteringParams) -> bool:
    """True where TFMOT has a rule for the layer, for exactly the kernels to cluster, and its wrapper fits.

    Not where each channel has values of its own: the wrapper passes convolutions without bias by, and loops over the
    channels in Python.
    """
    from tensorflow_model_optimization.python.core.clustering.keras import clustering_registry

    registry = clustering_registry.ClusteringRegistry
    if not kernels or not layer.trainable or not registry.supports(layer) or not fits_a_wrapper(layer):
        return False
    facts = [kernel_facts(layer, kernel) for kernel in kernels]
    if any(params.shares_per_channel(one) or not params.is_large_enough(layer.name, one) for one in facts):
        return False
    if max(kernel.size for kernel in kernels) * params.clusters_of(layer.name) > LARGEST_LOOKUP:
        return False
    registry.make_clusterable(layer)
    try:
        theirs = layer.get_clusterable_weights()
    except (AttributeError, ValueError):  # a recurrent layer with a cell that TFMOT does not know
        return False
    return {id(weight) for _, weight in theirs} == {id(kernel.variable) for kernel in kernels}
