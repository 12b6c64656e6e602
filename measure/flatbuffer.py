"""A `.tflite` file as objects that can be changed, and back."""

from __future__ import annotations

import functools
import math
from typing import Any

ALIGNMENT_BYTES = 16
"""Of what a buffer holds, as the schema asks for it (`force_align`); the generated Python code does not."""


def unpacked(tflite: bytes) -> Any:
    """Return the file as a ModelT of the schema."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite, 0))


def can_be_packed(model: Any) -> bool:
    """False where contents stand behind the flatbuffer (files of more than 2 GB), at places that packing would move."""
    return all(buffer.offset <= 1 for buffer in model.buffers)


def packed(model: Any) -> bytes:
    """Return a ModelT as a file; what is computed shares the one empty buffer that the schema has for it, number 0."""
    import flatbuffers

    _drop_empty_buffers(model)
    model.buffers = [_aligned(buffer) for buffer in model.buffers]
    builder = flatbuffers.Builder(sum(0 if one.data is None else len(one.data) for one in model.buffers) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _drop_empty_buffers(model: Any) -> None:
    if not model.buffers or _holds(model.buffers[0]):
        return
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    entries = list(model.metadata or ())
    used = sorted({entry.buffer for entry in (*tensors, *entries) if _holds(model.buffers[entry.buffer])})
    numbers = {old: new for new, old in enumerate(used, 1)}
    for entry in (*tensors, *entries):
        entry.buffer = numbers.get(entry.buffer, 0)
    model.buffers = [model.buffers[0], *(model.buffers[number] for number in used)]


def _holds(buffer: Any) -> bool:
    return buffer.data is not None and len(buffer.data) > 0


def _aligned(buffer: Any) -> Any:
    aligned = _aligned_buffer()()
    aligned.data, aligned.offset, aligned.size = buffer.data, buffer.offset, buffer.size
    return aligned


@functools.cache
def _aligned_buffer() -> type:
    from ai_edge_litert import schema_py_generated as schema

    class AlignedBuffer(schema.BufferT):
        """Buffer whose contents begin at a multiple of 16 bytes."""

        def Pack(self, builder: Any) -> Any:
            if _holds(self):
                builder.Prep(ALIGNMENT_BYTES, len(self.data))
            return super().Pack(builder)

    return AlignedBuffer


def largest_computed_bytes(tflite: bytes) -> int:
    """Return the size of the largest tensor that a call of a file computes, for the batch that the file was made with."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(tflite, 0)
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(index) for index in range(graph.TensorsLength())]
    computed = [tensor for tensor in tensors if not model.Buffers(tensor.Buffer()).DataLength()]
    return max((_bytes_of(tensor) for tensor in computed), default=0)


def _bytes_of(tensor: Any) -> int:
    sizes = [tensor.Shape(index) for index in range(tensor.ShapeLength())]
    return _ITEM_BYTES.get(tensor.Type(), 4) * math.prod(sizes)


_ITEM_BYTES = {1: 2, 3: 1, 4: 8, 6: 1, 7: 2, 9: 1}
"""TensorType of the schema -> bytes, where they are not 4: float16, uint8, int64, bool, int16, int8."""
