"""Kernels that a `.tflite` file stores without their zeros: which values there are, and where.

The layout is that of the schema's SparsityParameters, after TACO (Kjolstad et al. 2017, The tensor algebra compiler).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from measure.flatbuffer import packed, unpacked

_COMPRESSED = 1
"""DimensionType SPARSE_CSR of the schema: only some indices of the axis are stored."""


def dense_values(stored: np.ndarray, sparsity: Any, shape: tuple[int, ...], zero: float = 0) -> np.ndarray:
    """Return all values of a tensor, those that are not stored as `zero`.

    Args:
        stored: (n,), in the order of the file.
        sparsity: SparsityParametersT of the schema, without blocks, as the converter writes it for kernels that were
            pruned weight by weight.
        shape: of the tensor.
        zero: what stands for 0.

    Raises:
        ValueError: the tensor is stored in blocks.
    """
    if sparsity.blockMap is not None and len(sparsity.blockMap):
        raise ValueError("blocks of a sparse tensor cannot be read; only single weights")
    order = [int(axis) for axis in sparsity.traversalOrder]
    paths = np.zeros((1, 0), np.int64)
    slots = np.zeros(1, np.int64)
    for axis in sparsity.dimMetadata:
        paths, slots = _one_axis_further(paths, slots, axis)
    dense = np.full(shape, zero, stored.dtype)
    indices: list[Any] = [None] * len(order)
    for level, axis in enumerate(order):
        indices[axis] = paths[:, level]
    dense[tuple(indices)] = stored[slots]
    return dense


def _one_axis_further(paths: np.ndarray, slots: np.ndarray, axis: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices so far with one more, and the slot that each has in what is stored of the next axis."""
    if axis.format != _COMPRESSED:
        size = int(axis.denseSize)
        own = np.tile(np.arange(size), len(paths))
        return np.column_stack([np.repeat(paths, size, axis=0), own]), np.repeat(slots, size) * size + own
    segments = np.asarray(axis.arraySegments.values, np.int64)
    counts = segments[slots + 1] - segments[slots]
    starts = np.repeat(segments[slots] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    found = starts + np.arange(counts.sum())
    own = np.asarray([] if axis.arrayIndices is None else axis.arrayIndices.values, np.int64)[found]
    return np.column_stack([np.repeat(paths, counts, axis=0), own]), found


def stored_bytes(values: np.ndarray, sparsity: Any) -> int:
    """Return what a sparse tensor takes: its values, and where they stand."""
    places = 0
    for axis in sparsity.dimMetadata:
        for vector in (axis.arraySegments, axis.arrayIndices):
            places += 0 if vector is None else np.asarray(vector.values).nbytes
    return int(values.nbytes + places)


def dense_where_needed(tflite: bytes) -> bytes:
    """Return a file with the int8 kernels of its dense layers stored densely: LiteRT cannot run them sparse.

    The converter puts a DENSIFY operation before what uses a sparse kernel. Convolutions run so, float32 dense layers
    too; int8 ones do not (LiteRT 2.3, XNNPACK: "failed to delegate FULLY_CONNECTED"). Theirs is taken out.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = unpacked(tflite)
    codes = [code.builtinCode for code in model.operatorCodes]
    for graph in model.subgraphs:
        made = {
            int(operator.outputs[0]): operator
            for operator in graph.operators
            if codes[operator.opcodeIndex] == schema.BuiltinOperator.DENSIFY
            and graph.tensors[operator.inputs[0]].type == schema.TensorType.INT8
        }
        for operator in graph.operators:
            kernel = int(operator.inputs[1]) if len(operator.inputs) > 1 else -1
            if codes[operator.opcodeIndex] == schema.BuiltinOperator.FULLY_CONNECTED and kernel in made:
                source = int(made[kernel].inputs[0])
                operator.inputs = [source if int(index) == kernel else int(index) for index in operator.inputs]
                _make_dense(graph.tensors[source], model.buffers[graph.tensors[source].buffer])
        used = {int(index) for operator in graph.operators for index in operator.inputs}
        idle = [operator for output, operator in made.items() if output not in used]
        graph.operators = [operator for operator in graph.operators if operator not in idle]
    return packed(model)


def _make_dense(tensor: Any, buffer: Any) -> None:
    if tensor.sparsity is not None:  # else it was made dense for another operation before
        stored = np.asarray(buffer.data, np.uint8).view(np.int8)
        dense = dense_values(stored, tensor.sparsity, tuple(int(side) for side in tensor.shape))
        buffer.data, tensor.sparsity = dense.reshape(-1).view(np.uint8), None
