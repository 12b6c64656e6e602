"""Which `.tflite` operation a kernel ends up in: that decides in how few bits LiteRT can store it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from measure.loops import becomes_a_loop, is_recurrent
from optimizers.kernels import Kernel, is_depthwise

_BY_CLASS = {
    "Dense": "FULLY_CONNECTED",
    "Conv1D": "CONV_2D",
    "Conv2D": "CONV_2D",
    "SeparableConv1D": "CONV_2D",
    "SeparableConv2D": "CONV_2D",
    "Conv1DTranspose": "TRANSPOSE_CONV",
    "Conv2DTranspose": "TRANSPOSE_CONV",
    "MultiHeadAttention": "FULLY_CONNECTED",
    "Conv3D": "CONV_3D",
    "Conv3DTranspose": "CONV_3D_TRANSPOSE",
    "Embedding": "GATHER",
    "LSTM": "UNIDIRECTIONAL_SEQUENCE_LSTM",
    "LocallyConnected1D": "BATCH_MATMUL",
}
_IN_A_LOOP = {
    "LSTM": "FULLY_CONNECTED",
    "GRU": "FULLY_CONNECTED",
    "SimpleRNN": "FULLY_CONNECTED",
    "ConvLSTM1D": "CONV_2D",
    "ConvLSTM2D": "CONV_2D",
}
_WRAPPERS = ("Bidirectional", "TimeDistributed")


def operation_of(layer: Any, kernel: Kernel, outputs: Sequence[Any]) -> str:
    """Return the operation's name in the schema, or "" where the class of the layer does not tell.

    Args:
        layer: of a built tf_keras model.
        kernel: one of its kernels.
        outputs: of the model.
    """
    name = type(layer).__name__
    if name in _WRAPPERS:
        name = type(layer.layer).__name__
    if is_depthwise(kernel):
        return "DEPTHWISE_CONV_2D"
    is_unrolled = getattr(getattr(layer, "layer", layer), "unroll", False)
    if is_recurrent(layer) and (is_unrolled or becomes_a_loop(layer, outputs)):
        return _IN_A_LOOP.get(name, "")
    return _BY_CLASS.get(name, "")
