"""Leave out the activation ranges of quantization-aware training, where the converter cannot bring them together.

It has to give the inputs of a Concatenate (and of other operations that only move numbers) one scale. Where some come
from layers with trained ranges and others from layers that it calibrates itself, it ends in an error.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock


def has_trained_ranges(model: Any) -> bool:
    """True for a tf_keras model that emulates quantization."""
    return any(layer.name.startswith("quant_") for layer in model.layers)


@contextmanager
def without_trained_ranges() -> Iterator[None]:
    """Let a quantization-aware model compute with float activations while it is traced; its weights stay rounded."""
    from tensorflow_model_optimization.python.core.quantization.keras import quant_ops

    def as_it_is(inputs: Any, *_: Any, **__: Any) -> Any:
        return inputs

    with (
        mock.patch.object(quant_ops, "MovingAvgQuantize", as_it_is),
        mock.patch.object(quant_ops, "FixedQuantize", as_it_is),
    ):
        yield
