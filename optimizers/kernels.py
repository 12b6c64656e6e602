"""The kernels of a layer: the weights that make up nearly all of a model's size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from intake.keras_env import keras2

_NO_KERNEL = ("bias", "alpha", "gamma", "beta", "scale", "moving", "mean", "variance", "vector_u", "sn_u")


@dataclass(frozen=True)
class Kernel:
    """One weight of two or more dimensions that multiplies what goes through a layer."""

    name: str
    """What follows the layer's name in the variable's: "kernel", "forward_lstm/lstm_cell/recurrent_kernel"."""
    variable: Any

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(self.variable.shape.num_elements())


def kernels_of(layer: Any) -> list[Kernel]:
    """Return the kernels of one layer, in the order of its weights.

    Biases, the parameters of normalizations and of activations are none, whatever their shape: the bias of
    multi-head attention and of a GRU has two dimensions.
    """
    layers = keras2().layers
    if isinstance(layer, layers.BatchNormalization | layers.LayerNormalization | layers.PReLU):
        return []
    found = []
    for variable in layer.weights:
        name = _after_layer(str(variable.name), layer.name)
        last = name.split("/")[-1]
        if variable.shape.rank >= 2 and not last.startswith(_NO_KERNEL) and variable.dtype.is_floating:
            found.append(Kernel(name, variable))
    return found


def _after_layer(variable_name: str, layer_name: str) -> str:
    name = variable_name.split(":")[0]
    _, separator, rest = name.partition(f"{layer_name}/")
    return rest if separator else name


def is_depthwise(kernel: Kernel) -> bool:
    """True for the kernel that looks at each channel by itself, also inside a separable convolution."""
    return kernel.name.split("/")[-1].startswith("depthwise_kernel")


def input_axis(layer: Any, kernel: Kernel) -> int | None:
    """Return the axis of a kernel along which the channels lie that come in; None where no axis is only that.

    None for tables (Embedding), attention, locally connected and convolutional recurrent layers.
    """
    layers = keras2().layers
    while isinstance(layer, layers.Wrapper):
        layer = layer.layer
    rank = int(kernel.variable.shape.rank)
    if isinstance(layer, layers.Conv1DTranspose | layers.Conv2DTranspose | layers.Conv3DTranspose):
        return rank - 1
    convolutions = (
        layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.SeparableConv1D, layers.SeparableConv2D,
    )  # fmt: skip
    if isinstance(layer, convolutions):
        return rank - 2
    plain = isinstance(layer, layers.Dense | layers.LSTM | layers.GRU | layers.SimpleRNN)
    return 0 if plain and rank == 2 else None
