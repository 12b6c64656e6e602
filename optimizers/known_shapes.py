"""Training steps that know the sizes of what they are fed.

Keras tells them only the number of axes of what comes from a Sequence, and some layers cannot be traced without sizes:
a LayerNormalization over several axes behind a reshaping layer, a CategoryEncoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from intake.keras_env import tensorflow


@contextmanager
def known_shapes(model: Any) -> Iterator[None]:
    """Let the steps of a functional tf_keras model see the shapes of its inputs, while it is trained and validated."""
    steps = ("train_step", "test_step")
    for name in steps:
        setattr(model, name, _shaped(model, getattr(model, name)))
    try:
        yield
    finally:
        for name in steps:
            delattr(model, name)


def _shaped(model: Any, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    shapes = [tensor.shape for tensor in model.inputs]

    def with_shapes(data: Any) -> Any:
        tf = tensorflow()
        flat = [
            tf.ensure_shape(value, shape) if value.shape.rank == shape.rank else value
            for value, shape in zip(tf.nest.flatten(data[0]), shapes, strict=True)
        ]
        return step((tf.nest.pack_sequence_as(data[0], flat), *data[1:]))

    return with_shapes
