"""What the techniques need to know of a model's layers, as plain data: read once, then judged without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from intake.keras_env import keras2
from measure.loops import becomes_a_loop
from optimizers.kernel_operations import operation_of
from optimizers.kernels import Kernel, input_axis, is_depthwise, kernels_of
from optimizers.sparse_inference import obstacles_to_sparse_inference


class KernelFacts(BaseModel):
    """One kernel of a layer."""

    model_config = ConfigDict(frozen=True)

    name: str
    size: int
    """Number of weights."""
    is_depthwise: bool = False
    shape: tuple[int, ...] = ()
    """As in the Keras model."""
    input_axis: int | None = None
    """Axis of the channels that come in; None where no axis is only that (tables, attention)."""
    operation: str = ""
    """The `.tflite` operation that multiplies with it: "CONV_2D"; "" where that depends on the model."""

    @property
    def inputs(self) -> int:
        """Channels that come in; 0 where no axis is only that."""
        return 0 if self.input_axis is None else self.shape[self.input_axis]

    @property
    def channel_axis(self) -> int | None:
        """Axis of the channels that go out, of a convolution's kernel of four axes; None for other kernels."""
        if len(self.shape) != 4 or self.input_axis is None:
            return None
        return 2 if self.input_axis == 3 else 3


class LayerFacts(BaseModel):
    """One layer of the clean model."""

    model_config = ConfigDict(frozen=True)

    name: str
    class_name: str
    parameters: int
    """Weights of every kind."""
    kernels: tuple[KernelFacts, ...] = ()
    inputs: tuple[str, ...] = ()
    """Names of the layers that it takes from, those of the model's inputs among them."""
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
    sparse_inference_obstacle: str = ""
    """Why the model does not qualify for XNNPACK's sparse inference, where it fails at this layer; in a sentence."""

    def kernel(self, name: str) -> KernelFacts:
        """Return the kernel of that name."""
        return next(kernel for kernel in self.kernels if kernel.name == name)


def layer_facts(model: Any, obstacle_of: Any) -> tuple[LayerFacts, ...]:
    """Read the facts of each layer of a clean tf_keras model, inputs left out.

    Args:
        model: functional tf_keras model.
        obstacle_of: layer -> {name of a technique: sentence}, for those that meet an obstacle.
    """
    inputs = keras2().layers.InputLayer
    dense = obstacles_to_sparse_inference(model)
    return tuple(
        _facts(layer, obstacle_of(layer), dense.get(layer.name, ""), model.outputs)
        for layer in model.layers
        if not isinstance(layer, inputs)
    )


def _facts(layer: Any, obstacles: dict[str, str], sparse_inference_obstacle: str, outputs: Sequence[Any]) -> LayerFacts:
    return LayerFacts(
        name=layer.name,
        class_name=type(layer).__name__,
        parameters=sum(int(weight.shape.num_elements()) for weight in layer.weights),
        kernels=tuple(kernel_facts(layer, kernel, outputs) for kernel in kernels_of(layer)),
        inputs=_inputs(layer),
        is_rescaled=_is_followed_by_batch_normalization(layer),
        has_rescaled_inputs=_comes_after_batch_normalization(layer),
        input_rank=_input_rank(layer),
        becomes_a_loop=becomes_a_loop(layer, outputs),
        obstacles=obstacles,
        sparse_inference_obstacle=sparse_inference_obstacle,
    )


def kernel_facts(layer: Any, kernel: Kernel, outputs: Sequence[Any] = ()) -> KernelFacts:
    """Return the facts of one kernel of a built tf_keras layer.

    Args:
        layer: of a model.
        kernel: one of its kernels.
        outputs: of the model; without them, the `operation` of a recurrent layer may be wrong.
    """
    return KernelFacts(
        name=kernel.name,
        size=kernel.size,
        is_depthwise=is_depthwise(kernel),
        shape=tuple(kernel.variable.shape.as_list()),
        input_axis=input_axis(layer, kernel),
        operation=operation_of(layer, kernel, outputs),
    )


def _inputs(layer: Any) -> tuple[str, ...]:
    before = [found.name for node in layer.inbound_nodes for found in _listed(node.inbound_layers)]
    return tuple(dict.fromkeys(before))


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
