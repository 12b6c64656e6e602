"""Rewrite layers that keep the channels first (theano order) into layers that keep them last.

Processors, TensorFlow Lite and TFMOT know only channels last. Each such layer is built for channels last, with the
same weights, between two Permute layers. A tensor that came out of one is remembered in both orders, so between two
such layers nothing is permuted: Permute layers that nothing uses do not become part of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from intake import keras_env
from intake.model_classes import words

_FOLLOWING = words(
    """
    Activation Add AlphaDropout Average Dropout ELU GaussianDropout GaussianNoise LeakyReLU Maximum Minimum Multiply
    ReLU Subtract ThresholdedReLU
    """
)
"""Layers that compute the same in either order, so they go on in the order that the layer before them has."""
_WITH_CHANNEL_AXIS = frozenset(("BatchNormalization", "Concatenate", "SyncBatchNormalization", "Softmax"))
_LEFT_AS_THEY_ARE = frozenset(("Bidirectional", "LocallyConnected1D", "LocallyConnected2D"))
"""Layers whose weights are laid out for one order, or that join two results along the last axis, whichever it is."""


def keeps_channels_first(class_name: str, config: dict[str, Any]) -> bool:
    """Whether a layer of this class and configuration (of either Keras) works in channels first."""
    if class_name in _LEFT_AS_THEY_ARE:
        return False
    return _innermost(config).get("data_format") == "channels_first"


def in_channels_last(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of the same layer, or of the layer inside a TimeDistributed, for channels last."""
    wrapped = config.get("layer")
    if isinstance(wrapped, dict) and isinstance(wrapped.get("config"), dict):
        return {**config, "layer": {**wrapped, "config": in_channels_last(wrapped["config"])}}
    return {**config, "data_format": "channels_last"}


def _innermost(config: dict[str, Any]) -> dict[str, Any]:
    wrapped = config.get("layer")
    if isinstance(wrapped, dict) and isinstance(wrapped.get("config"), dict):
        return _innermost(wrapped["config"])
    return config


class ChannelOrder:
    """Calls the layers of one model that is being rebuilt in Keras 2, and permutes where the order changes."""

    def __init__(self, taken_names: Collection[str]) -> None:
        self._names = set(taken_names)
        self._last: dict[int, tuple[Any, Any]] = {}
        """Tensor with the channels last, by id of its twin with the channels first (kept alive)."""

    def adapted(self, class_name: str, config: dict[str, Any], inputs: Any) -> tuple[dict[str, Any], bool]:
        """Return the configuration to build a layer with, and whether it is to be called in channels last.

        Args:
            class_name: of the layer.
            config: its own configuration.
            inputs: tensor or tensors of its first call.
        """
        if keeps_channels_first(class_name, config):
            return in_channels_last(config), True
        if class_name in _WITH_CHANNEL_AXIS and self._know_all(inputs):
            axis = config.get("axis")
            axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
            rank = len(_tensors(inputs)[0].shape)
            if isinstance(axis, int) and axis % rank:
                last_axis = rank - 1 if axis % rank == 1 else axis % rank - 1
                return {**config, "axis": last_axis}, True
        return config, class_name in _FOLLOWING and self._know_all(inputs)

    def call(self, layer: Any, inputs: Any, call: Callable[[Any], Any]) -> Any:
        """Call a layer that was built for channels last on tensors with the channels first; the result has them first.

        Args:
            layer: the layer, for its name and the place of its channels.
            inputs: tensor or list of tensors.
            call: calls the layer.
        """
        axis = 2 if _has_time_first(layer) else 1
        if isinstance(inputs, list | tuple):
            given: Any = [self._with_channels_last(tensor, axis, layer.name) for tensor in inputs]
        else:
            given = self._with_channels_last(inputs, axis, layer.name)
        output = call(given)
        return self._with_channels_first(output, axis if len(output.shape) == len(_tensors(given)[0].shape) else 1)

    def _know_all(self, inputs: Any) -> bool:
        return all(id(tensor) in self._last for tensor in _tensors(inputs))

    def _with_channels_last(self, tensor: Any, axis: int, name: str) -> Any:
        if id(tensor) not in self._last:
            places = [place for place in range(1, len(tensor.shape)) if place != axis]
            permuted = self._permute((*places, axis), f"{name}_channels_last")(tensor)
            self._last[id(tensor)] = (tensor, permuted)
        return self._last[id(tensor)][1]

    def _with_channels_first(self, tensor: Any, axis: int) -> Any:
        rank = len(tensor.shape)
        if rank < 3 or (axis == 2 and rank == 3):
            return tensor
        places = list(range(1, rank - 1))
        places.insert(axis - 1, rank - 1)
        name = tensor._keras_history.layer.name
        permuted = self._permute(tuple(places), f"{name}_channels_first")(tensor)
        self._last[id(permuted)] = (permuted, tensor)
        return permuted

    def _permute(self, places: tuple[int, ...], name: str) -> Any:
        number, free = 1, name
        while free in self._names:
            number, free = number + 1, f"{name}_{number}"
        self._names.add(free)
        return keras_env.keras2().layers.Permute(places, name=free)


def _has_time_first(layer: Any) -> bool:
    return type(layer).__name__.startswith(("ConvLSTM", "TimeDistributed"))


def _tensors(inputs: Any) -> list[Any]:
    return list(inputs) if isinstance(inputs, list | tuple) else [inputs]
