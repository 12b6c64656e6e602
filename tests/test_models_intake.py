"""Model files in and out: what is refused and in which words, and that nothing is lost on the way."""

from __future__ import annotations

import io
import json
import marshal
import subprocess
import sys
import zipfile
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from intake import keras_env, model_classes
from intake.errors import UnsupportedModel, UserError
from intake.model_info import ModelInfo
from intake.model_scan import ACCEPTED_EXTENSIONS, scan_model
from intake.models import inspect_model, load_prepared, save_as_uploaded

Array = np.ndarray[Any, Any]
DENSE_CONFIG: dict[str, Any] = {
    "class_name": "Sequential",
    "config": {
        "name": "small",
        "layers": [
            {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 3], "dtype": "float32", "name": "x"}},
            {"class_name": "Dense", "config": {"name": "d", "units": 2, "activation": "relu", "dtype": "float32"}},
        ],
    },
}


# ---------------------------------------------------------------- files written by hand, without Keras


def write_h5(path: Path, config: dict[str, Any] | None, training: dict[str, Any] | None = None) -> Path:
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.12.0"
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        if training is not None:
            file.attrs["training_config"] = json.dumps(training)
        file["model_weights/d/d/kernel:0"] = np.ones((3, 2), "float32")
    return path


def write_keras(
    path: Path, config: dict[str, Any], version: str = "3.10.0", members: dict[str, bytes] | None = None
) -> Path:
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"] = np.ones((3, 2), "float32")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("model.weights.h5", weights.getvalue())
        for name, content in (members or {}).items():
            archive.writestr(name, content)
    return path


def with_layers(*layers: dict[str, Any]) -> dict[str, Any]:
    settings = DENSE_CONFIG["config"]
    return {"class_name": "Sequential", "config": {**settings, "layers": [*settings["layers"], *layers]}}


def problems_of(path: Path) -> str:
    with pytest.raises(UnsupportedModel) as caught:
        scan_model(path)
    return str(caught.value)


@pytest.mark.parametrize("name", ["model.tar", "model.pt", "model", "model.pb", "model.onnx"])
def test_other_extension_names_the_accepted_ones(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    message = problems_of(tmp_path / name)
    assert name in message
    assert all(extension in message for extension in ACCEPTED_EXTENSIONS)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"hello", "neither an HDF5"), (b"\x89HDF\r\n\x1a\n123", "damaged"), (b"PK\x03\x04ab", "damaged")],
)
@pytest.mark.parametrize("extension", ACCEPTED_EXTENSIONS)
def test_content_that_is_no_model(tmp_path: Path, content: bytes, words: str, extension: str) -> None:
    path = tmp_path / f"model{extension}"
    path.write_bytes(content)
    assert words in problems_of(path)


def test_truncated_files_are_called_damaged(tmp_path: Path) -> None:
    for path in (write_h5(tmp_path / "a.h5", DENSE_CONFIG), write_keras(tmp_path / "a.keras", DENSE_CONFIG)):
        path.write_bytes(path.read_bytes()[:-700])
        assert "damaged or incomplete" in problems_of(path)


def test_kind_is_told_by_content(tmp_path: Path) -> None:
    assert scan_model(write_h5(tmp_path / "really_h5.keras", DENSE_CONFIG)).uploaded_format == "h5"
    assert scan_model(write_keras(tmp_path / "really_zip.h5", DENSE_CONFIG)).uploaded_format == "keras3"
    assert scan_model(write_keras(tmp_path / "old.keras", DENSE_CONFIG, "2.14.0")).uploaded_format == "keras2"


def test_weights_only_file_says_how_to_save_the_whole_model(tmp_path: Path) -> None:
    message = problems_of(write_h5(tmp_path / "weights.h5", None))
    assert "only arrays" in message
    assert "model.save('model.keras')" in message


def test_saved_loss_is_read(tmp_path: Path) -> None:
    loss = {"class_name": "SparseCategoricalCrossentropy", "config": {"from_logits": True}}
    scanned = scan_model(write_h5(tmp_path / "a.h5", DENSE_CONFIG, {"loss": loss}))
    assert (scanned.saved_loss, scanned.saved_loss_from_logits) == ("sparse_categorical_crossentropy", True)
    scanned = scan_model(write_h5(tmp_path / "b.h5", DENSE_CONFIG, {"loss": "mse"}))
    assert (scanned.saved_loss, scanned.saved_loss_from_logits) == ("mse", False)
    scanned = scan_model(write_keras(tmp_path / "c.keras", {**DENSE_CONFIG, "compile_config": {"loss": loss}}))
    assert (scanned.saved_loss, scanned.saved_loss_from_logits) == ("sparse_categorical_crossentropy", True)
    assert scanned.saved_by == "Keras 3.10.0"


def test_all_problems_of_a_configuration_are_told_at_once(tmp_path: Path) -> None:
    config = with_layers(
        {"class_name": "Attention2", "config": {"name": "attn"}},
        {"class_name": "Attention2", "config": {"name": "attn_b"}},
        {"class_name": "Lambda", "config": {"name": "scale", "function": ["4wEAAAA=", None, None]}},
        {"class_name": "Dense", "config": {"name": "odd", "activation": "my_activation"}},
    )
    message = problems_of(write_h5(tmp_path / "a.h5", config))
    assert "Layers 'attn', 'attn_b': the class 'Attention2' is not built in Keras" in message
    assert "Layer 'scale': Python code is stored in it" in message
    assert "Layer 'odd': the activation 'my_activation'" in message


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"class_name": "Dense", "module": "os", "config": {"name": "x"}}, "module 'os'"),
        ({"class_name": "get_file", "module": "keras.utils", "config": {"name": "x"}}, "'get_file'"),
        ({"class_name": "TFSMLayer", "module": "keras.layers", "config": {"name": "x", "filepath": "/"}}, "TFSMLayer"),
        ({"class_name": "TFOpLambda", "config": {"name": "x", "function": "io.write_file"}}, "'io.write_file'"),
        ({"class_name": "TFOpLambda", "config": {"name": "x", "function": "load_op_library"}}, "'load_op_library'"),
        ({"class_name": "TFOpLambda", "config": {"name": "x", "function": "compat.v1.py_func"}}, "py_func"),
        ({"class_name": "TFOpLambda", "config": {"name": "x", "function": "map_fn"}}, "'map_fn'"),
        ({"class_name": "TFOpLambda", "config": {"name": "x", "function": "random.normal"}}, "something else at each"),
        ({"class_name": "IntegerLookup", "config": {"name": "x", "vocabulary": "/etc/passwd"}}, "path of another file"),
        ({"class_name": "Activation", "config": {"name": "x", "activation": {"class_name": "__lambda__"}}}, "code"),
        ({"class_name": "Dense", "config": {"name": "x", "function": ["4wEA", None, None]}}, "Python code"),
        ({"class_name": "Touch", "module": "keras.src.ops.numpy", "config": {"name": "x"}}, "operation 'Touch'"),
        (
            {"class_name": "Dense", "config": {"activation": {"class_name": "function", "config": "system"}}},
            "the function 'system'",
        ),
    ],
)
def test_whatever_could_run_code_or_read_files_is_refused(tmp_path: Path, layer: dict[str, Any], words: str) -> None:
    assert words in problems_of(write_h5(tmp_path / "a.h5", with_layers(layer)))
    assert words in problems_of(write_keras(tmp_path / "a.keras", with_layers(layer)))


def test_tensorflow_calls_of_keras2(tmp_path: Path) -> None:
    """Names as tf_keras records them, some of them only in `compat.v1`."""
    keras, tf = keras_env.keras2(), keras_env.tensorflow()
    x = inputs = keras.Input((6, 4))
    x = x * tf.norm(x, axis=-1, keepdims=True)
    x = tf.where(x > 0, x, tf.roll(x, 1, axis=1)) + keras.layers.Embedding(6, 4)(tf.range(6))
    keras.Model(inputs, keras.layers.Dense(2)(x)).save(tmp_path / "model.h5")
    assert inspect_model(tmp_path / "model.h5", tmp_path / "prepared").probe_max_difference < 1e-4


def test_deeply_nested_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = '{"a":' * 100_000 + "1" + "}" * 100_000
    assert "a.h5" in problems_of(path)
    nested: Any = 1
    for _ in range(300):
        nested = [nested]
    message = problems_of(
        write_h5(path, with_layers({"class_name": "Dense", "config": {"name": "x", "units": nested}}))
    )
    assert "levels deep" in message


def test_subclassed_model_is_refused(tmp_path: Path) -> None:
    assert "class 'MyModel'" in problems_of(write_h5(tmp_path / "a.h5", {"class_name": "MyModel", "config": {}}))


def test_links_out_of_the_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "raw.bin").write_bytes(b"\0" * 64)
    other = write_h5(tmp_path / "other.h5", DENSE_CONFIG)
    path = write_h5(tmp_path / "a.h5", DENSE_CONFIG)
    layout = h5py.VirtualLayout(shape=(3, 2), dtype="float32")
    layout[:] = h5py.VirtualSource(str(other), "model_weights/d/d/kernel:0", shape=(3, 2))
    with h5py.File(path, "r+") as file:
        file["model_weights/secret"] = h5py.ExternalLink("/etc/passwd", "/")
        file.create_dataset("raw", (16,), "float32", external=[(str(tmp_path / "raw.bin"), 0, 64)])
        file.create_virtual_dataset("virtual", layout)
    message = problems_of(path)
    assert "link to the other file '/etc/passwd'" in message
    assert "raw.bin" in message
    assert "virtual dataset" in message


def test_absurd_array_sizes_are_refused(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", DENSE_CONFIG)
    with h5py.File(path, "r+") as file:
        file.create_dataset("bomb", (10**6, 10**6), "float32", chunks=(1000, 1000))
    assert "expand to" in problems_of(path)


def test_archive_that_expands_absurdly_is_refused(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "a.keras", DENSE_CONFIG)
    content = bytearray(path.read_bytes())
    entry = content.find(b"PK\x01\x02")  # the directory at the end states the expanded size of each member
    while entry != -1:
        content[entry + 24 : entry + 28] = (0xFFFFFFF0).to_bytes(4, "little")
        entry = content.find(b"PK\x01\x02", entry + 1)
    path.write_bytes(content)
    assert "expands to" in problems_of(path)


def test_huge_description_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("config.json", b" " * (64 * 1024**2 + 1))
        archive.writestr("metadata.json", b"{}")
        archive.writestr("model.weights.h5", b"")
    assert "config.json inside the archive has 67,108,865 bytes" in problems_of(path)


def test_archive_with_many_members_is_refused(tmp_path: Path) -> None:
    members = {f"m{number}": b"" for number in range(1001)}
    assert "more than 1,000 members" in problems_of(write_keras(tmp_path / "a.keras", DENSE_CONFIG, members=members))


@pytest.mark.parametrize("name", ["../evil.py", "/etc/cron.d/evil", "..\\evil.py", "C:\\evil.py", "a/../../evil"])
def test_path_traversal_is_refused(tmp_path: Path, name: str) -> None:
    path = write_keras(tmp_path / "a.keras", DENSE_CONFIG, members={name: b"x"})
    assert "outside its folder" in problems_of(path)


def test_archive_without_a_model_and_saved_model(tmp_path: Path) -> None:
    for name, words in (("readme.txt", "without config.json"), ("m/saved_model.pb", "without its weights")):
        path = tmp_path / "a.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"x")
        assert words in problems_of(path)


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    files = (write_h5(folder / "a.h5", DENSE_CONFIG), write_keras(folder / "a.keras", DENSE_CONFIG))
    return {path.suffix: path.read_bytes() for path in files}


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    extension=st.sampled_from([".h5", ".keras"]),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=8),
)
def test_damaged_bytes_never_raise_anything_but_a_user_error(
    tmp_path: Path, whole_files: dict[str, bytes], extension: str, cut: float, flips: list[tuple[float, int]]
) -> None:
    content = bytearray(whole_files[extension])
    for place, mask in flips:
        content[int(place * len(content))] ^= mask
    path = tmp_path / f"a{extension}"
    path.write_bytes(content[: int(cut * len(content))] if cut < 0.5 else content)
    problems: tuple[str, ...] = ("none",)
    try:
        scan_model(path)
    except UserError as error:
        problems = error.problems
    assert all(problem.strip() for problem in problems)


def test_scan_and_import_load_no_tensorflow(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "a.h5", DENSE_CONFIG)
    code = (
        "import sys, pathlib, intake.models; from intake.model_scan import scan_model;"
        "scan_model(pathlib.Path(sys.argv[1]));"
        "print(sorted({'tensorflow', 'keras', 'tf_keras'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code, str(path)]
    ran = subprocess.run(command, check=True, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert ran.stdout.strip() == "[]"


# ---------------------------------------------------------------- files written by the two Kerases


def test_known_classes_exist_in_the_installed_libraries() -> None:
    keras2, keras3 = keras_env.keras2(), keras_env.keras3()
    aliases = {"BatchNormalizationV1", "BatchNormalizationV2", "CuDNNGRU", "CuDNNLSTM", "Functional", "Model"}
    aliases |= {"AddLoss", "AddMetric", "Sequential", "SlicingOpLambda", "TFOpLambda", "SyncBatchNormalization"}
    aliases |= {"UnifiedGRU", "UnifiedLSTM"}
    aliases |= {name for name in model_classes.LAYER_CLASSES if name.endswith(("V1", "V2"))}
    unknown = {
        name
        for name in model_classes.LAYER_CLASSES - aliases
        if not hasattr(keras2.layers, name) and not hasattr(keras3.layers, name)
    }
    assert not unknown


@pytest.mark.parametrize("extension", [".h5", ".keras"])
def test_lambda_code_is_refused_without_running_it(tmp_path: Path, extension: str) -> None:
    witness = tmp_path / "ran"
    code = compile(f"lambda x: open({str(witness)!r}, 'w') and x", "<model>", "eval").co_consts[0]
    function = [b64encode(marshal.dumps(code)).decode(), None, None]
    layer = {"class_name": "Lambda", "config": {"name": "evil", "function": function, "function_type": "lambda"}}
    write = write_h5 if extension == ".h5" else write_keras
    with pytest.raises(UnsupportedModel, match="evil"):
        inspect_model(write(tmp_path / f"evil{extension}", with_layers(layer)), tmp_path / "prepared")
    assert not witness.exists()
    assert not (tmp_path / "prepared").exists()


def residual(keras: Any) -> Any:
    layers = keras.layers
    x = inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    shortcut = x
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False)(x))
    x = layers.Concatenate()([layers.ReLU()(layers.Add()([x, shortcut])), shortcut])
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x)))


def several_inputs_and_outputs(keras: Any) -> Any:
    layers = keras.layers
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    shared = layers.Dense(5, activation="tanh", name="shared")
    merged = layers.Multiply()([shared(first), shared(second)])
    return keras.Model([first, second], [layers.Dense(2)(merged), layers.Dense(1, activation="sigmoid")(merged)])


def nested_twice(keras: Any) -> Any:
    """A siamese model; the inner layer has the same name as an outer one."""
    layers = keras.layers
    encoder = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="same"), layers.BatchNormalization()])
    left, right = keras.Input((4,)), keras.Input((4,))
    distance = layers.Subtract()([encoder(left, training=False), encoder(right, training=False)])
    return keras.Model([left, right], layers.Dense(1, name="same")(distance))


def embedding_gru(keras: Any) -> Any:
    layers = keras.layers
    stack = [keras.Input((7,)), layers.Embedding(20, 4, mask_zero=True), layers.GRU(3), layers.Dense(2)]
    return keras.Sequential(stack)


def bidirectional_lstm(keras: Any) -> Any:
    layers = keras.layers
    lstm = layers.LSTM(3, activation="softsign", return_sequences=True)  # not tanh: tf_keras would trace a GPU path
    stack = [keras.Input((4, 2)), layers.Masking(), layers.Bidirectional(lstm), layers.SimpleRNN(2), layers.Dense(1)]
    return keras.Sequential(stack)


def attention(keras: Any) -> Any:
    layers = keras.layers
    x = inputs = keras.Input((6, 4))
    x = layers.Add()([x, layers.MultiHeadAttention(2, 3)(x, x)])
    x = layers.LayerNormalization()(x)
    x = layers.GlobalAveragePooling1D()(layers.Dropout(0.1)(x))
    return keras.Model(inputs, layers.Dense(2, kernel_regularizer="l2")(x))


def images(keras: Any) -> Any:
    layers = keras.layers
    stack = [
        keras.Input((12, 12, 3)),
        layers.Resizing(8, 8),
        layers.Rescaling(1 / 255.0),
        layers.RandomFlip(),
        layers.ZeroPadding2D(1),
        layers.SeparableConv2D(4, 3, activation="swish"),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.Conv2DTranspose(3, 3, strides=2),
        layers.PReLU(shared_axes=[1, 2]),
        layers.LeakyReLU(0.1),
        layers.MaxPooling2D(2),
        layers.UpSampling2D(2),
        layers.AveragePooling2D(2),
        layers.Flatten(),
        layers.Dense(4),
        layers.Softmax(),
    ]
    return keras.Sequential(stack)


def sequences(keras: Any) -> Any:
    layers = keras.layers
    stack = [
        keras.Input((None, 3)),
        layers.Conv1D(4, 3, padding="causal", activation="gelu"),
        layers.TimeDistributed(layers.Dense(3, activation="elu")),
        layers.GroupNormalization(groups=3),
        layers.GlobalMaxPooling1D(),
        layers.RepeatVector(2),
        layers.Permute((2, 1)),
        layers.Reshape((6,)),
        layers.Dense(1),
    ]
    return keras.Sequential(stack)


def video(keras: Any) -> Any:
    """A model for each frame; its weights are in another order in the two Kerases."""
    layers = keras.layers
    frame = keras.Input((6, 6, 2))
    x = layers.BatchNormalization()(layers.Conv2D(3, 3)(frame))
    for_each = keras.Model(frame, layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.Conv2D(3, 1)(x))))
    inputs = keras.Input((None, 6, 6, 2))
    x = layers.Conv1D(3, 2)(layers.TimeDistributed(for_each)(inputs))
    return keras.Model(inputs, layers.Dense(1)(layers.GlobalAveragePooling1D()(x)))


BUILDERS = (
    residual, several_inputs_and_outputs, nested_twice, embedding_gru, bidirectional_lstm, attention, images, sequences,
    video,
)  # fmt: skip


def random_batch(model: Any) -> list[Array]:
    generator = np.random.default_rng(3)
    shapes = [tuple(9 if size is None else size for size in tensor.shape[1:]) for tensor in model.inputs]
    if any(type(layer).__name__ == "Embedding" for layer in model.layers):
        return [generator.integers(0, 20, (5, *shape)).astype("float32") for shape in shapes]
    return [generator.normal(size=(5, *shape)).astype("float32") for shape in shapes]


def run(model: Any, batch: list[Array]) -> list[Array]:
    outputs = model(batch[0] if len(batch) == 1 else batch, training=False)
    return [np.asarray(output) for output in (outputs if isinstance(outputs, list | tuple) else [outputs])]


def assert_equal(first: list[Array], second: list[Array]) -> None:
    for one, other in zip(first, second, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5, rtol=1e-5)


def randomize(model: Any) -> None:
    """Give every weight another value (running variances stay positive)."""
    generator = np.random.default_rng(7)
    model.set_weights(
        [weight + generator.uniform(0.05, 0.3, weight.shape).astype(weight.dtype) for weight in model.get_weights()]
    )


def round_trip(original: Any, path: Path, load: Callable[[str], Any], change_only: str | None = None) -> ModelInfo:
    """Save, inspect, load, change weights, save as uploaded, open that with plain Keras; compare at each station."""
    randomize(original)
    original.save(str(path))
    batch = random_batch(original)
    info = inspect_model(path, path.parent / "prepared")
    prepared = load_prepared(path.parent / "prepared")
    assert_equal(run(original, batch), run(prepared, batch))
    names = [layer.name for layer in prepared.layers]
    assert len(set(names)) == len(names)
    assert names == [layer.name for layer in info.layers]

    randomize(prepared) if change_only is None else randomize(prepared.get_layer(change_only))
    returned = save_as_uploaded(prepared, path, info, path.parent / "returned")
    assert returned.name == path.name
    reopened = load(str(returned))
    assert_equal(run(prepared, batch), run(reopened, batch))
    assert getattr(reopened, "optimizer", None) is None
    return info


@pytest.mark.parametrize(("build", "extension"), [*((build, ".keras") for build in BUILDERS), (residual, ".h5")])
def test_keras3_round_trip(tmp_path: Path, build: Callable[[Any], Any], extension: str) -> None:
    keras = keras_env.keras3()
    info = round_trip(build(keras), tmp_path / f"model{extension}", keras.models.load_model)
    assert info.rebuilt
    assert info.uploaded_format == ("keras3" if extension == ".keras" else "h5_keras3")
    assert info.probe_max_difference < 1e-4
    assert info == ModelInfo.model_validate_json((tmp_path / "prepared" / "info.json").read_text())


KERAS2_CASES = [(build, ".h5") for build in BUILDERS if build is not bidirectional_lstm]


@pytest.mark.parametrize(("build", "extension"), [*KERAS2_CASES, (residual, ".keras"), (nested_twice, ".keras")])
def test_keras2_round_trip(tmp_path: Path, build: Callable[[Any], Any], extension: str) -> None:
    keras = keras_env.keras2()
    info = round_trip(build(keras), tmp_path / f"model{extension}", keras.models.load_model)
    assert not info.rebuilt
    assert info.uploaded_format == ("keras2" if extension == ".keras" else "h5")


@pytest.mark.parametrize("library", ["keras2", "keras3"])
def test_named_inputs_and_outputs_in_any_order(tmp_path: Path, library: str) -> None:
    keras = getattr(keras_env, library)()
    inputs = {"zebra": keras.Input((4,), name="zebra"), "ant": keras.Input((3,), name="ant")}
    x = keras.layers.Concatenate()([keras.layers.Dense(2)(inputs["zebra"]), inputs["ant"]])
    outputs = {"yak": keras.layers.Dense(3, name="yak")(x), "bee": keras.layers.Dense(1, name="bee")(x)}
    keras.Model(inputs, outputs).save(tmp_path / "model.keras")
    info = inspect_model(tmp_path / "model.keras", tmp_path / "prepared")
    assert info.probe_max_difference < 1e-4
    assert set(load_prepared(tmp_path / "prepared").output_names) == {"yak", "bee"}


def test_changing_one_layer_only_and_facts(tmp_path: Path) -> None:
    keras = keras_env.keras3()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, name="a"), keras.layers.Dense(3, name="b")])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    info = round_trip(model, tmp_path / "m.keras", keras.models.load_model, change_only="b")
    assert (info.parameters, info.trainable_parameters) == (4 * 8 + 8 + 8 * 3 + 3,) * 2
    assert (info.input_shapes, info.output_shapes) == (((None, 4),), ((None, 3),))
    assert (info.output_activation, info.saved_loss_from_logits) == ("linear", True)
    assert {layer.name: layer.weight_bytes for layer in info.layers if layer.parameters} == {"a": 160, "b": 108}


def test_each_load_is_a_new_object(tmp_path: Path) -> None:
    keras = keras_env.keras2()
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(str(tmp_path / "m.h5"))
    inspect_model(tmp_path / "m.h5", tmp_path / "p")
    first, second = load_prepared(tmp_path / "p"), load_prepared(tmp_path / "p")
    randomize(first)
    assert not np.array_equal(first.get_weights()[0], second.get_weights()[0])


def test_foreign_layer_names_are_an_error(tmp_path: Path) -> None:
    keras = keras_env.keras2()
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, name="a")]).save(str(tmp_path / "m.h5"))
    info = inspect_model(tmp_path / "m.h5", tmp_path / "p")
    for units, name, words in ((1, "b", "missing: \\['a'\\]; unknown: \\['b'\\]"), (2, "a", "layer 'a' .* shapes")):
        other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units, name=name)])
        with pytest.raises(ValueError, match=words):
            save_as_uploaded(other, tmp_path / "m.h5", info, tmp_path / "out")


ACTIVATIONS = ("hard_sigmoid", "hard_silu", "relu6", "leaky_relu", "log_softmax", "celu", "squareplus", "silu", "mish")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_that_keras2_computes_differently(tmp_path: Path, activation: str) -> None:
    keras = keras_env.keras3()
    stack = [keras.Input((6,)), keras.layers.Dense(9, activation=activation), keras.layers.Dense(2)]
    round_trip(keras.Sequential(stack), tmp_path / "m.keras", keras.models.load_model)


def test_operations_between_layers(tmp_path: Path) -> None:
    keras = keras_env.keras3()
    inputs = keras.Input((4, 6))
    x = keras.layers.Dense(6)(inputs) + inputs * 0.5 - 1.0
    x = keras.ops.mean(keras.ops.relu(x / 2.0), axis=1)
    x = keras.ops.concatenate([x[:, :2], keras.ops.reshape(x, (-1, 6))], axis=-1)
    model = keras.Model(inputs, keras.layers.Dense(2)(x))
    round_trip(model, tmp_path / "m.keras", keras.models.load_model)


def test_operations_between_layers_of_an_hdf5_file(tmp_path: Path) -> None:
    """Keras 3 writes them without their module, and cannot open the file itself."""
    keras = keras_env.keras3()
    inputs = keras.Input((4, 6))
    inner = keras.Input((4, 6))
    scaled = keras.Model(inner, inner / 127.5 - 1.0)
    x = keras.layers.Dense(6)(scaled(inputs))
    x = keras.ops.softmax(keras.ops.abs(x[:, 1:]) * x[:, :-1], axis=-1) + x[:, :1, ...] * x[..., :1][:, :1]
    x = keras.layers.Add()([x, keras.ops.norm(x, axis=-1, keepdims=True)])
    original = keras.Model(inputs, keras.layers.Dense(2)(x))
    original.save(tmp_path / "model.h5")
    info = inspect_model(tmp_path / "model.h5", tmp_path / "prepared")
    prepared = load_prepared(tmp_path / "prepared")
    batch = random_batch(original)
    assert_equal(run(original, batch), run(prepared, batch))
    assert save_as_uploaded(prepared, tmp_path / "model.h5", info, tmp_path / "returned").is_file()


@pytest.mark.parametrize("library", ["keras2", "keras3"])
def test_a_layer_as_an_activation(tmp_path: Path, library: str) -> None:
    """`Dense(activation=Activation("relu"))` was saved as a layer inside a layer."""
    keras = getattr(keras_env, library)()
    layers = keras.layers
    stack = [layers.Dense(4, activation=layers.Activation("relu")), layers.Dense(3, activation=layers.LeakyReLU(0.1))]
    keras.Sequential([keras.Input((4,)), *stack]).save(tmp_path / "model.h5")
    inspect_model(tmp_path / "model.h5", tmp_path / "prepared")
    assert load_prepared(tmp_path / "prepared").layers[1].activation.__name__ == "relu"


def test_what_keras2_has_not_got_is_named(tmp_path: Path) -> None:
    keras = keras_env.keras3()
    model = keras.Sequential([keras.Input((5,)), keras.layers.ReversibleEmbedding(9, 3, name="both_ways")])
    model.save(str(tmp_path / "m.keras"))
    with pytest.raises(UnsupportedModel, match="'both_ways' has the class 'ReversibleEmbedding'"):
        inspect_model(tmp_path / "m.keras", tmp_path / "p")


def test_first_layer_that_computes_something_else_is_named(tmp_path: Path) -> None:
    """Keras 2 has no pad_to_aspect_ratio: only the comparison of outputs can tell."""
    keras = keras_env.keras3()
    stack = [keras.Input((6, 12, 1)), keras.layers.Rescaling(0.5), keras.layers.Resizing(8, 8, name="fit")]
    stack[-1].pad_to_aspect_ratio = True
    keras.Sequential([*stack, keras.layers.Flatten()]).save(str(tmp_path / "m.keras"))
    with pytest.raises(UnsupportedModel, match=r"differ by up to .* starts at layer 'fit'"):
        inspect_model(tmp_path / "m.keras", tmp_path / "p")


def test_augmentation_and_dropout_still_act_in_training(tmp_path: Path) -> None:
    keras = keras_env.keras3()
    stack = [keras.Input((6, 6, 1)), keras.layers.RandomFlip(), keras.layers.Dropout(0.5), keras.layers.Flatten()]
    keras.Sequential(stack).save(str(tmp_path / "m.keras"))
    inspect_model(tmp_path / "m.keras", tmp_path / "p")
    model = load_prepared(tmp_path / "p")
    batch = np.random.default_rng(0).random((4, 6, 6, 1)).astype("float32")
    assert np.array_equal(model(batch, training=False), batch.reshape(4, 36))
    assert (np.asarray(model(batch, training=True)) == 0).mean() > 0.2


def test_fixed_batch_stateful_and_half_precision_are_mended_and_told(tmp_path: Path) -> None:
    keras = keras_env.keras2()
    stack = [keras.Input(batch_shape=(8, 5, 2)), keras.layers.GRU(3, stateful=True, dtype="mixed_float16")]
    keras.Sequential(stack).save(str(tmp_path / "m.h5"))
    info = inspect_model(tmp_path / "m.h5", tmp_path / "p")
    assert info.input_shapes == ((None, 5, 2),)
    assert [word for word in ("batch size of 8", "stateful", "mixed_float16") if word in " ".join(info.notes)] == [
        "batch size of 8",
        "stateful",
        "mixed_float16",
    ]
    assert load_prepared(tmp_path / "p")(np.zeros((3, 5, 2), "float32")).dtype.name == "float32"


@pytest.mark.parametrize("windows", [False, True])
def test_weight_groups_of_keras_2_14(tmp_path: Path, windows: bool) -> None:
    keras = keras_env.keras2()
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(2)])
    model.save(str(tmp_path / "new.keras"))
    old = tmp_path / "old.keras"
    with zipfile.ZipFile(tmp_path / "new.keras") as source, zipfile.ZipFile(old, "w") as target:
        target.writestr("config.json", source.read("config.json"))
        target.writestr("metadata.json", json.dumps({"keras_version": "2.14.0"}))
        target.writestr("model.weights.h5", with_old_groups(source.read("model.weights.h5"), windows))
    info = inspect_model(old, tmp_path / "p")
    batch = random_batch(model)
    assert_equal(run(model, batch), run(load_prepared(tmp_path / "p"), batch))
    assert info.saved_by == "Keras 2.14.0"


def with_old_groups(weights: bytes, windows: bool) -> bytes:
    old = io.BytesIO()
    with h5py.File(io.BytesIO(weights), "r") as source, h5py.File(old, "w") as target:
        arrays: list[str] = []
        source.visititems(lambda name, item: arrays.append(name) if isinstance(item, h5py.Dataset) else None)
        for name in arrays:
            layer, number = name.replace("layers", "_layer_checkpoint_dependencies").split("/vars/")
            group = layer.replace("/", "\\") if windows else layer
            target.create_group(f"{group}/vars") if f"{group}/vars" not in target else None
            target[f"{group}/vars/{number}"] = source[name][()]
        target.require_group("vars")
    return old.getvalue()


def test_settings_for_training_never_matter(tmp_path: Path) -> None:
    """A custom loss in the file, even of a nested model, is not looked up."""
    keras = keras_env.keras3()
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    inner.compile(loss=lambda y_true, y_pred: keras.ops.mean(y_pred))
    model = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(2)])
    model.compile(optimizer="adam", loss=lambda y_true, y_pred: keras.ops.mean(y_pred))
    model.save(str(tmp_path / "m.keras"))
    info = inspect_model(tmp_path / "m.keras", tmp_path / "p")
    assert info.rebuilt


def test_model_without_input_shape_says_so(tmp_path: Path) -> None:
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [DENSE_CONFIG["config"]["layers"][1]]}}
    with pytest.raises(UnsupportedModel, match=r"which\s+shape its input has|cannot open it"):
        inspect_model(write_h5(tmp_path / "m.h5", config), tmp_path / "p")


def test_what_the_library_says_is_passed_on(tmp_path: Path) -> None:
    """The configuration is fine, but the arrays in the file do not fit it."""
    with pytest.raises(UnsupportedModel, match="Keras cannot open it"):
        inspect_model(write_h5(tmp_path / "m.h5", DENSE_CONFIG), tmp_path / "p")


@pytest.mark.parametrize("name", ["StringLookup", "TextVectorization"])
def test_text_layers_say_what_to_upload_instead(tmp_path: Path, name: str) -> None:
    layer = {"class_name": name, "module": "keras.layers", "config": {"name": "words"}}
    message = problems_of(write_keras(tmp_path / "a.keras", with_layers(layer)))
    assert "Layer 'words'" in message
    assert "TensorFlow Lite has no operation" in message
    assert "Save the part of the model after it" in message


def test_frozen_layers_stay_frozen_and_odd_names_become_plain(tmp_path: Path) -> None:
    keras = keras_env.keras3()
    layers = keras.layers
    base = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.BatchNormalization()], name="base [frozen]")
    base.trainable = False
    inputs = keras.Input((4,), name="sensor (raw)")
    x = layers.Dense(3, name="Head 1")(base(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="head_1")(x))
    info = round_trip(model, tmp_path / "m.keras", keras.models.load_model)
    prepared = load_prepared(tmp_path / "prepared")
    assert [layer.trainable for layer in prepared.layers if layer.weights] == [False, False, True, True]
    names = [layer.name for layer in info.layers]
    assert len({name.lower() for name in names}) == len(names)
    assert all(name.isascii() and not set(name) & set(" ()[]/") for name in names)
