"""A Keras model as a plain list of calls, for Keras 2 and Keras 3 alike, and the replay of such a list.

Replaying the calls on new inputs flattens nested models: their layers end up in the one outer model, which is
what pruning, clustering and quantization-aware training of Keras 2 need.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from intake import keras_env

_AUTOMATIC_MASKS = ("mask", "query_mask", "key_mask", "value_mask")


@dataclass(frozen=True)
class Call:
    """One call of a layer, a nested model or an operation inside a functional model."""

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Any, ...]
    """Tensors, flat."""


class Library(Protocol):
    """How to read the graph of a model in one of the two Kerases."""

    def is_model(self, operation: Any) -> bool: ...
    def is_layer(self, operation: Any) -> bool: ...
    def is_tensor(self, value: Any) -> bool: ...
    def flatten(self, structure: Any) -> list[Any]: ...
    def map_tensors(self, function: Callable[[Any], Any], structure: Any) -> Any: ...
    def nodes(self, model: Any) -> Iterator[Call]: ...
    def output_structure(self, model: Any) -> Any: ...


class Keras2Library:
    """Reads tf_keras models (Sequential and functional)."""

    def __init__(self) -> None:
        self._keras, self._tf = keras_env.keras2(), keras_env.tensorflow()

    def is_model(self, operation: Any) -> bool:
        return isinstance(operation, self._keras.Model)

    def is_layer(self, operation: Any) -> bool:
        return isinstance(operation, self._keras.layers.Layer)

    def is_tensor(self, value: Any) -> bool:
        return hasattr(value, "_keras_history")

    def flatten(self, structure: Any) -> list[Any]:
        return list(self._tf.nest.flatten(structure))

    def map_tensors(self, function: Callable[[Any], Any], structure: Any) -> Any:
        return self._tf.nest.map_structure(lambda item: function(item) if self.is_tensor(item) else item, structure)

    def nodes(self, model: Any) -> Iterator[Call]:
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                if not node.is_input:
                    outputs = tuple(self.flatten(node.outputs))
                    yield Call(node.layer, tuple(node.call_args), dict(node.call_kwargs), outputs)

    def output_structure(self, model: Any) -> Any:
        return model._nested_outputs


class Keras3Library:
    """Reads Keras 3 models (Sequential and functional).

    Masks that Keras 3 derived by itself are left out: Keras 2 derives them again.
    """

    def __init__(self) -> None:
        self._keras = keras_env.keras3()

    def is_model(self, operation: Any) -> bool:
        return isinstance(operation, self._keras.Model)

    def is_layer(self, operation: Any) -> bool:
        return isinstance(operation, self._keras.layers.Layer)

    def is_tensor(self, value: Any) -> bool:
        return isinstance(value, self._keras.KerasTensor)

    def flatten(self, structure: Any) -> list[Any]:
        return list(self._keras.tree.flatten(structure))

    def map_tensors(self, function: Callable[[Any], Any], structure: Any) -> Any:
        return self._keras.tree.map_structure(lambda item: function(item) if self.is_tensor(item) else item, structure)

    def nodes(self, model: Any) -> Iterator[Call]:
        functional = _functional(model)
        for depth in sorted(functional._nodes_by_depth, reverse=True):
            for node in functional._nodes_by_depth[depth]:
                if not node.is_input:
                    arguments = node.arguments
                    kwargs = _chosen_arguments(node.operation, arguments.kwargs)
                    yield Call(node.operation, tuple(arguments.args), kwargs, tuple(node.outputs))

    def output_structure(self, model: Any) -> Any:
        return _functional(model)._outputs_struct


def _chosen_arguments(operation: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments that the author of a Keras 3 model chose.

    Keras 3 also records masks that it derived, and `training` as the default of the layer (True for RandomFlip, False
    for Dropout). Keeping those would switch augmentation on, or dropout off, for good.
    """
    kept = {key: value for key, value in kwargs.items() if key not in _AUTOMATIC_MASKS}
    if "training" in kept:
        default = inspect.signature(operation.call).parameters["training"].default
        if kept["training"] is None or kept["training"] is default:
            del kept["training"]
    return kept


def _functional(model: Any) -> Any:
    return getattr(model, "_functional", None) or model


def needed_calls(library: Library, model: Any) -> list[Call]:
    """The calls that the outputs of the model depend on, in the order in which they can be made."""
    needed = {id(tensor) for tensor in model.outputs}
    kept: list[Call] = []
    for call in reversed(list(library.nodes(model))):
        if any(id(output) in needed for output in call.outputs):
            kept.append(call)
            arguments = library.flatten((call.args, call.kwargs))
            needed.update(id(item) for item in arguments if library.is_tensor(item))
    return kept[::-1]


def layer_names(library: Library, model: Any) -> dict[str, Any]:
    """Unique name -> layer, for every layer of the model and of the models nested in it, in order of first call.

    Names are unique also where capitals do not count (file names of reports, TensorFlow scopes), and hold only characters
    that TensorFlow accepts. A nested layer keeps its own name where that is free, else `<name of the nested model>_<name>`, else a number is
    added. The same model always gets the same names: they tie the prepared model to the uploaded one.
    """
    names: dict[str, Any] = {}
    reserved = {plain_name(tensor_name(tensor)) for tensor in model.inputs}
    known: set[int] = set()

    def visit(part: Any, prefix: str) -> None:
        for call in needed_calls(library, part):
            operation = call.operation
            if id(operation) in known or not library.is_layer(operation):
                continue
            known.add(id(operation))
            nested = operation if library.is_model(operation) else _model_for_each_step(library, operation)
            if nested is not None:
                visit(nested, f"{prefix}{plain_name(operation.name)}_")
            else:
                names[_free_name(plain_name(operation.name), prefix, names.keys() | reserved)] = operation

    visit(model, "")
    return names


def tensor_name(tensor: Any) -> str:
    """Name of the input layer behind an input tensor."""
    history = tensor._keras_history
    return str((history.layer if hasattr(history, "layer") else history.operation).name)


def plain_name(name: str) -> str:
    """The name with `_` for what TensorFlow does not accept in a scope (spaces, brackets, ...) or reads as a path."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
    return plain if plain[:1].isalnum() else f"layer{plain}"


def _free_name(name: str, prefix: str, names: set[str]) -> str:
    taken = {one.lower() for one in names}
    for candidate in (name, prefix + name):
        if candidate.lower() not in taken:
            return candidate
    number = 1
    while f"{prefix}{name}_{number}".lower() in taken:
        number += 1
    return f"{prefix}{name}_{number}"


def replay(
    library: Library,
    model: Any,
    inputs: Sequence[Any],
    call_again: Callable[[Call, tuple[Any, ...], dict[str, Any]], Any],
) -> tuple[Any, dict[int, Any]]:
    """Make the calls of a model again on other input tensors, nested models flattened.

    Args:
        library: reads the model's graph.
        model: Sequential or functional.
        inputs: one tensor per `model.inputs`.
        call_again: makes one call with the new arguments and returns its outputs.

    Returns:
        The outputs in the structure of the model's outputs, and new tensor by id of the model's own tensor.
    """
    tensors: dict[int, Any] = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}
    for call in needed_calls(library, model):
        args, kwargs = library.map_tensors(lambda tensor: tensors[id(tensor)], (call.args, call.kwargs))
        training = kwargs.get("training")
        if library.is_model(call.operation):
            nested_inputs = _ordered_inputs(call.operation, args, kwargs)
            outputs, _ = replay(library, call.operation, nested_inputs, _with_training(call_again, training))
        elif (for_each_step := _model_for_each_step(library, call.operation)) is not None:
            samples, steps = _steps_as_samples(args[0] if args else kwargs["inputs"])
            outputs, _ = replay(library, for_each_step, [samples], _with_training(call_again, training))
            outputs = _samples_as_steps(library.flatten(outputs)[0], steps)
        else:
            outputs = call_again(call, args, kwargs)
        tensors.update((id(old), new) for old, new in zip(call.outputs, _flat(outputs), strict=True))
    outputs = library.map_tensors(lambda tensor: tensors[id(tensor)], library.output_structure(model))
    return outputs, tensors


def _model_for_each_step(library: Library, operation: Any) -> Any:
    """The model inside a TimeDistributed, of one input and one output; None for anything else."""
    wrapped = getattr(operation, "layer", None) if type(operation).__name__ == "TimeDistributed" else None
    if wrapped is None or not library.is_model(wrapped):
        return None
    inputs, outputs = getattr(wrapped, "inputs", None), getattr(wrapped, "outputs", None)
    return wrapped if inputs and outputs and len(inputs) == len(outputs) == 1 else None


def _steps_as_samples(x: Any) -> tuple[Any, Any]:
    """(samples, steps, ...) -> (samples * steps, ...); return that, and what undoes it: the number of steps."""
    tf = keras_env.tensorflow()
    steps = tf.shape(x)[1] if x.shape[1] is None else int(x.shape[1])
    return tf.reshape(x, [-1, *_known_sizes(x, 2)]), steps


def _samples_as_steps(x: Any, steps: Any) -> Any:
    """(samples * steps, ...) -> (samples, steps, ...)."""
    return keras_env.tensorflow().reshape(x, [-1, steps, *_known_sizes(x, 1)])


def _known_sizes(x: Any, first: int) -> list[Any]:
    sizes: Any = keras_env.tensorflow().shape(x) if None in tuple(x.shape)[first:] else None
    return [sizes[place] if x.shape[place] is None else int(x.shape[place]) for place in range(first, len(x.shape))]


def _with_training(call_again: Callable[..., Any], training: bool | None) -> Callable[..., Any]:
    """`base(x, training=False)` holds for every layer inside `base`."""
    if training is None:
        return call_again

    def call_inner(call: Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return call_again(call, args, {**kwargs, "training": training})

    return call_inner


def _ordered_inputs(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    given = args[0] if args else kwargs["inputs"]
    if isinstance(given, dict):
        return [given[tensor_name(tensor)] for tensor in model.inputs]
    return _flat(given)


def _flat(structure: Any) -> list[Any]:
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure) for leaf in _flat(structure[key])]
    if isinstance(structure, list | tuple):
        return [leaf for item in structure for leaf in _flat(item)]
    return [structure]
