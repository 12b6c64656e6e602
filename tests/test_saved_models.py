"""Zipped SavedModels: what is refused before anything of them runs, what opens, and what comes back."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake import keras_env
from intake.errors import UnsupportedModel
from intake.model_info import ModelInfo
from intake.model_scan import scan_model
from intake.models import inspect_model, load_prepared, save_as_uploaded

Array = np.ndarray[Any, Any]
Write = Callable[[Path], Any]


def zipped(folder: Path, inside: str = "my_model/") -> Path:
    """Zip a SavedModel folder as people do."""
    target = folder.with_suffix(".zip")
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, inside + path.relative_to(folder).as_posix())
    return target


def random_weights(model: Any) -> Any:
    """Give a model weights that no two layers share, variances positive."""
    generator = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if type(layer).__name__ == "BatchNormalization":
            layer.set_weights([generator.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    for weight in model.trainable_weights:
        weight.assign(generator.normal(0, 0.4, weight.shape))
    return model


def served(path: Path) -> Any:
    """Load the SavedModel in a zip with TensorFlow alone."""
    folder = path.parent / f"unpacked_{path.stem}"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    return keras_env.tensorflow().saved_model.load(str(next(folder.rglob("saved_model.pb")).parent))


def opens_and_comes_back(
    path: Path, folder: Path, inputs: dict[str, Array], signature: str = "serving_default"
) -> ModelInfo:
    """Compare the prepared model, and the SavedModel that comes back, with what the uploaded one serves."""
    tf = keras_env.tensorflow()
    arrays = {name: tf.constant(array) for name, array in inputs.items()}
    expected = {key: value.numpy() for key, value in served(path).signatures[signature](**arrays).items()}
    info = inspect_model(path, folder / "prepared")
    assert info.uploaded_format == "saved_model"
    prepared = load_prepared(folder / "prepared")
    ordered = [inputs[name] for name in info.input_names]
    results = prepared(ordered[0] if len(ordered) == 1 else ordered)
    results = results if isinstance(results, list) else [results]
    found = [np.asarray(result) for result in results]
    for value in expected.values():
        assert any(item.shape == value.shape and np.allclose(item, value, atol=1e-4) for item in found)

    for weight in prepared.trainable_weights:
        weight.assign(weight * 0.5)
    returned = save_as_uploaded(prepared, path, info, folder / "returned")
    assert returned.name == path.name
    halved = served(returned).signatures[signature](**arrays)
    assert set(halved) == set(expected)
    again = load_prepared_of(returned, folder / "again")
    for one, other in zip(prepared.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert any(not np.allclose(halved[key].numpy(), expected[key]) for key in expected)
    return info


def load_prepared_of(path: Path, folder: Path) -> Any:
    inspect_model(path, folder)
    return load_prepared(folder)


def floats(*shape: int) -> Array:
    return np.random.default_rng(1).normal(size=shape).astype("float32")


def tokens(*shape: int) -> Array:
    return np.random.default_rng(1).integers(0, 20, shape).astype("int32")


# ---------------------------------------------------------------- models


def image_model(keras: Any) -> Any:
    layers = keras.layers
    inputs = keras.Input((12, 12, 3), name="picture")
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)))
    x = layers.MaxPooling2D()(layers.Add()([x, layers.DepthwiseConv2D(3, padding="same")(x)]))
    x = layers.Conv2DTranspose(5, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.BatchNormalization()(layers.Dense(8)(layers.GlobalAveragePooling2D()(x)))
    return random_weights(keras.Model(inputs, layers.Dense(3, activation="softmax", name="kind")(x)))


def sequence_model(keras: Any) -> Any:
    layers = keras.layers
    inputs = keras.Input((9,), dtype="int32", name="words")
    x = layers.Embedding(20, 6)(inputs)
    x = layers.Conv1D(7, 3, activation="relu")(x)
    x = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(x)
    x = layers.GRU(4)(layers.Dense(6, activation="tanh")(x))
    return random_weights(keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="tone")(x)))


def two_by_two_model(keras: Any) -> Any:
    layers = keras.layers
    zeta, alpha = keras.Input((6,), name="zeta"), keras.Input((4,), dtype="int32", name="alpha")
    x = layers.Concatenate()([zeta, layers.Flatten()(layers.Embedding(20, 3)(alpha))])
    x = layers.Dense(8, activation="elu")(x)
    return random_weights(
        keras.Model(
            [zeta, alpha], [layers.Dense(3, activation="softmax", name="kind")(x), layers.Dense(1, name="size")(x)]
        )
    )


MODELS: dict[str, tuple[Callable[[Any], Any], dict[str, Array]]] = {
    "image": (image_model, {"picture": floats(5, 12, 12, 3)}),
    "sequence": (sequence_model, {"words": tokens(5, 9)}),
    "two by two": (two_by_two_model, {"zeta": floats(5, 6), "alpha": tokens(5, 4)}),
}

NAMES = ["image", pytest.param("sequence", marks=pytest.mark.slow), "two by two"]
"""Keras takes most of a minute to write a recurrent model as a SavedModel."""


@pytest.mark.parametrize("name", NAMES)
def test_what_keras2_saved_keeps_its_layers(tmp_path: Path, name: str) -> None:
    make, inputs = MODELS[name]
    model = make(keras_env.keras2())
    model.save(tmp_path / "m", save_format="tf")
    info = opens_and_comes_back(zipped(tmp_path / "m"), tmp_path, inputs)
    assert {layer.name for layer in info.layers} == {layer.name for layer in model.layers}
    assert info.saved_by.startswith("Keras 2.")
    assert info.notes == ()


@pytest.mark.parametrize("library", ["keras2", "keras3"])
@pytest.mark.parametrize("name", NAMES)
def test_what_was_exported_is_rebuilt_from_its_graph(tmp_path: Path, name: str, library: str) -> None:
    make, inputs = MODELS[name]
    model = make(getattr(keras_env, library)())
    model.export(str(tmp_path / "m"))
    path = zipped(tmp_path / "m", inside="")
    keys = list(scan_model(path).graph.signature_def["serving_default"].inputs)  # type: ignore[attr-defined]
    renamed = (
        dict(zip(sorted(keys), (inputs[key] for key in inputs), strict=True)) if set(keys) != set(inputs) else inputs
    )
    info = opens_and_comes_back(path, tmp_path, renamed)
    assert "rebuilt from the signature 'serving_default'" in info.notes[0]
    kinds = {layer.class_name for layer in info.layers}
    wanted = {"image": {"Conv2D", "DepthwiseConv2D", "Conv2DTranspose", "BatchNormalization", "Dense"}}
    wanted |= {"sequence": {"Embedding", "Conv1D", "LSTM", "GRU", "Dense"}, "two by two": {"Embedding", "Dense"}}
    assert wanted[name] <= kinds
    assert not kinds & {"Lambda"}


@pytest.mark.slow
def test_an_adapted_normalization(tmp_path: Path) -> None:
    """Keras 2 saves the function that adapted it, which takes samples from an iterator; nothing calls it."""
    keras = keras_env.keras2()
    normalization = keras.layers.Normalization()
    normalization.adapt(np.random.default_rng(0).normal(5, 3, (20, 4)).astype("float32"))
    model = keras.Sequential([keras.Input((4,)), normalization, keras.layers.Dense(2)])
    model.save(tmp_path / "model", save_format="tf")
    batch = np.random.default_rng(1).normal(5, 3, (3, 4)).astype("float32")
    inspect_model(zipped(tmp_path / "model"), tmp_path / "prepared")
    np.testing.assert_allclose(load_prepared(tmp_path / "prepared")(batch), model(batch), atol=1e-5)


def test_a_masked_recurrent_model_of_keras3(tmp_path: Path) -> None:
    keras = keras_env.keras3()
    inputs = keras.Input((9,), dtype="int32")
    x = keras.layers.Embedding(20, 6, mask_zero=True)(inputs)
    x = keras.layers.GRU(4)(keras.layers.SimpleRNN(5, return_sequences=True)(x))
    model = random_weights(keras.Model(inputs, keras.layers.Dense(2)(x)))
    model.export(str(tmp_path / "m"), verbose=False)
    path = zipped(tmp_path / "m")
    key = next(iter(scan_model(path).graph.signature_def["serving_default"].inputs))  # type: ignore[attr-defined]
    info = opens_and_comes_back(path, tmp_path, {key: tokens(5, 9) % 3})
    assert {"SimpleRNN", "GRU"} <= {layer.class_name for layer in info.layers}


def test_attention_and_layer_normalization_of_a_graph(tmp_path: Path) -> None:
    keras = keras_env.keras2()
    inputs = keras.Input((6, 8), name="steps")
    x = keras.layers.LayerNormalization()(keras.layers.MultiHeadAttention(2, 4)(inputs, inputs) + inputs)
    x = keras.layers.GlobalAveragePooling1D()(keras.layers.Dense(5, activation="gelu")(x))
    model = random_weights(keras.Model(inputs, keras.layers.Dense(2)(x)))
    model.export(str(tmp_path / "m"))
    info = opens_and_comes_back(zipped(tmp_path / "m"), tmp_path, {"steps": floats(5, 6, 8)})
    assert {"EinsumDense", "LayerNormalization"} <= {layer.class_name for layer in info.layers}


def test_a_subclassed_model(tmp_path: Path) -> None:
    keras, tf = keras_env.keras2(), keras_env.tensorflow()

    class Own(keras.Model):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.head = keras.layers.Dense(6), keras.layers.Dense(3)

        def call(self, inputs: Any) -> Any:
            return tf.nn.softmax(self.head(tf.nn.relu(self.inner(inputs)) * 2.0 - 0.5))

    model = Own()
    model(np.zeros((1, 4), "float32"))
    random_weights(model)
    model.save(tmp_path / "m", save_format="tf")
    info = opens_and_comes_back(zipped(tmp_path / "m"), tmp_path, {"input_1": floats(5, 4)})
    assert [layer.class_name for layer in info.layers].count("Dense") == 2


def module_of(tf: Any, shape: list[int | None], compute: Callable[[Any, Any], Any]) -> Any:
    """A tf.Module without Keras."""

    class Plain(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = tf.Variable(floats(4, 3), name="w")

        @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32, name="x")])
        def __call__(self, x: Any) -> Any:
            return compute(x, self.w)

    return Plain()


def test_a_module_with_another_signature_name_and_a_fixed_batch(tmp_path: Path) -> None:
    tf = keras_env.tensorflow()
    module = module_of(tf, [1, 2, 2], lambda x, w: tf.nn.relu(tf.reshape(x, [1, 4]) @ w + 0.5))
    tf.saved_model.save(module, str(tmp_path / "m"), signatures={"predict": module.__call__})
    info = opens_and_comes_back(zipped(tmp_path / "m"), tmp_path, {"x": floats(1, 2, 2)}, "predict")
    assert info.input_shapes == ((None, 2, 2),)


def test_a_graph_of_tensorflow1(tmp_path: Path) -> None:
    tf = keras_env.tensorflow()
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 4], "x")
        y = tf.matmul(x, v1.get_variable("w", [4, 3], use_resource=False)) + v1.get_variable(
            "b", [3], use_resource=True
        )
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "m"), {"x": x}, {"y": y})
    info = opens_and_comes_back(zipped(tmp_path / "m"), tmp_path, {"x": floats(5, 4)})
    assert [layer.class_name for layer in info.layers] == ["InputLayer", "Dense"]


# ---------------------------------------------------------------- refused


def refused(path: Path, folder: Path) -> str:
    with pytest.raises(UnsupportedModel) as caught:
        inspect_model(path, folder / "prepared")
    return str(caught.value)


def saved_function(folder: Path, compute: Callable[[Any, Any], Any]) -> Path:
    tf = keras_env.tensorflow()
    module = module_of(tf, [None, 4], compute)
    tf.saved_model.save(module, str(folder / "m"), signatures=module.__call__)
    return zipped(folder / "m")


def reads_a_file(x: Any, w: Any) -> Any:
    tf = keras_env.tensorflow()
    return x @ w + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)


def writes_a_file(x: Any, w: Any) -> Any:
    tf = keras_env.tensorflow()
    tf.io.write_file("/tmp/written_by_a_model", "x")
    return x @ w


def calls_python(x: Any, w: Any) -> Any:
    tf = keras_env.tensorflow()
    return tf.reshape(tf.numpy_function(lambda array: array, [x @ w], tf.float32), [-1, 3])


def prints(x: Any, w: Any) -> Any:
    keras_env.tensorflow().print("hello", x)
    return x @ w


@pytest.mark.parametrize(
    ("compute", "operation"),
    [(reads_a_file, "ReadFile"), (writes_a_file, "WriteFile"), (calls_python, "PyFunc"), (prints, "Print")],
)
def test_graphs_that_reach_outside_are_refused_before_they_run(
    tmp_path: Path, compute: Callable[[Any, Any], Any], operation: str
) -> None:
    message = refused(saved_function(tmp_path, compute), tmp_path)
    assert operation in message
    assert "is not opened" in message
    assert not Path("/tmp/written_by_a_model").exists()


def test_keras_metadata_does_not_hide_what_the_graph_does(tmp_path: Path) -> None:
    """The layers are built in, but another signature writes a file."""
    keras, tf = keras_env.keras2(), keras_env.tensorflow()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
    def serve(x: Any) -> Any:
        tf.io.write_file("/tmp/written_by_a_model", "x")
        return {"y": model(x)}

    model.save(tmp_path / "m", save_format="tf", signatures={"serving_default": serve})
    assert "WriteFile" in refused(zipped(tmp_path / "m"), tmp_path)


def test_text_is_refused_with_what_to_export(tmp_path: Path) -> None:
    tf = keras_env.tensorflow()

    class Words(tf.Module):  # type: ignore[name-defined]
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="texts")])
        def __call__(self, texts: Any) -> Any:
            return tf.strings.length(texts)

    module = Words()
    module.v = tf.Variable(1.0)
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.__call__)
    message = refused(zipped(tmp_path / "m"), tmp_path)
    assert "'texts'" in message
    assert "arrays of numbers" in message


def test_an_operation_without_a_layer_is_named(tmp_path: Path) -> None:
    tf = keras_env.tensorflow()
    path = saved_function(tmp_path, lambda x, w: tf.linalg.inv(tf.reshape(x, [-1, 2, 2])))
    assert "MatrixInverse" in refused(path, tmp_path)


def test_a_random_graph_is_refused(tmp_path: Path) -> None:
    tf = keras_env.tensorflow()
    path = saved_function(tmp_path, lambda x, w: x @ w + tf.random.normal(tf.shape(x @ w)))
    assert "something else at each call" in refused(path, tmp_path)


def test_zips_that_are_no_saved_model(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures.zip"
    with zipfile.ZipFile(pictures, "w") as archive:
        archive.writestr("cats/1.png", b"x")
        archive.writestr("dogs/1.png", b"x")
    assert "upload it as the dataset" in refused(pictures, tmp_path)

    junk = tmp_path / "junk.zip"
    with zipfile.ZipFile(junk, "w") as archive:
        archive.writestr("m/saved_model.pb", b"\xff\xff not a graph")
        archive.writestr("m/variables/variables.index", b"x")
    assert "damaged" in refused(junk, tmp_path)

    bare = tmp_path / "bare.zip"
    with zipfile.ZipFile(bare, "w") as archive:
        archive.writestr("m/saved_model.pb", b"")
    assert "without its weights" in refused(bare, tmp_path)


def test_two_models_in_one_zip(tmp_path: Path) -> None:
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a", "b"):
            archive.writestr(f"{name}/saved_model.pb", b"")
    assert "2 SavedModels" in refused(path, tmp_path)


@pytest.mark.parametrize("name", ["../evil.py", "/etc/evil", "variables/../../evil", "..\\evil.py"])
def test_members_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    path = saved_function(tmp_path, lambda x, w: x @ w)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, b"x")
    assert "outside its folder" in refused(path, tmp_path)
    assert not (tmp_path.parent / "evil.py").exists()


def test_a_link_in_the_zip(tmp_path: Path) -> None:
    path = saved_function(tmp_path, lambda x, w: x @ w)
    link = zipfile.ZipInfo("my_model/variables/variables.more")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "link" in refused(path, tmp_path)
