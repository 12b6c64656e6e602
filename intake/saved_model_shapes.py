"""Operations that move, cut and join: most of them work on shapes, and are computed as far as the shapes are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from intake.saved_model_graph import Node
from intake.saved_model_translation import Handler, Translation, attribute_value, is_tensor
from intake.saved_model_values import (
    Converted,
    Dims,
    Expanded,
    Filled,
    Flattened,
    Layer,
    Size,
    TimeFirst,
    Value,
    dims_of,
    known_product,
    same_length,
    tensor_of,
)


def _array(t: Translation, node: Node, value: Value, what: str) -> Any:
    """Return a value that must be known while the model is built."""
    if isinstance(value, np.ndarray):
        return value
    raise t.refuse(node, f"with {what} computed from the inputs")


def _shape(t: Translation, node: Node, values: list[Value]) -> Value:
    return dims_of(tensor_of(values[0])).simplified()


def _objects(value: Value) -> Any:
    """Dims or an array as an array of objects."""
    return value.items if isinstance(value, Dims) else value.astype(object)


def _all_dims(values: list[Value]) -> bool:
    return any(isinstance(value, Dims) for value in values) and all(
        isinstance(value, Dims) or (isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.integer))
        for value in values
    )


# ---------------------------------------------------------------- other shapes


def _reshape(t: Translation, node: Node, values: list[Value]) -> Value:
    value, target = values
    if isinstance(value, Dims):
        return value
    wanted = Dims(_objects(target)) if isinstance(target, Dims | np.ndarray) else None
    if wanted is None:
        return t.tf.reshape(tensor_of(value), tensor_of(target))
    if (
        isinstance(value, Layer)
        and value.class_name in ("Dense", "LayerNormalization")
        and value.finish
        and value.made is None
    ):
        before = [*dims_of(value.source).items[:-1], value.bias_size]
        if _means_the_same(list(wanted.items), before):
            return value.finished()
    x = tensor_of(value)
    sizes = tuple(x.shape)
    items = list(wanted.items)
    if len(sizes) > 2 and len(items) == 2 and items[1] == sizes[-1] and known_product(sizes[1:-1]) != 1:
        return Flattened(x)
    if _keeps_batch(t, items, sizes):
        rest = [-1 if isinstance(item, Size) else int(item) for item in items[1:]]
        if len(rest) == 1 and len(sizes) > 2:
            return t.layer("Flatten", {}, [], "flatten")(x)
        if rest.count(-1) <= 1:
            return t.layer("Reshape", {"target_shape": tuple(rest)}, [], "reshape")(x)
    return t.tf.reshape(x, wanted.target())


def _means_the_same(items: list[Any], before: list[Any]) -> bool:
    """Equal, with at most one -1 that stands for the one unknown length."""
    if len(items) != len(before):
        return False
    differing = [(one, other) for one, other in zip(items, before, strict=True) if one != other]
    return not differing or (len(differing) == 1 and not isinstance(differing[0][0], Size) and differing[0][0] == -1)


def _keeps_batch(t: Translation, items: list[Any], sizes: tuple[Any, ...]) -> bool:
    if not items or sizes[0] is not None:
        return False
    first = items[0]
    if isinstance(first, Size):
        return first.is_batch and items.count(-1) == 0
    rest = [item for item in items[1:] if not isinstance(item, Size)]
    fixed = {argument.shape[0] for argument in t.graph.inputs if argument.shape} - {None}
    inner = known_product(tuple(sizes[1:]))
    if first == -1:
        return len(rest) == len(items) - 1 and inner is not None and int(np.prod([1, *rest])) == inner
    return first in fixed and inner is not None and (-1 in rest or int(np.prod([1, *rest])) == inner)


def _expand_dims(t: Translation, node: Node, values: list[Value]) -> Value:
    if isinstance(values[0], Dims):
        return Dims(_objects(values[0]).reshape(-1))
    x = tensor_of(values[0])
    axis = int(_array(t, node, values[1], "an axis").reshape(()))
    return Expanded(x, axis % (len(x.shape) + 1))


def _squeeze(t: Translation, node: Node, values: list[Value]) -> Value:
    value = values[0]
    if isinstance(value, Dims):
        return Dims(value.items.reshape(()))
    axes = list(node.attrs["squeeze_dims"].list.i or node.attrs["axis"].list.i)
    if isinstance(value, Layer) and value.kept_axis is not None and value.made is None and t.used_once(node.inputs[0]):
        rank = len(value.source.shape) + 1
        if [axis % rank for axis in axes] == [value.kept_axis]:
            return value.finished()
    if isinstance(value, Expanded) and [axis % (len(value.source.shape) + 1) for axis in axes] == [value.axis]:
        return value.source
    x = tensor_of(value)
    if not axes:  # all axes of length 1; the batch axis stays
        axes = [axis for axis, size in enumerate(x.shape) if size == 1]
    return t.tf.squeeze(x, [int(axis) for axis in axes]) if axes else value


def _transpose(t: Translation, node: Node, values: list[Value]) -> Value:
    axes = [int(axis) for axis in _array(t, node, values[1], "axes")]
    value = values[0]
    if isinstance(value, TimeFirst) and value.made is None and axes == [1, 0, *range(2, len(axes))]:
        return t.tf.reverse(value.source, [1]) if value.backwards else value.source
    if axes == sorted(axes):
        return value
    x = tensor_of(value)
    if len(axes) > 1 and axes == [1, 0, *range(2, len(axes))]:
        return TimeFirst(x)
    if axes[0] == 0:
        return t.layer("Permute", {"dims": tuple(axes[1:])}, [], "permute")(x)
    return t.tf.transpose(x, axes)


def _reverse(t: Translation, node: Node, values: list[Value]) -> Value:
    axes = [int(axis) for axis in _array(t, node, values[1], "axes")]
    value = values[0]
    if isinstance(value, TimeFirst) and value.made is None and axes == [0]:
        return TimeFirst(value.source, not value.backwards)
    return t.tf.reverse(tensor_of(value), axes)


def _pad(t: Translation, node: Node, values: list[Value]) -> Value:
    x = tensor_of(values[0])
    amounts = [tuple(int(size) for size in pair) for pair in _array(t, node, values[1], "a padding")]
    filler = float(np.asarray(_array(t, node, values[2], "a filling")).reshape(())) if len(values) > 2 else 0.0
    if node.op == "MirrorPad":
        return t.tf.pad(x, amounts, mode=str(attribute_value(node, "mode")))
    edges_free = amounts[0] == (0, 0) and amounts[-1] == (0, 0)
    if filler == 0.0 and edges_free and len(amounts) in (3, 4, 5):
        inner = amounts[1:-1]
        sizes: Any = inner[0] if len(inner) == 1 else tuple(inner)
        return t.layer(f"ZeroPadding{len(inner)}D", {"padding": sizes}, [], "zero_padding")(x)
    return t.tf.pad(x, amounts, constant_values=filler)


# ---------------------------------------------------------------- cutting


_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def _strided_slice(t: Translation, node: Node, values: list[Value]) -> Value:
    masks = {mask: int(node.attrs[mask].i) if mask in node.attrs else 0 for mask in _MASKS}
    if isinstance(values[0], Dims):
        begin, end, step = (int(np.asarray(_array(t, node, item, "a position")).reshape(-1)[0]) for item in values[1:4])
        if masks["shrink_axis_mask"]:
            picked = np.empty((), dtype=object)
            picked[()] = values[0].items[begin]
            return Dims(picked).simplified()
        kept = slice(None if masks["begin_mask"] else begin, None if masks["end_mask"] else end, step)
        return Dims(values[0].items[kept]).simplified()
    if isinstance(values[0], TimeFirst) and values[0].made is None and masks["shrink_axis_mask"] == 1:
        first = np.asarray(_array(t, node, values[1], "a position")).reshape(-1)
        if first.size == 1 and masks["new_axis_mask"] == 0 and not values[0].backwards:
            return t.tf.gather(values[0].source, int(first[0]), axis=1) if first[0] >= 0 else values[0].source[:, -1]
    positions = [_positions(t, item) for item in values[1:4]]
    return t.tf.strided_slice(tensor_of(values[0]), *positions, **masks)


def _positions(t: Translation, value: Value) -> Any:
    if isinstance(value, np.ndarray):
        return [int(item) for item in value.reshape(-1)]
    return tensor_of(value)


def _slice(t: Translation, node: Node, values: list[Value]) -> Value:
    if isinstance(values[0], Dims):
        begin, size = (int(np.asarray(_array(t, node, item, "a position")).reshape(-1)[0]) for item in values[1:3])
        return Dims(values[0].items[begin:] if size < 0 else values[0].items[begin : begin + size]).simplified()
    starts = [int(item) for item in _array(t, node, values[1], "a position")]
    x = tensor_of(values[0])
    sizes = Dims(_objects(values[2]))
    kept = [_kept_size(item, x, axis, starts[axis]) for axis, item in enumerate(sizes.items)]
    return t.tf.slice(x, starts, kept)


def _kept_size(item: Any, x: Any, axis: int, begin: int) -> Any:
    if isinstance(item, Size):
        return -1 if begin == 0 and x.shape[axis] is None else item.tensor()
    return int(item)


def _split(t: Translation, node: Node, values: list[Value]) -> Value:
    if node.op == "SplitV":
        x, sizes, axis = values
        parts: Any = [int(size) for size in _array(t, node, sizes, "sizes")]
        if len(parts) == 1:
            return [x]
    else:
        axis, x = values
        parts = int(node.attrs["num_split"].i)
        if parts == 1:
            return [x]
    return list(t.tf.split(tensor_of(x), parts, axis=int(_array(t, node, axis, "an axis").reshape(()))))


def _unpack(t: Translation, node: Node, values: list[Value]) -> Value:
    count, axis = int(node.attrs["num"].i), int(node.attrs["axis"].i)
    if isinstance(values[0], Dims):
        return [Dims(np.array(item, dtype=object)).simplified() for item in values[0].items]
    return list(t.tf.unstack(tensor_of(values[0]), num=count, axis=axis))


# ---------------------------------------------------------------- joining


def _concat(t: Translation, node: Node, values: list[Value]) -> Value:
    parts, axis = (values[1:], values[0]) if node.op == "Concat" else (values[:-1], values[-1])
    place = int(_array(t, node, axis, "an axis").reshape(()))
    if _all_dims(parts):
        return Dims(np.concatenate([_objects(part).reshape(-1) for part in parts])).simplified()
    if len(parts) == 1:
        return parts[0]
    if all(is_tensor(part) for part in parts):
        tensors = [tensor_of(part) for part in parts]
        if len({id(tensor) for tensor in tensors}) == len(tensors) and place != 0:
            return t.layer("Concatenate", {"axis": place}, [], "concatenate")(tensors)
    return t.tf.concat([tensor_of(part) for part in parts], axis=place)


def _pack(t: Translation, node: Node, values: list[Value]) -> Value:
    if _all_dims(values) and all(np.ndim(_objects(value)) == 0 for value in values):
        items = np.empty(len(values), dtype=object)
        items[:] = [_objects(value).item() for value in values]
        return Dims(items).simplified()
    return t.tf.stack([tensor_of(value) for value in values], axis=int(node.attrs["axis"].i))


def _tile(t: Translation, node: Node, values: list[Value]) -> Value:
    if isinstance(values[1], np.ndarray):
        return t.tf.tile(tensor_of(values[0]), [int(item) for item in values[1]])
    return t.tf.tile(tensor_of(values[0]), tensor_of(values[1]))


# ---------------------------------------------------------------- filling, types, sizes as numbers


def _fill(t: Translation, node: Node, values: list[Value]) -> Value:
    shape, number = values
    if isinstance(shape, Dims) and isinstance(number, np.ndarray):
        return Filled(shape, number.item())
    return t.tf.fill(tensor_of(shape), tensor_of(number))


def _fill_like(t: Translation, node: Node, values: list[Value]) -> Value:
    x = tensor_of(values[0])
    whole = x.dtype.is_integer or x.dtype.is_bool
    number = 0 if node.op == "ZerosLike" else 1
    return Filled(dims_of(x), number if whole else float(number))


def _cast(t: Translation, node: Node, values: list[Value]) -> Value:
    value, dtype = values[0], attribute_value(node, "DstT")
    if dtype.is_floating:
        dtype = t.tf.float32
    if isinstance(value, Dims):
        return value if dtype.is_integer else t.tf.cast(value.tensor, dtype)
    x = tensor_of(value)
    if x.dtype == dtype:
        return value
    return Converted(x, dtype)


def _sizes(numbers: Any, function: str) -> Handler:
    """Handle arithmetic on Dims, and leave tensors to the TensorFlow function."""

    def handle(t: Translation, node: Node, values: list[Value]) -> Value:
        from intake.saved_model_functions import FUNCTION_HANDLERS

        if _all_dims(values[:1]) and isinstance(values[-1], np.ndarray):
            return Dims(np.array(numbers(values[0].items), dtype=object)).simplified()
        return FUNCTION_HANDLERS[function](t, node, values)

    return handle


def _product(items: Any) -> Any:
    result: Any = 1
    for item in items.ravel():
        result = item * result
    return result


def _multiplied(t: Translation, node: Node, values: list[Value]) -> Value:
    from intake.saved_model_layers import LAYER_HANDLERS

    if _all_dims(values):
        one, other = np.broadcast_arrays(_objects(values[0]), _objects(values[1]))
        items = np.empty(one.shape, dtype=object)
        for place in np.ndindex(one.shape):
            items[place] = one[place] * other[place]
        return Dims(items).simplified()
    return LAYER_HANDLERS["Mul"](t, node, values)


def _gathered(t: Translation, node: Node, values: list[Value]) -> Value:
    from intake.saved_model_layers import LAYER_HANDLERS

    if isinstance(values[0], Dims):
        picked = values[0].items[_array(t, node, values[1], "positions")]
        items = np.empty(np.shape(values[1]), dtype=object)
        items[...] = picked
        return Dims(items).simplified()
    return LAYER_HANDLERS["GatherV2"](t, node, values)


def _select(t: Translation, node: Node, values: list[Value]) -> Value:
    return t.tf.where(*(tensor_of(value) for value in values))


def _broadcast(t: Translation, node: Node, values: list[Value]) -> Value:
    x, shape = values
    if isinstance(shape, Dims) and is_tensor(x) and same_length(shape, dims_of(tensor_of(x))):
        return x
    if isinstance(x, np.ndarray) and x.size == 1 and isinstance(shape, Dims):
        return Filled(shape, x.item())
    return t.tf.broadcast_to(tensor_of(x), tensor_of(shape))


SHAPE_HANDLERS: dict[str, Handler] = {
    "Shape": _shape,
    "ShapeN": lambda t, node, values: [dims_of(tensor_of(value)).simplified() for value in values],
    "Reshape": _reshape,
    "ExpandDims": _expand_dims,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "ReverseV2": _reverse,
    "Pad": _pad,
    "PadV2": _pad,
    "MirrorPad": _pad,
    "StridedSlice": _strided_slice,
    "Slice": _slice,
    "Split": _split,
    "SplitV": _split,
    "Unpack": _unpack,
    "ConcatV2": _concat,
    "Concat": _concat,
    "Pack": _pack,
    "Tile": _tile,
    "Fill": _fill,
    "ZerosLike": _fill_like,
    "OnesLike": _fill_like,
    "Cast": _cast,
    "Prod": _sizes(_product, "Prod"),
    "Select": _select,
    "SelectV2": _select,
    "BroadcastTo": _broadcast,
}
DIMS_HANDLERS: dict[str, Handler] = {"Mul": _multiplied, **dict.fromkeys(("GatherV2", "Gather"), _gathered)}
"""These come before the handlers of layers of the same name, which they call for tensors."""
