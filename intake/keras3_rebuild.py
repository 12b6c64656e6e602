"""Rebuild a Keras 3 model in Keras 2 (tf_keras), layer by layer with the same weights.

TFMOT works on Keras 2 only. The graph of the Keras 3 model is replayed: every layer is built once from its
translated settings and called as often, and on the same tensors, as in the original.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from intake import keras_env
from intake.channels_last import ChannelOrder
from intake.errors import UnsupportedModel
from intake.keras3_activations import composed_activation
from intake.keras3_config import is_without_twin, keras2_class, keras2_config
from intake.keras3_operations import call_operation
from intake.model_classes import HIDDEN_LAYERS, ONLY_WHILE_TRAINING
from intake.model_graph import Call, Keras3Library, layer_names, plain_name, replay, tensor_name


class Keras3Layers:
    """Builds Keras 2 twins of the layers of one Keras 3 model, and calls them."""

    def __init__(self, model: Any) -> None:
        self._names = {id(layer): name for name, layer in layer_names(Keras3Library(), model).items()}
        self._twins: dict[int, tuple[Any, Any, bool]] = {}
        self._order = ChannelOrder(self._names.values())

    def call_again(self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make one call of the Keras 3 model on Keras 2 tensors."""
        layer = call.operation
        without_training = {key: value for key, value in kwargs.items() if key != "training"}
        if not Keras3Library().is_layer(layer):
            return call_operation(layer, args, without_training)
        if type(layer).__name__ in ONLY_WHILE_TRAINING:
            return args[0]
        if is_without_twin(layer) and not layer.weights:
            return call_operation(layer, args, without_training)
        if type(layer).__name__ == "RMSNormalization":
            return self._normalized(layer, args[0])
        if is_layer_scale(layer):
            return self._scaled(layer, args[0], [len(args[0].shape) - 1])
        if id(layer) not in self._twins:
            config, in_channels_last = self._order.adapted(
                type(layer).__name__, layer.get_config(), args[0] if args else None
            )
            twin = build_twin(layer, config, self._names[id(layer)])
            self._twins[id(layer)] = (layer, twin, in_channels_last)
        _, twin, in_channels_last = self._twins[id(layer)]
        accepted = _accepted_arguments(layer, twin, kwargs)
        try:
            if in_channels_last:
                outputs = self._order.call(twin, args[0], lambda inputs: twin(inputs, *args[1:], **accepted))
            else:
                outputs = twin(*args, **accepted)
        except (TypeError, ValueError) as error:
            raise _not_alike(layer, error) from error
        activation = composed_activation(layer)
        return activation(outputs) if activation else outputs

    def _normalized(self, layer: Any, x: Any) -> Any:
        """RMSNormalization: the scale is the kernel of an EinsumDense, the rest is TensorFlow."""
        tf, rank = keras_env.tensorflow(), len(x.shape)
        axes = [axis % rank for axis in ([layer.axis] if isinstance(layer.axis, int) else layer.axis)]
        scale = tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=axes, keepdims=True) + layer.epsilon)
        return self._scaled(layer, x * scale, axes)

    def _scaled(self, layer: Any, x: Any, axes: Sequence[int]) -> Any:
        if id(layer) not in self._twins:
            self._twins[id(layer)] = (layer, scaling_layer(x, axes, self._names[id(layer)]), False)
        return self._twins[id(layer)][1](x)

    def copy_weights(self) -> None:
        """Copy every layer's weights; random states are no weights in Keras 3 and stay behind."""
        for layer, twin, _ in self._twins.values():
            copy_weights(layer, twin)


def is_layer_scale(layer: Any) -> bool:
    """True for the layer of ConvNeXt that multiplies each channel by a weight, of either Keras."""
    return type(layer).__name__ == "LayerScale" and type(layer).__module__.endswith(HIDDEN_LAYERS["LayerScale"])


def scaling_layer(x: Any, axes: Sequence[int], name: str) -> Any:
    """Return a Keras 2 layer, not called yet, that multiplies a tensor like `x` by a weight along some axes."""
    letters = "abcdefghij"[: len(x.shape)]
    equation = f"{letters},{''.join(letters[axis] for axis in axes)}->{letters}"
    sizes = [x.shape[axis] if axis in axes else None for axis in range(1, len(x.shape))]
    return keras_env.keras2().layers.EinsumDense(equation, sizes, name=name)


def build_twin(layer: Any, config: dict[str, Any], name: str) -> Any:
    """Build the Keras 2 twin of a Keras 3 layer from its settings, not called and without its weights.

    Raises:
        UnsupportedModel: naming layer and class, where Keras 2 has no equal.
    """
    twin_class = keras2_class(layer)
    if composed_activation(layer):
        config["activation"] = "linear"
    wrapped = getattr(layer, "layer", None)
    wraps_model = Keras3Library().is_model(wrapped)
    if wraps_model:
        config.pop("layer")
    config = {**keras2_config(layer.name, twin_class.__name__, config), "name": name}
    try:
        if wraps_model:
            return twin_class(rebuild_in_keras2(wrapped), **config)
        return twin_class(**config)
    except (TypeError, ValueError, KeyError) as error:
        raise _not_alike(layer, error) from error


def copy_weights(layer: Any, twin: Any) -> None:
    """Give `twin` (Keras 2) the weights of `layer` (either Keras).

    Raises:
        UnsupportedModel: number or shapes of the weights differ.
    """
    weights = layer.get_weights()
    expected = [tuple(weight.shape) for weight in twin.weights]
    weights = in_order_of_shapes(weights, expected)
    received = [tuple(weight.shape) for weight in weights]
    if expected != received:
        raise UnsupportedModel(
            f"Layer '{layer.name}' ({type(layer).__name__}) has weights of the shapes {received}, but in Keras 2 it "
            f"has {expected}. Replace it by a layer that both have and save the model again."
        )
    twin.set_weights(weights)
    if hasattr(twin, "finalize_state"):
        twin.finalize_state()


def in_order_of_shapes(weights: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """The weights in the order of these shapes, where the shapes alone tell it; else as they are.

    Keras 3 lists the vector of a SpectralNormalization between the kernel and the bias, Keras 2 at the end.
    """
    own = [tuple(weight.shape) for weight in weights]
    if own == list(shapes) or sorted(own) != sorted(shapes) or len(set(own)) != len(own):
        return list(weights)
    return [weights[own.index(shape)] for shape in shapes]


def rebuild_in_keras2(model: Any) -> Any:
    """Return a functional tf_keras model that computes what a built Keras 3 Sequential or functional model does.

    Nested models are flattened, the layers keep their (unique) names, weights are copied, the batch axis is free.

    Raises:
        UnsupportedModel: naming the layer and class that has no twin in Keras 2.
    """
    layers = Keras3Layers(model)
    rebuilt, _ = rebuild_with(Keras3Library(), model, layers.call_again)
    layers.copy_weights()
    return rebuilt


def rebuild_with(
    library: Any, model: Any, call_again: Callable[[Call, tuple[Any, ...], dict[str, Any]], Any]
) -> tuple[Any, dict[int, Any]]:
    """Replay `model` on fresh Keras 2 inputs; return the functional model and new tensor by id of the old one."""
    keras = keras_env.keras2()
    inputs = [_new_input(tensor) for tensor in model.inputs]
    outputs, tensors = replay(library, model, inputs, call_again)
    return keras.Model(
        _one_or_list(inputs), _one_or_list(library.flatten(outputs)), name=plain_name(model.name)
    ), tensors


def _new_input(tensor: Any) -> Any:
    dtype = tensor.dtype if isinstance(tensor.dtype, str) else tensor.dtype.name
    return keras_env.keras2().Input(shape=tuple(tensor.shape)[1:], dtype=dtype, name=plain_name(tensor_name(tensor)))


def _one_or_list(tensors: Sequence[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else list(tensors)


def _accepted_arguments(layer: Any, twin: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments that Keras 2 knows too. `training` goes only to layers that use it; unset ones are left out."""
    parameters = inspect.signature(twin.call).parameters
    accepts_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    accepted = {key: value for key, value in kwargs.items() if value is not None and (accepts_any or key in parameters)}
    foreign = {key for key, value in kwargs.items() if key not in accepted and value not in (None, False)}
    foreign -= {"training"}
    if foreign:
        raise UnsupportedModel(
            f"Layer '{layer.name}' ({type(layer).__name__}) is called with {', '.join(sorted(foreign))}, which Keras 2 "
            "does not know. Leave it out and save the model again."
        )
    return accepted


def _not_alike(layer: Any, error: Exception) -> UnsupportedModel:
    reason = " ".join(str(error).split())[:200]
    return UnsupportedModel(
        f"Layer '{layer.name}' ({type(layer).__name__}) cannot be rebuilt in Keras 2, in which the compression "
        f"techniques work ({reason}). Replace it by a layer that both have and save the model again."
    )
