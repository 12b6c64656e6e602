"""Models that were made to hurt: each is refused with a sentence, or opened without doing what it wants to."""

from __future__ import annotations

import io
import json
import marshal
import os
import re
import stat
import time
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from intake import keras_env
from intake.errors import UnsupportedModel
from intake.models import inspect_model
from tests.hostile_archives import overlapping, special, with_declared_size, with_members, zeros_zip, zipped

Config = dict[str, Any]
SOON_S = 60
DENSE: Config = {"name": "d", "units": 2, "activation": "relu", "dtype": "float32"}


def config_of(*layers: Config, **dense: Any) -> Config:
    """A small sequential model, whose layer has other settings, with further layers."""
    keras = {"module": "keras.layers", "registered_name": None}
    first = {"class_name": "InputLayer", "config": {"batch_input_shape": [None, 3], "dtype": "float32", "name": "x"}}
    own = {"class_name": "Dense", "config": {**DENSE, **dense}, "build_config": {"input_shape": [None, 3]}}
    return {
        "module": "keras",
        "registered_name": None,
        "class_name": "Sequential",
        "config": {"name": "small", "layers": [first | keras, own | keras, *layers]},
        "build_config": {"input_shape": [None, 3]},
    }


def as_h5(path: Path, config: Config | str, training: Config | None = None) -> Path:
    """What Keras 2 writes for `config_of()`, with any configuration."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = "2.15.0"
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        if training:
            file.attrs["training_config"] = json.dumps(training)
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [b"d"]
        weights.attrs["keras_version"], weights.attrs["backend"] = "2.15.0", "tensorflow"
        layer = weights.create_group("d")
        layer.attrs["weight_names"] = [b"d/kernel:0", b"d/bias:0"]
        layer["d/kernel:0"], layer["d/bias:0"] = np.ones((3, 2), "float32"), np.zeros(2, "float32")
    return path


def as_keras(path: Path, config: Config | str, training: Config | None = None) -> Path:
    """The same as an archive of Keras 2."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file["layers/dense/vars/0"], file["layers/dense/vars/1"] = np.ones((3, 2), "float32"), np.zeros(2, "float32")
        file.create_group("vars")
    if training and isinstance(config, dict):
        config = {**config, "compile_config": training}
    text = config if isinstance(config, str) else json.dumps(config)
    metadata = json.dumps({"keras_version": "2.15.0"})
    path.write_bytes(
        zipped(
            {"config.json": text.encode(), "metadata.json": metadata.encode(), "model.weights.h5": weights.getvalue()}
        )
    )
    return path


WRITERS = {".h5": as_h5, ".keras": as_keras}


def refused(path: Path) -> str:
    started = time.monotonic()
    with pytest.raises(UnsupportedModel) as caught:
        inspect_model(path, path.parent / "prepared")
    assert time.monotonic() - started < SOON_S
    assert not (path.parent / "prepared").exists()
    assert all(problem.rstrip().endswith(".") for problem in caught.value.problems)
    return str(caught.value)


@pytest.fixture(params=[".h5", ".keras"])
def write(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Path]:
    """Write a model of either format into the folder of the test."""
    return lambda config, training=None: WRITERS[request.param](tmp_path / f"a{request.param}", config, training)


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that is there only once somebody's code ran; the test fails where it is."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "code of the file ran"


def test_the_small_model_is_one(write: Callable[..., Path], tmp_path: Path) -> None:
    """Else nothing below would mean anything."""
    assert inspect_model(write(config_of()), tmp_path / "prepared").layers[-1].class_name == "Dense"


# ---------------------------------------------------------------- code


def calls(canary: Path) -> dict[str, Any]:
    """Ways to name something that runs, as Keras deserializes objects."""
    command = f"touch {canary}"
    code = compile(f"lambda x: open({str(canary)!r}, 'w') and x", "<model>", "eval").co_consts[0]
    marshalled = [b64encode(marshal.dumps(code)).decode(), None, None]
    return {
        "os.system": {"module": "os", "class_name": "system", "config": command, "registered_name": None},
        "posix.system": {
            "module": "posix",
            "class_name": "function",
            "config": "system",
            "registered_name": "function",
        },
        "subprocess.Popen": {"module": "subprocess", "class_name": "Popen", "config": {"args": ["touch", str(canary)]}},
        "registered": {"class_name": "Package>Evil", "config": {}, "registered_name": "Package>Evil"},
        "builtins.eval": {"module": "builtins", "class_name": "eval", "config": f"open({str(canary)!r}, 'w')"},
        "import_module": {"module": "importlib", "class_name": "import_module", "config": {"name": "antigravity"}},
        "runpy": {"module": "runpy", "class_name": "run_path", "config": {"path_name": str(canary)}},
        "marshalled": {"class_name": "__lambda__", "config": {"value": marshalled}},
        "Lambda": {
            "class_name": "Lambda",
            "config": {"name": "l", "dtype": "float32", "function": marshalled, "function_type": "lambda"}
            | {
                "module": "m",
                "output_shape": None,
                "output_shape_type": "raw",
                "output_shape_module": None,
                "arguments": {},
            },
        },
    }


PLACES: dict[str, Callable[[Any], Config]] = {
    "layer": lambda evil: config_of(evil),
    "initializer": lambda evil: config_of(kernel_initializer=evil),
    "regularizer": lambda evil: config_of(bias_regularizer=evil),
    "constraint": lambda evil: config_of(kernel_constraint=evil),
    "activation": lambda evil: config_of(activation=evil),
    "type": lambda evil: config_of(dtype=evil),
    "inner layer": lambda evil: config_of({"class_name": "TimeDistributed", "config": {"name": "t", "layer": evil}}),
    "inner model": lambda evil: config_of({"class_name": "Sequential", "config": {"name": "i", "layers": [evil]}}),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", calls(Path("/x")))
def test_no_name_in_a_file_is_called(write: Callable[..., Path], canary: Path, place: str, way: str) -> None:
    assert "passed the safety checks" not in refused(write(PLACES[place](calls(canary)[way])))


@pytest.mark.parametrize("way", calls(Path("/x")))
def test_the_model_itself_is_no_call(write: Callable[..., Path], canary: Path, way: str) -> None:
    assert "passed the safety checks" not in refused(write(calls(canary)[way]))


@pytest.mark.parametrize("way", calls(Path("/x")))
def test_settings_of_the_training_are_never_used(write: Callable[..., Path], canary: Path, way: str) -> None:
    evil = calls(canary)[way]
    path = write(config_of(), {"loss": evil, "optimizer_config": evil, "optimizer": evil, "metrics": [evil]})
    assert inspect_model(path, path.parent / "prepared").layers[-1].class_name == "Dense"


@pytest.mark.parametrize("evil_first", [True, False])
def test_a_member_that_is_there_twice_is_read_as_it_was_judged(tmp_path: Path, canary: Path, evil_first: bool) -> None:
    path = as_keras(tmp_path / "a.keras", config_of())
    evil, good = json.dumps(config_of(calls(canary)["os.system"])), json.dumps(config_of())
    with zipfile.ZipFile(path) as archive:
        others = {name: archive.read(name) for name in archive.namelist() if name != "config.json"}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", evil if evil_first else good)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("config.json", good if evil_first else evil)
        for name, content in others.items():
            archive.writestr(name, content)
    if evil_first:
        inspect_model(path, tmp_path / "prepared")
    else:
        assert "'system'" in refused(path)


# ---------------------------------------------------------------- HDF5


@pytest.fixture
def secret(tmp_path: Path) -> Iterator[Path]:
    """A file that nobody may read: HDF5, so that it could be."""
    path = as_h5(tmp_path / "secret.h5", config_of())
    os.utime(path, (1, path.stat().st_mtime))
    yield path
    assert path.stat().st_atime == 1, "the file was read"
    path.read_bytes()
    if path.stat().st_atime == 1:
        pytest.skip("this file system does not note when a file is read")


def external_link(file: h5py.File, secret: Path) -> None:
    file["model_weights/more"] = h5py.ExternalLink(str(secret), "/model_weights")


def link_for_weights(file: h5py.File, secret: Path) -> None:
    del file["model_weights/d/d/kernel:0"]
    file["model_weights/d/d/kernel:0"] = h5py.ExternalLink(str(secret), "/model_weights/d/d/kernel:0")


def external_storage(file: h5py.File, secret: Path) -> None:
    del file["model_weights/d/d/kernel:0"]
    file["model_weights/d/d"].create_dataset("kernel:0", (3, 2), "float32", external=[(str(secret), 0, 24)])


def virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((3, 2), "float32")
    layout[:] = h5py.VirtualSource(str(secret), "model_weights/d/d/kernel:0", shape=(3, 2))
    del file["model_weights/d/d/kernel:0"]
    file["model_weights/d/d"].create_virtual_dataset("kernel:0", layout)


@pytest.mark.parametrize("change", [external_link, link_for_weights, external_storage, virtual])
def test_no_other_file_is_read(tmp_path: Path, secret: Path, change: Callable[[h5py.File, Path], None]) -> None:
    path = as_h5(tmp_path / "a.h5", config_of())
    with h5py.File(path, "r+") as file:
        change(file, secret)
    assert "All weights must be inside" in refused(path)
    content = as_keras(tmp_path / "a.keras", config_of()).read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    held = io.BytesIO(members["model.weights.h5"])
    with h5py.File(held, "r+") as file:
        file["layers/more"] = h5py.ExternalLink(str(secret), "/")
    (tmp_path / "a.keras").write_bytes(zipped({**members, "model.weights.h5": held.getvalue()}))
    assert "All weights must be inside" in refused(tmp_path / "a.keras")


def test_links_in_circles_end(tmp_path: Path) -> None:
    path = as_h5(tmp_path / "a.h5", config_of())
    with h5py.File(path, "r+") as file:
        file["model_weights/up"] = file["/"]
        file["model_weights/soft"] = h5py.SoftLink("/model_weights/soft")
        file["one"], file["other"] = h5py.SoftLink("/other"), h5py.SoftLink("/one")
    assert inspect_model(path, tmp_path / "prepared").layers[-1].class_name == "Dense"


def test_arrays_of_which_nothing_is_there(tmp_path: Path) -> None:
    path = as_h5(tmp_path / "a.h5", config_of())
    with h5py.File(path, "r+") as file:
        del file["model_weights/d/d/kernel:0"]
        file["model_weights/d/d"].create_dataset(
            "kernel:0", (10**7, 10**6), "float32", chunks=(1000, 1000), fillvalue=1
        )
    assert path.stat().st_size < 100_000
    assert "expand to" in refused(path)


def test_a_description_of_200_megabytes(write: Callable[..., Path]) -> None:
    assert "has 200,0" in refused(write(json.dumps(config_of()) + " " * 200_000_000))


def test_a_description_nested_10000_deep(write: Callable[..., Path]) -> None:
    assert "not valid JSON" in refused(write('{"class_name":' * 10_000 + "1" + "}" * 10_000))
    inner: Any = {"class_name": "Dense", "config": {"name": "n", "units": 1}}
    for _ in range(300):
        inner = {"class_name": "TimeDistributed", "config": {"name": "t", "layer": inner}}
    assert re.search("levels deep|recursion depth", refused(write(config_of(inner))))


@pytest.mark.parametrize("units", [-1, 0, "two", 1e308, None, [2], {"a": 1}, 2**70])
def test_sizes_that_are_none(write: Callable[..., Path], units: Any) -> None:
    assert "a." in refused(write(config_of(units=units)))


# ---------------------------------------------------------------- archives

ARCHIVES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a million members": (lambda f: with_members(f / "a.keras", 10**6), "more than 1,000 members"),
    "a million that are hidden": (lambda f: with_members(f / "a.zip", 10**6, 3), "more than 1,000 members"),
    "weights of 5 GB": (
        lambda f: overlapping(f / "a.keras", [f"{n}.h5" for n in range(20)], bytes(2**28)),
        "expands to",
    ),
    "weights that say they are small": (
        lambda f: with_declared_size(zeros_zip(f / "a.zip", "m/saved_model.pb", 2**27), "m/saved_model.pb", 60),
        "a.zip",
    ),
    "a graph of 2 GB": (
        lambda f: overlapping(f / "a.zip", [*[f"m/{n}" for n in range(7)], "m/saved_model.pb"], bytes(2**28)),
        "without its weights",
    ),
    "a zip in a zip": (
        lambda f: wrote(f / "a.zip", zipped({"m.zip": zipped({"saved_model.pb": b""})})),
        "no SavedModel",
    ),
    "a link for the graph": (
        lambda f: wrote(f / "a.zip", special("m/saved_model.pb", stat.S_IFLNK, b"/etc/passwd")),
        "is a link",
    ),
    "a device for the graph": (lambda f: wrote(f / "a.zip", special("m/saved_model.pb", stat.S_IFBLK)), "a.zip"),
    "assets that lead out": (
        lambda f: wrote(f / "a.zip", zipped({"m/saved_model.pb": b"", "m/assets/../../../x": b"1"})),
        "outside its folder",
    ),
    "an absolute name": (lambda f: wrote(f / "a.keras", zipped({"/tmp/x": b"1"})), "outside its folder"),
}


def wrote(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ARCHIVES)
def test_archives_that_hurt(tmp_path: Path, name: str) -> None:
    build, words = ARCHIVES[name]
    assert words in refused(build(tmp_path))
    assert len(list(tmp_path.iterdir())) == 1


# ---------------------------------------------------------------- SavedModels


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The members of a SavedModel that only computes."""
    tf = keras_env.tensorflow()
    folder = tmp_path_factory.mktemp("saved") / "m"
    module = tf.Module()
    module.w = tf.Variable(np.ones((4, 3), "float32"))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
    def serve(x: Any) -> Any:
        return {"y": tf.matmul(x, module.w)}

    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures=serve)
    return {f"m/{file.relative_to(folder)}": file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def changed(members: dict[str, bytes], change: Callable[[Any], None]) -> bytes:
    messages = keras_env.part_of(keras_env.tensorflow(), "core.protobuf.saved_model_pb2")
    message = messages.SavedModel.FromString(members["m/saved_model.pb"])
    change(message.meta_graphs[0])
    return zipped({**members, "m/saved_model.pb": message.SerializeToString()})


def test_assets_of_a_graph_are_never_looked_up(tmp_path: Path, saved: dict[str, bytes], secret: Path) -> None:
    def change(graph: Any) -> None:
        graph.asset_file_def.add(filename=f"../../../../../..{secret}").tensor_info.name = "asset:0"
        graph.object_graph_def.nodes.add().asset.asset_file_def_index = 0

    path = wrote(tmp_path / "a.zip", changed(saved, change))
    assert inspect_model(path, tmp_path / "prepared").layers


@pytest.mark.parametrize(
    "op", ["WriteFile", "ReadFile", "PyFunc", "EagerPyFunc", "Save", "RpcCall", "PrintV2", "Abort"]
)
def test_operations_in_functions_of_functions(tmp_path: Path, saved: dict[str, bytes], op: str) -> None:
    def change(graph: Any) -> None:
        library = graph.graph_def.library.function
        called = next(f for f in library if any(node.op == "MatMul" for node in f.node_def))
        for depth in range(3):
            inner = library.add()
            inner.signature.name = f"inner_{depth}"
            step = inner.node_def.add(name="step", op="PartitionedCall" if depth < 2 else op)
            if depth < 2:
                step.attr["f"].func.name = f"inner_{depth + 1}"
        call = called.node_def.add(name="hidden", op="StatefulPartitionedCall")
        call.attr["f"].func.name = "inner_0"

    message = refused(wrote(tmp_path / "a.zip", changed(saved, change)))
    assert op in message


def test_a_function_that_calls_itself(tmp_path: Path, saved: dict[str, bytes]) -> None:
    def change(graph: Any) -> None:
        called = next(f for f in graph.graph_def.library.function if any(n.op == "MatMul" for n in f.node_def))
        product = next(node for node in called.node_def if node.op == "MatMul")
        arguments = list(product.input)
        product.Clear()
        product.name, product.op = "MatMul", "PartitionedCall"
        product.input.extend(arguments)
        product.attr["f"].func.name = called.signature.name

    assert "call each other more than" in refused(wrote(tmp_path / "a.zip", changed(saved, change)))
