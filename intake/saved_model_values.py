"""What flows through the graph of a SavedModel while it is translated: arrays, Keras tensors, and what becomes of both.

Some operations mean nothing by themselves (an axis added before a Conv2D that is a Conv1D in truth). They are kept
as values that know what they came from, and turn into a layer only where something else asks for their tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from intake import keras_env

Array = np.ndarray[Any, Any]
Value = Any
"""An array, a Keras tensor, Dims or Deferred."""


@dataclass(frozen=True)
class Size:
    """A length that is only known when the model runs: a product of axes of Keras tensors and a number."""

    axes: tuple[tuple[int, int], ...]
    """(id of the tensor, axis), sorted."""
    factor: int
    tensors: tuple[Any, ...] = field(compare=False)
    """The tensors of `axes`."""

    def __mul__(self, other: int | Size) -> Size:
        if isinstance(other, Size):
            pairs = sorted(
                zip(self.axes + other.axes, self.tensors + other.tensors, strict=True), key=lambda pair: pair[0]
            )
            return Size(tuple(a for a, _ in pairs), self.factor * other.factor, tuple(t for _, t in pairs))
        return Size(self.axes, self.factor * int(other), self.tensors)

    __rmul__ = __mul__

    @property
    def is_batch(self) -> bool:
        """True for the number of samples."""
        return self.factor == 1 and len(self.axes) == 1 and self.axes[0][1] == 0

    def tensor(self) -> Any:
        """Return it as a scalar tensor."""
        tf = keras_env.tensorflow()
        parts = [tf.shape(tensor)[axis] for (_, axis), tensor in zip(self.axes, self.tensors, strict=True)]
        result = parts[0]
        for part in parts[1:]:
            result = result * part
        return result * self.factor if self.factor != 1 else result


@dataclass(eq=False)
class Dims:
    """A whole number or a list of them, of which some are Sizes."""

    items: Array
    """dtype object, of rank 0 or 1."""

    def simplified(self) -> Value:
        """An int32 array where every number is known."""
        if any(isinstance(item, Size) for item in self.items.ravel()):
            return self
        return self.items.astype(np.int32)

    def target(self) -> list[Any]:
        """Return the items as a shape for tf.reshape: one unknown length becomes -1."""
        items = list(self.items.ravel())
        unknown = [place for place, item in enumerate(items) if isinstance(item, Size)]
        if len(unknown) == 1:
            return [-1 if isinstance(item, Size) else int(item) for item in items]
        return [item.tensor() if isinstance(item, Size) else int(item) for item in items]

    @cached_property
    def tensor(self) -> Any:
        """Return it as an int32 tensor."""
        parts = [item.tensor() if isinstance(item, Size) else int(item) for item in self.items.ravel()]
        return keras_env.tensorflow().stack(parts) if self.items.ndim else parts[0]


def dims_of(tensor: Any) -> Dims:
    """Return the shape of a Keras tensor."""
    sizes = [
        Size(((id(tensor), axis),), 1, (tensor,)) if size is None else int(size)
        for axis, size in enumerate(tensor.shape)
    ]
    items = np.empty(len(sizes), dtype=object)
    items[:] = sizes
    return Dims(items)


class Deferred(ABC):
    """A value that turns into a tensor only where one is asked for."""

    made: Any = None

    def tensor(self) -> Any:
        """Return the Keras tensor, made at the first call."""
        if self.made is None:
            self.made = self._make()
        return self.made

    @abstractmethod
    def _make(self) -> Any: ...


@dataclass(eq=False)
class Layer(Deferred):
    """A Keras layer to which a bias and an activation can still be added."""

    make: Callable[..., Any]
    """Called with class name, settings, weights and name; returns the layer."""
    class_name: str
    settings: dict[str, Any]
    weights: list[Array]
    source: Any
    """Keras tensor, or a list of them."""
    name: str
    takes_bias: bool = False
    takes_activation: bool = False
    bias_size: int = 0
    finish: Callable[[Any], Any] | None = None
    """What the operation did beside what the layer does (an axis kept, axes flattened)."""
    kept_axis: int | None = None
    """The axis of length 1 that `finish` adds."""

    def finished(self) -> Layer:
        """Return the layer alone, after an operation that undoes what `finish` does."""
        self.finish, self.kept_axis = None, None
        self.takes_bias = self.bias_size > 0
        self.takes_activation = self.takes_bias and self.class_name != "LayerNormalization"
        return self

    def _make(self) -> Any:
        output = self.make(self.class_name, self.settings, self.weights, self.name)(self.source)
        return self.finish(output) if self.finish else output


@dataclass(eq=False)
class Expanded(Deferred):
    """A tensor with an axis of length 1 added."""

    source: Any
    axis: int

    def _make(self) -> Any:
        return keras_env.tensorflow().expand_dims(self.source, self.axis)


@dataclass(eq=False)
class TimeFirst(Deferred):
    """(time, batch, features) made from (batch, time, features), in reversed order or not."""

    source: Any
    backwards: bool = False

    def _make(self) -> Any:
        tf = keras_env.tensorflow()
        axes = [1, 0, *range(2, len(self.source.shape))]
        turned = tf.transpose(self.source, axes)
        return tf.reverse(turned, [0]) if self.backwards else turned


@dataclass(eq=False)
class Flattened(Deferred):
    """(a, b, c) as (a * b, c): how Dense layers are computed on more than two axes."""

    source: Any

    def _make(self) -> Any:
        return keras_env.tensorflow().reshape(self.source, [-1, int(self.source.shape[-1])])


@dataclass(eq=False)
class Converted(Deferred):
    """A tensor of numbers as another type."""

    source: Any
    dtype: Any

    def _make(self) -> Any:
        return keras_env.tensorflow().cast(self.source, self.dtype)


@dataclass(eq=False)
class Filled(Deferred):
    """One number, repeated in the given shape."""

    shape: Dims
    number: Any

    def _make(self) -> Any:
        return keras_env.tensorflow().fill(self.shape.tensor, self.number)


@dataclass(eq=False)
class Steps(Deferred):
    """A list of time steps: what goes into, or comes out of, the loop of a recurrent layer."""

    source: TimeFirst | None
    """None for a list that the loop fills."""

    def _make(self) -> Any:
        raise ValueError("a list of time steps has no tensor")


def tensor_of(value: Value) -> Any:
    """Return a value as something that tf functions take: a Keras tensor or an array."""
    if isinstance(value, Deferred):
        return value.tensor()
    return value.tensor if isinstance(value, Dims) else value


def shape_of(value: Value) -> tuple[int | None, ...]:
    """Return the static shape of an array, a Keras tensor or what becomes one."""
    value = tensor_of(value)
    return tuple(None if size is None else int(size) for size in value.shape)


def same_length(first: Dims, second: Dims) -> bool:
    """Tell whether two shapes are surely equal."""
    return first.items.shape == second.items.shape and all(
        one == other for one, other in zip(first.items.ravel(), second.items.ravel(), strict=True)
    )


def known_product(sizes: tuple[int | None, ...]) -> int | None:
    """Return the product of sizes, None where one is unknown."""
    return None if any(size is None for size in sizes) else prod(size for size in sizes if size is not None)
