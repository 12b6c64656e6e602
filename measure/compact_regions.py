"""Where the numbers of a `.tflite` lie in the file: weights, biases, and the scales of quantized tensors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_WIDTHS = {"INT4": 4, "INT8": 8, "UINT8": 8, "FLOAT16": 16, "INT16": 16, "FLOAT32": 32, "INT32": 32}
"""Bits of one value."""
LEAST_BYTES = 32
"""Shorter contents are not worth a description of their own."""


@dataclass(frozen=True)
class Region:
    """A stretch of the file that holds values of one kind."""

    start: int
    """In bytes from the start of the file."""
    size_bytes: int
    width: int
    """Bits of a value: 4, 8, 16 or 32."""
    columns: int
    """Values in a row, which is all that one output channel has (one position, of a depthwise kernel); at least 1."""
    step: int
    """Values from one position within a row to the next, which is the number of input channels; at least 1."""
    is_float: bool = False
    """float32 or float16."""

    @property
    def end(self) -> int:
        """First byte after it."""
        return self.start + self.size_bytes


def regions_of(tflite: bytes) -> list[Region]:
    """Return the regions of a file in their order; no two overlap. What is stored sparse is not among them."""
    found: list[Region] = []
    for region in sorted(_all_regions(tflite), key=lambda region: (region.start, -region.size_bytes)):
        begins = found[-1].end if found else 0
        whole = region.end <= len(tflite) and region.size_bytes * 8 % region.width == 0
        if region.size_bytes >= LEAST_BYTES and region.start >= begins and whole:
            found.append(region)
    return found


def _all_regions(tflite: bytes) -> Iterator[Region]:
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    model = schema.Model.GetRootAs(tflite, 0)
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for tensor in map(graph.Tensors, range(graph.TensorsLength())):
            type_name = names.get(tensor.Type(), "")
            width = _WIDTHS.get(type_name)
            start, size_bytes = _content_of(model.Buffers(tensor.Buffer()))
            if width and size_bytes and tensor.Sparsity() is None:
                columns, step = _row_of(tensor, size_bytes * 8 // width)
                yield Region(start, size_bytes, width, columns, step, type_name.startswith("FLOAT"))
            if (quantization := tensor.Quantization()) is not None and quantization.ScaleLength():
                count = quantization.ScaleLength()
                yield Region(_vector(quantization, 8), count * 4, 32, count, count)


def _content_of(buffer: object) -> tuple[int, int]:
    """(start, bytes) of what a buffer holds; large ones may stand behind the flatbuffer."""
    if buffer.DataLength():  # type: ignore[attr-defined]
        return _vector(buffer, 4), buffer.DataLength()  # type: ignore[attr-defined]
    return (buffer.Offset(), buffer.Size()) if buffer.Offset() > 1 else (0, 0)  # type: ignore[attr-defined]


def _vector(table: object, field: int) -> int:
    """Where the elements of a vector begin in the file, by the field's offset in the flatbuffer's table."""
    inner = table._tab  # type: ignore[attr-defined]
    return int(inner.Vector(inner.Offset(field)))


def _row_of(tensor: object, count: int) -> tuple[int, int]:
    """(columns, step) from the shape; a kernel of one row, which a depthwise one is, has a row for each position."""
    shape = np.atleast_1d(tensor.ShapeAsNumpy()).astype(int).tolist() if tensor.ShapeLength() else []  # type: ignore[attr-defined]
    if len(shape) < 2:
        return count, count
    columns = math.prod(shape[1:]) if shape[0] > 1 else shape[-1]
    return max(1, columns), max(1, shape[-1])
