"""Write a copy of an uploaded model that the Keras of today opens, with the same weights.

Mended on the way, each with a note for the user: a fixed batch size, stateful recurrent layers, half or double
precision, training settings, and the weight groups that Keras 2.13-2.15 named differently.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from intake import keras_env
from intake.custom_objects import by_trusted_name
from intake.keras3_hdf5_operations import with_own_module
from intake.model_classes import ACTIVATIONS, ONLY_WHILE_TRAINING
from intake.model_config_scan import graph_node
from intake.model_scan import ScannedModel

_CUDNN_TWINS = {"CuDNNLSTM": "LSTM", "CuDNNGRU": "GRU"}
_TODAYS_NAMES = {
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "GRUCellV1": "GRUCell",
    "GRUCellV2": "GRUCell",
    "GRUV1": "GRU",
    "GRUV2": "GRU",
    "LSTMCellV1": "LSTMCell",
    "LSTMCellV2": "LSTMCell",
    "LSTMV1": "LSTM",
    "LSTMV2": "LSTM",
    "UnifiedGRU": "GRU",
    "UnifiedLSTM": "LSTM",
}
"""What TensorFlow 1.13 to 2.0 called some layers."""
_OLD_GROUP = "_layer_checkpoint_dependencies"
_FOR_TRAINING_ONLY = frozenset(("AddLoss", "AddMetric"))
_FLIPPED_IN_THEANO = ("Conv1D", "Conv2D", "Conv2DTranspose", "Conv3D", "ConvLSTM2D")
_WIDTH_CHANGES = ("float16", "bfloat16", "float64", "mixed_float16", "mixed_bfloat16")


@dataclass(frozen=True)
class CleanCopy:
    """A file that Keras opens without running code and without training settings."""

    path: Path
    notes: tuple[str, ...]
    """What was changed, in sentences."""


def write_clean_copy(scanned: ScannedModel, folder: Path) -> CleanCopy:
    """Write the cleaned model into `folder` as model.h5 or model.keras and say what was changed.

    Raises whatever h5py or zipfile raise where the file is damaged.
    """
    config, notes = cleaned_config(scanned.config, scanned.is_keras3)
    if scanned.is_zip:
        path = folder / "model.keras"
        _write_zip(scanned, config, path)
    else:
        path = folder / "model.h5"
        _write_hdf5(scanned, config, path)
    return CleanCopy(path, notes)


def cleaned_config(config: dict[str, Any], keras3: bool = False) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the configuration of a model as the Keras of today reads it, and what was changed, in sentences."""
    cleaner = _ConfigCleaner(keras3)
    return cleaner.clean(config), tuple(cleaner.notes)


@dataclass
class _ConfigCleaner:
    keras3: bool = False
    notes: dict[str, None] = field(default_factory=dict)
    """An ordered set."""

    def clean(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.clean(item) for item in node]
        if not isinstance(node, dict):
            return node
        if node.get("class_name") == "function" and node.get("config") in ACTIVATIONS:
            return node["config"]
        if node.get("class_name") in ONLY_WHILE_TRAINING:
            self._note(f"{node['class_name']} changes images only while Keras 3 trains; it is left out here.")
        if self.keras3:
            node = with_own_module(node)
        node = by_trusted_name(node, self.keras3)
        if isinstance(node, str):
            return node
        cleaned = {key: self._entry(key, value) for key, value in node.items() if key != "compile_config"}
        return self._without_cudnn(_in_todays_words(cleaned))

    def _entry(self, key: str, value: Any) -> Any:
        if key in ("batch_input_shape", "batch_shape", "build_input_shape"):
            return self._free_batch(value)
        if key == "build_config" and isinstance(value, dict) and "input_shape" in value:
            return {**value, "input_shape": self._free_batch(value["input_shape"], tell=False)}
        if key == "stateful" and value is True:
            self._note("Recurrent layers that keep their state between batches (stateful) start fresh in each batch.")
            return False
        if key == "dtype":
            return self._float32(value)
        if key in ("activation", "recurrent_activation"):
            return self.clean(_named_activation(value))
        return self.clean(value)

    def _free_batch(self, shape: Any, tell: bool = True) -> Any:
        if not isinstance(shape, list) or not shape:
            return shape
        if any(isinstance(item, list) for item in shape):
            return [self._free_batch(item, tell) for item in shape]
        if isinstance(shape[0], int) and tell:
            self._note(f"The fixed batch size of {shape[0]} was made free, so that any number of samples can be used.")
        return [None, *shape[1:]]

    def _float32(self, dtype: Any) -> Any:
        name = dtype
        if isinstance(dtype, dict):
            settings = dtype.get("config")
            name = settings.get("name") if isinstance(settings, dict) else None
        if isinstance(name, str) and name in _WIDTH_CHANGES:
            self._note(f"Layers that compute in {name} compute in float32 here.")
            return "float32"
        return dtype

    def _without_cudnn(self, node: dict[str, Any]) -> dict[str, Any]:
        class_name = node.get("class_name")
        if not isinstance(class_name, str) or class_name not in _CUDNN_TWINS or not isinstance(node["config"], dict):
            return node
        twin = _CUDNN_TWINS[class_name]
        self._note(f"{class_name} (graphics cards only) was replaced by {twin} with the same weights.")
        settings = {**node["config"], "recurrent_activation": "sigmoid"}
        if twin == "GRU":
            settings["reset_after"] = True
        return {**node, "class_name": twin, "config": settings}

    def _note(self, sentence: str) -> None:
        self.notes.setdefault(sentence)


def _named_activation(value: Any) -> Any:
    """`Dense(activation=Activation("relu"))` was saved as a layer inside a layer, which no Keras opens again."""
    while isinstance(value, dict) and value.get("class_name") == "Activation" and isinstance(value.get("config"), dict):
        value = value["config"].get("activation")
    return value


def _in_todays_words(node: dict[str, Any]) -> dict[str, Any]:
    """What older versions of Keras 2 called, or left out, that means something else today."""
    class_name, settings = node.get("class_name"), node.get("config")
    if not isinstance(class_name, str) or not isinstance(settings, dict):
        return node
    if class_name in _FOR_TRAINING_ONLY:  # they return their input
        kept = {"name": settings.get("name"), "activation": "linear"}
        return {**node, "class_name": "Activation", "config": kept}
    if class_name == "TensorFlowOpLayer":
        return {**node, "config": {**settings, "node_def": graph_node(settings.get("node_def"))}}
    class_name = _TODAYS_NAMES.get(class_name.removeprefix(">"), class_name.removeprefix(">"))
    if class_name in ("GRU", "GRUCell") and "reset_after" not in settings:
        settings = {**settings, "reset_after": False}
    return {**node, "class_name": class_name, "config": settings}


def _write_hdf5(scanned: ScannedModel, config: dict[str, Any], path: Path) -> None:
    shutil.copyfile(scanned.path, path)
    path.chmod(0o600)
    with h5py.File(path, "r+") as file:
        was_sequential = '"class_name": "Sequential"' in str(file.attrs["model_config"])[:40]
        file.attrs["model_config"] = json.dumps(config)
        for name in ("training_config", "compile_config"):
            if name in file.attrs:
                del file.attrs[name]
        weights = file.get("model_weights", file)
        if was_sequential and config["class_name"] == "Functional":
            _sort_weights(weights, config)
        if _text(weights.attrs.get("backend")) == "theano":
            _flip_kernels(weights, _names_of(config, _FLIPPED_IN_THEANO))


def _text(value: Any) -> str | None:
    return value.decode() if isinstance(value, bytes) else value


def _sort_weights(weights: h5py.Group, config: dict[str, Any]) -> None:
    """Weights are assigned in the order of the layers; a functional model sorts its layers its own way."""
    layers = keras_env.keras2().models.model_from_json(json.dumps(config)).layers
    places = {layer.name: place for place, layer in enumerate(layers)}
    names = sorted(map(_text, weights.attrs["layer_names"]), key=lambda name: places.get(name, -1))
    weights.attrs["layer_names"] = [name.encode() for name in names if name]


def _names_of(config: Any, classes: tuple[str, ...]) -> set[str]:
    """Names of the layers of these classes at any depth."""
    if isinstance(config, list):
        return {name for item in config for name in _names_of(item, classes)}
    if not isinstance(config, dict):
        return set()
    settings = config.get("config")
    inner = settings.get("layer") if isinstance(settings, dict) else None
    own = {config.get("class_name"), inner.get("class_name") if isinstance(inner, dict) else None}
    names = {str(settings.get("name"))} if isinstance(settings, dict) and own & set(classes) else set()
    return names.union(*(_names_of(value, classes) for value in config.values()))


def _flip_kernels(weights: h5py.Group, layer_names: set[str]) -> None:
    """Theano turned its kernels round when it convolved; Keras 2.0-2.3 turned them back when TensorFlow read them."""
    found: list[h5py.Dataset] = []
    weights.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    for array in found:
        parts = array.name.split("/")
        if "kernel" in parts[-1] and array.ndim > 2 and layer_names & set(parts):
            turned = (slice(None, None, -1),) * (array.ndim - 2)
            array[...] = array[()][turned]


def _write_zip(scanned: ScannedModel, config: dict[str, Any], path: Path) -> None:
    with (
        zipfile.ZipFile(scanned.path) as uploaded,
        zipfile.ZipFile(path, "w") as clean,
        tempfile.TemporaryDirectory(dir=path.parent) as folder,
    ):
        clean.writestr("metadata.json", json.dumps(scanned.metadata))
        clean.writestr("config.json", json.dumps(config))
        weights = Path(folder) / "model.weights.h5"
        with uploaded.open("model.weights.h5") as member, weights.open("wb") as file:
            shutil.copyfileobj(member, file)
        if not scanned.is_keras3:
            weights = _with_todays_groups(weights)
        clean.write(weights, "model.weights.h5")


def _with_todays_groups(weights: Path) -> Path:
    """Keras 2.12-2.14 wrote `_layer_checkpoint_dependencies` for `layers`, and `\\` for `/` on Windows."""
    renamed = weights.with_name("renamed.weights.h5")
    with h5py.File(weights, "r") as old, h5py.File(renamed, "w") as new:
        arrays: dict[str, h5py.Dataset] = {}
        old.visititems(lambda name, item: arrays.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        paths = {name: tuple(name.replace("\\", "/").split("/")) for name in arrays}
        numbers = _todays_numbers(set(paths.values()))
        for name, array in arrays.items():
            path = paths[name]
            if "optimizer" not in path[:-2] and "metrics" not in path[:-2]:
                parts = [numbers.get(path[: place + 1], part) for place, part in enumerate(path)]
                new.create_dataset("/".join("layers" if part == _OLD_GROUP else part for part in parts), data=array[()])
        new.require_group("vars")
    return renamed


def _todays_numbers(paths: set[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """New name of a layer's group by its path. `conv2d`, `conv2d_2`, `conv2d_4` were `conv2d`, `conv2d_1`, `conv2d_2`.

    Up to 2.13 a layer with weights was counted twice and one without once, so a number that is missing where a layer
    must begin belongs to a layer without weights.
    """
    found: dict[tuple[tuple[str, ...], str], set[int]] = {}
    for path in paths:
        for place, part in enumerate(path[1:], start=1):
            if path[place - 1] == _OLD_GROUP:
                name, number = _name_and_number(part)
                found.setdefault((path[:place], name), set()).add(number)
    renamed = {}
    for (container, name), used in found.items():
        if any(number + 1 in used for number in used):
            continue  # 2.14 counted every layer once
        old, new = 0, 0
        while old <= max(used):
            if old in used:
                renamed[(*container, f"{name}_{old}" if old else name)] = f"{name}_{new}" if new else name
            old, new = old + 1 + (old in used), new + 1
    return renamed


def _name_and_number(group: str) -> tuple[str, int]:
    name, _, number = group.rpartition("_")
    return (name, int(number)) if name and number.isdigit() else (group, 0)
