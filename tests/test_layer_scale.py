"""ConvNeXt of keras.applications has a layer that no public name leads to; it opens and comes back all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake.errors import UnsupportedModel
from intake.keras_env import keras2, keras3, part_of
from intake.models import inspect_model, load_prepared, save_as_uploaded


def scaled(keras: Any) -> Any:
    layer_scale = part_of(keras, "src.applications.convnext").LayerScale
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3)(inputs)
    x = layer_scale(0.5, 4, name="scale")(x)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))
    model.get_layer("scale").set_weights([np.arange(4, dtype="float32")])
    return model


@pytest.mark.parametrize(("library", "name"), [(keras3, "m.keras"), (keras3, "m.h5"), (keras2, "m.h5")])
def test_a_layer_scale_is_rebuilt_and_written_back(library: Any, name: str, tmp_path: Path) -> None:
    original = scaled(library())
    original.save(str(tmp_path / name))
    info = inspect_model(tmp_path / name, tmp_path / "prepared")
    model = load_prepared(tmp_path / "prepared")
    batch = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(np.asarray(original(batch)), model(batch), atol=1e-5)
    model.get_layer("scale").set_weights([np.full(4, 7, "float32")])
    written = save_as_uploaded(model, tmp_path / name, info, tmp_path / "out")
    inspect_model(written, tmp_path / "again")
    assert load_prepared(tmp_path / "again").get_layer("scale").get_weights()[0].tolist() == [7, 7, 7, 7]


def test_a_layer_of_the_same_name_from_elsewhere_is_custom(tmp_path: Path) -> None:
    keras = keras3()

    @keras.saving.register_keras_serializable("elsewhere")
    class LayerScale(keras.layers.Layer):  # type: ignore[name-defined]
        def call(self, inputs: Any) -> Any:
            return inputs

    inputs = keras.Input((3,))
    keras.Model(inputs, LayerScale()(inputs)).save(str(tmp_path / "m.keras"))
    with pytest.raises(UnsupportedModel, match="'LayerScale'"):
        inspect_model(tmp_path / "m.keras", tmp_path / "prepared")
