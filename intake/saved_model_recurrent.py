"""Recurrent layers: the functions and the loops in which TensorFlow keeps an LSTM, a GRU or a simple RNN.

A loop does not say which layer it was. Kernel, recurrent kernel and bias are found by what they are multiplied with, and
their shapes tell the layer; the comparison of outputs at the end shows whether the guess was right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from intake.saved_model_graph import Node, Scope, in_order, recurrent_kind
from intake.saved_model_translation import Handler, Translation
from intake.saved_model_values import (
    Array,
    Deferred,
    Dims,
    Expanded,
    Filled,
    Steps,
    TimeFirst,
    Value,
    tensor_of,
)

_GATES = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}


def _is_zero(value: Value) -> bool:
    if isinstance(value, np.ndarray):
        return not value.any()
    return isinstance(value, Filled) and value.number == 0


def _states(values: list[Value]) -> Any:
    """The initial state to pass on; None for the usual zeros."""
    return None if all(_is_zero(value) for value in values) else [tensor_of(value) for value in values]


# ---------------------------------------------------------------- one function per layer (Keras 2)


def _function(t: Translation, node: Node, values: list[Value]) -> Value:
    """Translate a call of the function in which Keras 2 keeps an LSTM or GRU with the usual activations."""
    kind = str(recurrent_kind(node.function))
    names = [argument.name for argument in node.function.signature.input_arg]
    given = dict(zip(names, values, strict=False))
    settings: dict[str, Any] = {"units": int(given["recurrent_kernel"].shape[0])}
    if any(inner.op == "ReverseV2" for inner in node.function.node_def):
        settings["go_backwards"] = True
    initial = [given[name] for name in ("init_h", "init_c") if name in given]
    mask = _mask_of(given["mask"]) if "mask" in given else None
    weights = [given["kernel"], given["recurrent_kernel"], given["bias"]]
    source = given["inputs"]
    return _outputs(t, node, kind, settings, weights, source, initial, mask)


def _outputs(
    t: Translation,
    node: Node,
    kind: str,
    settings: dict[str, Any],
    weights: list[Array],
    source: Value,
    initial: list[Value],
    mask: Any,
) -> list[Value]:
    """Return last output, all outputs and the states, as far as something takes them."""
    states = len(initial)
    uses = [t.uses[id(node), index] for index in range(2 + states)]
    wants_states = any(uses[2:]) or (bool(uses[0]) and bool(uses[1]))
    called: dict[str, Any] = {"initial_state": _states(initial)} if _states(initial) else {}
    if mask is not None:
        called["mask"], t.masked = mask, True
        settings = {**settings, **({"zero_output_for_mask": True} if t.zero_output_for_mask else {})}
    settings |= {"return_sequences": bool(uses[1]), "return_state": wants_states}
    name = t.weight_name(weights[0], node).rsplit("/", 1)[0]
    layer = t.layer(kind, settings, [np.asarray(weight) for weight in weights], name)
    result = layer(tensor_of(source), **called)
    if not wants_states:
        return [result] * (2 + states)
    output, *kept = result
    return [kept[0] if uses[1] else output, output, *kept]


def _mask_of(value: Value) -> Any:
    """The mask (batch, time) behind whatever was done to bring it into the shape that the loop wants."""
    while isinstance(value, Expanded | TimeFirst):
        inner = value.source
        if isinstance(value, TimeFirst) and len(inner.shape) == 3 and inner.shape[-1] == 1:
            history = inner._keras_history.layer
            return history.inbound_nodes[0].keras_inputs[0] if "expand_dims" in history.name else inner[:, :, 0]
        value = inner
    return tensor_of(value)


# ---------------------------------------------------------------- loops


@dataclass(eq=False)
class _LoopOutput(Deferred):
    """One output of a loop, until something says which one it is: all steps, or a state."""

    loop: _Loop
    place: int

    def _make(self) -> Any:
        return self.loop.state(self.place)


class _Loop:
    """One loop, recognised as a recurrent layer."""

    def __init__(self, t: Translation, node: Node, values: list[Value]) -> None:
        self.t, self.node, self.values = t, node, values
        body = t.graph.library[node.attrs["body"].func.name]
        self.body, self.scope = body, _body_scope(t, node, body)
        self.results = [self.scope.resolve(body.ret[argument.name]) for argument in body.signature.output_arg]
        self.nodes = list(
            in_order(self.results, lambda item: item.scope is not self.scope and not _inside(item, self.scope))
        )
        self._built: tuple[Any, list[Any]] | None = None
        self._places: list[int] = []

    def input_steps(self) -> tuple[TimeFirst, Any]:
        """The sequence that the loop reads, and its mask."""
        lists = [value.source for value in self.values if isinstance(value, Steps) and value.source is not None]
        masks = [item for item in lists if item.source.dtype.is_bool]
        sequences = [item for item in lists if not item.source.dtype.is_bool]
        if len(sequences) != 1:
            raise self.t.refuse(self.node, f"a loop over {len(sequences)} sequences, which is no layer of Keras")
        return sequences[0], _mask_of(masks[0]) if masks else None

    def states(self) -> list[int]:
        """Places of the loop's states: what changes from step to step and is neither a counter nor a list."""
        places = []
        for place, (item, _) in enumerate(self.results):
            value = self.values[place]
            if isinstance(value, Steps) or _rank(value) < 2 or item.op == "argument":
                continue
            places.append(place)
        return places

    def build(self) -> tuple[Any, list[Any]]:
        """Return the outputs of all steps and the last states of the Keras layer."""
        if self._built is None:
            sequence, mask = self.input_steps()
            kind, weights, settings = self._layer(sequence)
            count = 2 if kind == "LSTM" else 1
            places = self.states()
            if len(places) != count + (mask is not None):
                raise self.t.refuse(self.node, f"a loop with {len(places)} states, which is no layer of Keras")
            self._places = places[-count:]  # with a mask, the output of the step before comes first
            initial = [self.values[place] for place in self._places]
            called: dict[str, Any] = {"initial_state": _states(initial)} if _states(initial) else {}
            if mask is not None:
                called["mask"], self.t.masked = mask, True
                settings |= {"zero_output_for_mask": True} if self.t.zero_output_for_mask else {}
            settings |= {"return_sequences": True, "return_state": True, "go_backwards": sequence.backwards}
            name = self.t.weight_name(weights[0], self.node).rsplit("/", 1)[0]
            layer = self.t.layer(kind, settings, weights, name)
            outputs, *states = layer(sequence.source, **called)
            self._built = outputs, states
        return self._built

    def state(self, place: int) -> Any:
        """Return the last value of the state at this place."""
        states = self.build()[1]
        if place not in self._places:
            raise self.t.refuse(self.node, "a loop whose counter is used as a result")
        return states[self._places.index(place)]

    def _layer(self, sequence: TimeFirst) -> tuple[str, list[Array], dict[str, Any]]:
        features = int(sequence.source.shape[-1])
        kernels, recurrents, biases = self._constants()
        if len(kernels) != 1 or len(recurrents) != 1 or len(biases) > 1:
            raise self.t.refuse(self.node, "a loop that is no LSTM, GRU or SimpleRNN of Keras")
        kernel, recurrent = kernels[0], recurrents[0]
        units = int(recurrent.shape[0])
        gates = recurrent.shape[1] // units
        kind = next((kind for kind, count in _GATES.items() if count == gates), None)
        if kind is None or kernel.shape != (features, gates * units):
            raise self.t.refuse(self.node, "a loop that is no LSTM, GRU or SimpleRNN of Keras")
        settings = {"units": units, "use_bias": bool(biases), **self._activations(kind)}
        if kind == "GRU":
            settings["reset_after"] = self._resets_after(biases)
        return kind, [kernel, recurrent, *biases], settings

    def _resets_after(self, biases: list[Array]) -> bool:
        if biases:
            return biases[0].ndim == 2
        return sum(node.op == "MatMul" for node in self.nodes) == 2

    def _activations(self, kind: str) -> dict[str, str]:
        ops = [node.op for node in self.nodes]
        inner = next((name for op, name in _INNER if op in ops), "linear")
        if kind == "SimpleRNN":
            return {"activation": "sigmoid" if "Sigmoid" in ops else inner}
        if "Sigmoid" not in ops:
            return {"activation": inner, "recurrent_activation": "hard_sigmoid"}
        most = {"LSTM": 4, "GRU": 3}[kind]
        only_gates = ops.count("Sigmoid") < most or inner != "linear"
        return {"activation": inner if only_gates else "sigmoid", "recurrent_activation": "sigmoid"}

    def _constants(self) -> tuple[list[Array], list[Array], list[Array]]:
        """Kernels (multiplied with the inputs), recurrent kernels and biases, each once."""
        kernels: dict[int, Array] = {}
        recurrents: dict[int, Array] = {}
        biases: dict[int, Array] = {}
        for node in self.nodes:
            if node.op == "MatMul":
                array = self._constant(node.inputs[1])
                found = kernels if self._from_inputs(node.inputs[0]) else recurrents
                if array is not None:
                    found[id(array)] = array
            elif node.op in ("BiasAdd", "Add", "AddV2"):
                for ref in node.inputs:
                    array = self._constant(ref)
                    if array is not None and array.size > 1:
                        biases[id(array)] = array
        return list(kernels.values()), list(recurrents.values()), list(biases.values())

    def _constant(self, ref: tuple[Node, int]) -> Array | None:
        """The array outside of the loop that this is, or is a part of."""
        for _ in range(20):
            node = ref[0]
            outer = _argument(node, self.scope)
            if outer is not None:
                value = self.values[outer]
                return value if isinstance(value, np.ndarray) else None
            if node.op in ("Split", "StridedSlice", "Unpack", "SplitV", "Reshape", "Squeeze"):
                ref = node.inputs[1 if node.op == "Split" else 0]
                continue
            return None
        return None

    def _from_inputs(self, ref: tuple[Node, int]) -> bool:
        """Tell whether a factor comes from the sequence; else it comes from a state."""
        waiting, seen = [ref[0]], set()
        while waiting:
            node = waiting.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            if node.op == "TensorListGetItem":
                return True
            if node.op != "MatMul":
                waiting.extend(parent for parent, _ in node.inputs)
        return False


_INNER = (("Tanh", "tanh"), ("Relu", "relu"), ("Elu", "elu"), ("Softplus", "softplus"), ("Softsign", "softsign"))


def _rank(value: Value) -> int:
    if isinstance(value, Filled):
        return int(value.shape.items.size)
    if isinstance(value, Dims):
        return value.items.ndim
    return len(tensor_of(value).shape)


def _body_scope(t: Translation, node: Node, body: Any) -> Scope:
    nodes = {item.name: item for item in body.node_def}
    scope = Scope(t.graph, nodes, f"{node.name}//", {}, body)
    for argument in body.signature.input_arg:
        scope.definitions[argument.name] = t.tf.compat.v1.NodeDef(name=argument.name, op="argument")
    return scope


def _inside(node: Node, scope: Scope) -> bool:
    return node.name.startswith(scope.prefix)


def _argument(node: Node, scope: Scope) -> int | None:
    if node.op != "argument":
        return None
    names = [argument.name for argument in scope.function.signature.input_arg]
    name = node.name.removeprefix(scope.prefix)
    return names.index(name) if name in names else None


def _while(t: Translation, node: Node, values: list[Value]) -> list[Value]:
    loop = _Loop(t, node, values)
    return [
        value if _unchanged(loop, place) else _LoopOutput(loop, place) for place, value in enumerate(values)
    ]  # fmt: skip


def _unchanged(loop: _Loop, place: int) -> bool:
    item, _ = loop.results[place]
    return _argument(item, loop.scope) == place


def _list_from_tensor(t: Translation, node: Node, values: list[Value]) -> Value:
    value = values[0]
    if isinstance(value, TimeFirst):
        return Steps(value)
    return Steps(TimeFirst(t.tf.transpose(tensor_of(value), [1, 0, 2])))


def _empty_list(t: Translation, node: Node, values: list[Value]) -> Value:
    return Steps(None)


def _stack(t: Translation, node: Node, values: list[Value]) -> Value:
    if not isinstance(values[0], _LoopOutput):
        raise t.refuse(node, "a list that no recurrent layer fills")
    return TimeFirst(values[0].loop.build()[0])


def _list_item(t: Translation, node: Node, values: list[Value]) -> Value:
    """Outside of loops: one step of the outputs, which is the last one."""
    if isinstance(values[0], _LoopOutput):
        outputs, _ = values[0].loop.build()
        return outputs[:, int(values[1])] if isinstance(values[1], np.ndarray) else outputs[:, -1]
    raise t.refuse(node, "a list that no recurrent layer fills")


RECURRENT_HANDLERS: dict[str, Handler] = {
    "recurrent function": _function,
    "While": _while,
    "StatelessWhile": _while,
    "TensorListFromTensor": _list_from_tensor,
    "TensorListReserve": _empty_list,
    "EmptyTensorList": _empty_list,
    "TensorListStack": _stack,
    "TensorListGetItem": _list_item,
}
