"""Every layer class, activation and operation that Keras 3 shares with Keras 2 is rebuilt with equal outputs.

The cases come from the registries of the installed libraries: a new class without an entry fails the test.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake import keras_env, model_classes
from intake.keras3_activations import ONLY_IN_KERAS3, SAME_IN_KERAS2
from intake.keras3_operations import translations
from intake.models import inspect_model, load_prepared, save_as_uploaded

NOT_IN_A_MODEL = {
    "InputSpec": "no layer",
    "IntegerLookup": "a table, which TensorFlow Lite lacks: refused by the scan",
    "Lambda": "holds code: refused by the scan",
    "Layer": "abstract",
    "StringLookup": "text: refused by the scan",
    "TextVectorization": "text: refused by the scan",
    "Wrapper": "abstract",
}

IMAGE, SEQUENCE, VOLUME, VECTOR = (8, 8, 4), (6, 4), (6, 6, 6, 2), (5,)
TWO = ((5,), (5,))
Arguments = dict[str, Any]


def cells(keras: Any) -> Any:
    return [keras.layers.LSTMCell(3), keras.layers.GRUCell(2)]


# class -> (shape of the input or tuple of shapes, arguments or a function of the library that makes them)
CASES: dict[str, tuple[Any, Arguments | Callable[[Any], Arguments]]] = {
    "Activation": (VECTOR, {"activation": "relu"}),
    "AdditiveAttention": ((SEQUENCE, SEQUENCE), {}),
    "Attention": ((SEQUENCE, SEQUENCE), {"use_scale": True}),
    "Bidirectional": (SEQUENCE, lambda keras: {"layer": keras.layers.LSTM(3, return_sequences=True)}),
    "CategoryEncoding": ((3,), {"num_tokens": 5, "output_mode": "multi_hot"}),
    "CenterCrop": (IMAGE, {"height": 5, "width": 6}),
    "ConvLSTM1D": ((4, 6, 2), {"filters": 3, "kernel_size": 3}),
    "ConvLSTM2D": ((3, 6, 6, 2), {"filters": 3, "kernel_size": 3}),
    "ConvLSTM3D": ((2, 5, 5, 5, 1), {"filters": 2, "kernel_size": 3}),
    "Cropping1D": (SEQUENCE, {}),
    "Dense": (VECTOR, {"units": 3, "activation": "tanh"}),
    "Discretization": (VECTOR, {"bin_boundaries": [-0.5, 0.0, 0.7]}),
    "Dot": (TWO, {"axes": 1, "normalize": True}),
    "EinsumDense": (SEQUENCE, {"equation": "abc,cd->abd", "output_shape": (None, 3), "bias_axes": "d"}),
    "Embedding": (VECTOR, {"input_dim": 9, "output_dim": 3}),
    "GRU": (SEQUENCE, {"units": 3, "return_sequences": True}),
    "GRUCell": (SEQUENCE, {"units": 3}),
    "GroupNormalization": (IMAGE, {"groups": 2}),
    "HashedCrossing": (((1,), (1,)), {"num_bins": 5}),
    "Hashing": (((1,),), {"num_bins": 5}),
    "InputLayer": (VECTOR, {}),
    "LSTM": (SEQUENCE, {"units": 3}),
    "LSTMCell": (SEQUENCE, {"units": 3}),
    "MultiHeadAttention": ((SEQUENCE, SEQUENCE), {"num_heads": 2, "key_dim": 3, "value_dim": 2}),
    "Normalization": (VECTOR, {"mean": [1.0, 2.0, 3.0, 4.0, 5.0], "variance": [1.0, 2.0, 1.0, 3.0, 1.0]}),
    "Permute": (SEQUENCE, {"dims": (2, 1)}),
    "PReLU": (IMAGE, {"shared_axes": [1, 2]}),
    "RNN": (SEQUENCE, lambda keras: {"cell": cells(keras), "return_sequences": True}),
    "RandomCrop": (IMAGE, {"height": 8, "width": 8}),
    "RandomTranslation": (IMAGE, {"height_factor": 0.1, "width_factor": 0.1}),
    "ReLU": (VECTOR, {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.05}),
    "RepeatVector": (VECTOR, {"n": 3}),
    "Rescaling": (IMAGE, {"scale": 0.1, "offset": -1.0}),
    "Reshape": (SEQUENCE, {"target_shape": (-1, 2)}),
    "Resizing": (IMAGE, {"height": 5, "width": 6}),
    "SimpleRNN": (SEQUENCE, {"units": 3}),
    "SimpleRNNCell": (SEQUENCE, {"units": 3}),
    "SpectralNormalization": (VECTOR, lambda keras: {"layer": keras.layers.Dense(3)}),
    "StackedRNNCells": (SEQUENCE, lambda keras: {"cells": cells(keras)}),
    "TimeDistributed": (SEQUENCE, lambda keras: {"layer": keras.layers.Dense(3)}),
    **{name: (TWO, {}) for name in ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract")},
    **{name: (IMAGE, {"factor": 0.1}) for name in ("RandomBrightness", "RandomContrast", "RandomRotation")},
    "RandomZoom": (IMAGE, {"height_factor": 0.1}),
}
RATES = ("AlphaDropout", "Dropout", "GaussianDropout", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D")


def case_of(name: str) -> tuple[Any, Any]:
    """The entry for a class, or what follows from its name."""
    if name in CASES:
        return CASES[name]
    shape: Any = VECTOR
    for ending, likely in (("1D", SEQUENCE), ("2D", IMAGE), ("3D", VOLUME)):
        shape = likely if ending in name else shape
    if name in RATES:
        return shape, {"rate": 0.3}
    if "Pool" in name and not name.startswith("Global"):
        return shape, {"pool_size": 2}
    if name == "GaussianNoise":
        return shape, {"stddev": 0.3}
    if "Conv" in name:
        counts = {"kernel_size": 3} if name.startswith("Depthwise") else {"filters": 3, "kernel_size": 3}
        return shape, {**counts, "padding": "same", "activation": "relu"}
    return IMAGE if name.startswith("Random") else shape, {}


def shared_classes() -> list[str]:
    keras3, keras2 = keras_env.keras3().layers, keras_env.keras2().layers
    names = [name for name, value in vars(keras3).items() if inspect.isclass(value) and hasattr(keras2, name)]
    return sorted(set(names) - NOT_IN_A_MODEL.keys())


def random_weights(model: Any) -> None:
    """Every weight another one; running variances stay positive, counts and seeds as they are."""
    generator = np.random.default_rng(5)
    for weight in model.weights:
        values = np.asarray(weight)
        if np.issubdtype(values.dtype, np.floating):
            sign = 1 if "var" in weight.path else generator.choice([-1, 1], values.shape)
            weight.assign(values + sign * generator.uniform(0.05, 0.3, values.shape).astype(values.dtype))


def random_inputs(model: Any, whole: bool) -> list[np.ndarray[Any, Any]]:
    generator = np.random.default_rng(6)
    shapes = [(3, *(4 if size is None else size for size in tensor.shape[1:])) for tensor in model.inputs]
    draw = (lambda shape: generator.integers(0, 5, shape)) if whole else (lambda shape: generator.normal(size=shape))
    dtypes = [tensor.dtype for tensor in model.inputs]
    return [np.asarray(draw(shape), dtype) for shape, dtype in zip(shapes, dtypes, strict=True)]


def assert_rebuilt(original: Any, folder: Path, whole: bool = False) -> Any:
    """Save, inspect, load and compare; return the Keras 2 model."""
    random_weights(original)
    batch = random_inputs(original, whole)
    original.save(str(folder / "m.keras"))
    info = inspect_model(folder / "m.keras", folder / "p")
    model = load_prepared(folder / "p")
    save_as_uploaded(model, folder / "m.keras", info, folder / "out")
    outputs = [
        keras_env.keras3().tree.flatten(each(batch[0] if len(batch) == 1 else batch, training=False))
        for each in (original, model)
    ]
    for one, other in zip(*outputs, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-5, rtol=1e-5)
    return model


@pytest.mark.parametrize("name", shared_classes())
def test_layer_class(tmp_path: Path, name: str) -> None:
    keras = keras_env.keras3()
    shape, arguments = case_of(name)
    shapes = shape if isinstance(shape[0], tuple) else (shape,)
    whole = name in ("CategoryEncoding", "Embedding", "HashedCrossing", "Hashing")
    dtype = "int64" if whole and name != "Embedding" else "float32"
    inputs = [keras.Input(one, dtype=dtype) for one in shapes]
    if name == "InputLayer":
        layer = keras.layers.InputLayer(shape=shape)
        assert_rebuilt(keras.Sequential([layer, keras.layers.Dense(2)]), tmp_path)
        return
    layer = getattr(keras.layers, name)(**(arguments(keras) if callable(arguments) else arguments))
    if name.endswith(("Cell", "Cells")):
        layer = keras.layers.RNN(layer)
    if name == "MultiHeadAttention":
        outputs = layer(*inputs)
    else:
        outputs = layer(inputs[0] if len(inputs) == 1 else inputs)
    assert_rebuilt(keras.Model(inputs, outputs), tmp_path, whole)


def test_layers_that_only_keras3_has(tmp_path: Path) -> None:
    keras = keras_env.keras3()
    layers = keras.layers
    stack = [
        keras.Input((8, 8, 3)),
        layers.RandomErasing(),
        layers.RandomColorJitter((0.0, 1.0)),
        layers.AdaptiveAveragePooling2D(4),
        layers.Conv2D(4, 3),
        layers.RMSNormalization(),
        layers.Flatten(),
        layers.Dense(2),
    ]
    assert_rebuilt(keras.Sequential(stack), tmp_path)


NOT_BY_NAME = {
    "threshold": "asks for two numbers",
    "glu": "halves the last axis, which Keras 3 itself does not count with",
}


def test_every_activation_is_known() -> None:
    public = {
        name
        for name, value in vars(keras_env.keras3().activations).items()
        if inspect.isfunction(value) and name not in ("deserialize", "get", "serialize")
    }
    assert public <= SAME_IN_KERAS2 | set(ONLY_IN_KERAS3)
    assert public <= model_classes.ACTIVATIONS


@pytest.mark.parametrize("name", sorted((SAME_IN_KERAS2 | set(ONLY_IN_KERAS3)) - NOT_BY_NAME.keys()))
def test_activation_in_dense_and_alone(tmp_path: Path, name: str) -> None:
    keras = keras_env.keras3()
    layers = keras.layers
    stack = [keras.Input((6, 4)), layers.Dense(4, activation=name), layers.Activation(name), layers.Dense(2)]
    assert_rebuilt(keras.Sequential(stack), tmp_path)


@pytest.mark.parametrize("activation", ["hard_sigmoid", "leaky_relu", "hard_silu", "relu6"])
def test_activation_inside_recurrent_layers(tmp_path: Path, activation: str) -> None:
    keras = keras_env.keras3()
    layers = keras.layers
    stack = [
        keras.Input((6, 4)),
        layers.LSTM(3, recurrent_activation=activation, return_sequences=True),
        layers.Bidirectional(layers.GRU(3, activation=activation, return_sequences=True)),
        layers.RNN(layers.SimpleRNNCell(2, activation=activation)),
    ]
    assert_rebuilt(keras.Sequential(stack), tmp_path)


X, Y = (4, 6), (4, 6)
OPERATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "Amax": lambda ops, x, y: ops.amax(x, axis=1),
    "Amin": lambda ops, x, y: ops.amin(x, axis=1),
    "All": lambda ops, x, y: ops.all(x > -1, axis=-1, keepdims=True),
    "Any": lambda ops, x, y: ops.any(x > 1, axis=(1, 2)),
    "Argmax": lambda ops, x, y: ops.argmax(x, axis=-1),
    "Argmin": lambda ops, x, y: ops.argmin(x, axis=1, keepdims=True),
    "BroadcastTo": lambda ops, x, y: ops.broadcast_to(ops.mean(x, axis=0), (3, 4, 6)),
    "Cast": lambda ops, x, y: ops.cast(x, "int32"),
    "Clip": lambda ops, x, y: ops.clip(x, -0.5, 0.7),
    "Concatenate": lambda ops, x, y: ops.concatenate([x, y, x], axis=1),
    "Einsum": lambda ops, x, y: (
        [
            ops.einsum(equation, x, y)
            for equation in (
                "bij,bkj->bik",
                "bij,bkj->kbi",
                "bij,bij->bj",
                "bij,cij->bc",
                "bij,bkl->bijkl",
                "bij,bkj->ib",
            )
        ]
        + [ops.einsum("bij->bj", x), ops.einsum("b...d,bkd->bk...", x, y), ops.einsum("bij,bkj,bil->bkl", x, y, x)]
    ),
    "ExpandDims": lambda ops, x, y: ops.expand_dims(x, axis=1),
    "Flip": lambda ops, x, y: ops.flip(x, axis=1),
    "FloorDivide": lambda ops, x, y: ops.floor_divide(x, 0.3),
    "GetItem": lambda ops, x, y: ops.stack([x[:, 1:3, ::2][:, -1], y[:, 0, :3], x[..., 2, 3:]], axis=1),
    "Gelu": lambda ops, x, y: ops.gelu(x, approximate=False),
    "LeakyRelu": lambda ops, x, y: ops.leaky_relu(x, negative_slope=0.3),
    "Log": lambda ops, x, y: ops.log(ops.abs(x) + 0.1),
    "Log1p": lambda ops, x, y: ops.log1p(ops.abs(x)),
    "LogicalAnd": lambda ops, x, y: ops.logical_and(x > 0, y > 0),
    "LogicalNot": lambda ops, x, y: ops.logical_not(x > 0),
    "LogicalOr": lambda ops, x, y: ops.logical_or(x > 0, y > 0),
    "LogicalXor": lambda ops, x, y: ops.logical_xor(x > 0, y > 0),
    "Matmul": lambda ops, x, y: ops.matmul(x, ops.transpose(y, (0, 2, 1))),
    "Mod": lambda ops, x, y: ops.mod(x, 0.7),
    "Moveaxis": lambda ops, x, y: ops.moveaxis(x, 1, 2),
    "OneHot": lambda ops, x, y: ops.one_hot(ops.argmax(x, axis=-1), 6),
    "Pad": lambda ops, x, y: ops.pad(x, ((0, 0), (1, 2), (0, 1)), constant_values=2.0),
    "Power": lambda ops, x, y: ops.power(ops.abs(x) + 0.1, y) + x**2,
    "Repeat": lambda ops, x, y: ops.repeat(x, 3, axis=1),
    "Reshape": lambda ops, x, y: ops.reshape(x, (-1, 3, 8)),
    "Roll": lambda ops, x, y: ops.roll(x, 2, axis=1),
    "Rsqrt": lambda ops, x, y: ops.rsqrt(ops.abs(x) + 0.1),
    "Split": lambda ops, x, y: [*ops.split(x, 3, axis=2), *ops.split(y, [1, 4], axis=-1)],
    "Sqrt": lambda ops, x, y: ops.sqrt(ops.abs(x) + 0.1),
    "Squeeze": lambda ops, x, y: ops.squeeze(x[:, :1], axis=1),
    "Stack": lambda ops, x, y: ops.stack([x, y], axis=1),
    "Subtract": lambda ops, x, y: (1 - x) - y * 2,
    "Swapaxes": lambda ops, x, y: ops.swapaxes(x, 1, 2),
    "Take": lambda ops, x, y: ops.take(x, [2, 0], axis=1),
    "Tile": lambda ops, x, y: ops.tile(x, (1, 2, 3)),
    "Transpose": lambda ops, x, y: ops.transpose(x, (0, 2, 1)),
    "TrueDivide": lambda ops, x, y: ops.true_divide(x, 2),
    "Where": lambda ops, x, y: ops.where(x > y, x, 0.0),
    # as Keras computes them
    "Average": lambda ops, x, y: ops.average(x, axis=1),
    "Cumsum": lambda ops, x, y: ops.cumsum(x, axis=1),
    "Hstack": lambda ops, x, y: ops.hstack([x, y]),
    "HardTanh": lambda ops, x, y: ops.hard_tanh(x),
    "Log2": lambda ops, x, y: ops.log2(ops.abs(x) + 0.1),
    "LogSoftmax": lambda ops, x, y: ops.log_softmax(x, axis=1),
    "Norm": lambda ops, x, y: ops.norm(x, axis=-1, keepdims=True),
    "Normalize": lambda ops, x, y: ops.normalize(x, axis=-1),
    "Resize": lambda ops, x, y: ops.image.resize(ops.expand_dims(x, -1), (8, 9)),
    "Round": lambda ops, x, y: ops.round(x),
    "TopK": lambda ops, x, y: ops.top_k(x, 2)[0],
    "Tril": lambda ops, x, y: ops.tril(x),
}
NAMES = sorted(OPERATIONS.keys() | translations().keys())


@pytest.mark.parametrize("name", NAMES)
def test_operation(tmp_path: Path, name: str) -> None:
    keras = keras_env.keras3()
    x, y = keras.Input(X), keras.Input(Y)
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]
    if name in OPERATIONS:
        outputs = OPERATIONS[name](keras.ops, x, y)
    else:
        function = getattr(keras.ops, snake)
        two = len([item for item in inspect.signature(function).parameters.values() if item.default is item.empty]) == 2
        outputs = function(x, y) if two else function(x)
    assert_rebuilt(keras.Model([x, y], outputs), tmp_path)


def test_listed_operations_exist_and_take_no_function() -> None:
    import importlib

    modules = [importlib.import_module(f"keras.src.ops.{name}") for name in model_classes.KERAS3_OPERATION_MODULES]
    found: dict[str, Any] = {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, keras_env.keras3().Operation)
    }
    assert found.keys() >= model_classes.KERAS3_OPERATIONS
    taking_functions = {
        name
        for name in model_classes.KERAS3_OPERATIONS
        for parameter in inspect.signature(found[name].call).parameters
        if parameter in ("f", "fun", "fn", "body", "body_fun", "cond", "elementwise_function", "true_fn", "branches")
    }
    assert not taking_functions
