"""The weights as they stand in an exported `.tflite` file, tensor by tensor."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from measure.flatbuffer import unpacked
from measure.sparse_tensors import dense_values, stored_bytes

_DTYPES = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT16": np.int16,
    "INT32": np.int32,
}


@dataclass(frozen=True)
class WeightTensor:
    """One constant tensor of the file that holds weights.

    `values` are as stored (integers of quantized tensors are not scaled), in the file's axis order, which for
    convolutions and dense layers has the output channel first.
    """

    name: str
    dtype: str
    """"float32", "float16", "int8", "int4", "int16", "int32"."""
    values: np.ndarray
    stored_bytes: int
    zero_points: np.ndarray
    """int64; empty for tensors that are not quantized."""
    channel_axis: int
    scales: np.ndarray = field(default_factory=lambda: np.empty(0, np.float32))
    """float32, one or one for each channel; empty for floats, and where each block of weights has its own."""

    @property
    def real_values(self) -> np.ndarray | None:
        """What the weights stand for, the shape of `values`; None where the scales are those of blocks."""
        if not np.issubdtype(self.values.dtype, np.integer):
            return self.values
        if len(self.scales) == 1:
            return np.asarray((self.values.astype(np.float32) - self._zero()) * self.scales[0])
        if not self.values.ndim or len(self.scales) != self.values.shape[self.channel_axis]:
            return None
        shape = [1] * self.values.ndim
        shape[self.channel_axis] = -1
        return np.asarray((self.values.astype(np.float32) - self._zero()) * self.scales.reshape(shape))

    @property
    def size(self) -> int:
        """Number of weights."""
        return int(self.values.size)

    @property
    def nonzero(self) -> int:
        """Weights that stand for a value other than 0."""
        return self.size - int(np.count_nonzero(self.zeros))

    @property
    def zeros(self) -> np.ndarray:
        """bool, the shape of `values`: True where a weight stands for 0."""
        return np.asarray(self.values == self._zero())

    @property
    def zero_share(self) -> float:
        """Share of weights that stand for 0, 0 to 1."""
        return 1 - self.nonzero / self.size

    @property
    def distinct(self) -> int:
        """Number of different values in the tensor."""
        return len(np.unique(self.values))

    @property
    def distinct_per_channel(self) -> int:
        """Largest number of different values within one output channel.

        Differs from `distinct` where the converter folded a BatchNormalization into the weights: it scales each
        channel by itself.
        """
        return self._distinct_along(self.channel_axis)

    @property
    def distinct_per_input(self) -> int:
        """The same for what one input channel is multiplied with; inputs are the last axis of the file."""
        return self._distinct_along(self.values.ndim - 1)

    def _distinct_along(self, axis: int) -> int:
        channels = np.moveaxis(self.values, axis, 0).reshape(self.values.shape[axis], -1)
        return max(len(np.unique(channel)) for channel in channels)

    @property
    def entropy_bits(self) -> float:
        """n * H(values) in bits: what an ideal coder of single values would need."""
        counts = np.unique(self.values, return_counts=True)[1]
        shares = counts / counts.sum()
        return float(-(counts * np.log2(shares)).sum())

    def _zero(self) -> Any:
        if len(self.zero_points) > 1 and self.values.ndim:
            shape = [1] * self.values.ndim
            shape[self.channel_axis] = -1
            return self.zero_points.reshape(shape)
        return self.zero_points[0] if len(self.zero_points) else 0


_DEPTHWISE_CONV_2D = 4
"""Builtin operator code of the TFLite schema."""


def read_weights(tflite: bytes) -> list[WeightTensor]:
    """Return every weight tensor of the file; shapes, axes and other integer constants are not weights."""
    from ai_edge_litert import schema_py_generated as schema

    model = unpacked(tflite)
    names = {value: name for name, value in vars(schema.TensorType).items() if not name.startswith("_")}
    tensors = []
    for subgraph in model.subgraphs:
        scales = _tensors_of_scales(subgraph)
        depthwise = {
            int(operator.inputs[1])
            for operator in subgraph.operators
            if model.operatorCodes[operator.opcodeIndex].builtinCode == _DEPTHWISE_CONV_2D
        }
        for index, tensor in enumerate(subgraph.tensors):
            data = buffer_bytes(tflite, model.buffers[tensor.buffer])
            if len(data) and index not in scales and _is_weight(names[tensor.type], tensor):
                # depthwise kernels are stored (1, h, w, channels), all others with the output channel first
                axis = 3 if index in depthwise else 0
                tensors.append(_read(tensor, names[tensor.type], data, axis))
    return tensors


def _tensors_of_scales(subgraph: Any) -> set[int]:
    """Numbers of the tensors that hold the scales of kernels that have one for each block of weights."""
    details = [tensor.quantization.details for tensor in subgraph.tensors if tensor.quantization is not None]
    return {int(one.scales) for one in details if hasattr(one, "scales")}


def buffer_bytes(tflite: bytes, buffer: Any) -> np.ndarray:
    """Return what a buffer of the file holds, uint8; large ones may stand behind the flatbuffer, at an offset."""
    if buffer.data is not None and len(buffer.data):
        return np.asarray(buffer.data, np.uint8)
    if buffer.offset > 1:
        return np.frombuffer(tflite, np.uint8, buffer.size, buffer.offset)
    return np.empty(0, np.uint8)


def _is_weight(type_name: str, tensor: Any) -> bool:
    quantized = tensor.quantization is not None and (
        tensor.quantization.scale is not None or tensor.quantization.details is not None
    )
    if type_name in ("FLOAT32", "FLOAT16"):
        return True
    return quantized and (type_name in _DTYPES or type_name == "INT4")


def _read(tensor: Any, type_name: str, data: np.ndarray, channel_axis: int) -> WeightTensor:
    shape = tuple(tensor.shape) if tensor.shape is not None else ()
    quantization = tensor.quantization
    quantized = quantization is not None and quantization.scale is not None
    zero_points = quantization.zeroPoint if quantized and quantization.zeroPoint is not None else []
    size = len(data)
    if tensor.sparsity is not None:
        stored = data.view(_DTYPES[type_name])
        values, size = dense_values(stored, tensor.sparsity, shape), stored_bytes(stored, tensor.sparsity)
    else:
        values = _unpack_int4(data, int(np.prod(shape))) if type_name == "INT4" else data.view(_DTYPES[type_name])
    return WeightTensor(
        name=tensor.name.decode(),
        dtype=type_name.lower(),
        values=values.reshape(shape),
        stored_bytes=size,
        zero_points=np.asarray(zero_points, np.int64),
        channel_axis=channel_axis,
        scales=np.asarray(quantization.scale if quantized else (), np.float32),
    )


def _unpack_int4(data: np.ndarray, count: int) -> np.ndarray:
    """Two weights a byte, the low half first, both signed."""
    halves = np.stack([data & 0x0F, data >> 4], axis=1).reshape(-1)[:count].astype(np.int8)
    return np.where(halves > 7, halves - 16, halves).astype(np.int8)


def of_layer(
    tensors: list[WeightTensor],
    layer_name: str,
    size: int,
    shape: Sequence[int] = (),
    others: Collection[str] = (),
) -> WeightTensor | None:
    """Return the tensor that holds a Keras layer's weight of `size` elements, a kernel before a bias, or None.

    The converter names a tensor after the graph nodes it came from ("sequential/conv2d/Conv2D;..."); where no
    name helps, a tensor that is alone in its size is taken.

    Args:
        tensors: to choose from.
        layer_name: of the Keras layer.
        size: elements of the weight.
        shape: of the weight in Keras, to tell a kernel from what else is of its size: the state of a loop, say.
        others: other layers; what is named after one of them is not taken for want of a name.
    """
    same_size = [tensor for tensor in tensors if tensor.size == size]
    pattern = layer_pattern(layer_name)
    named = [tensor for tensor in same_size if pattern.search(tensor.name)]
    if named:  # a kernel of one input is as large as its bias
        return max(named, key=lambda tensor: (_axes(tensor.values.shape) == _axes(shape), tensor.values.ndim > 1))
    if len(same_size) != 1 or any(layer_pattern(other).search(same_size[0].name) for other in others):
        return None
    return same_size[0]


def _axes(shape: Sequence[int]) -> list[int]:
    """The converter turns kernels and gives them axes of one element, but keeps the lengths of the others."""
    return sorted(length for length in shape if length > 1)


def layer_pattern(layer_name: str) -> re.Pattern[str]:
    """Return what finds a Keras layer in the name of a tensor of the file."""
    return re.compile(rf"(^|[/;])(cluster_|quant_)?{re.escape(layer_name)}(/|;|#|$|\d+$)")
