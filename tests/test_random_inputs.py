"""Inputs made from a model alone: they suit it, are bounded, and are the same again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake import random_inputs
from intake.dataset_info import RANDOM_INPUTS_NOTE, DatasetInfo, DatasetOptions
from intake.datasets import Dataset, load_parsed
from intake.errors import DoesNotFit
from intake.fit import FitOverrides
from intake.keras_env import keras2
from intake.matching import match
from intake.model_info import ModelInfo
from intake.model_probe import outputs_of, probe_batch
from intake.random_inputs import index_limits, input_plans, make_random_inputs


def info_of(model: Any) -> ModelInfo:
    activations = tuple(
        getattr(getattr(layer, "activation", None), "__name__", "unknown") for layer in outputs_by(model)
    )
    return ModelInfo.model_validate(
        {
            "file_name": "m.h5",
            "file_bytes": 1,
            "sha256": "0",
            "uploaded_format": "h5",
            "saved_by": "Keras 2",
            "layers": [
                {"name": layer.name, "class_name": type(layer).__name__, "output_shape": None, "parameters": 0, "weight_bytes": 0}
                for layer in model.layers
            ],
            "parameters": 1,
            "trainable_parameters": 1,
            "input_shapes": [tuple(tensor.shape) for tensor in model.inputs],
            "input_dtypes": [tensor.dtype.name for tensor in model.inputs],
            "input_names": [tensor._keras_history.layer.name for tensor in model.inputs],
            "output_shapes": [tuple(tensor.shape) for tensor in model.outputs],
            "output_names": list(model.output_names),
            "output_activations": activations,
            "probe_max_difference": 0.0,
            "rebuilt": False,
        }
    )  # fmt: skip


def outputs_by(model: Any) -> list[Any]:
    return [tensor._keras_history.layer for tensor in model.outputs]


def mixed_model() -> Any:
    """One input of each kind, the third an index only after a reshape, the sequence of any length."""
    layers, given = keras2().layers, keras2().Input
    words = given((None,), name="words", dtype="int32")
    pixels, picture = given((16, 16, 3), name="pixels"), given((16, 16, 1), name="picture")
    place, flags, table = given((2,), name="place"), given((3,), name="flags", dtype="int32"), given((4,), name="table")
    normalization = layers.Normalization(mean=[10.0, 20, 30, 40], variance=[4.0, 4, 4, 4])
    parts = [
        layers.GlobalAveragePooling1D()(layers.Embedding(50, 4, mask_zero=True)(words)),
        layers.Flatten()(layers.Rescaling(1 / 255)(layers.Resizing(8, 8)(pixels))),
        layers.Flatten()(picture),
        layers.Flatten()(layers.Embedding(7, 2)(layers.Reshape((2, 1))(place))),
        layers.Lambda(lambda x: keras2().backend.cast(x, "float32"))(flags),
        normalization(table),
    ]
    joined = layers.Concatenate()(parts)
    outputs = [layers.Dense(3, activation="softmax", name="kind")(joined), layers.Dense(2, name="box")(joined)]
    return keras2().Model([words, pixels, picture, place, flags, table], outputs)


@pytest.fixture(scope="module")
def mixed() -> Any:
    return mixed_model()


def made(model: Any, folder: Path, seed: int = 0) -> Dataset:
    info = make_random_inputs(model, info_of(model), DatasetOptions(seed=seed), folder / f"seed {seed}")
    dataset = load_parsed(folder / f"seed {seed}")
    assert dataset.info == info
    return dataset


def test_each_input_gets_what_it_can_take(mixed: Any, tmp_path: Path) -> None:
    assert [plan.kind for plan in input_plans(mixed)] == ["indices", "bytes", "unit", "indices", "flags", "fitted"]
    assert index_limits(mixed) == [50, None, None, 7, None, None]
    data = made(mixed, tmp_path)
    words, pixels, picture, place, flags, table = data.part("train").arrays
    assert (words.min(), words.max()) == (0, 49)
    assert (str(pixels.dtype), pixels.min(), pixels.max()) == ("uint8", 0, 255)
    assert 0 <= picture.min() < picture.max() < 1
    assert set(np.unique(place)) == set(range(7))
    assert set(np.unique(flags)) == {0, 1}
    assert np.allclose(table.mean(axis=0), [10, 20, 30, 40], atol=0.5)
    assert words.shape == (512, 8)


def test_answers_that_are_no_numbers_ask_for_positive_inputs() -> None:
    given = keras2().Input((3,))
    model = keras2().Model(given, keras2().layers.Lambda(lambda x: keras2().backend.log(x + 0.01))(given))
    assert [plan.kind for plan in input_plans(model)] == ["unit"]


def test_what_is_stored_says_what_it_is(mixed: Any, tmp_path: Path) -> None:
    info = made(mixed, tmp_path).info
    assert (info.kind, info.label_kind, info.file_name) == ("random", "none", "random inputs")
    assert (info.train_samples, info.validation_samples, info.test_samples) == (512, 128, 256)
    assert info.notes[0] == RANDOM_INPUTS_NOTE
    assert "Input 'words' is given indices below 50." in info.notes
    assert [array.name for array in info.sample_arrays] == ["words", "pixels", "picture", "place", "flags", "table"]
    assert DatasetInfo.model_validate_json(info.model_dump_json()) == info


def test_the_same_seed_gives_the_same_samples_and_the_parts_differ(mixed: Any, tmp_path: Path) -> None:
    first, again, other = made(mixed, tmp_path / "a"), made(mixed, tmp_path / "b"), made(mixed, tmp_path, seed=1)
    for one, same, another in zip(first.part("train").arrays, again.part("train").arrays, other.part("train").arrays, strict=True):  # fmt: skip
        assert np.array_equal(one, same)
        assert not np.array_equal(one, another)
    assert not np.array_equal(first.part("train").arrays[0][:256], first.part("test").arrays[0])


def test_large_samples_come_in_smaller_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = keras2().Input((64, 64, 3))
    model = keras2().Model(given, keras2().layers.GlobalAveragePooling2D()(given))
    sample_bytes = 64 * 64 * 3 * 4
    monkeypatch.setattr(random_inputs, "MOST_BYTES", 100 * sample_bytes)
    info = made(model, tmp_path).info
    assert 90 <= info.file_bytes / sample_bytes <= 100
    assert (info.train_samples, info.validation_samples, info.test_samples) == (57, 14, 28)
    monkeypatch.setattr(random_inputs, "MOST_BYTES", sample_bytes)
    assert made(model, tmp_path, 1).info.train_samples == 16


def test_the_probe_knows_the_same_limits(mixed: Any) -> None:
    batch = probe_batch(mixed)
    assert batch[0].max() < 50
    assert batch[3].max() < 7
    assert all(np.isfinite(output).all() for output in outputs_of(mixed, batch))


def test_random_inputs_are_fed_as_they_are_and_judged_by_agreement(mixed: Any, tmp_path: Path) -> None:
    report = match(mixed, info_of(mixed), made(mixed, tmp_path), FitOverrides())
    assert (report.fit.task, report.fit.loss, report.fit.metric_name) == ("agreement", "distillation", "agreement")
    assert report.fit.outputs == ("classes", "numbers")
    assert [feed.name for feed in report.fit.feeds] == ["words", "pixels", "picture", "place", "flags", "table"]
    assert not any(feed.preprocessing for feed in report.fit.feeds)
    assert report.notes == ()


@pytest.mark.parametrize("task", ["classification", "regression", "reconstruction"])
def test_random_inputs_have_no_other_task(tmp_path: Path, task: Any) -> None:
    given = keras2().Input((4,))
    model = keras2().Model(given, keras2().layers.Dense(4, activation="softmax")(given))
    with pytest.raises(DoesNotFit, match="the inputs are random"):
        match(model, info_of(model), made(model, tmp_path), FitOverrides(task=task))
