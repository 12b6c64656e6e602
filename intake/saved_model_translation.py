"""Translate the graph behind a signature into a functional tf_keras model.

Operations on known arrays are computed at once (shapes, constants, transformed weights); operations on Keras tensors
become layers where Keras has one for them, and calls of TensorFlow functions where not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from intake import keras_env
from intake.errors import UnsupportedModel
from intake.saved_model_graph import Argument, Node, SignatureGraph, in_order
from intake.saved_model_ops import RANDOM
from intake.saved_model_values import Array, Deferred, Value, tensor_of

Handler = Callable[["Translation", Node, list[Value]], Value]
_WIDE = ("float16", "bfloat16", "float64")
_MAX_CONSTANT_BYTES = 1024**3


class Translation:
    """Builds one functional model; layers get the names of the variables that they take over."""

    def __init__(self, graph: SignatureGraph, zero_output_for_mask: bool = False) -> None:
        self.graph, self.zero_output_for_mask = graph, zero_output_for_mask
        self.keras, self.tf = keras_env.keras2(), keras_env.tensorflow()
        self.values: dict[tuple[int, int], Value] = {}
        self.uses: Counter[tuple[int, int]] = Counter()
        self._variable_names: dict[int, str] = {}
        self._arrays: list[Array] = []
        self._names: set[str] = set()
        self._weights: list[tuple[Any, list[Array]]] = []
        self.masked = False
        """Whether a recurrent layer with a mask was met."""
        self._shared: dict[tuple[Any, ...], Any] = {}

    def model(self) -> Any:
        """Return the functional model, its inputs in the order of the signature's.

        Raises:
            UnsupportedModel: naming the operation that has no equal.
        """
        inputs = {argument.tensor.split(":")[0]: self._input(argument) for argument in self.graph.inputs}
        outputs = self.graph.output_tensors()
        nodes = list(in_order(outputs))
        self.uses = Counter((id(node), index) for user in nodes for node, index in user.inputs)
        self.uses.update((id(node), index) for node, index in outputs)
        for node in nodes:
            self._keep(node, inputs[node.name] if node.name in inputs else self._translated(node))
        results = [
            self._output(argument, self.value(ref)) for argument, ref in zip(self.graph.outputs, outputs, strict=True)
        ]
        used = list(inputs.values())
        model = self.keras.Model(_one_or_list(used), _one_or_list(results))
        for layer, weights in self._weights:
            layer.set_weights(weights)
        return model

    def value(self, ref: tuple[Node, int]) -> Value:
        """Return the value of one output of an operation that was translated before."""
        return self.values[id(ref[0]), ref[1]]

    def used_once(self, ref: tuple[Node, int]) -> bool:
        """Tell whether only one operation takes this output, so that both may become one layer."""
        return self.uses[id(ref[0]), ref[1]] == 1

    def layer(self, class_name: str, settings: dict[str, Any], weights: list[Array], name: str) -> Any:
        """Return a layer with these weights; the same weights in the same place give the same layer again."""
        key = (class_name, repr(sorted(settings.items(), key=lambda item: item[0])), *map(id, weights))
        if weights and key in self._shared:
            return self._shared[key]
        made = getattr(self.keras.layers, class_name)(**settings, name=self.free_name(name or class_name))
        if weights:
            self._weights.append((made, weights))
            self._shared[key] = made
        return made

    def free_name(self, wished: str) -> str:
        """Return a layer name that is not taken yet."""
        name = re.sub(r"[^A-Za-z0-9_.\-]+", "_", wished).strip("_.-") or "layer"
        number, candidate = 0, name
        while candidate in self._names:
            number += 1
            candidate = f"{name}_{number}"
        self._names.add(candidate)
        return candidate

    def weight_name(self, array: Value, node: Node) -> str:
        """Return the name of the layer that a weight belonged to, from the name of its variable."""
        name = self._variable_names.get(id(array), "")
        owner = name.rsplit("/", 1)[0] if "/" in name else re.sub(r"(Variable|variable)?(_\d+)?$", "", name)
        return owner or _place_of(node)

    def inherit_name(self, array: Array, source: Value) -> Array:
        """Let an array that was computed from a variable go by the variable's name."""
        if id(source) in self._variable_names:
            self._variable_names[id(array)] = self._variable_names[id(source)]
            self._arrays.append(array)
        return array

    def refuse(self, node: Node, why: str) -> UnsupportedModel:
        """Return the error for an operation that has no equal."""
        place = _place_of(node)
        where = f" at '{place}'" if place else ""
        return UnsupportedModel(
            f"The SavedModel uses the operation {node.op}{where}, {why}. Build the model of Keras layers that both Keras 2 "
            "and TensorFlow Lite have, and save it with model.save('model.keras')."
        )

    def _input(self, argument: Argument) -> Any:
        dtype = "float32" if argument.dtype in _WIDE else argument.dtype
        return self.keras.Input(shape=argument.shape[1:], dtype=dtype, name=self.free_name(argument.key))

    def _output(self, argument: Argument, value: Value) -> Any:
        tensor = tensor_of(value)
        if isinstance(tensor, np.ndarray) or not hasattr(tensor, "_keras_history"):
            raise UnsupportedModel(
                f"The output '{argument.key}' of the signature '{self.graph.key}' is the same for every input. Leave it "
                "out and save the model again."
            )
        if tensor._keras_history.layer in [item._keras_history.layer for item in self._inputs_of(tensor)]:
            return self.layer("Activation", {"activation": "linear"}, [], argument.key)(tensor)
        return tensor

    def _inputs_of(self, tensor: Any) -> list[Any]:
        return [tensor] if type(tensor._keras_history.layer).__name__ == "InputLayer" else []

    def _keep(self, node: Node, result: Value) -> None:
        results = result if isinstance(result, list) else [result]
        for index, value in enumerate(results):
            if isinstance(value, np.ndarray) and value.dtype.name in _WIDE:
                value = self.inherit_name(value.astype(np.float32), value)
            self.values[id(node), index] = value

    def _translated(self, node: Node) -> Value:
        from intake.saved_model_handlers import HANDLERS  # it needs this module

        if node.name in self.graph.variables and node.op in ("VarHandleOp", "VariableV2", "Variable"):
            array = self.graph.variables[node.name]
            array = array.astype(np.float32) if array.dtype.name in _WIDE else array
            self._variable_names[id(array)] = node.name
            self._arrays.append(array)  # ids stay valid while the arrays live
            return array
        values = [self.value(ref) for ref in node.inputs]
        if node.op in RANDOM:
            raise self.refuse(node, "which gives something else at each call, also outside of training")
        if node.function is None and all(isinstance(value, np.ndarray) for value in values):
            folded = self._folded(node, values)
            if folded is not None:
                return folded
        handler = HANDLERS.get(node.op) if node.function is None else HANDLERS["recurrent function"]
        if handler is None:
            raise self.refuse(node, "which has no equal among the layers of Keras")
        try:
            return handler(self, node, values)
        except UnsupportedModel:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise self.refuse(node, f"which cannot be rebuilt as a Keras layer here ({reason})") from error

    def _folded(self, node: Node, arrays: Sequence[Array]) -> Value | None:
        if node.op == "Const":
            return np.asarray(self.tf.make_ndarray(node.attrs["value"].tensor))
        if node.op in ("Placeholder", "TensorListReserve", "While", "StatelessWhile", "TensorListFromTensor"):
            return None
        if node.op in ("Fill", "BroadcastTo") and 4 * _numbers_asked_for(node, arrays) > _MAX_CONSTANT_BYTES:
            raise self.refuse(node, "which would fill more memory than any model needs")
        results = computed(node, arrays)
        if results is None or sum(item.nbytes for item in results) > _MAX_CONSTANT_BYTES:
            return None
        return [self.inherit_name(item, arrays[0]) for item in results] if arrays else results


def _numbers_asked_for(node: Node, arrays: Sequence[Array]) -> int:
    shape = arrays[0] if node.op == "Fill" else arrays[1]
    return prod(int(size) for size in shape.reshape(-1))


def computed(node: Node, arrays: Sequence[Array]) -> list[Array] | None:
    """Compute an operation on known arrays; None where TensorFlow cannot."""
    if node.op == "ResourceGather":
        return [np.take(arrays[0], arrays[1], axis=0)]
    tf = keras_env.tensorflow()
    definition = keras_env.part_of(tf, "python.framework.op_def_registry").get(node.op)
    if definition is None:
        return None
    attributes = [
        item
        for attribute in definition.attr
        for item in (attribute.name, _plain(attribute_value(node, attribute.name, attribute.default_value)))
    ]
    count = sum(_output_count(node, argument) for argument in definition.output_arg)
    execute = keras_env.part_of(tf, "python.eager.execute").execute
    context = keras_env.part_of(tf, "python.eager.context").context()
    with tf.init_scope(), tf.device("/CPU:0"):
        inputs = [tf.constant(array) for array in arrays]
        results = execute(node.op.encode(), count, inputs, tuple(attributes), context)
    return [np.asarray(item.numpy()) for item in results]


def _output_count(node: Node, argument: Any) -> int:
    if argument.number_attr:
        return int(node.attrs[argument.number_attr].i)
    return len(node.attrs[argument.type_list_attr].list.type) if argument.type_list_attr else 1


def _plain(value: Any) -> Any:
    """An attribute as the eager executor takes it; wide types are narrowed as the arrays are."""
    if hasattr(value, "as_datatype_enum"):
        return (keras_env.tensorflow().float32 if value.name in _WIDE else value).as_datatype_enum
    return value.as_list() if hasattr(value, "as_list") and value.rank is not None else value


def attribute_value(node: Node, name: str, default: Any = None) -> Any:
    """Return an attribute of a node as a Python value; `default` is an AttrValue for one that was left out."""
    tf = keras_env.tensorflow()
    attribute = node.attrs[name] if name in node.attrs or default is None else default
    kind = attribute.WhichOneof("value")
    if kind == "s":
        return attribute.s.decode()
    if kind == "type":
        return tf.dtypes.as_dtype(attribute.type)
    if kind == "shape":
        return tf.TensorShape(attribute.shape)
    if kind == "list":
        items = attribute.list
        return (
            [item.decode() for item in items.s] or list(items.i) or list(items.f) or list(items.b) or list(items.type)
        )
    return getattr(attribute, kind) if kind else None


def _place_of(node: Node) -> str:
    """The part of a node's name that people know: what is around the operation, without functions."""
    parts = [part for part in node.name.split("//") if "PartitionedCall" not in part.rsplit("/", 1)[-1] or "/" in part]
    scopes = [part.rsplit("/", 1)[0] for part in parts if "/" in part]
    return scopes[-1].rsplit("/", 1)[-1] if scopes else ""


def _one_or_list(tensors: list[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors


def is_tensor(value: Value) -> bool:
    """Tell whether a value is, or becomes, a Keras tensor."""
    return isinstance(value, Deferred) or hasattr(value, "_keras_history")
