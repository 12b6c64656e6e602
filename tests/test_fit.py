"""Model and dataset together: preprocessing steps, tasks, scores, matching, batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from intake.dataset_info import ArrayInfo, DatasetInfo, DatasetOptions
from intake.datasets import Dataset, load_parsed, parse_dataset
from intake.errors import DoesNotFit
from intake.feeding import propose_feeds
from intake.fit import ChannelAxis, Colour, Fit, FitOverrides, Reshape, Resize, Scale, Step
from intake.keras_env import keras2
from intake.matching import build_fit, match
from intake.model_info import LayerInfo, ModelInfo
from intake.preprocessing import (
    apply_labels,
    apply_steps,
    model_input,
    model_inputs,
    propose_shape_steps,
    scale_step,
)
from intake.representative import representative_samples
from intake.shape_steps import matches, shape_after
from intake.tasks import LOSSES, check_fit, confidence_interval, impossible_losses, propose_task, score
from intake.training_batches import training_batches


def model_of(
    inputs: tuple[Any, ...] = (4,), outputs: tuple[Any, ...] = (3,), activation: str = "softmax", **more: Any
) -> ModelInfo:
    known = {
        "file_name": "m.h5",
        "file_bytes": 1,
        "sha256": "0",
        "uploaded_format": "h5",
        "saved_by": "Keras 2",
        "layers": (),
        "parameters": 1,
        "trainable_parameters": 1,
        "input_shapes": ((None, *inputs),),
        "input_dtypes": ("float32",),
        "output_shapes": ((None, *outputs),),
        "output_activations": (activation,),
        "output_names": ("out",),
        "input_names": ("in",),
        "probe_max_difference": 0.0,
        "rebuilt": False,
    }
    return ModelInfo.model_validate({**known, **more})


def data_of(shape: tuple[int, ...] = (4,), kind: str = "class", classes: int = 3, **more: Any) -> DatasetInfo:
    known = {
        "file_name": "d.npz",
        "file_bytes": 1,
        "sha256": "0",
        "kind": "arrays",
        "options": DatasetOptions(),
        "train_samples": 100,
        "validation_samples": 10,
        "test_samples": 20,
        "sample_shape": shape,
        "dtype": "float32",
        "value_min": -1.0,
        "value_max": 1.0,
        "label_kind": kind,
        "class_names": tuple(f"class {i}" for i in range(classes)) if kind in ("class", "multilabel") else (),
        "split": "",
    }
    return DatasetInfo.model_validate({**known, **more})


def fit_of(task: Any = "classification", **more: Any) -> Fit:
    metric = "accuracy" if "classification" in task else "mse" if task == "reconstruction" else "mae"
    return Fit(**{"task": task, "loss": LOSSES[task][0], "metric_name": metric, **more})


def dataset(folder: Path, **arrays: Any) -> Dataset:
    np.savez(folder / "data.npz", **arrays)
    parse_dataset(folder / "data.npz", DatasetOptions(), folder / "parsed")
    return load_parsed(folder / "parsed")


class Answers:
    """A model made of a function."""

    def __init__(self, answer: Callable[[np.ndarray], np.ndarray]) -> None:
        self.answer = answer

    def predict(self, x: np.ndarray, batch_size: int, verbose: int) -> np.ndarray:
        assert x.dtype == np.float32
        return self.answer(x)


# --- preprocessing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "expected"), [("none", [0, 255]), ("divide_255", [0, 1]), ("minus_one_to_one", [-1, 1])]
)
def test_scales_of_bytes(mode: Any, expected: list[float]) -> None:
    x = np.asarray([[0, 255]], np.uint8)
    scaled = apply_steps([Scale(mode=mode)], x)
    assert scaled.dtype == np.float32
    assert scaled.tolist() == [expected]
    assert x.tolist() == [[0, 255]]


def test_apply_steps_never_returns_the_input_itself() -> None:
    x = np.zeros((2, 3), np.float32)
    apply_steps([], x)[:] = 1
    assert not x.any()


@given(offset=st.sampled_from([0.0, 1e6]), spread=st.sampled_from([1e-3, 1.0, 1e4]))
def test_standardize_and_min_max_are_taken_per_feature(offset: float, spread: float) -> None:
    x = (np.random.default_rng(0).normal(offset, spread, (500, 3)) * [1, 2, 3]).astype(np.float32)
    x[:, 1] = 7.0
    standardized = apply_steps([scale_step("standardize", x)], x)
    if spread * 1e4 > offset:
        assert np.allclose(standardized[:, [0, 2]].mean(axis=0), 0, atol=1e-2)
        assert np.allclose(standardized[:, [0, 2]].std(axis=0), 1, atol=1e-2)
        small = apply_steps([scale_step("min_max", x)], x)
        assert (small.min(), small.max()) == (0, 1)
    assert not standardized[:, 1].any()


def test_statistics_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(3, 2, (1000, 4)).astype(np.float32)
    whole = scale_step("standardize", x)
    monkeypatch.setattr("intake.parts.CHUNK_BYTES", 100)
    assert np.allclose(scale_step("standardize", x).std, whole.std)
    assert np.allclose(whole.std, x.std(axis=0), rtol=1e-5)


def test_scale_after_shape_steps_is_per_channel() -> None:
    x = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
    assert len(scale_step("standardize", x).mean) == 3
    assert len(scale_step("standardize", x, [Reshape(shape=(192,))]).mean) == 192


def test_a_scale_without_its_numbers_is_refused() -> None:
    with pytest.raises(DoesNotFit, match="Match model and dataset again"):
        apply_steps([Scale(mode="standardize")], np.zeros((2, 3)))


def test_images_change_colour_axis_and_size() -> None:
    x = np.random.default_rng(0).integers(0, 256, (5, 9, 11, 3), dtype=np.uint8)
    grey = apply_steps([Colour(to="grey")], x)
    assert np.allclose(grey[..., 0], x @ np.asarray([0.299, 0.587, 0.114]), atol=1e-3)
    assert apply_steps([Colour(to="grey"), Colour(to="rgb")], x).shape == x.shape
    there_and_back = [ChannelAxis(action="last_to_first"), ChannelAxis(action="first_to_last")]
    assert np.array_equal(apply_steps(there_and_back, x), x)
    assert apply_steps([Resize(height=20, width=10)], x).shape == (5, 20, 10, 3)
    flat = np.full((2, 9, 9, 1), 0.25, np.float32)
    assert np.allclose(apply_steps([Resize(height=12, width=30)], flat), 0.25)


@pytest.mark.parametrize(
    ("have", "want", "kinds"),
    [
        ((28, 28), (28, 28, 1), ["channel_axis"]),
        ((28, 28, 1), (28, 28), ["channel_axis"]),
        ((3, 32, 32), (32, 32, 3), ["channel_axis"]),
        ((1, 28, 28), (28, 28, 1), ["channel_axis"]),
        ((28, 28), (784,), ["reshape"]),
        ((784,), (28, 28, 1), ["reshape"]),
        ((28, 28), (32, 32, 3), ["channel_axis", "resize", "colour"]),
        ((32, 32, 3), (28, 28, 1), ["colour", "resize"]),
        ((32, 32, 3), (1024,), ["colour", "reshape"]),
        ((784,), (32, 32, 1), ["reshape", "resize"]),
        ((20, 30, 3), (None, None, 3), []),
        ((13,), (13, 1), ["channel_axis"]),
        ((12,), (None, 3), ["reshape"]),
    ],
)
def test_shape_steps_for_common_pairs(have: tuple[int, ...], want: tuple[int | None, ...], kinds: list[str]) -> None:
    assert [step.kind for step in propose_shape_steps(have, want)] == kinds


SIDES = st.sampled_from([1, 2, 3, 8, 9, 16, 64, 81])
SHAPES = st.lists(SIDES, min_size=1, max_size=3).map(tuple)


@given(have=SHAPES, want=st.lists(SIDES | st.none(), min_size=1, max_size=3).map(tuple))
@settings(max_examples=300, deadline=None)
def test_proposed_steps_lead_to_the_input_shape(have: tuple[int, ...], want: tuple[int | None, ...]) -> None:
    try:
        steps = propose_shape_steps(have, want)
    except DoesNotFit:
        return
    assert matches(shape_after(steps, have), want)
    assume(math.prod(have) < 10_000)
    assert matches(apply_steps(steps, np.ones((2, *have), np.uint8)).shape[1:], want)


def test_impossible_steps_are_sentences() -> None:
    with pytest.raises(DoesNotFit, match=r"resize to 8 x 8 cannot be applied to samples of shape \(4,\)"):
        apply_steps([Resize(height=8, width=8)], np.zeros((2, 4)))
    with pytest.raises(DoesNotFit, match=r"takes samples of shape \(30,\).*shape \(4,\) \(4 values\)"):
        propose_shape_steps((4,), (30,))


# --- labels -----------------------------------------------------------------------------------------------------

X = np.zeros((3, 4), np.float32)


def test_labels_follow_the_order_of_the_units() -> None:
    y = np.asarray([0, 1, 2])
    fit = fit_of(class_order=(2, 0, 1))
    # Unit 0 stands for class 2, unit 1 for class 0, unit 2 for class 1.
    assert apply_labels(fit, data_of(), y, X).tolist() == [1, 2, 0]
    one_hot = apply_labels(fit.model_copy(update={"loss": "categorical_crossentropy"}), data_of(), y, X)
    assert one_hot.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert one_hot.dtype == np.float32


def test_labels_of_the_other_tasks() -> None:
    two = data_of(classes=2)
    binary = fit_of("binary_classification")
    assert apply_labels(binary, two, np.asarray([0, 1]), X[:2]).tolist() == [[0], [1]]
    turned = binary.model_copy(update={"class_order": (1, 0)})
    assert apply_labels(turned, two, np.asarray([0, 1]), X[:2]).tolist() == [[1], [0]]
    several = fit_of("multilabel_classification", class_order=(1, 0))
    assert apply_labels(several, data_of(kind="multilabel"), np.asarray([[1.0, 0.0]]), X[:1]).tolist() == [[0, 1]]
    assert apply_labels(fit_of("reconstruction"), data_of(kind="none"), None, X) is X
    ages = data_of(class_names=("3", "5"))
    assert apply_labels(fit_of("regression"), ages, np.asarray([1, 0]), X[:2]).tolist() == [[5], [3]]
    with pytest.raises(DoesNotFit, match="needs labels"):
        apply_labels(fit_of(), data_of(kind="none"), None, X)


# --- tasks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "data", "expected"),
    [
        (model_of(), data_of(), ("classification", "sparse_categorical_crossentropy", False, "accuracy")),
        (
            model_of(saved_loss="categorical_crossentropy", activation="linear"),
            data_of(),
            ("classification", "categorical_crossentropy", True, "accuracy"),
        ),
        (
            model_of(outputs=(1,), activation="sigmoid"),
            data_of(classes=2),
            ("binary_classification", "binary_crossentropy", False, "accuracy"),
        ),
        (
            model_of(outputs=(1,), activation="linear"),
            data_of(classes=2),
            ("binary_classification", "binary_crossentropy", True, "accuracy"),
        ),
        (
            model_of(outputs=(1,), activation="linear", saved_loss="mse"),
            data_of(class_names=("3", "4", "5")),
            ("regression", "mean_squared_error", False, "mae"),
        ),
        (
            model_of(outputs=(5,), activation="sigmoid"),
            data_of(kind="multilabel", classes=5),
            ("multilabel_classification", "binary_crossentropy", False, "accuracy"),
        ),
        (
            model_of(outputs=(1,), activation="linear", saved_loss="mean_absolute_error"),
            data_of(kind="value", label_shape=(1,)),
            ("regression", "mean_absolute_error", False, "mae"),
        ),
        (
            model_of((8, 8, 1), (8, 8, 1), "sigmoid", saved_loss="binary_crossentropy"),
            data_of((8, 8, 1)),
            ("reconstruction", "binary_crossentropy", False, "mse"),
        ),
        (
            model_of((4,), (4,), "linear"),
            data_of(kind="none"),
            ("reconstruction", "mean_squared_error", False, "mse"),
        ),
        (model_of((3,), (3,)), data_of((3,)), ("classification", "sparse_categorical_crossentropy", False, "accuracy")),
    ],
)
def test_task_and_loss_are_read_off(model: ModelInfo, data: DatasetInfo, expected: tuple[Any, ...]) -> None:
    assert propose_task(model, data, FitOverrides()) == expected


def test_overrides_decide() -> None:
    overrides = FitOverrides(task="classification", loss="categorical_crossentropy", from_logits=True)
    assert propose_task(model_of(), data_of(), overrides)[:3] == ("classification", "categorical_crossentropy", True)


@pytest.mark.parametrize(
    ("model", "data", "fit", "words"),
    [
        (model_of(outputs=(10,)), data_of(), fit_of(), "has 10 and the dataset has 3 classes (class 0"),
        (model_of((5,)), data_of(), fit_of(), "takes samples of shape (5,)"),
        (model_of(outputs=(1,)), data_of(), fit_of("binary_classification"), "tells two classes apart"),
        (model_of(outputs=(2,)), data_of(kind="value", label_shape=(3,)), fit_of("regression"), "3 numbers"),
        (model_of(outputs=(5,)), data_of(), fit_of("reconstruction"), "the output (5,)"),
        (model_of(outputs=(7, 3)), data_of(), fit_of(), "one row of numbers per sample"),
        (model_of(), data_of(), fit_of(class_order=(0, 0, 1)), "name each of 0 to 2 once"),
        (model_of(), data_of(), fit_of(loss="mean_squared_error"), "does not go with classification"),
        (model_of(), data_of(), fit_of(metric_name="mae"), "The metric mae"),
        (model_of(), data_of(kind="none"), fit_of(), "needs labels, but the dataset has none"),
        (model_of(), data_of(kind="value"), fit_of(), "numbers to predict"),
        (model_of(outputs=(1,)), data_of(), fit_of("regression"), "labels that are numbers"),
        (model_of(input_shapes=((None, 4), (None, 4))), data_of(), fit_of(), "the fit feeds 1 of them"),
        (model_of(), data_of(), fit_of(preprocessing=(Resize(height=8, width=8),)), "resize to 8 x 8"),
    ],
)
def test_what_does_not_fit_is_a_sentence(model: ModelInfo, data: DatasetInfo, fit: Fit, words: str) -> None:
    with pytest.raises(DoesNotFit) as raised:
        check_fit(model, data, fit)
    assert words in str(raised.value)


def test_all_problems_come_at_once() -> None:
    with pytest.raises(DoesNotFit) as raised:
        check_fit(
            model_of((9,), (10,)), data_of(), fit_of(loss="mean_absolute_error", class_order=(1,), metric_name="mse")
        )
    assert len(raised.value.problems) == 5


def test_what_fits_passes() -> None:
    fit = fit_of(class_order=(2, 1, 0))
    check_fit(model_of(), data_of(), fit)
    assert fit == fit_of(class_order=(2, 1, 0))


@pytest.mark.parametrize("task", list(LOSSES))
def test_impossible_losses_have_reasons(task: Any) -> None:
    reasons = impossible_losses(task)
    assert set(reasons) | set(LOSSES[task]) >= set(LOSSES["classification"]) | set(LOSSES["regression"])
    assert not set(reasons) & set(LOSSES[task])
    assert all(reason.endswith(".") for reason in reasons.values())


# --- scores -----------------------------------------------------------------------------------------------------


def test_accuracy() -> None:
    predictions = np.asarray([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [np.nan, 1.0]])
    assert score(fit_of(), predictions, np.asarray([0, 1, 1, 1])) == 0.5
    assert score(fit_of(loss="categorical_crossentropy"), predictions, np.eye(2)[[0, 1, 1, 1]]) == 0.5
    binary = fit_of("binary_classification")
    assert score(binary, np.asarray([[0.4], [0.6]]), np.asarray([[0.0], [0.0]])) == 0.5
    assert score(binary.model_copy(update={"from_logits": True}), np.asarray([[0.4]]), np.asarray([[1.0]])) == 1.0
    several = fit_of("multilabel_classification")
    assert score(several, np.asarray([[0.9, 0.9]]), np.asarray([[1.0, 0.0]])) == 0.5


def test_errors() -> None:
    predictions, targets = np.asarray([[1.0], [4.0]]), np.asarray([[2.0], [2.0]])
    assert score(fit_of("regression"), predictions, targets) == 1.5
    assert score(fit_of("regression", metric_name="mse"), predictions, targets) == 2.5
    assert math.isnan(score(fit_of("regression"), predictions * np.nan, targets))


def test_wilson_interval_matches_the_known_one() -> None:
    predictions = np.eye(2)[[0] * 90 + [1] * 10]
    low, high = confidence_interval(fit_of(), predictions, np.zeros(100, int))
    assert (round(low, 3), round(high, 3)) == (0.826, 0.945)


@given(right=st.integers(0, 50), wrong=st.integers(0, 50))
def test_interval_holds_the_score(right: int, wrong: int) -> None:
    assume(right + wrong)
    predictions = np.eye(2)[[0] * right + [1] * wrong]
    targets = np.zeros(right + wrong, int)
    low, high = confidence_interval(fit_of(), predictions, targets)
    assert 0 <= low <= score(fit_of(), predictions, targets) + 1e-12
    assert score(fit_of(), predictions, targets) - 1e-12 <= high <= 1


# --- matching ---------------------------------------------------------------------------------------------------

CENTRES = np.random.default_rng(5).integers(90, 166, (4, 8, 8)).astype(np.float64)
NOISE = 60
"""So much that even the right answer is now and then wrong: else every scale would do."""


def byte_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    y = np.arange(count) % 4
    x = np.clip(CENTRES[y] + random.normal(0, NOISE, (count, 8, 8)), 0, 255)
    return x.astype(np.uint8), y


def nearest(scale: Callable[[np.ndarray], np.ndarray], order: tuple[int, ...] = (0, 1, 2, 3)) -> Answers:
    """Probability of each class, given its centre and the noise, both scaled; unit i answers for class order[i]."""
    centres = scale(CENTRES[list(order)]).reshape(4, -1)
    low, high = scale(np.asarray([0.0, float(NOISE)]))

    def answer(x: np.ndarray) -> np.ndarray:
        distance = ((x.reshape(len(x), 1, -1) - centres) ** 2).sum(axis=2) / (2 * (high - low) ** 2)
        shares = np.exp(-(distance - distance.min(axis=1, keepdims=True)))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    return Answers(answer)


SCALINGS: dict[Any, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda x: x,
    "divide_255": lambda x: x / 255,
    "minus_one_to_one": lambda x: x / 127.5 - 1,
}


@pytest.mark.parametrize("mode", list(SCALINGS))
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1)])
def test_scale_and_class_order_are_found(tmp_path: Path, mode: Any, order: tuple[int, ...]) -> None:
    x, y = byte_images(800)
    data = dataset(tmp_path, x=x, y=y)
    seen: list[float] = []
    report = match(
        nearest(SCALINGS[mode], order),
        model_of((8, 8, 1), (4,)),
        data,
        FitOverrides(),
        lambda share, what: seen.append(share),
    )
    steps = [ChannelAxis(action="add_last"), *([] if mode == "none" else [Scale(mode=mode)])]
    assert report.fit.preprocessing == tuple(steps)
    assert report.fit.class_order == order
    assert 0.8 < report.metric < 1
    assert [row.scale for row in report.candidates if row.chosen] == [mode]
    assert sum(row.chosen for row in report.candidates) == 1
    assert report.samples == data.info.train_samples
    assert (seen[0], seen[-1]) == (0, 1)
    assert bool(report.notes) == (order != (0, 1, 2, 3))


def test_of_scales_that_do_alike_the_likeliest_is_taken(tmp_path: Path) -> None:
    y = np.arange(200) % 4
    centres = CENTRES.reshape(4, -1) - CENTRES.mean()

    def answer(x: np.ndarray) -> np.ndarray:
        """Right and sure at any scale, as a network of ReLUs is on samples that it knows by heart."""
        flat = x.reshape(len(x), -1)
        return np.eye(4)[(flat @ centres.T).argmax(axis=1)]

    data = dataset(tmp_path, x=CENTRES[y].astype(np.uint8), y=y)
    report = match(Answers(answer), model_of((8, 8), (4,)), data, FitOverrides())
    assert {row.metric for row in report.candidates if row.scale in ("none", "divide_255")} == {1.0}
    assert report.fit.preprocessing == (Scale(mode="divide_255"),)
    assert any("none" in note and "divide 255" in note for note in report.notes), report.notes


def test_matching_never_looks_at_the_test_part(tmp_path: Path) -> None:
    x, y = byte_images(200)
    x[:, 0, 0] = 7
    data = dataset(tmp_path, x_train=x, y_train=y, x_test=np.full_like(x, 99), y_test=y)

    def answer(inputs: np.ndarray) -> np.ndarray:
        assert not (inputs == 99).all(axis=(1, 2)).any()
        return np.ones((len(inputs), 4)) / 4

    report = match(Answers(answer), model_of((8, 8), (4,)), data, FitOverrides(scale="none"))
    assert len(report.candidates) == 1
    assert "close to guessing" in report.notes[0]


def test_overrides_are_kept(tmp_path: Path) -> None:
    x, y = byte_images(400)
    data = dataset(tmp_path, x=x, y=y)
    overrides = FitOverrides(scale="divide_255", class_order=(0, 1, 2, 3))
    report = match(nearest(SCALINGS["none"], (1, 0, 2, 3)), model_of((8, 8), (4,)), data, overrides)
    assert [row.scale for row in report.candidates] == ["divide_255"]
    assert report.fit.class_order == (0, 1, 2, 3)


def test_an_untrained_model_gets_no_new_class_order(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    data = dataset(tmp_path, x=random.normal(size=(600, 4)), y=np.arange(600) % 3)
    weights = random.normal(size=(4, 3))
    report = match(Answers(lambda x: np.exp(x @ weights)), model_of(), data, FitOverrides())
    assert {row.class_order for row in report.candidates} == {"as in the dataset"}
    assert report.fit.preprocessing == ()


def test_outputs_that_are_nan_come_last(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(100, 20, (300, 4))
    data = dataset(tmp_path, x=x, y=(x[:, 0] > 100).astype(int))

    def answer(inputs: np.ndarray) -> np.ndarray:
        return np.where(inputs[:, :1] > 10, np.nan, 1 / (1 + np.exp(-9 * inputs[:, :1])))

    report = match(Answers(answer), model_of(outputs=(1,), activation="sigmoid"), data, FitOverrides())
    assert [row.scale for row in report.candidates if row.chosen] == ["standardize"]
    assert report.candidates[0].metric == 0


def test_regression_takes_the_lowest_error(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(50, 20, (300, 3))
    y = ((x - x.mean(axis=0)) / x.std(axis=0)).sum(axis=1)
    data = dataset(tmp_path, x=x, y=y)
    model = Answers(lambda inputs: inputs.sum(axis=1, keepdims=True))
    report = match(model, model_of((3,), (1,), "linear"), data, FitOverrides())
    assert report.fit.task == "regression"
    assert [row.scale for row in report.candidates if row.chosen] == ["standardize"]


def test_reconstruction_is_compared_relative_to_the_spread(tmp_path: Path) -> None:
    x, _ = byte_images(200)
    data = dataset(tmp_path, x=x)
    raw = Answers(lambda inputs: inputs if inputs.max() > 2 else np.zeros_like(inputs))
    report = match(raw, model_of((8, 8), (8, 8), "linear"), data, FitOverrides())
    assert report.fit.task == "reconstruction"
    assert report.fit.preprocessing == ()
    assert not report.notes


def test_linear_outputs_that_add_up_to_one_are_probabilities(tmp_path: Path) -> None:
    x, y = byte_images(300)
    data = dataset(tmp_path, x=x, y=y)
    report = match(nearest(SCALINGS["none"]), model_of((8, 8), (4,), "linear"), data, FitOverrides())
    assert report.fit.from_logits is False
    assert any("add up to 1" in note for note in report.notes)


def test_unit_range_images_can_be_brought_to_minus_one_to_one(tmp_path: Path) -> None:
    x, y = byte_images(400)
    data = dataset(tmp_path, x=(x / 255).astype(np.float32), y=y)
    model = model_of((8, 8), (4,))
    for mode, scale in (("multiply_255", SCALINGS["none"]), ("minus_one_to_one", SCALINGS["minus_one_to_one"])):
        report = match(nearest(scale), model, data, FitOverrides())
        assert [row.scale for row in report.candidates if row.chosen] == [mode]
    inputs = model_input(build_fit(model, data, FitOverrides(scale="minus_one_to_one")), data.x_train)
    assert (round(float(inputs.min())), round(float(inputs.max()))) == (-1, 1)


def test_a_fixed_batch_size_is_respected(tmp_path: Path) -> None:
    x, y = byte_images(100)
    data = dataset(tmp_path, x=x, y=y)

    class Fixed(Answers):
        def predict(self, x: np.ndarray, batch_size: int, verbose: int) -> np.ndarray:
            assert batch_size == 32
            assert len(x) % 32 == 0
            return self.answer(x)

    model = Fixed(nearest(SCALINGS["none"]).answer)
    report = match(model, model_of((8, 8), (4,), input_shapes=((32, 8, 8),)), data, FitOverrides())
    assert report.samples == data.info.train_samples


def test_indices_into_an_embedding_are_not_scaled(tmp_path: Path) -> None:
    layer = LayerInfo(name="e", class_name="Embedding", output_shape=(None, 4, 8), parameters=80, weight_bytes=320)
    data = dataset(tmp_path, x=np.arange(400).reshape(100, 4) % 10, y=np.arange(100) % 3)
    model = Answers(lambda x: np.eye(3)[x[:, 0].astype(int) % 3])
    report = match(model, model_of(layers=(layer,)), data, FitOverrides())
    assert [row.scale for row in report.candidates] == ["none"]


def test_match_and_build_name_all_that_does_not_fit(tmp_path: Path) -> None:
    data = dataset(tmp_path, x=np.zeros((40, 4)), y=np.arange(40) % 3)
    for call in (
        lambda: build_fit(model_of((30,), (10,)), data, FitOverrides()),
        lambda: match(Answers(lambda x: x), model_of((30,), (10,)), data, FitOverrides()),
    ):
        with pytest.raises(DoesNotFit) as raised:
            call()
        assert len(raised.value.problems) == 2


def test_a_trained_keras_model_is_matched(tmp_path: Path) -> None:
    keras = keras2()
    x, y = byte_images(400)
    order = np.asarray([3, 1, 0, 2])
    keras.utils.set_random_seed(0)
    # Batch normalization remembers the range that it was trained on; a linear model would take nearly any.
    normalization = keras.layers.BatchNormalization(momentum=0.5)
    model = keras.Sequential([keras.Input((64,)), normalization, keras.layers.Dense(4, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.optimizer.learning_rate = 0.02
    model.fit(x.reshape(-1, 64) / 255.0, np.argsort(order)[y], epochs=15, verbose=0)
    report = match(model, model_of((64,), (4,)), dataset(tmp_path, x=x, y=y), FitOverrides())
    assert report.fit.preprocessing == (Reshape(shape=(64,)), Scale(mode="divide_255"))
    assert report.fit.class_order == tuple(order)


# --- batches ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["in memory", "from disk"])
def numbered(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    if request.param == "from disk":
        monkeypatch.setattr("intake.training_batches.IN_MEMORY_LIMIT_BYTES", 0)
    return dataset(tmp_path, x=np.arange(300).reshape(100, 3), y=np.arange(100) % 3)


NUMBERED = fit_of(preprocessing=(Scale(mode="multiply_255"),))


def test_batches_hold_every_training_sample_once(numbered: Dataset) -> None:
    batches = training_batches(numbered, NUMBERED, 16, seed=1)
    assert isinstance(batches, keras2().utils.Sequence)
    assert len(batches) == math.ceil(numbered.info.train_samples / 16)
    x = np.concatenate([batches[i][0] for i in range(len(batches))])
    y = np.concatenate([batches[i][1] for i in range(len(batches))])
    assert x.dtype == np.float32
    assert sorted(x[:, 0]) == sorted(numbered.x_train[:, 0] * 255.0)
    assert numbered.y_train is not None
    truth = dict(zip((numbered.x_train[:, 0] * 255.0).tolist(), numbered.y_train.tolist(), strict=True))
    assert [truth[key] for key in x[:, 0].tolist()] == y.tolist()


def test_batches_are_shuffled_by_seed_and_epoch(numbered: Dataset) -> None:
    first, again, other = (training_batches(numbered, NUMBERED, 16, seed) for seed in (1, 1, 2))
    assert np.array_equal(first[0][0], again[0][0])
    assert not np.array_equal(first[0][0], other[0][0])
    before = first[0][0]
    first.on_epoch_end()
    assert not np.array_equal(first[0][0], before)
    validation = training_batches(numbered, NUMBERED, 100, 1, "validation")
    assert np.array_equal(validation[0][0], numbered.x_val * np.float32(255))
    with pytest.raises(ValueError, match="'test'"):
        training_batches(numbered, NUMBERED, 16, 1, "test")  # type: ignore[arg-type]


def test_representative_samples_come_from_training(numbered: Dataset) -> None:
    (samples,) = representative_samples(numbered, NUMBERED, 30, seed=3)
    assert samples.shape == (30, 3)
    assert samples.dtype == np.float32
    assert set(samples[:, 0]) <= set(numbered.x_train[:, 0] * 255.0)
    classes = (samples[:, 0] / 765).round().astype(int) % 3
    assert np.bincount(classes).tolist() == [10, 10, 10]
    assert np.array_equal(samples, representative_samples(numbered, NUMBERED, 30, seed=3)[0])
    assert len(representative_samples(numbered, NUMBERED, 10_000, seed=3)[0]) == numbered.info.train_samples


def test_steps_survive_json() -> None:
    steps: tuple[Step, ...] = (Resize(height=3, width=4), Scale(mode="min_max", mean=(1.0,), std=(2.0,)))
    fit = fit_of(preprocessing=steps)
    assert Fit.model_validate_json(fit.model_dump_json()) == fit


# --- several inputs -----------------------------------------------------------------------------------------------


def arrays_of(**shapes: tuple[int, ...]) -> DatasetInfo:
    arrays = [
        ArrayInfo(name=name, sample_shape=shape, dtype="float32", value_min=0, value_max=1)
        for name, shape in shapes.items()
    ]
    return data_of(arrays[0].sample_shape, arrays=arrays if len(arrays) > 1 else ())


def inputs_of(**shapes: tuple[int | None, ...]) -> ModelInfo:
    return model_of(
        input_shapes=tuple((None, *shape) for shape in shapes.values()),
        input_names=tuple(shapes),
        input_dtypes=("float32",) * len(shapes),
    )


@pytest.mark.parametrize(
    ("data", "order"),
    [
        (arrays_of(pic=(8, 8), tab=(4,)), (1, 0)),
        (arrays_of(Tab=(4,), Pic=(8, 8)), (0, 1)),
        (arrays_of(x_0=(4,), x_1=(8, 8)), (0, 1)),
        (arrays_of(x_0=(8, 8, 1), x_1=(4,)), (1, 0)),
    ],
)
def test_inputs_are_fed_by_name_then_by_order_then_by_shape(data: DatasetInfo, order: tuple[int, ...]) -> None:
    feeds = propose_feeds(inputs_of(tab=(4,), pic=(8, 8, 1)), data)
    assert [(feed.name, feed.array) for feed in feeds] == [("tab", order[0]), ("pic", order[1])]
    shapes = [array.sample_shape for array in data.sample_arrays]
    assert [shape_after(feed.preprocessing, shapes[feed.array]) for feed in feeds] == [(4,), (8, 8, 1)]


def test_columns_are_dealt_to_the_inputs_by_width() -> None:
    model = inputs_of(a=(2,), b=(1,), c=(3, 1))
    feeds = propose_feeds(model, data_of((6,)))
    fit = fit_of(inputs=feeds)
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    first, second, third = model_inputs(fit, [x])
    assert first.tolist() == [[0, 1], [6, 7]]
    assert second.tolist() == [[2], [8]]
    assert third[0].tolist() == [[3], [4], [5]]
    check_fit(model, data_of((6,)), fit)


@pytest.mark.parametrize(
    ("model", "data", "words"),
    [
        (inputs_of(a=(2,), b=(3,)), data_of((6,)), "(a: 2, b: 3), but there are 6"),
        (inputs_of(a=(2,), b=(None,)), data_of((6,)), "b: any"),
        (inputs_of(a=(2,), b=(3,)), data_of((8, 8)), "2 inputs (a (2,), b (3,)), but the dataset has 1 array"),
        (inputs_of(a=(2,), b=(3,)), arrays_of(x_0=(2,), x_1=(5,)), "Input 'b', array 'x_1': The model takes"),
        (inputs_of(a=(2,)), arrays_of(x_0=(2,), x_1=(5,)), "has one input, but the dataset has 2 arrays"),
    ],
)
def test_inputs_that_find_no_array_are_sentences(model: ModelInfo, data: DatasetInfo, words: str) -> None:
    empty = Dataset(data, np.zeros((0, 1)), None, np.zeros((0, 1)), None, np.zeros((0, 1)), None)
    with pytest.raises(DoesNotFit) as raised:
        build_fit(model, empty, FitOverrides())
    assert words in str(raised.value)


def test_labels_of_several_inputs_are_matched_and_their_scale_found(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    left, right = random.normal(500, 100, (400, 2)), random.normal(3, 1, (400, 1))
    y = (left[:, 0] > 500).astype(np.int64)
    np.savez(tmp_path / "data.npz", left=left, right=right, y=y)
    parse_dataset(tmp_path / "data.npz", DatasetOptions(input_names=("left", "right")), tmp_path / "parsed")
    data = load_parsed(tmp_path / "parsed")

    class Knows:
        def predict(self, x: list[np.ndarray], batch_size: int, verbose: int) -> np.ndarray:
            assert [array.shape[1:] for array in x] == [(2,), (1,)]
            sure = 1 / (1 + np.exp(-5 * np.clip(x[0][:, :1], -10, 10)))
            return np.concatenate([1 - sure, sure], axis=1)

    model = inputs_of(left=(2,), right=(1,)).model_copy(update={"output_shapes": ((None, 2),)})
    report = match(Knows(), model, data, FitOverrides())
    assert report.fit.task == "classification"
    assert next(candidate.scale for candidate in report.candidates if candidate.chosen) == "standardize"
    assert [len(feed.preprocessing) for feed in report.fit.inputs] == [1, 1]
    assert report.metric > 0.95
    inputs, _ = training_batches(data, report.fit, 32, 0)[0]
    assert abs(float(inputs[0].mean())) < 1
    assert Fit.model_validate_json(report.fit.model_dump_json()) == report.fit


def test_several_outputs_are_for_agreement_alone() -> None:
    model = model_of(
        output_shapes=((None, 3), (None, 1)), output_names=("a", "b"), output_activations=("softmax", "sigmoid")
    )
    assert propose_task(model, data_of(), FitOverrides())[0] == "agreement"
    with pytest.raises(DoesNotFit, match="Choose agreement"):
        check_fit(model, data_of(), fit_of())


def test_fits_stored_by_older_versions_still_open() -> None:
    stored = '{"task": "regression", "loss": "mean_squared_error", "metric_name": "mae", "preprocessing": [{"kind": "scale"}]}'
    fit = Fit.model_validate_json(stored)
    assert fit.feeds[0].preprocessing == fit.preprocessing == (Scale(),)
    assert not fit.higher_is_better
