"""Each operation of a `.tflite` file as a file of its own, to be run by itself with what it is given in the whole."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from measure.flatbuffer import packed
from measure.weights import buffer_bytes


@dataclass(frozen=True)
class Step:
    """One operation of the main graph that is carried out in each call."""

    operator: Any
    """Of the schema (OperatorT)."""
    before: tuple[Any, ...] = ()
    """Operations that only unpack its constants (float16 to float32): LiteRT does so once, when it loads the file."""
    inputs: tuple[int, ...] = ()
    """Tensors that other operations compute, or that the call is given; without repetition."""
    outputs: tuple[int, ...] = field(default=())


def steps_of(tflite: bytes, content: Any) -> Iterator[Step]:
    """Yield the operations of the main graph in the order of their execution.

    Args:
        tflite: the file.
        content: the same as `measure.flatbuffer.unpacked` gives it.
    """
    graph = content.subgraphs[0]
    constant = {
        index for index, tensor in enumerate(graph.tensors) if len(buffer_bytes(tflite, content.buffers[tensor.buffer]))
    }
    unpacking: dict[int, tuple[Any, ...]] = {}
    for operator in graph.operators:
        given = [int(index) for index in operator.inputs if index >= 0]
        before = tuple(dict.fromkeys(one for index in given for one in unpacking.get(index, ())))
        if given and all(index in constant for index in given):
            for index in operator.outputs:
                constant.add(int(index))
                unpacking[int(index)] = (*before, operator)
            continue
        kept = [index for index in given if index not in constant and not graph.tensors[index].isVariable]
        yield Step(operator, before, tuple(dict.fromkeys(kept)), tuple(int(index) for index in operator.outputs))


def file_of(tflite: bytes, content: Any, step: Step, shapes: Sequence[tuple[int, ...]]) -> bytes:
    """Return a file with one operation: its inputs and outputs are those of the step, in their order.

    Args:
        tflite: the file that it comes from.
        content: the same as `measure.flatbuffer.unpacked` gives it; nothing in it is changed.
        step: one of its `steps_of`.
        shapes: of the inputs, for one sample.
    """
    from ai_edge_litert import schema_py_generated as schema

    main = content.subgraphs[0]
    operators = [copy.copy(operator) for operator in (*step.before, step.operator)]
    numbers: dict[int, int] = {}
    tensors: list[Any] = []

    def number(index: int) -> int:
        if index < 0:
            return index
        if index not in numbers:
            numbers[index] = len(tensors)
            tensor = copy.copy(main.tensors[index])
            tensors.append(tensor)
            tensor.quantization, tensor.shapeSignature = _with_scales(tensor.quantization, number), None
        return numbers[index]

    for operator in operators:
        for name in ("inputs", "outputs", "intermediates"):
            if getattr(operator, name) is not None:
                setattr(operator, name, [number(int(index)) for index in getattr(operator, name)])
    for index, shape in zip(step.inputs, shapes, strict=True):
        tensors[numbers[index]].shape = list(shape)
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = tensors, operators
    graph.inputs = [numbers[index] for index in step.inputs]
    graph.outputs = [numbers[index] for index in step.outputs]
    model = schema.ModelT()
    model.version, model.operatorCodes = content.version, content.operatorCodes
    model.subgraphs = [graph, *(map(_copied, content.subgraphs[1:]) if has_graphs(step.operator) else ())]
    used = {tensor.buffer for each in model.subgraphs for tensor in each.tensors}
    model.buffers = [_buffer(tflite, one, index in used) for index, one in enumerate(content.buffers[: max(used) + 1])]
    return packed(model)


def _buffer(tflite: bytes, buffer: Any, is_used: bool) -> Any:
    """With its contents inside: those of large files can stand behind the flatbuffer."""
    from ai_edge_litert import schema_py_generated as schema

    made = schema.BufferT()
    if is_used and len(data := buffer_bytes(tflite, buffer)):
        made.data = data
    return made


def _with_scales(quantization: Any, number: Any) -> Any:
    """Scales of blocks stand in tensors of their own, named by their numbers."""
    if quantization is None or not hasattr(quantization.details, "scales"):
        return quantization
    copied = copy.copy(quantization)
    copied.details = copy.copy(quantization.details)
    for name in ("scales", "zeroPoints"):
        setattr(copied.details, name, number(int(getattr(copied.details, name))))
    return copied


def _copied(graph: Any) -> Any:
    copied = copy.copy(graph)
    copied.tensors = [copy.copy(tensor) for tensor in graph.tensors]  # packing gives them other buffers
    return copied


def has_graphs(operator: Any) -> bool:
    """True for an operation that carries others out: a loop, a branch."""
    options = (operator.builtinOptions, operator.builtinOptions2)
    return any(name.lower().endswith("subgraphindex") for one in options if one is not None for name in vars(one))


def smallest_file() -> bytes:
    """Return a file of one operation on one number: what calling any file takes, whatever is in it."""
    from ai_edge_litert import schema_py_generated as schema

    model, graph, operator, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ABS
    code.version = 1
    graph.tensors = [schema.TensorT(), schema.TensorT()]
    for name, tensor in zip((b"given", b"answer"), graph.tensors, strict=True):
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, [1], schema.TensorType.FLOAT32, 0
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0], [1]
    graph.inputs, graph.outputs, graph.operators = [0], [1], [operator]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    return packed(model)


def kind_of(content: Any, operator: Any) -> str:
    """Return the name of an operation in the schema: "CONV_2D"; that of a custom one as it stands in the file."""
    from ai_edge_litert import schema_py_generated as schema

    code = content.operatorCodes[operator.opcodeIndex]
    if code.customCode:
        return str(code.customCode.decode())
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    return str(names[code.builtinCode])
