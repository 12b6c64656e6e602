"""Functions that are copied, as they stand here, into scripts that repeat a run: running and measuring the file."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import Any

import numpy as np


def answers_of(tflite: bytes, inputs: Sequence[Any]) -> list[Any]:
    """Return what a .tflite answers, sample by sample: for each output float32 (n, ...)."""
    from ai_edge_litert.interpreter import Interpreter

    def ready() -> Any:
        interpreter = Interpreter(model_content=tflite, num_threads=1)
        for source, array in zip(interpreter.get_input_details(), inputs, strict=True):
            if list(source["shape"]) != [1, *array.shape[1:]]:
                interpreter.resize_tensor_input(source["index"], [1, *array.shape[1:]])
        interpreter.allocate_tensors()
        return interpreter

    interpreter = ready()
    sources, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    found: list[list[Any]] = [[] for _ in outputs]
    for row in range(len(inputs[0])):
        try:
            interpreter.reset_all_variables()
        except RuntimeError:  # the state of an LSTM that begins with what another ended with
            interpreter = ready()
        for source, array in zip(sources, inputs, strict=True):
            interpreter.set_tensor(source["index"], as_stored(array[row : row + 1], source))
        interpreter.invoke()
        for answers, output in zip(found, outputs, strict=True):
            answers.append(as_float(interpreter.get_tensor(output["index"]), output))
    return [np.concatenate(answers) for answers in found]


def as_stored(values: Any, detail: dict[str, Any]) -> Any:
    """Return float values in the type of an input of the file."""
    dtype, (scale, zero_point) = detail["dtype"], detail["quantization"]
    if not np.issubdtype(dtype, np.integer) or not scale:
        return np.ascontiguousarray(values, dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.round(values / scale) + zero_point, limits.min, limits.max).astype(dtype)


def as_float(values: Any, detail: dict[str, Any]) -> Any:
    """Return what comes out of the file as float32."""
    scale, zero_point = detail["quantization"]
    if np.issubdtype(detail["dtype"], np.integer) and scale:
        return ((values.astype(np.float32) - zero_point) * scale).astype(np.float32)
    return np.asarray(values, np.float32)


def gzip_size(content: bytes) -> int:
    """Return the bytes of the content in gzip, level 9, without name and time."""
    return len(gzip.compress(content, 9, mtime=0))


def without_names(tflite: bytes) -> bytes:
    """Return the file with its tensors numbered instead of named: the converter's long names are bytes that say nothing
    of the weights, and Tare shortens them, too.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite, 0))
    for graph in model.subgraphs:
        for number, tensor in enumerate(graph.tensors):
            tensor.name = str(number).encode()
    builder = flatbuffers.Builder(len(tflite))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def agreement(kind: str, half: float, answer: Any, original: Any) -> Any:
    """Return where an answer is that of the uploaded model: same class, same side of one half, or a number near it."""
    if kind == "classes":
        return answer.argmax(axis=-1) == original.argmax(axis=-1)
    if kind == "yes_no":
        return (answer > half) == (original > half)
    flat = original.reshape(len(original), -1).astype(np.float64)
    each, whole = flat.std(axis=0), float(np.sqrt((flat.std(axis=0) ** 2).mean() + flat.mean(axis=0).var()))
    tolerance = np.maximum(0.1 * np.maximum(each, 0.1 * whole), 1e-6 * max(1.0, float(np.abs(flat).max())))
    return np.abs(answer.astype(np.float64) - original) <= tolerance.reshape(original.shape[1:])
