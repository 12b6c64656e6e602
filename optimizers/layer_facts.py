"""What the techniques need to know of a model's layers, as plain data: read once, then judged without TensorFlow."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from intake.keras_env import keras2
from measure.loops import becomes_a_loop
from optimizers.kernels import is_depthwise, kernels_of


class KernelFacts(BaseModel):
    """One kernel of a layer."""

    model_config = ConfigDict(frozen=True)

    name: str
    size: int
    """Number of weights."""
    is_depthwise: bool = False


class LayerFacts(BaseModel):
    """One layer of the clean model."""

    model_config = ConfigDict(frozen=True)

    name: str
    class_name: str
    parameters: int
    """Weights of every kind."""
    kernels: tuple[KernelFacts, ...] = ()
    is_rescaled: bool = False
    """True where a BatchNormalization follows: the converter multiplies it into the kernel, channel by channel."""
    has_rescaled_inputs: bool = False
    """True where one comes before: the converter multiplies it into the kernel, input by input."""
    input_rank: int = 2
    """Axes of what goes in, that of the batch included; 0 where there are several inputs."""
    becomes_a_loop: bool = False
    """True for a recurrent layer that LiteRT runs step by step."""
    obstacles: dict[str, str] = {}
    """Name of a technique -> why it cannot act on this layer in its usual way, in a sentence."""


def layer_facts(model: Any, obstacle_of: Any) -> tuple[LayerFacts, ...]:
    """Read the facts of each layer of a clean tf_keras model, inputs left out.

    Args:
        model: functional tf_keras model.
        obstacle_of: layer -> {name of a technique: sentence}, for those that meet an obstacle.
    """
    inputs = keras2().layers.InputLayer
    return tuple(_facts(layer, obstacle_of(layer)) for layer in model.layers if not isinstance(layer, inputs))


def _facts(layer: Any, obstacles: dict[str, str]) -> LayerFacts:
    return LayerFacts(
        name=layer.name,
        class_name=type(layer).__name__,
        parameters=sum(int(weight.shape.num_elements()) for weight in layer.weights),
        kernels=tuple(
            KernelFacts(name=kernel.name, size=kernel.size, is_depthwise=is_depthwise(kernel))
            for kernel in kernels_of(layer)
        ),
        is_rescaled=_is_followed_by_batch_normalization(layer),
        has_rescaled_inputs=_comes_after_batch_normalization(layer),
        input_rank=_input_rank(layer),
        becomes_a_loop=becomes_a_loop(layer),
        obstacles=obstacles,
    )


def _input_rank(layer: Any) -> int:
    ranks = {len(tensor.shape) for node in layer.inbound_nodes for tensor in _listed(node.input_tensors)}
    return ranks.pop() if len(ranks) == 1 and len(_listed(layer.inbound_nodes[0].input_tensors)) == 1 else 0


def _is_followed_by_batch_normalization(layer: Any) -> bool:
    after = [node.outbound_layer for node in layer.outbound_nodes]
    return any(isinstance(following, keras2().layers.BatchNormalization) for following in after)


_HANDED_ON = (
    "Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianNoise", "GaussianDropout", "AlphaDropout", "Flatten",
    "Reshape", "ActivityRegularization",
)  # fmt: skip


def _comes_after_batch_normalization(layer: Any) -> bool:
    before = [found for node in layer.inbound_nodes for found in _listed(node.inbound_layers)]
    return any(
        isinstance(one, keras2().layers.BatchNormalization)
        or (type(one).__name__ in _HANDED_ON and _comes_after_batch_normalization(one))
        for one in before
    )


def _listed(layers: Any) -> list[Any]:
    return list(layers) if isinstance(layers, list | tuple) else [layers]
