"""Agreement with the uploaded model: what counts as the same answer, and training towards it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake import teacher as teacher_module
from intake.agreement import agreement_scores, output_kinds, tolerances, training_targets
from intake.dataset_info import DatasetOptions
from intake.datasets import Dataset, load_parsed, parse_dataset
from intake.fit import Fit, FitOverrides, OutputKind
from intake.keras_env import keras2
from intake.matching import build_fit, match
from intake.representative import representative_samples
from intake.scores import interval_of
from intake.teacher import Teacher
from intake.training_batches import training_batches
from optimizers.fine_tuning import FineTuning
from optimizers.training import train
from tests.test_fit import model_of
from tests.test_random_inputs import info_of


def fit_of(*outputs: OutputKind, **more: Any) -> Fit:
    return Fit(**{"task": "agreement", "loss": "distillation", "metric_name": "agreement", "outputs": outputs, **more})


def scores(fit: Fit, answers: list[Any], originals: list[Any]) -> list[float]:
    truth = [np.asarray(original, np.float32) for original in originals]
    given = [np.asarray(answer, np.float32) for answer in answers]
    return agreement_scores(fit, given, truth, tolerances(fit, [truth])).tolist()


def test_classes_agree_where_the_largest_is_the_same() -> None:
    original = [[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]]
    answer = [[0.4, 0.3, 0.3], [0.5, 0.4, 0.1], [0.1, float("nan"), 0.9]]
    assert scores(fit_of("classes"), [answer], [original]) == [1, 0, 0]


def test_units_agree_by_their_side_of_one_half() -> None:
    assert scores(fit_of("yes_no"), [[[0.6, 0.4], [0.6, 0.6]]], [[[0.9, 0.1], [0.9, 0.1]]]) == [1, 0.5]
    logits = fit_of("yes_no", from_logits=True)
    assert scores(logits, [[[0.2], [-3.0]]], [[[5.0], [0.1]]]) == [1, 0]


def test_numbers_agree_within_a_tenth_of_their_spread() -> None:
    original = np.asarray([[0.0, 5.0], [10.0, 5.0], [20.0, 5.0]])  # the second hardly varies: a tenth of the whole's
    spread = original[:, 0].std()
    whole = original.std()
    near, far = np.asarray([[0.09 * spread, 0.009 * whole], [0.11 * spread, 0.011 * whole]])
    assert scores(fit_of("numbers"), [original + near], [original]) == pytest.approx([1, 1, 1])
    assert scores(fit_of("numbers"), [original + np.asarray([near[0], far[1]])], [original]) == pytest.approx([0.5] * 3)
    assert scores(fit_of("numbers"), [original + far], [original]) == [0, 0, 0]
    assert scores(fit_of("numbers"), [np.full((3, 2), np.nan)], [original]) == [0, 0, 0]


def test_positions_count_by_share_and_outputs_alike() -> None:
    original = np.eye(2)[[[0, 1, 0, 1]]]
    answer = np.eye(2)[[[0, 1, 1, 1]]]
    assert scores(fit_of("classes"), [answer], [original]) == [0.75]
    assert scores(fit_of("classes", "yes_no"), [answer, [[0.9]]], [original, [[0.1]]]) == [0.375]


def test_spread_does_not_depend_on_the_chunks() -> None:
    fit, original = fit_of("numbers"), np.random.default_rng(0).normal(size=(50, 3, 2))
    whole, parts = tolerances(fit, [[original]])[0], tolerances(fit, [[original[:20]], [original[20:]]])[0]
    assert whole is not None
    assert parts is not None
    assert whole.shape == (3, 2)
    assert np.allclose(whole, parts)


def test_kinds_are_read_from_the_activations() -> None:
    shapes = ((None, 3), (None, 1), (None, 5), (None, 1))
    model = model_of(
        output_shapes=shapes, output_names=tuple("abcd"), output_activations=("softmax", "sigmoid", "linear", "softmax")
    )
    assert output_kinds(model, False) == ("classes", "yes_no", "numbers", "numbers")
    assert output_kinds(model_of(output_activations=("linear",)), True) == ("classes",)


def test_logits_are_trained_towards_probabilities() -> None:
    fit = fit_of("classes", from_logits=True)
    target = training_targets(fit, [np.asarray([[1000.0, 1000.0]])])[0]
    assert target.tolist() == [[0.5, 0.5]]


def test_interval_of_a_share_stays_within_it() -> None:
    low, high = interval_of(fit_of("classes"), np.ones(50))
    assert 0.9 < low < high == 1


# --- data without labels -------------------------------------------------------------------------------------------


def store(folder: Path, options: DatasetOptions | None = None, **arrays: Any) -> Dataset:
    np.savez(folder / "data.npz", **arrays)
    parse_dataset(folder / "data.npz", options or DatasetOptions(), folder / "parsed")
    return load_parsed(folder / "parsed")


def dense(inputs: int, outputs: int, activation: str) -> Any:
    given = keras2().Input((inputs,), name="given")
    return keras2().Model(given, keras2().layers.Dense(outputs, activation=activation)(given))


@pytest.mark.parametrize(
    ("outputs", "activation", "task"),
    [
        (3, "softmax", "agreement"),
        (4, "linear", "reconstruction"),
        (4, "softmax", "agreement"),
        (1, "linear", "agreement"),
    ],
)
def test_data_without_labels_is_for_agreement_or_reconstruction(
    tmp_path: Path, outputs: int, activation: str, task: str
) -> None:
    data = store(tmp_path, x=np.random.default_rng(0).normal(size=(60, 4)))
    model = dense(4, outputs, activation)
    assert match(model, info_of(model), data, FitOverrides()).fit.task == task


def test_agreement_can_be_chosen_for_labelled_data(tmp_path: Path) -> None:
    data = store(tmp_path, x=np.random.default_rng(0).normal(size=(60, 4)), y=np.arange(60) % 3)
    model = dense(4, 3, "softmax")
    report = match(model, info_of(model), data, FitOverrides(task="agreement"))
    assert (report.fit.task, report.fit.class_order) == ("agreement", ())


def test_unlabelled_pixels_are_divided_by_255_and_said_so(tmp_path: Path) -> None:
    data = store(tmp_path, x=np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8))
    layers, given = keras2().layers, keras2().Input((8, 8, 1))
    plain = keras2().Model(given, layers.Dense(3, activation="softmax")(layers.Flatten()(given)))
    report = match(plain, info_of(plain), data, FitOverrides())
    assert report.candidates[0].scale == "divide_255"
    assert "choose another scale" in report.notes[0]
    scales_itself = keras2().Model(given, layers.Dense(3, activation="softmax")(layers.Flatten()(layers.Rescaling(1 / 255)(given))))  # fmt: skip
    assert match(scales_itself, info_of(scales_itself), data, FitOverrides()).candidates[0].scale == "none"
    assert match(plain, info_of(plain), data, FitOverrides(scale="minus_one_to_one")).candidates[0].scale == "minus_one_to_one"  # fmt: skip


# --- the teacher ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=["kept", "asked each time"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param != "kept":
        monkeypatch.setattr(teacher_module, "KEPT_BYTES", 0)
    return bool(request.param == "kept")


def two_by_two() -> Any:
    layers, given = keras2().layers, keras2().Input
    first, second = given((3,), name="first"), given((2,), name="second", dtype="int32")
    joined = layers.Concatenate()([first, layers.Flatten()(layers.Embedding(9, 4)(second))])
    hidden = layers.Dense(16, activation="relu")(joined)
    return keras2().Model(
        [first, second], [layers.Dense(3, activation="softmax")(hidden), layers.Dense(2, activation="tanh")(hidden)]
    )


def two_inputs(folder: Path) -> Dataset:
    random = np.random.default_rng(0)
    options = DatasetOptions(input_names=("first", "second"))
    return store(folder, options, first=random.normal(size=(300, 3)), second=random.integers(0, 9, (300, 2)))


def test_teacher_answers_as_the_model(tmp_path: Path, kept: bool) -> None:
    model, data = two_by_two(), two_inputs(tmp_path)
    fit = build_fit(info_of(model), data, FitOverrides())
    teacher = Teacher(model, data, fit, tmp_path / "teacher")
    batches = training_batches(data, fit, 32, 1, "train", teacher)
    inputs, targets = batches[2]
    assert [array.shape for array in inputs] == [(32, 3), (32, 2)]
    for target, answer in zip(targets, model.predict(list(inputs), verbose=0), strict=True):
        assert np.allclose(target, answer, atol=1e-5)
    assert (tmp_path / "teacher").exists() == kept
    spread = teacher.tolerances("test")
    assert spread[0] is None
    assert spread[1] is not None
    assert spread[1].shape == (2,)


def test_representative_samples_keep_the_inputs_together(tmp_path: Path) -> None:
    random = np.arange(100)
    data = store(tmp_path, DatasetOptions(input_names=("first", "second")), first=np.repeat(random[:, None], 3, axis=1), second=np.repeat(random[:, None] % 9, 2, axis=1))  # fmt: skip
    fit = build_fit(info_of(two_by_two()), data, FitOverrides())
    first, second = representative_samples(data, fit, 20, 0)
    assert np.array_equal(first[:, 0] % 9, second[:, 0])
    assert not np.isin(first[:, 0], data.part("test").arrays[0][:, 0]).any()


@pytest.mark.slow
def test_distillation_brings_a_changed_model_back(tmp_path: Path, kept: bool) -> None:
    keras2().utils.set_random_seed(0)
    model, data = two_by_two(), two_inputs(tmp_path)
    fit = build_fit(info_of(model), data, FitOverrides())
    teacher = Teacher(model, data, fit, tmp_path / "teacher")
    pupil = keras2().models.clone_model(model)
    pupil.set_weights(
        [weight + np.random.default_rng(0).normal(0, 0.3, weight.shape) for weight in model.get_weights()]
    )
    settings = FineTuning(epochs=40, batch_size=32, learning_rate=0.01)
    epochs: list[dict[str, float]] = []
    train(
        pupil,
        fit,
        settings,
        training_batches(data, fit, 32, 0, "train", teacher),
        training_batches(data, fit, 32, 0, "validation", teacher),
        [],
        lambda step, logs: None,
        lambda epoch, step, logs: epochs.append(logs),
    )
    assert epochs[-1]["val_loss"] < epochs[0]["val_loss"]
    agreement = [value for name, value in epochs[-1].items() if name.startswith("val_") and name.endswith("agreement")]
    assert agreement[0] > 0.85
