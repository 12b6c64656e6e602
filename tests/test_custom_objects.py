"""Custom layers, models and functions: refused with the way out, and used where an administrator named their module."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake import keras_env
from intake.custom_objects import allow_modules, custom_objects
from intake.errors import UnsupportedModel
from intake.model_scan import scan_model
from intake.models import inspect_model, load_prepared, save_as_uploaded
from runs.settings import Settings, settings_table

MODULE = '''
import tensorflow as tf
import {keras} as keras


def wavy(x):
    return keras.activations.tanh(x) * 0.5


@keras.saving.register_keras_serializable(package="{package}")
class Scale(keras.layers.Layer):
    """x * w, one w for each feature."""

    def __init__(self, start=1.0, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, shape):
        self.w = self.add_weight(name="w", shape=(shape[-1],), initializer=keras.initializers.Constant(self.start))

    def call(self, inputs):
        return inputs * self.w

    def get_config(self):
        return {{**super().get_config(), "start": self.start}}


class Small(keras.Model):
    """Two dense layers behind each other."""

    def __init__(self, units=5, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.first = keras.layers.Dense(units, activation="relu", name="first")
        self.second = keras.layers.Dense(2, name="second")

    def call(self, inputs, training=None):
        return self.second(self.first(inputs))

    def get_config(self):
        return {{"units": self.units, "name": self.name}}
'''
Modules = dict[str, Any]


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Modules]:
    """Two modules of the same classes, for Keras 2 and for Keras 3; none of them is trusted yet."""
    made = {}
    for keras, library in (("tf_keras", keras_env.keras2()), ("keras", keras_env.keras3())):
        name = f"company_{keras}_{abs(hash(tmp_path))}"
        (tmp_path / f"{name}.py").write_text(MODULE.format(keras=keras, package=name))
        made[keras] = (name, library)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield {keras: (name, library, __import__(name)) for keras, (name, library) in made.items()}
    allow_modules(())
    for _, library in made.values():
        library.utils.get_custom_objects().clear()


def model_of(library: Any, module: Any) -> Any:
    """A functional model with a custom layer and a custom activation."""
    inputs = library.Input((4,))
    x = library.layers.Dense(6, activation=module.wavy, name="dense")(inputs)
    x = module.Scale(1.5, name="scale")(x)
    return library.Model(inputs, library.layers.Dense(3, activation="softmax", name="head")(x))


def comes_back(model: Any, path: Path, folder: Path) -> Any:
    """Upload, prepare, load the prepared model, write it back; return the prepared model."""
    x = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")
    expected = np.asarray(model(x))
    info = inspect_model(path, folder / "prepared")
    prepared = load_prepared(folder / "prepared")
    np.testing.assert_allclose(np.asarray(prepared(x)), expected, atol=1e-5)
    returned = save_as_uploaded(prepared, path, info, folder / "returned")
    assert returned.suffix == path.suffix
    again = inspect_model(returned, folder / "again")
    np.testing.assert_allclose(np.asarray(load_prepared(folder / "again")(x)), expected, atol=1e-5)
    assert again.parameters == info.parameters
    return prepared


@pytest.mark.parametrize("file_name", ["model.h5", "model.keras"])
def test_a_custom_layer_of_keras2_stays_as_it_is(tmp_path: Path, modules: Modules, file_name: str) -> None:
    name, library, module = modules["tf_keras"]
    model = model_of(library, module)
    model.save(tmp_path / file_name)
    with pytest.raises(UnsupportedModel, match=r"'scale'.*Scale.*TARE_CUSTOM_OBJECT_MODULES"):
        scan_model(tmp_path / file_name)
    allow_modules([name])
    prepared = comes_back(model, tmp_path / file_name, tmp_path)
    assert type(prepared.get_layer("scale")) is module.Scale


def test_a_custom_layer_of_keras3_becomes_its_twin(tmp_path: Path, modules: Modules) -> None:
    name, library, module = modules["keras"]
    model = model_of(library, module)
    model.save(tmp_path / "model.keras")
    allow_modules([name])
    with pytest.raises(UnsupportedModel, match=r"'scale'.*custom class 'Scale' of Keras 3.*tf_keras class"):
        inspect_model(tmp_path / "model.keras", tmp_path / "none")
    twin_name, _, twin_module = modules["tf_keras"]
    allow_modules([name, twin_name])
    prepared = comes_back(model, tmp_path / "model.keras", tmp_path)
    assert type(prepared.get_layer("scale")) is twin_module.Scale


@pytest.mark.parametrize("keras", ["tf_keras", "keras"])
def test_a_subclassed_model_becomes_functional(tmp_path: Path, modules: Modules, keras: str) -> None:
    name, _, module = modules[keras]
    model = module.Small(7)
    model(np.zeros((1, 4), "float32"))
    model.save(tmp_path / "model.keras")
    with pytest.raises(UnsupportedModel, match=r"class 'Small'.*TARE_CUSTOM_OBJECT_MODULES"):
        scan_model(tmp_path / "model.keras")
    allow_modules([name])
    prepared = comes_back(model, tmp_path / "model.keras", tmp_path)
    assert [layer.name for layer in prepared.layers][1:] == ["first", "second"]


def test_a_file_cannot_name_a_module(tmp_path: Path, modules: Modules) -> None:
    """The class is looked up among the trusted ones, whatever the file says where it comes from."""
    name, library, module = modules["keras"]
    model_of(library, module).save(tmp_path / "model.keras")
    allow_modules([modules["tf_keras"][0]])
    del sys.modules[name]
    with pytest.raises(UnsupportedModel):
        inspect_model(tmp_path / "model.keras", tmp_path / "prepared")
    assert name not in sys.modules


def test_builtin_names_are_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "import tf_keras\nclass Dense(tf_keras.layers.Layer):\n    pass\nclass Own(Dense):\n    pass\n"
    (tmp_path / "company_dense.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    allow_modules(["company_dense"])
    found = custom_objects("keras2")
    allow_modules(())
    assert "Own" in found
    assert "Dense" not in found


def test_a_module_that_is_missing_is_named() -> None:
    allow_modules(["no_such_module_of_ours"])
    with pytest.raises(UnsupportedModel, match=r"no_such_module_of_ours.*cannot be imported"):
        custom_objects("keras2")
    allow_modules(())


def test_the_setting_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARE_CUSTOM_OBJECT_MODULES", "company.layers, company.models")
    assert Settings().custom_object_modules == "company.layers, company.models"
    assert "TARE_CUSTOM_OBJECT_MODULES" in settings_table()
