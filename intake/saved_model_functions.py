"""Operations that stay calls of one TensorFlow function: arithmetic, comparisons, sums over axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from intake.saved_model_graph import Node
from intake.saved_model_translation import Handler, Translation, is_tensor
from intake.saved_model_values import Value, tensor_of

_ONE_ARGUMENT = {
    "Abs": "abs", "Acos": "acos", "Acosh": "acosh", "Asin": "asin", "Asinh": "asinh", "Atan": "atan", "Atanh": "atanh",
    "Ceil": "ceil", "Cos": "cos", "Cosh": "cosh", "Erf": "erf", "Erfc": "erfc", "Exp": "exp", "Expm1": "expm1",
    "Floor": "floor", "Inv": "reciprocal", "IsFinite": "is_finite", "IsInf": "is_inf", "IsNan": "is_nan", "Log": "log",
    "Log1p": "log1p", "LogicalNot": "logical_not", "Neg": "negative", "Reciprocal": "reciprocal", "Rint": "rint",
    "Round": "round", "Rsqrt": "rsqrt", "Sign": "sign", "Sin": "sin", "Sinh": "sinh", "Sqrt": "sqrt",
    "Square": "square", "Tan": "tan",
}  # fmt: skip
_TWO_ARGUMENTS = {
    "Atan2": "atan2", "Div": "divide", "DivNoNan": "divide_no_nan", "Equal": "equal", "FloorDiv": "floordiv",
    "FloorMod": "floormod", "Greater": "greater", "GreaterEqual": "greater_equal", "Less": "less",
    "LessEqual": "less_equal", "LogicalAnd": "logical_and", "LogicalOr": "logical_or", "MulNoNan": "multiply_no_nan",
    "NotEqual": "not_equal", "Pow": "pow", "RealDiv": "divide", "SquaredDifference": "squared_difference",
    "TruncateMod": "floormod", "Xdivy": "xdivy",
}  # fmt: skip
_MERGES = {"Sub": ("Subtract", "subtract"), "Maximum": ("Maximum", "maximum"), "Minimum": ("Minimum", "minimum")}
_OVER_AXES = {
    "Mean": "reduce_mean", "Sum": "reduce_sum", "Max": "reduce_max", "Min": "reduce_min", "Prod": "reduce_prod",
    "All": "reduce_all", "Any": "reduce_any",
}  # fmt: skip
_POOLS = {"Mean": "GlobalAveragePooling", "Max": "GlobalMaxPooling"}


def _one(name: str) -> Handler:
    return lambda t, node, values: getattr(t.tf.math, name)(tensor_of(values[0]))


def _two(name: str) -> Handler:
    return lambda t, node, values: getattr(t.tf.math, name)(_operand(values, 0), _operand(values, 1))


def _operand(values: list[Value], place: int) -> Any:
    """One of two operands; a single known number becomes a plain one, as people would have written it."""
    value = tensor_of(values[place])
    return value.item() if isinstance(value, np.ndarray) and value.size == 1 and value.ndim == 0 else value


def _merge(class_name: str, function: str) -> Handler:
    def handle(t: Translation, node: Node, values: list[Value]) -> Value:
        from intake.saved_model_layers import merge_or_call

        if all(is_tensor(value) for value in values):
            return merge_or_call(t, class_name, getattr(t.tf.math, function), values)
        return _two(function)(t, node, values)

    return handle


def _over_axes(t: Translation, node: Node, values: list[Value]) -> Value:
    x = tensor_of(values[0])
    if not isinstance(values[1], np.ndarray):
        raise t.refuse(node, "with axes computed from the inputs")
    rank = len(x.shape)
    axes = sorted(int(axis) % rank for axis in values[1].reshape(-1))
    keep = bool(node.attrs["keep_dims"].b) if "keep_dims" in node.attrs else False
    if node.op in _POOLS and rank in (3, 4, 5) and axes == list(range(1, rank - 1)):
        return t.layer(f"{_POOLS[node.op]}{rank - 2}D", {"keepdims": keep}, [], _POOLS[node.op].lower())(x)
    return getattr(t.tf, _OVER_AXES[node.op])(x, axis=axes, keepdims=keep)


def _arg(function: str) -> Handler:
    def handle(t: Translation, node: Node, values: list[Value]) -> Value:
        output = t.tf.int32 if node.attrs["output_type"].type == t.tf.int32.as_datatype_enum else t.tf.int64
        return getattr(t.tf, function)(tensor_of(values[0]), axis=int(values[1]), output_type=output.name)

    return handle


def _clip(t: Translation, node: Node, values: list[Value]) -> Value:
    return t.tf.clip_by_value(tensor_of(values[0]), _operand(values, 1), _operand(values, 2))


def _add_n(t: Translation, node: Node, values: list[Value]) -> Value:
    tensors = [tensor_of(value) for value in values]
    result = tensors[0]
    for tensor in tensors[1:]:
        result = t.tf.math.add(result, tensor)
    return result


def _one_hot(t: Translation, node: Node, values: list[Value]) -> Value:
    indices, depth, on, off = values
    axis = int(node.attrs["axis"].i)
    return t.tf.one_hot(tensor_of(indices), int(depth), float(on), float(off), axis=axis)


def _cumsum(t: Translation, node: Node, values: list[Value]) -> Value:
    flags = {"exclusive": bool(node.attrs["exclusive"].b), "reverse": bool(node.attrs["reverse"].b)}
    return t.tf.cumsum(tensor_of(values[0]), axis=int(values[1]), **flags)


def _log_softmax(t: Translation, node: Node, values: list[Value]) -> Value:
    return t.tf.nn.log_softmax(tensor_of(values[0]))


def _l2(t: Translation, node: Node, values: list[Value]) -> Value:
    raise t.refuse(node, "which belongs to training only")


def _blocks(function: str) -> Handler:
    def handle(t: Translation, node: Node, values: list[Value]) -> Value:
        return getattr(t.tf.nn, function)(tensor_of(values[0]), int(node.attrs["block_size"].i))

    return handle


def _gather_nd(t: Translation, node: Node, values: list[Value]) -> Value:
    return t.tf.gather_nd(tensor_of(values[0]), tensor_of(values[1]))


def _range(t: Translation, node: Node, values: list[Value]) -> Value:
    return t.tf.range(*(_operand(values, place) for place in range(3)))


def _top_k(t: Translation, node: Node, values: list[Value]) -> Value:
    count = int(values[1]) if len(values) > 1 else int(node.attrs["k"].i)
    return list(t.tf.math.top_k(tensor_of(values[0]), k=count))


def _space_to_batch(function: str) -> Handler:
    def handle(t: Translation, node: Node, values: list[Value]) -> Value:
        if not all(isinstance(value, np.ndarray) for value in values[1:]):
            raise t.refuse(node, "with sizes computed from the inputs")
        return getattr(t.tf, function)(tensor_of(values[0]), values[1].tolist(), values[2].tolist())

    return handle


_OTHERS: dict[str, Callable[..., Any]] = {
    "AddN": _add_n,
    "ArgMax": _arg("argmax"),
    "ArgMin": _arg("argmin"),
    "BatchToSpaceND": _space_to_batch("batch_to_space"),
    "ClipByValue": _clip,
    "Cumsum": _cumsum,
    "DepthToSpace": _blocks("depth_to_space"),
    "GatherNd": _gather_nd,
    "L2Loss": _l2,
    "LogSoftmax": _log_softmax,
    "OneHot": _one_hot,
    "Range": _range,
    "SpaceToBatchND": _space_to_batch("space_to_batch"),
    "SpaceToDepth": _blocks("space_to_depth"),
    "TopKV2": _top_k,
}

FUNCTION_HANDLERS: dict[str, Handler] = {
    **{op: _one(name) for op, name in _ONE_ARGUMENT.items()},
    **{op: _two(name) for op, name in _TWO_ARGUMENTS.items()},
    **{op: _merge(*names) for op, names in _MERGES.items()},
    **dict.fromkeys(_OVER_AXES, _over_axes),
    **_OTHERS,
}
