"""The part of a SavedModel behind one signature, as a flat graph without functions, with its weights as arrays."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from intake import keras_env
from intake.errors import UnsupportedModel
from intake.saved_model_files import VARIABLES
from intake.saved_model_scan import ScannedSavedModel, function_library, functions_behind, nodes_behind

Array = np.ndarray[Any, Any]
_PASS_ON = (
    "Identity", "IdentityN", "StopGradient", "PreventGradient", "Snapshot", "EnsureShape", "CheckNumerics",
    "PlaceholderWithDefault", "ReadVariableOp", "DisableCopyOnRead",
)  # fmt: skip
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_VARIABLE_OPS = ("VarHandleOp", "VariableV2", "Variable")
_SWAPPED_BY = ("api_implements", "forward_function_name", "backward_function_name")
_MAX_NODES = 200_000
_MAX_STEPS = 100_000


class Attributes(dict[str, Any]):
    """The attributes of a NodeDef; one that is missing reads as empty (reading the message itself would add it)."""

    def __missing__(self, name: str) -> Any:
        return keras_env.tensorflow().compat.v1.AttrValue()


@dataclass(eq=False)
class Node:
    """One operation, after all functions around it were put in place."""

    name: str
    op: str
    attrs: Attributes
    inputs: list[tuple[Node, int]] = field(default_factory=list)
    function: Any = None
    """FunctionDef of a recurrent layer that TensorFlow keeps as one function."""
    scope: Any = None


@dataclass(frozen=True)
class Argument:
    """One input or output of the signature."""

    key: str
    tensor: str
    """Name in the graph, `node:index`."""
    shape: tuple[int | None, ...]
    dtype: str


class SignatureGraph:
    """Reads one signature of an unpacked SavedModel. Nothing of the file runs but in `run`."""

    def __init__(self, scanned: ScannedSavedModel, folder: Path) -> None:
        self.message, self.key, self.folder = scanned.graph, scanned.signature, folder
        self.library = function_library(self.message)
        signature = self.message.signature_def[self.key]
        self.inputs = arguments_of(signature.inputs)
        self.outputs = arguments_of(signature.outputs)
        self._main = Scope(self, {node.name: node for node in self.message.graph_def.node}, "", {}, None)
        self._made = 0

    @cached_property
    def variables(self) -> dict[str, Array]:
        """Value of each variable that the signature needs, by the name of its node."""
        reader = keras_env.tensorflow().train.load_checkpoint(str(self.folder / VARIABLES))
        keys = {**self._names_of_variables(), **_restored_names(self.message, self.library)}
        present = reader.get_variable_to_shape_map()
        values = {}
        for name, node in self._nodes().items():
            if node.op in _VARIABLE_OPS:
                key = keys.get(name, name)
                if key not in present:
                    raise UnsupportedModel(
                        f"The weight '{name}' of the SavedModel is not among its saved variables, so the zip is "
                        "incomplete. Zip the whole folder again, with its folder variables/."
                    )
                values[name] = np.asarray(reader.get_tensor(key))
        return values

    def _names_of_variables(self) -> dict[str, str]:
        nodes = {name: node for name, node in self._nodes().items() if "shared_name" in node.attr}
        shared = {name: node.attr["shared_name"].s.decode() for name, node in nodes.items()}
        return {name: key for name, key in shared.items() if key}

    def _nodes(self) -> dict[str, Any]:
        return nodes_behind(self.message.graph_def.node, (item.tensor for item in self.outputs))

    def count_node(self) -> None:
        """Functions that call each other many times over could grow without end."""
        self._made += 1
        if self._made > _MAX_NODES:
            raise UnsupportedModel(f"The graph of the SavedModel has more than {_MAX_NODES:,} operations.")

    def output_tensors(self) -> list[tuple[Node, int]]:
        """Where the outputs of the signature come from."""
        return [self._main.resolve(item.tensor) for item in self.outputs]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run the signature: only its own part of the graph, of which every operation was judged.

        Args:
            inputs: one array per input, batch axis first.
        """
        tf = keras_env.tensorflow()
        nodes = self._nodes()
        graph_def = tf.compat.v1.GraphDef(versions=self.message.graph_def.versions)
        graph_def.node.extend(nodes.values())
        for name in sorted(functions_behind(self.library, nodes.values())):
            function = graph_def.library.function.add()
            function.CopyFrom(self.library[name])
            for mark in _SWAPPED_BY:  # else TensorFlow looks for other versions, which are not taken along
                function.attr.pop(mark, None)
        for node in graph_def.node:
            node.device = ""
        with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
            tf.graph_util.import_graph_def(graph_def, name="")
            feeds = dict(zip((item.tensor for item in self.inputs), inputs, strict=True))
            for name, value in self.variables.items():
                handle = graph.get_tensor_by_name(f"{name}:0")
                if nodes[name].op == "VarHandleOp":
                    session.run(tf.raw_ops.AssignVariableOp(resource=handle, value=value))
                else:
                    feeds[handle.name] = value
            return [np.asarray(item) for item in session.run([item.tensor for item in self.outputs], feeds)]


def arguments_of(items: Any) -> tuple[Argument, ...]:
    """Return the inputs or outputs of a signature, ordered by name (numbers as numbers)."""
    tf = keras_env.tensorflow()
    found = [
        Argument(
            key,
            item.name,
            tuple(None if dim.size < 0 else int(dim.size) for dim in item.tensor_shape.dim),
            tf.dtypes.as_dtype(item.dtype).name,
        )
        for key, item in items.items()
    ]
    return tuple(sorted(found, key=lambda item: [(len(part), part) for part in re.split(r"(\d+)", item.key)]))


def _restored_names(message: Any, library: dict[str, Any]) -> dict[str, str]:
    """Name in the checkpoint, by name of the variable's node, read off the function (or nodes) that restore."""
    found: dict[str, str] = {}
    main = {node.name: node for node in message.graph_def.node}
    restoring = main.get(message.saver_def.restore_op_name.split(":")[0])
    if restoring is not None and restoring.op in _CALLS:
        function = library[restoring.attr["f"].func.name]
        arguments = [item.name for item in function.signature.input_arg]
        handles = {inner: outer.split(":")[0] for inner, outer in zip(arguments, restoring.input, strict=False)}
        nodes = {node.name: node for node in function.node_def}
    else:
        handles, nodes = {}, main
    for node in nodes.values():
        if node.op in ("AssignVariableOp", "Assign") and len(node.input) > 1:
            key = _restored_name(nodes, node.input[1])
            target = node.input[0].split(":")[0]
            if key:
                found[handles.get(target, target)] = key
    return found


def _restored_name(nodes: dict[str, Any], text: str) -> str | None:
    for _ in range(10):
        parts = text.split(":")
        node = nodes.get(parts[0])
        if node is None:
            return None
        if node.op == "RestoreV2":
            names = nodes.get(node.input[1].split(":")[0])
            if names is None or names.op != "Const":
                return None
            values = keras_env.tensorflow().make_ndarray(names.attr["value"].tensor).ravel()
            index = int(parts[-1]) if len(parts) > 1 else 0
            return bytes(values[index]).decode()
        if not node.input:
            return None
        text = node.input[0]
    return None


class Scope:
    """The nodes of the main graph or of one call of a function, with what its arguments stand for."""

    def __init__(
        self,
        graph: SignatureGraph,
        definitions: dict[str, Any],
        prefix: str,
        arguments: dict[str, tuple[Scope, str]],
        function: Any,
    ) -> None:
        self.graph, self.definitions, self.prefix = graph, definitions, prefix
        self.arguments, self.function = arguments, function
        self._nodes: dict[str, Node] = {}
        self._children: dict[str, Scope] = {}

    def resolve(self, text: str) -> tuple[Node, int]:
        """Find the operation behind a tensor, through calls, arguments and operations that only pass on."""
        scope = self
        for _ in range(_MAX_STEPS):
            parts = text.split(":")
            base = parts[0]
            if base in scope.arguments:
                scope, text = scope.arguments[base]
                continue
            definition = scope.definitions[base]
            index = scope._flat_index(definition, parts)
            if definition.op in _PASS_ON:
                text = definition.input[index if definition.op == "IdentityN" else 0]
                continue
            function = scope.called_function(definition)
            if function is None or recurrent_kind(function):
                return scope.node(base, function), index
            output = function.signature.output_arg[index].name
            scope, text = scope.child(definition, function), function.ret[output]
        raise UnsupportedModel("The graph of the SavedModel runs in circles. Save the model again.")

    def called_function(self, definition: Any) -> Any:
        """Return the FunctionDef that a node calls outright, None for other operations."""
        if definition.op in _CALLS:
            return self.graph.library.get(definition.attr["f"].func.name)
        return self.graph.library.get(definition.op)

    def child(self, definition: Any, function: Any) -> Scope:
        """Return the scope of one call."""
        if definition.name not in self._children:
            depth = self.prefix.count("//")
            if depth > 100:
                raise UnsupportedModel("The functions of the SavedModel call each other more than 100 levels deep.")
            names = [item.name for item in function.signature.input_arg]
            given = {name: (self, text) for name, text in zip(names, definition.input, strict=False)}
            nodes = {node.name: node for node in function.node_def}
            self._children[definition.name] = Scope(
                self.graph, nodes, f"{self.prefix}{definition.name}//", given, function
            )
        return self._children[definition.name]

    def node(self, base: str, function: Any = None) -> Node:
        """Return the one object of a node, its inputs not yet resolved."""
        if base not in self._nodes:
            self.graph.count_node()
            definition = self.definitions[base]
            self._nodes[base] = Node(self.prefix + base, definition.op, Attributes(definition.attr), [], function, self)
        return self._nodes[base]

    def input_texts(self, node: Node) -> list[str]:
        """Names of the tensors that go into a node of this scope."""
        name = node.name.removeprefix(self.prefix)
        return [text for text in self.definitions[name].input if not text.startswith("^")]

    def _flat_index(self, definition: Any, parts: list[str]) -> int:
        """`node:2` of a graph counts all outputs; `node:name:0` of a function counts within one output argument."""
        if len(parts) < 3:
            return int(parts[1]) if len(parts) == 2 and parts[1].isdigit() else 0
        if definition.op in self.graph.library:
            names = [item.name for item in self.graph.library[definition.op].signature.output_arg]
            return names.index(parts[1]) + int(parts[2])
        registry = keras_env.part_of(keras_env.tensorflow(), "python.framework.op_def_registry")
        index = 0
        for output in registry.get(definition.op).output_arg:
            if output.name == parts[1]:
                break
            if output.number_attr:
                index += definition.attr[output.number_attr].i
            elif output.type_list_attr:
                index += len(definition.attr[output.type_list_attr].list.type)
            else:
                index += 1
        return index + int(parts[2])


def recurrent_kind(function: Any) -> str | None:
    """Return "LSTM" or "GRU" for the function that Keras 2 keeps such a layer in, else None."""
    mark = function.attr["api_implements"].s.decode() if "api_implements" in function.attr else ""
    return next((kind for kind in ("LSTM", "GRU") if mark.startswith(kind.lower() + "_")), None)


def in_order(outputs: Sequence[tuple[Node, int]], stop: Callable[[Node], bool] = lambda node: False) -> Iterator[Node]:
    """Yield the nodes behind some tensors, each after those that it depends on.

    Args:
        outputs: where to start.
        stop: nodes whose inputs are not wanted.
    """
    done: set[int] = set()
    waiting: list[tuple[Node, bool]] = [(node, False) for node, _ in reversed(outputs)]
    while waiting:
        node, expanded = waiting.pop()
        if id(node) in done:
            continue
        if expanded or stop(node):
            done.add(id(node))
            yield node
            continue
        node.inputs = [node.scope.resolve(text) for text in node.scope.input_texts(node)]
        waiting.append((node, True))
        waiting.extend((parent, False) for parent, _ in node.inputs if id(parent) not in done)
