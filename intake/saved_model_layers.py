"""Operations with weights, activations and pooling: what has a Keras layer of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from intake.einsum import einsum
from intake.saved_model_graph import Node
from intake.saved_model_translation import Handler, Translation, attribute_value, is_tensor
from intake.saved_model_values import Array, Converted, Expanded, Filled, Flattened, Layer, Value, shape_of, tensor_of

_ACTIVATIONS = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softmax": "softmax",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "Elu": "elu",
    "Selu": "selu",
}
_MATCHES = {1: "1D", 2: "2D", 3: "3D"}


def _layer(
    t: Translation, class_name: str, settings: dict[str, Any], weights: list[Array], source: Any, name: str, **more: Any
) -> Layer:
    return Layer(t.layer, class_name, settings, weights, tensor_of(source), name, **more)


# ---------------------------------------------------------------- activations


def _activation(t: Translation, node: Node, values: list[Value]) -> Value:
    name, value = _ACTIVATIONS[node.op], values[0]
    if isinstance(value, Layer) and value.takes_activation and value.made is None and t.used_once(node.inputs[0]):
        value.settings["activation"] = name
        value.takes_activation = value.takes_bias = False
        return value
    return _layer(t, "Activation", {"activation": name}, [], value, name)


def _relu6(t: Translation, node: Node, values: list[Value]) -> Value:
    return _layer(t, "ReLU", {"max_value": 6.0}, [], values[0], "relu6")


def _leaky_relu(t: Translation, node: Node, values: list[Value]) -> Value:
    alpha = node.attrs["alpha"].f if "alpha" in node.attrs else 0.2
    return _layer(t, "LeakyReLU", {"alpha": round(float(alpha), 7)}, [], values[0], "leaky_relu")


# ---------------------------------------------------------------- dense layers and their bias


def _matmul(t: Translation, node: Node, values: list[Value]) -> Value:
    x, kernel = values
    turn_x = _flag(node, "transpose_a") or _flag(node, "adj_x")
    turn_kernel = _flag(node, "transpose_b") or _flag(node, "adj_y")
    if isinstance(kernel, np.ndarray) and kernel.ndim == 2 and not turn_x:
        flattened = isinstance(x, Flattened) and x.made is None
        source = x.source if flattened else tensor_of(x)
        kernel = t.inherit_name(np.ascontiguousarray(kernel.T), kernel) if turn_kernel else kernel
        settings = {"units": int(kernel.shape[1]), "use_bias": False}
        name = t.weight_name(kernel, node)
        finish = (lambda output: t.tf.reshape(output, [-1, int(kernel.shape[1])])) if flattened else None
        return Layer(
            t.layer,
            "Dense",
            settings,
            [kernel],
            source,
            name,
            not flattened,
            not flattened,
            int(kernel.shape[1]),
            finish,
        )
    return t.tf.linalg.matmul(tensor_of(x), tensor_of(kernel), transpose_a=turn_x, transpose_b=turn_kernel)


def _flag(node: Node, name: str) -> bool:
    return bool(node.attrs[name].b) if name in node.attrs else False


def with_bias(t: Translation, node: Node, value: Value, bias: Value, place: int) -> Value | None:
    """Return the layer with this array as its bias, None where it cannot take one."""
    if not (isinstance(value, Layer) and value.takes_bias and value.made is None and t.used_once(node.inputs[place])):
        return None
    if not isinstance(bias, np.ndarray) or bias.shape[-1:] != (value.bias_size,) or bias.size != value.bias_size:
        return None
    if value.class_name == "LayerNormalization":
        value.settings["center"] = True
    elif value.class_name == "EinsumDense":
        value.settings["bias_axes"] = value.settings["equation"][-1]
    else:
        value.settings["use_bias"] = True
    value.weights.append(t.inherit_name(bias.reshape(-1), bias) if bias.ndim > 1 else bias)
    value.takes_bias = False
    return value


def _bias_add(t: Translation, node: Node, values: list[Value]) -> Value:
    merged = with_bias(t, node, values[0], values[1], 0)
    return merged if merged is not None else t.tf.math.add(tensor_of(values[0]), tensor_of(values[1]))


def _einsum(t: Translation, node: Node, values: list[Value]) -> Value:
    equation = attribute_value(node, "equation").replace(" ", "")
    if len(values) != 2 or "." in equation:
        raise t.refuse(node, f"with the equation {equation}, which is not supported")
    if isinstance(values[1], np.ndarray) and is_tensor(values[0]):
        return _einsum_dense(t, node, equation, values[0], values[1])
    if isinstance(values[0], np.ndarray) and is_tensor(values[1]):
        (first, second), result = equation.split("->")[0].split(","), equation.split("->")[1]
        return _einsum_dense(t, node, f"{second},{first}->{result}", values[1], values[0])
    return einsum(equation, *map(tensor_of, values))


def _einsum_dense(t: Translation, node: Node, equation: str, x: Value, kernel: Array) -> Value:
    (left, right), result = equation.split("->")[0].split(","), equation.split("->")[1]
    if left[0] != result[0] or left[0] in right:
        raise t.refuse(node, f"with the equation {equation}, which does not keep the batch axis first")
    sizes = {**dict(zip(left, shape_of(x), strict=True)), **dict(zip(right, kernel.shape, strict=True))}
    settings = {
        "equation": equation,
        "output_shape": tuple(sizes[letter] for letter in result[1:]),
        "bias_axes": None,
    }
    last = sizes[result[-1]]
    return _layer(
        t, "EinsumDense", settings, [kernel], x, t.weight_name(kernel, node), takes_bias=last is not None,
        takes_activation=True, bias_size=last or 0,
    )  # fmt: skip


# ---------------------------------------------------------------- embeddings


def _gather(t: Translation, node: Node, values: list[Value]) -> Value:
    table, indices = values[0], values[1]
    axis = int(values[2]) if len(values) > 2 else 0
    batch_axes = node.attrs["batch_dims"].i if "batch_dims" in node.attrs else 0
    if isinstance(table, np.ndarray) and table.ndim == 2 and axis == 0 and batch_axes == 0 and is_tensor(indices):
        indices = _without_wrapping(t, node, indices)
        source = indices.source if isinstance(indices, Converted) and indices.made is None else tensor_of(indices)
        settings = {"input_dim": int(table.shape[0]), "output_dim": int(table.shape[1])}
        return _layer(t, "Embedding", settings, [table], source, t.weight_name(table, node))
    return t.tf.gather(tensor_of(table), tensor_of(indices), axis=axis, batch_dims=batch_axes)


def _without_wrapping(t: Translation, node: Node, indices: Value) -> Value:
    """Keras 3 lets negative indices count from the end, which no embedding has a use for."""
    select = node.inputs[1][0]
    if select.op not in ("Select", "SelectV2"):
        return indices
    condition, _, kept = select.inputs
    if condition[0].op == "Less" and condition[0].inputs[0] == kept and not np.any(t.value(condition[0].inputs[1])):
        return t.value(kept)
    return indices


# ---------------------------------------------------------------- convolutions


def _window(t: Translation, node: Node, name: str, axes: int) -> tuple[int, ...]:
    """Sizes of a window along the inner axes, of an attribute with one number for each axis of NHWC."""
    layout = attribute_value(node, "data_format") if "data_format" in node.attrs else "NHWC"
    if layout not in ("NHWC", "NDHWC"):
        raise t.refuse(node, f"with the channels first ({layout}), which processors do not run; use channels_last")
    sizes = tuple(attribute_value(node, name)) if name in node.attrs else (1,) * (axes + 2)
    sizes = sizes or (1,) * (axes + 2)
    if sizes[0] != 1 or sizes[-1] != 1:
        raise t.refuse(node, f"with {name} {sizes} along batch or channels")
    return sizes[1:-1]


def _padding(t: Translation, node: Node) -> str:
    padding = str(attribute_value(node, "padding"))
    if padding not in ("SAME", "VALID"):
        raise t.refuse(node, "with explicit padding; pad with a layer of its own")
    return padding.lower()


def _conv(t: Translation, node: Node, values: list[Value]) -> Value:
    x, kernel = values
    if not isinstance(kernel, np.ndarray):
        raise t.refuse(node, "with a kernel that is computed from the inputs")
    axes = kernel.ndim - 2
    strides, dilations = _window(t, node, "strides", axes), _window(t, node, "dilations", axes)
    one_axis = isinstance(x, Expanded) and x.made is None and x.axis == 1 and axes == 2 and kernel.shape[0] == 1
    name = t.weight_name(kernel, node)
    finish = None
    if one_axis:
        source, axes = x.source, 1
        kernel = t.inherit_name(kernel[0], kernel)
        strides, dilations = strides[1:], dilations[1:]

        def finish(output: Any) -> Any:
            return t.tf.expand_dims(output, 1)
    else:
        source = tensor_of(x)
    channels = int(source.shape[-1])
    settings = {
        "filters": int(kernel.shape[-1]),
        "kernel_size": tuple(int(size) for size in kernel.shape[:axes]),
        "strides": strides,
        "dilation_rate": dilations,
        "padding": _padding(t, node),
        "groups": channels // int(kernel.shape[-2]),
        "use_bias": False,
    }
    return Layer(
        t.layer, f"Conv{_MATCHES[axes]}", settings, [kernel], source, name, not one_axis, not one_axis,
        int(kernel.shape[-1]), finish, 1 if one_axis else None,
    )  # fmt: skip


def _depthwise_conv(t: Translation, node: Node, values: list[Value]) -> Value:
    x, kernel = values
    if not isinstance(kernel, np.ndarray):
        raise t.refuse(node, "with a kernel that is computed from the inputs")
    strides, dilations = _window(t, node, "strides", 2), _window(t, node, "dilations", 2)
    name, finish = t.weight_name(kernel, node), None
    settings = {"padding": _padding(t, node), "depth_multiplier": int(kernel.shape[3]), "use_bias": False}
    size = int(kernel.shape[2] * kernel.shape[3])
    if isinstance(x, Expanded) and x.made is None and x.axis == 1 and kernel.shape[0] == 1:
        settings |= {"kernel_size": int(kernel.shape[1]), "strides": strides[1], "dilation_rate": dilations[1]}
        inner = t.inherit_name(kernel[0], kernel)
        return Layer(
            t.layer, "DepthwiseConv1D", settings, [inner], x.source, name, False, False, size,
            lambda output: t.tf.expand_dims(output, 1), 1,
        )  # fmt: skip
    settings |= {"kernel_size": tuple(map(int, kernel.shape[:2])), "strides": strides, "dilation_rate": dilations}
    return Layer(t.layer, "DepthwiseConv2D", settings, [kernel], tensor_of(x), name, True, True, size, finish)


def _conv_transpose(t: Translation, node: Node, values: list[Value]) -> Value:
    _, kernel, x = values
    if not isinstance(kernel, np.ndarray):
        raise t.refuse(node, "with a kernel that is computed from the inputs")
    axes = kernel.ndim - 2
    settings: dict[str, Any] = {
        "filters": int(kernel.shape[-2]),
        "kernel_size": tuple(int(size) for size in kernel.shape[:axes]),
        "strides": _window(t, node, "strides", axes),
        "dilation_rate": _window(t, node, "dilations", axes),
        "padding": _padding(t, node),
        "use_bias": False,
    }
    size, name = int(kernel.shape[-2]), t.weight_name(kernel, node)
    if isinstance(x, Expanded) and x.made is None and x.axis == 1 and axes == 2 and kernel.shape[0] == 1:
        settings |= {key: settings[key][1:] for key in ("kernel_size", "strides", "dilation_rate")}
        inner = t.inherit_name(kernel[0], kernel)
        return Layer(
            t.layer, "Conv1DTranspose", settings, [inner], x.source, name, False, False, size,
            lambda output: t.tf.expand_dims(output, 1), 1,
        )  # fmt: skip
    return Layer(t.layer, f"Conv{_MATCHES[axes]}Transpose", settings, [kernel], tensor_of(x), name, True, True, size)


# ---------------------------------------------------------------- normalization and pooling


def _fused_batch_norm(t: Translation, node: Node, values: list[Value]) -> Value:
    if node.attrs["is_training"].b or "is_training" not in node.attrs:
        return _layer_normalization(t, node, values)
    x, scale, offset, mean, variance = values
    weights = [scale, offset, mean, variance]
    if not all(isinstance(item, np.ndarray) for item in weights) or _window(t, node, "none", 2) is None:
        raise t.refuse(node, "with statistics that are computed from the inputs")
    return batch_normalization(t, x, weights, float(node.attrs["epsilon"].f), t.weight_name(variance, node))


def _layer_normalization(t: Translation, node: Node, values: list[Value]) -> Value:
    """Keras 2 computes a LayerNormalization as a batch normalization of (1, everything else, features, 1)."""
    reshape = node.inputs[0][0]
    if reshape.op != "Reshape" or attribute_value(node, "data_format") != "NCHW":
        raise t.refuse(node, "with the statistics of each batch, as in training")
    source = tensor_of(t.value(reshape.inputs[0]))
    settings = {"epsilon": float(node.attrs["epsilon"].f), "center": False, "scale": False}
    features = int(source.shape[-1])
    return Layer(
        t.layer,
        "LayerNormalization",
        settings,
        [],
        source,
        "layer_normalization",
        bias_size=features,
        finish=lambda output: t.tf.reshape(output, [1, -1, features, 1]),
    )


def batch_normalization(t: Translation, x: Value, weights: list[Array], epsilon: float, name: str) -> Layer:
    """Return a BatchNormalization over the last axis with gamma, beta, mean and variance."""
    return _layer(t, "BatchNormalization", {"epsilon": epsilon}, weights, x, name)


def _pool(t: Translation, node: Node, values: list[Value]) -> Value:
    kind = "Max" if node.op.startswith("Max") else "Average"
    axes = 3 if node.op.endswith("3D") else 2
    sizes, strides = _window(t, node, "ksize", axes), _window(t, node, "strides", axes)
    x, padding = values[0], _padding(t, node)
    name = f"{kind.lower()}_pooling"
    if isinstance(x, Expanded) and x.made is None and x.axis in (1, 2) and axes == 2 and len(x.source.shape) == 3:
        kept = 2 - x.axis if x.axis == 2 else 1  # position of the real axis within the window
        settings = {"pool_size": sizes[kept], "strides": strides[kept], "padding": padding}
        axis = x.axis
        return Layer(
            t.layer, f"{kind}Pooling1D", settings, [], x.source, name,
            finish=lambda output: t.tf.expand_dims(output, axis), kept_axis=axis,
        )  # fmt: skip
    settings = {"pool_size": sizes, "strides": strides, "padding": padding}
    return _layer(t, f"{kind}Pooling{_MATCHES[axes]}", settings, [], x, name)


def _resize(t: Translation, node: Node, values: list[Value]) -> Value:
    x = tensor_of(values[0])
    bilinear = node.op == "ResizeBilinear"
    if _flag(node, "align_corners") or not _flag(node, "half_pixel_centers"):
        raise t.refuse(node, "with the pixel positions of TensorFlow 1; use an UpSampling2D or Resizing layer")
    method = "bilinear" if bilinear else "nearest"
    target = values[1] if isinstance(values[1], np.ndarray) else None
    if target is None:
        factors = [_factor(item, size) for item, size in zip(values[1].items, x.shape[1:3], strict=True)]
    else:
        factors = [_factor(int(item), size) for item, size in zip(target, x.shape[1:3], strict=True)]
    if all(factors):
        return _layer(t, "UpSampling2D", {"size": tuple(factors), "interpolation": method}, [], x, "up_sampling")
    if target is None:
        raise t.refuse(node, "with a size that is computed from the inputs")
    settings = {"height": int(target[0]), "width": int(target[1]), "interpolation": method}
    return _layer(t, "Resizing", settings, [], x, "resizing")


def _factor(wanted: Any, size: int | None) -> int:
    if isinstance(wanted, int | np.integer):
        return int(wanted) // size if size and wanted % size == 0 else 0
    return wanted.factor if size is None and len(wanted.axes) == 1 else 0


# ---------------------------------------------------------------- sums and products


def _add(t: Translation, node: Node, values: list[Value]) -> Value:
    for place in (0, 1):
        merged = with_bias(t, node, values[place], values[1 - place], place)
        if merged is not None:
            return merged
        normalized = _composed_batch_norm(t, node, values[place], values[1 - place], place)
        if normalized is not None:
            return normalized
        if _is_fill(values[place], 0):
            return values[1 - place]
    return merge_or_call(t, "Add", t.tf.math.add, values)


def _multiply(t: Translation, node: Node, values: list[Value]) -> Value:
    for value, other in (values, values[::-1]):
        if _is_fill(value, 1):
            return other
        if (
            isinstance(value, Layer)
            and value.made is None
            and value.class_name == "Activation"
            and value.settings == {"activation": "sigmoid"}
            and is_tensor(other)
            and tensor_of(other) is value.source
        ):
            return _layer(t, "Activation", {"activation": "swish"}, [], other, "swish")
    for place in (0, 1):
        if isinstance(values[place], np.ndarray) and is_tensor(values[1 - place]):
            if _takes_scale(t, node, values[1 - place], values[place], 1 - place):
                values[1 - place].settings["scale"] = True
                values[1 - place].weights.append(values[place])
                values[1 - place].name = t.weight_name(values[place], node)
                return values[1 - place]
            return _scaled(t, node, values[1 - place], values[place], place)
    return merge_or_call(t, "Multiply", t.tf.math.multiply, values)


def _takes_scale(t: Translation, node: Node, value: Value, scale: Array, place: int) -> bool:
    return (
        isinstance(value, Layer)
        and value.class_name == "LayerNormalization"
        and value.made is None
        and value.finish is None
        and not value.weights
        and scale.shape == (value.bias_size,)
        and t.used_once(node.inputs[place])
    )


def _is_fill(value: Value, number: float) -> bool:
    return isinstance(value, Filled) and value.made is None and bool(np.all(np.asarray(value.number) == number))


class _Scaled(Layer):
    """x * scale, of which the scale may come from a batch normalization."""

    scale_node: Node


def _scaled(t: Translation, node: Node, x: Value, scale: Array, place: int) -> Value:
    """Multiply by a known array; wait for the sum that may follow, which would make it a batch normalization."""
    source = tensor_of(x)
    result = _Scaled(t.layer, "", {}, [scale], source, "")
    result._make = lambda: _by_constant(t, source, scale)  # type: ignore[method-assign]
    result.scale_node = node.inputs[place][0]
    return result


def _by_constant(t: Translation, x: Any, scale: Array) -> Any:
    if scale.size == 1 and np.issubdtype(scale.dtype, np.floating):
        return t.layer("Rescaling", {"scale": float(scale.reshape(()))}, [], "rescaling")(x)
    return t.tf.math.multiply(x, scale)


def _composed_batch_norm(t: Translation, node: Node, value: Value, offset: Value, place: int) -> Value | None:
    """x * (gamma / sqrt(variance + epsilon)) + (beta - mean * ...) is what Keras makes of inputs without height."""
    if not (isinstance(value, _Scaled) and value.made is None and isinstance(offset, np.ndarray)):
        return None
    scale, source = value.weights[0], value.source
    channels = source.shape[-1]
    if not t.used_once(node.inputs[place]) or scale.size != channels or offset.size != channels:
        return None
    found = _statistics(t, value.scale_node)
    if found is None:
        return None
    variance, epsilon, root, gamma = found
    gamma = np.ones_like(root) if gamma is None else gamma.reshape(-1)
    mean = _mean_of(t, node.inputs[1 - place][0], scale)
    if mean is None:
        return None
    beta = (offset.reshape(-1) + mean.reshape(-1) * scale.reshape(-1)).astype(np.float32)
    name = t.weight_name(variance, node)
    weights = [gamma, beta, mean.reshape(-1), variance.reshape(-1)]
    return batch_normalization(t, source, weights, epsilon, name)


def _statistics(t: Translation, node: Node) -> tuple[Array, float, Array, Array | None] | None:
    """Variance, epsilon, their inverse root, and gamma, from the operations behind the scale."""
    gamma = None
    if node.op == "Mul":
        root_node = next((item for item, _ in node.inputs if item.op == "Rsqrt"), None)
        gamma = next((t.value(ref) for ref in node.inputs if ref[0].op != "Rsqrt"), None)
    else:
        root_node = node if node.op == "Rsqrt" else None
    if root_node is None:
        return None
    sum_node = root_node.inputs[0][0]
    if sum_node.op not in ("Add", "AddV2"):
        return None
    parts = [t.value(ref) for ref in sum_node.inputs]
    epsilon = next((part for part in parts if part.size == 1), None)
    variance = next((part for part in parts if part is not epsilon), None)
    if epsilon is None or variance is None:
        return None
    return variance, float(epsilon.reshape(())), t.value((root_node, 0)).reshape(-1), gamma


def _mean_of(t: Translation, node: Node, scale: Array) -> Array | None:
    """The mean, from `beta - mean * scale` or `-mean * scale`."""
    product = next((item for item, _ in node.inputs if item.op == "Mul"), node) if node.op in ("Sub", "AddV2") else node
    while product.op == "Neg":
        product = product.inputs[0][0]
    if product.op != "Mul":
        return None
    parts = [(ref, t.value(ref)) for ref in product.inputs]
    means = [(ref, part) for ref, part in parts if not np.array_equal(part, scale)]
    if len(means) != 1:
        return None
    (item, _), mean = means[0]
    sign = -1.0 if item.op == "Neg" else 1.0
    return np.asarray(sign * mean, np.float32)


def merge_or_call(t: Translation, class_name: str, function: Any, values: list[Value]) -> Any:
    """Use a merging layer where two tensors of the same shape meet, else the TensorFlow function."""
    if all(is_tensor(value) for value in values):
        tensors = [tensor_of(value) for value in values]
        same = tuple(tensors[0].shape) == tuple(tensors[1].shape) and len(tensors[0].shape) > 1
        if same and tensors[0].dtype.is_floating and tensors[0] is not tensors[1]:
            return t.layer(class_name, {}, [], class_name.lower())(tensors)
    return function(tensor_of(values[0]), tensor_of(values[1]))


LAYER_HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(_ACTIVATIONS, _activation),
    "Relu6": _relu6,
    "LeakyRelu": _leaky_relu,
    "MatMul": _matmul,
    "BatchMatMul": _matmul,
    "BatchMatMulV2": _matmul,
    "BatchMatMulV3": _matmul,
    "BiasAdd": _bias_add,
    "BiasAddV1": _bias_add,
    "Einsum": _einsum,
    "GatherV2": _gather,
    "Gather": _gather,
    "ResourceGather": _gather,
    "Conv2D": _conv,
    "Conv3D": _conv,
    "DepthwiseConv2dNative": _depthwise_conv,
    "Conv2DBackpropInput": _conv_transpose,
    "Conv3DBackpropInputV2": _conv_transpose,
    "FusedBatchNorm": _fused_batch_norm,
    "FusedBatchNormV2": _fused_batch_norm,
    "FusedBatchNormV3": _fused_batch_norm,
    "MaxPool": _pool,
    "MaxPool3D": _pool,
    "AvgPool": _pool,
    "AvgPool3D": _pool,
    "ResizeBilinear": _resize,
    "ResizeNearestNeighbor": _resize,
    "Add": _add,
    "AddV2": _add,
    "Mul": _multiply,
}
