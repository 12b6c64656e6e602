"""Make one flat functional float32 tf_keras model of an opened model, and show that it computes the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from intake import keras_env
from intake.channels_last import ChannelOrder
from intake.errors import UnsupportedModel
from intake.keras3_rebuild import Keras3Layers, copy_weights, is_layer_scale, rebuild_with, scaling_layer
from intake.model_graph import Call, Keras2Library, Keras3Library, layer_names, needed_calls
from intake.model_probe import difference, outputs_of, require_equal_outputs


def clean_keras3(original: Any) -> tuple[Any, float]:
    """Return the tf_keras twin of a Keras 3 model and the largest difference of their outputs on a probe batch.

    Raises:
        UnsupportedModel: there is no twin, it computes something else, or weights are NaN.
    """
    layers = Keras3Layers(original)
    model, tensors = rebuild_with(Keras3Library(), original, layers.call_again)
    layers.copy_weights()
    _require_numbers(model)

    def first_difference(batch: Sequence[np.ndarray[Any, Any]]) -> str | None:
        return _first_difference(original, model, tensors, batch)

    return model, require_equal_outputs(original, model, first_difference)


def clean_keras2(original: Any) -> tuple[Any, float]:
    """Return a flat functional copy of a tf_keras model and the largest difference of their outputs.

    Raises:
        UnsupportedModel: the copy computes something else, or weights are NaN.
    """
    copies = _Keras2Copies(original)
    model, _ = rebuild_with(Keras2Library(), original, copies.call_again)
    copies.copy_weights()
    _require_numbers(model)
    return model, require_equal_outputs(original, model, lambda batch: None)


def _require_numbers(model: Any) -> None:
    broken = [layer.name for layer in model.layers if any(np.isnan(weight).any() for weight in layer.get_weights())]
    if broken:
        raise UnsupportedModel(
            f"The weights of {', '.join(broken[:5])} hold NaN (not a number), so every answer of the model would be NaN: "
            "its training broke down. Upload a version from before that."
        )


class _Keras2Copies:
    """Copies the layers of one tf_keras model under unique names, and calls the copies."""

    def __init__(self, model: Any) -> None:
        self._names = {id(layer): name for name, layer in layer_names(Keras2Library(), model).items()}
        self._copies: dict[int, tuple[Any, Any, bool]] = {}
        self._order = ChannelOrder(self._names.values())

    def call_again(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        layer = call.operation
        if id(layer) not in self._copies:
            self._copies[id(layer)] = (layer, *self._copy(layer, args[0] if args else None))
        if not layer._expects_training_arg:
            kwargs = {key: value for key, value in kwargs.items() if key != "training"}
        _, copy, in_channels_last = self._copies[id(layer)]
        if in_channels_last:
            return self._order.call(copy, args[0], lambda inputs: copy(inputs, *args[1:], **kwargs))
        return copy(*args, **kwargs)

    def _copy(self, layer: Any, inputs: Any) -> tuple[Any, bool]:
        if is_layer_scale(layer):
            return scaling_layer(inputs, [len(inputs.shape) - 1], self._names[id(layer)]), False
        config = {**layer.get_config(), "name": self._names[id(layer)]}
        config.pop("batch_input_shape", None)
        if type(layer).__name__ == "TensorFlowOpLayer":  # puts this before its name itself
            config["name"] = config["name"].removeprefix("tf_op_layer_")
        config, in_channels_last = self._order.adapted(type(layer).__name__, config, inputs)
        return type(layer).from_config(config), in_channels_last

    def copy_weights(self) -> None:
        for layer, copy, _ in self._copies.values():
            copy_weights(layer, copy)


def _first_difference(
    original: Any, model: Any, tensors: dict[int, Any], batch: Sequence[np.ndarray[Any, Any]]
) -> str | None:
    """Name the first layer whose output differs; a nested model counts as one layer."""
    calls = [call for call in needed_calls(Keras3Library(), original) if len(call.outputs) == 1]
    pairs = [(call.operation.name, call.outputs[0], tensors[id(call.outputs[0])]) for call in calls]
    theirs = keras_env.keras3().Model(original.inputs, [old for _, old, _ in pairs])
    ours = keras_env.keras2().Model(model.inputs, [new for _, _, new in pairs])
    for (name, _, _), old, new in zip(pairs, outputs_of(theirs, batch), outputs_of(ours, batch), strict=True):
        if not difference([old], [new])[1]:
            return str(name)
    return None
