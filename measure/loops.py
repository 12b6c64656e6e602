"""Recurrent layers: which of them LiteRT runs as one operation, and which as a loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from intake.keras_env import keras2, tensorflow


def is_recurrent(layer: Any) -> bool:
    """True for a layer that goes through its input step by step, also where another layer wraps it."""
    return isinstance(getattr(layer, "layer", layer), keras2().layers.RNN)


def becomes_a_loop(layer: Any, outputs: Sequence[Any]) -> bool:
    """True for a recurrent layer of a built model that the converter writes as a loop.

    Only an LSTM with the standard activations, without a mask and whose last state nobody uses is fused into one
    operation (the first condition is Keras's own for its fast kernels); an unrolled layer is no loop either.

    Args:
        layer: of the model.
        outputs: of the model: a state that is one of them is used.
    """
    inner = getattr(layer, "layer", layer)
    if not is_recurrent(layer) or inner.unroll:
        return False
    fusable = isinstance(inner, keras2().layers.LSTM) and inner._could_use_gpu_kernel
    return not fusable or meets_a_mask(layer) or _hands_on_its_state(layer, outputs)


def _hands_on_its_state(layer: Any, outputs: Sequence[Any]) -> bool:
    """True where a built layer returns its last state, unless all that is taken of it is the answer."""
    if not getattr(layer, "layer", layer).return_state:
        return False
    answers = [id(tensorflow().nest.flatten(node.outputs)[0]) for node in layer.inbound_nodes]
    own = {id(tensor) for node in layer.inbound_nodes for tensor in tensorflow().nest.flatten(node.outputs)}
    taken = {id(tensor) for node in layer.outbound_nodes for tensor in node.keras_inputs} | set(map(id, outputs))
    return not taken & own <= set(answers)


def meets_a_mask(layer: Any) -> bool:
    """True where a mask of padded steps comes into a built layer, or starts in it."""
    tensors = [
        tensor for node in layer.inbound_nodes for tensor in tensorflow().nest.flatten((node.call_args, node.outputs))
    ]
    return any(getattr(tensor, "_keras_mask", None) is not None for tensor in tensors)
