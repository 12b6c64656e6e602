"""Files of Keras 1, of Theano and with the channels first: they compute what they computed then."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from intake import keras_env
from intake.errors import UnsupportedModel
from intake.keras1_config import in_words_of_keras2
from intake.models import inspect_model, load_prepared, save_as_uploaded

Array = np.ndarray[Any, Any]


def random_arrays(*shapes: tuple[int, ...]) -> list[Array]:
    generator = np.random.default_rng(0)
    return [generator.normal(size=shape).astype("float32") for shape in shapes]


def layer(class_name: str, name: str, **settings: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": name, "trainable": True, **settings}}


def write_keras1(path: Path, config: Any, weights: dict[str, list[Array]]) -> Path:
    """As Keras 1.2.2 wrote it: no version beside the weights, a Sequential is a list."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"1.2.2"
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            names = [f"{name}_W_{number}" for number in range(len(arrays))]
            own = group.create_group(name)
            own.attrs["weight_names"] = [item.encode() for item in names]
            for item, array in zip(names, arrays, strict=True):
                own[item] = array
    return path


def prepared(path: Path) -> Any:
    info = inspect_model(path, path.parent / "p")
    model = load_prepared(path.parent / "p")
    save_as_uploaded(model, path, info, path.parent / "out")
    return model


def test_lstm_of_keras1_has_twelve_arrays_in_another_order(tmp_path: Path) -> None:
    gates = {gate: random_arrays((3, 4), (4, 4), (4,)) for gate in "icfo"}
    dense = random_arrays((4, 2), (2,))
    settings: dict[str, Any] = {"output_dim": 4, "init": "glorot_uniform", "inner_init": "orthogonal"}
    settings |= {"activation": "tanh", "inner_activation": "hard_sigmoid", "forget_bias_init": "one"}
    settings |= {"consume_less": "cpu", "dropout_W": 0.0, "dropout_U": 0.1, "U_regularizer": None, "input_dim": 3}
    config = [
        layer("LSTM", "lstm_1", batch_input_shape=[None, 5, 3], input_dtype="float32", **settings),
        layer("Dense", "dense_1", output_dim=2, init="uniform", activation="linear", bias=True, input_dim=None),
    ]
    weights = {"lstm_1": [array for gate in "icfo" for array in gates[gate]], "dense_1": dense}
    path = write_keras1(tmp_path / "m.h5", {"class_name": "Sequential", "config": config}, weights)

    keras = keras_env.keras2()
    lstm = keras.layers.LSTM(4, recurrent_activation="hard_sigmoid")
    expected = keras.Sequential([keras.Input((5, 3)), lstm, keras.layers.Dense(2)])
    stacked = [np.concatenate([gates[gate][part] for gate in "ifco"], axis=-1) for part in range(3)]
    expected.set_weights([*stacked, *dense])
    (batch,) = random_arrays((3, 5, 3))
    np.testing.assert_allclose(prepared(path)(batch), expected(batch), atol=1e-5)


def test_theano_order_of_keras1(tmp_path: Path) -> None:
    """Kernels were (filters, channels, rows, columns); padding did not say its order."""
    kernel, bias, *batch_norm = random_arrays((4, 2, 3, 3), (4,), (4,), (4,), (4,), (4,))
    batch_norm[3] = np.abs(batch_norm[3])
    dense = random_arrays((4 * 3 * 4, 2), (2,))
    convolution: dict[str, Any] = {"nb_filter": 4, "nb_row": 3, "nb_col": 3, "border_mode": "valid", "bias": True}
    convolution |= {"subsample": [1, 1], "dim_ordering": "th", "init": "he_normal", "activation": "linear"}
    config = [
        layer("ZeroPadding2D", "pad", padding=[1, 2], batch_input_shape=[None, 2, 6, 6], input_dtype="float32"),
        layer("Convolution2D", "conv", W_constraint={"name": "MaxNorm", "m": 2, "axis": 0}, **convolution),
        layer("BatchNormalization", "norm", axis=1, mode=0, epsilon=1e-3, momentum=0.9, gamma_regularizer=None),
        layer("Activation", "act", activation="tanh"),
        layer("MaxPooling2D", "pool", pool_size=[2, 2], strides=[2, 2], border_mode="valid", dim_ordering="th"),
        layer("Flatten", "flat"),
        layer("Dense", "out", output_dim=2, init="one", activation="linear", bias=True),
    ]
    weights = {"conv": [kernel, bias], "norm": batch_norm, "out": dense}
    path = write_keras1(tmp_path / "m.h5", {"class_name": "Sequential", "config": config}, weights)

    (batch,) = random_arrays((3, 2, 6, 6))
    padded = np.pad(batch, ((0, 0), (0, 0), (1, 1), (2, 2)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    x = np.einsum("nchwij,fcij->nfhw", patches, kernel) + bias[:, None, None]
    gamma, beta, mean, variance = (array[:, None, None] for array in batch_norm)
    x = np.tanh(gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta)
    x = x.reshape(3, 4, 3, 2, 4, 2).max((3, 5)).reshape(3, -1) @ dense[0] + dense[1]
    model = prepared(path)
    assert model.input_shape == (None, 2, 6, 6)
    assert '"channels_first"' not in model.to_json()
    np.testing.assert_allclose(model(batch), x, atol=1e-4)


def test_branches_before_a_sequential_model(tmp_path: Path) -> None:
    dense = {"init": "normal", "activation": "relu", "bias": True}
    arrays = random_arrays((2, 3), (3,), (3, 3), (3,), (4, 3), (3,), (6, 1), (1,))

    def branch(name: str, size: int, count: int) -> dict[str, Any]:
        layers = [layer("Dense", f"{name}{number}", output_dim=3, **dense) for number in range(count)]
        layers[0]["config"]["batch_input_shape"] = [None, size]
        return {"class_name": "Sequential", "config": layers}

    merge = {"name": "merge", "mode": "concat", "mode_type": "raw", "concat_axis": -1, "dot_axes": -1}
    config = [
        {"class_name": "Merge", "config": {**merge, "layers": [branch("a", 2, 2), branch("b", 4, 1)]}},
        layer("Dense", "out", output_dim=1, **{**dense, "activation": "linear"}),
    ]
    weights = {"a0": arrays[:2], "a1": arrays[2:4], "b0": arrays[4:6], "merge": [], "out": arrays[6:]}
    model = prepared(write_keras1(tmp_path / "m.h5", {"class_name": "Sequential", "config": config}, weights))
    left, right = random_arrays((3, 2), (3, 4))
    hidden = np.maximum(np.maximum(left @ arrays[0] + arrays[1], 0) @ arrays[2] + arrays[3], 0)
    both = np.concatenate([hidden, np.maximum(right @ arrays[4] + arrays[5], 0)], axis=-1)
    np.testing.assert_allclose(model([left, right]), both @ arrays[6] + arrays[7], atol=1e-5)


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (layer("MaxoutDense", "odd", output_dim=2, nb_feature=3), "'odd': the class 'MaxoutDense' is one of Keras 1"),
        (layer("BatchNormalization", "odd", mode=2), "'odd': .* mode 2"),
        (layer("Merge", "odd", mode="4wEA", mode_type="lambda"), "'odd': Python code"),
    ],
)
def test_what_only_keras1_had_is_named(tmp_path: Path, odd: dict[str, Any], words: str) -> None:
    first = layer("Dense", "first", output_dim=2, batch_input_shape=[None, 3], activation="linear", init="one")
    path = write_keras1(tmp_path / "m.h5", {"class_name": "Sequential", "config": [first, odd]}, {})
    with pytest.raises(UnsupportedModel, match=words):
        inspect_model(path, tmp_path / "p")


def test_configurations_of_keras2_pass_unchanged() -> None:
    keras = keras_env.keras2()
    stack = [keras.Input((6, 3)), keras.layers.GRU(3), keras.layers.Dropout(0.1), keras.layers.Dense(2)]
    config = json.loads(keras.Sequential(stack).to_json())
    assert in_words_of_keras2(config) is config


@pytest.mark.parametrize("backend", ["tensorflow", "theano"])
def test_kernels_that_theano_turned_are_turned_back(tmp_path: Path, backend: str) -> None:
    keras = keras_env.keras2()
    model = keras.Sequential([keras.Input((6, 6, 2)), keras.layers.Conv2D(3, 3, use_bias=False, name="conv")])
    model.save(str(tmp_path / "m.h5"))
    kernel = model.get_weights()[0]
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        file["model_weights"].attrs["backend"] = backend
    read = prepared(tmp_path / "m.h5").get_weights()[0]
    np.testing.assert_array_equal(read, kernel[::-1, ::-1] if backend == "theano" else kernel)


def all_channels_first(keras: Any) -> Any:
    layers, first = keras.layers, {"data_format": "channels_first"}
    x = inputs = keras.Input((3, 12, 12))
    x = layers.Conv2D(4, 3, activation="relu", padding="same", **first)(x)
    shortcut = x
    x = layers.BatchNormalization(axis=1)(layers.SeparableConv2D(4, 3, padding="same", **first)(x))
    x = layers.Concatenate(axis=1)([layers.Add()([x, shortcut]), layers.DepthwiseConv2D(3, padding="same", **first)(x)])
    x = layers.LeakyReLU()(layers.AveragePooling2D(2, **first)(x))
    x = layers.UpSampling2D(2, **first)(layers.Conv2DTranspose(4, 2, **first)(x))
    x = layers.PReLU(shared_axes=[2, 3])(layers.MaxPooling2D(2, **first)(x))
    flat = layers.Dense(2)(layers.Flatten()(x))
    return keras.Model(inputs, [flat, layers.Flatten(**first)(x), layers.GlobalAveragePooling2D(**first)(x), x])


@pytest.mark.parametrize("library", ["keras2", "keras3"])
def test_channels_first_becomes_channels_last(tmp_path: Path, library: str) -> None:
    """`inspect_model` compares with the original, which XLA runs."""
    keras = getattr(keras_env, library)()
    original = all_channels_first(keras)
    original.set_weights([weight + 0.1 for weight in original.get_weights()])
    path = tmp_path / ("m.h5" if library == "keras2" else "m.keras")
    original.save(str(path))
    model = prepared(path)
    assert model.output_shape == [(None, 2), (None, 196), (None, 4), (None, 4, 7, 7)]
    assert '"channels_first"' not in model.to_json()
    assert sum(type(item).__name__ == "Permute" for item in model.layers) <= 4


@pytest.mark.parametrize("windows", [False, True])
def test_layers_that_keras_2_13_counted_twice(tmp_path: Path, windows: bool) -> None:
    """A layer with weights took two numbers, one without took one."""
    keras = keras_env.keras2()
    layers = keras.layers
    wrapped = [layers.TimeDistributed(layers.Dense(3)), layers.TimeDistributed(layers.ReLU())]
    stack = [keras.Input((4, 3)), *wrapped, layers.TimeDistributed(layers.Dense(2)), layers.Dense(3), layers.Dense(2)]
    model = keras.Sequential(stack)
    model.save(str(tmp_path / "new.keras"))
    numbers = {"time_distributed_2": "time_distributed_3", "dense_1": "dense_2"}
    weights = io.BytesIO()
    with zipfile.ZipFile(tmp_path / "new.keras") as new, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        with h5py.File(io.BytesIO(new.read("model.weights.h5"))) as source, h5py.File(weights, "w") as target:
            for name, group in source["layers"].items():
                place = ["_layer_checkpoint_dependencies", numbers.get(name, name)]
                inner, arrays = ("layer", group["layer/vars"]) if "time" in name else ("", group["vars"])
                joined = ("\\" if windows else "/").join([*place, inner] if inner else place)
                for number, array in arrays.items():
                    target.require_group(f"{joined}/vars")[number] = array[()]
        old.writestr("config.json", new.read("config.json"))
        old.writestr("metadata.json", json.dumps({"keras_version": "2.13.1"}))
        old.writestr("model.weights.h5", weights.getvalue())
    (batch,) = random_arrays((5, 4, 3))
    np.testing.assert_allclose(prepared(tmp_path / "old.keras")(batch), model(batch), atol=1e-6)


def model_with_graph_node(path: Path, node: Any) -> Any:
    """What TensorFlow 2.0-2.3 wrote for `dense(x) * 2`."""
    keras = keras_env.keras2()
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="first")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, name="second")(hidden))
    model.save(str(path))
    settings = {"name": "mul", "trainable": True, "dtype": "float32", "node_def": node, "constants": {"1": 2.0}}
    inserted = {"class_name": "TensorFlowOpLayer", "name": "tf_op_layer_mul", "config": settings}
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        layers = config["config"]["layers"]
        layers.insert(2, {**inserted, "inbound_nodes": [[["first", 0, 0, {}]]]})
        layers[3]["inbound_nodes"] = [[["tf_op_layer_mul", 0, 0, {}]]]
        file.attrs["model_config"] = json.dumps(config)
    return model


NODE = {"name": "mul", "op": "Mul", "input": ["a", "b"], "attr": {"T": {"type": "DT_FLOAT"}}}
BYTES = "\n\x03mul\x12\x03Mul\x1a\x01a\x1a\x01b*\x07\n\x01T\x12\x020\x01"


@pytest.mark.parametrize("node", [NODE, json.dumps(NODE), BYTES])
def test_graph_nodes_between_layers(tmp_path: Path, node: Any) -> None:
    model = model_with_graph_node(tmp_path / "m.h5", node)
    (batch,) = random_arrays((3, 4))
    first, second = model.get_layer("first"), model.get_layer("second")
    np.testing.assert_allclose(prepared(tmp_path / "m.h5")(batch), second(first(batch) * 2), atol=1e-6)


@pytest.mark.parametrize(
    "node",
    [{**NODE, "op": "WriteFile"}, BYTES.replace("\x03Mul", "\x08ReadFile"), BYTES + "\x12\x08ReadFile", "Mul", None],
)
def test_other_graph_nodes_are_refused(tmp_path: Path, node: Any) -> None:
    model_with_graph_node(tmp_path / "m.h5", node)
    with pytest.raises(UnsupportedModel, match="'mul': it calls the TensorFlow operation"):
        inspect_model(tmp_path / "m.h5", tmp_path / "p")


def test_what_older_keras_2_called_otherwise(tmp_path: Path) -> None:
    """A GRU without `reset_after`, class names with V1 or `>`, and layers that only added a metric."""
    keras = keras_env.keras2()
    stack = [keras.Input((5, 3)), keras.layers.GRU(4, reset_after=False), keras.layers.BatchNormalization()]
    model = keras.Sequential([*stack, keras.layers.Activation("linear", name="metric"), keras.layers.Dense(2)])
    model.save(str(tmp_path / "m.h5"))
    with h5py.File(tmp_path / "m.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        gru, norm, metric, dense = config["config"]["layers"][1:]
        del gru["config"]["reset_after"]
        gru["class_name"], norm["class_name"], dense["class_name"] = "GRUV1", "BatchNormalizationV1", ">Dense"
        metric.update(class_name="AddMetric", config={"name": "metric", "aggregation": "mean", "metric_name": "m"})
        file.attrs["model_config"] = json.dumps(config)
    (batch,) = random_arrays((3, 5, 3))
    np.testing.assert_allclose(prepared(tmp_path / "m.h5")(batch), model(batch), atol=1e-6)
