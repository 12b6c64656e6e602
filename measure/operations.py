"""The operations of a `.tflite` file, and which constants they use."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from measure.flatbuffer import unpacked
from measure.weights import buffer_bytes, layer_pattern


@dataclass(frozen=True)
class Constant:
    """A float32 constant that an operation is fed with."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return functools.reduce(lambda one, other: one * other, self.shape, 1)


@dataclass(frozen=True)
class Operation:
    """One operation of a file."""

    code: str
    """Its name in the schema: "CONV_2D"."""
    outputs: tuple[str, ...]
    """Names of the tensors that it puts out."""
    constants: tuple[Constant, ...]
    is_in_main_graph: bool
    """False inside a loop or a branch."""

    @property
    def kernels(self) -> tuple[Constant, ...]:
        """The constants that are more than a number for each channel."""
        return tuple(constant for constant in self.constants if len(constant.shape) >= 2)


def operations_of(tflite: bytes) -> list[Operation]:
    """Return every operation of a float32 file, those of its loops included."""
    from ai_edge_litert import schema_py_generated as schema

    model = unpacked(tflite)
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    found = []
    for number, graph in enumerate(model.subgraphs):
        for operator in graph.operators:
            inputs = [graph.tensors[index] for index in operator.inputs if index >= 0]
            constants = (
                Constant(tensor.name.decode(), tuple(int(side) for side in tensor.shape))
                for tensor in inputs
                if tensor.type == schema.TensorType.FLOAT32 and tensor.shape is not None
                if len(buffer_bytes(tflite, model.buffers[tensor.buffer]))
            )
            found.append(
                Operation(
                    code=names[model.operatorCodes[operator.opcodeIndex].builtinCode],
                    outputs=tuple(graph.tensors[index].name.decode() for index in operator.outputs),
                    constants=tuple(constants),
                    is_in_main_graph=number == 0,
                )
            )
    return found


def output_names(operations: Sequence[Operation], layers: Sequence[str]) -> Iterator[str]:
    """Names of what the operations of these Keras layers put out.

    An operation is known by its outputs and its constants, which the converter names after the layers.
    """
    patterns = [layer_pattern(layer) for layer in layers]
    for operation in operations:
        named = (*operation.outputs, *(constant.name for constant in operation.constants))
        if any(pattern.search(name) for name in named for pattern in patterns):
            yield from operation.outputs
