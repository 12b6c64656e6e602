"""The training loop: settings are honoured, and a loss that is no number ends the run with advice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake.agreement import with_answers
from intake.fit import Fit
from intake.keras_env import keras2, tensorflow
from optimizers import TECHNIQUES
from optimizers.apply import apply_recipe
from optimizers.distillation import teacher_loss
from optimizers.fine_tuning import FineTuning, TrainingPlan, suggested
from optimizers.learning_rates import learning_rate
from optimizers.losses import losses
from optimizers.recipe import Recipe
from optimizers.suitability import unsuited_settings
from optimizers.training import TrainingDiverged, compile_for, train
from tests.conftest import EasyData, convolutional_model, dense_model, easy_images
from tests.training_data import easy_project


def fitted(model: Any, data: EasyData, settings: FineTuning) -> Any:
    train(model, data.fit, settings, data.batches(settings), None, [], lambda *_: None, lambda *_: None)
    return model


def test_loss_that_is_no_number_ends_with_advice(easy_data: EasyData) -> None:
    model = dense_model()
    weights = model.get_weights()
    weights[-1][:] = float("nan")  # of the last layer: on some processors a ReLU makes 0 of what is no number
    model.set_weights(weights)
    with pytest.raises(TrainingDiverged, match="learning rate"):
        fitted(model, easy_data, FineTuning())


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_optimizer_and_rate_are_those_of_the_settings(optimizer: Any, easy_data: EasyData) -> None:
    model = dense_model()
    compile_for(model, easy_data.fit, FineTuning(optimizer=optimizer, learning_rate=0.25), 10)
    assert type(model.optimizer).__name__.lower() == optimizer
    assert float(model.optimizer.learning_rate) == pytest.approx(0.25)


def test_cosine_schedule_ends_near_zero(easy_data: EasyData) -> None:
    model = fitted(dense_model(), easy_data, FineTuning(learning_rate_schedule="cosine", epochs=2, batch_size=32))
    assert float(model.optimizer.learning_rate) < 0.05 * 1e-3


@pytest.mark.parametrize(("train_samples", "epochs"), [(54_000, 2), (12_800, 3), (1_293, 28), (50, 30)])
def test_small_datasets_are_suggested_more_epochs(train_samples: int, epochs: int) -> None:
    assert suggested(FineTuning(epochs=2, batch_size=128), train_samples).epochs == epochs


def test_plan_counts_the_last_smaller_batch() -> None:
    assert TrainingPlan.of(FineTuning(epochs=3, batch_size=100), 101) == TrainingPlan(3, 2)
    assert TrainingPlan.of(FineTuning(epochs=1, batch_size=100), 5).total_steps == 1


@pytest.mark.parametrize(
    ("fit", "units", "activation"),
    [
        (Fit(task="regression", loss="mean_squared_error", metric_name="mae"), 1, "linear"),
        (Fit(task="binary_classification", loss="binary_crossentropy", metric_name="accuracy"), 1, "sigmoid"),
        (
            Fit(task="binary_classification", loss="binary_crossentropy", from_logits=True, metric_name="accuracy"),
            1,
            "linear",
        ),
        (Fit(task="reconstruction", loss="mean_squared_error", metric_name="mse"), 4, "linear"),
        (Fit(task="multilabel_classification", loss="binary_crossentropy", metric_name="accuracy"), 4, "sigmoid"),
        (Fit(task="classification", loss="categorical_crossentropy", metric_name="accuracy"), 4, "softmax"),
    ],
    ids=lambda value: getattr(value, "task", None),
)
def test_every_task_compiles_and_trains(fit: Fit, units: int, activation: str, easy_data: EasyData) -> None:
    model = keras2().Sequential([keras2().layers.Dense(units, activation=activation, input_shape=(4,))])
    x = np.random.default_rng(0).normal(size=(32, 4)).astype(np.float32)
    y = np.eye(units, dtype=np.float32)[np.arange(32) % units]
    seen: list[dict[str, float]] = []
    settings = FineTuning(epochs=1, batch_size=8)
    batches = keras2().utils.Sequence
    data = _batches(batches, x, y)
    train(model, fit, settings, data, (x, y), [], lambda *_: None, lambda _epoch, _step, logs: seen.append(logs))
    assert {"loss", fit.metric_name, f"val_{fit.metric_name}"} <= set(seen[0])


def _batches(base: Any, x: Any, y: Any) -> Any:
    class Batches(base):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> Any:
            part = slice(index * 8, index * 8 + 8)
            return x[part], y[part]

    return Batches()


# --- learning rates -----------------------------------------------------------------------------------------------


def rates(**settings: Any) -> list[float]:
    """The learning rate of each of 100 steps."""
    rate = learning_rate(FineTuning(learning_rate=0.1, **settings), 100)
    return [float(rate(step)) if callable(rate) else rate for step in range(100)]


def test_schedules_lower_the_rate_as_they_say() -> None:
    assert rates() == [0.1] * 100
    assert rates(learning_rate_schedule="cosine")[50] == pytest.approx(0.05)
    assert rates(learning_rate_schedule="exponential")[50] == pytest.approx(0.01)
    step = rates(learning_rate_schedule="step")
    assert [step[0], step[49], step[52], step[99]] == pytest.approx([0.1, 0.1, 0.01, 0.001])


@pytest.mark.parametrize("schedule", ["constant", "cosine", "exponential", "step"])
def test_warm_up_rises_in_a_line_and_the_schedule_has_the_rest(schedule: Any) -> None:
    found = rates(learning_rate_schedule=schedule, warm_up=0.2)
    assert found[:21] == pytest.approx([*(0.1 * (step + 1) / 20 for step in range(20)), 0.1])
    assert found[20:] == sorted(found[20:], reverse=True)
    assert found[99] == pytest.approx({"constant": 0.1, "cosine": 0, "exponential": 0.001, "step": 0.001}[schedule], abs=2e-4)  # fmt: skip


def test_warm_up_is_trained_with(easy_data: EasyData) -> None:
    settings = FineTuning(epochs=2, batch_size=64, warm_up=0.5, optimizer="sgd")
    model = dense_model()
    seen: list[float] = []
    train(
        model, easy_data.fit, settings, easy_data.batches(settings), None, [],
        lambda *_: seen.append(float(model.optimizer.learning_rate)), lambda *_: None,
    )  # fmt: skip
    assert seen[0] < seen[1] < seen[2]
    assert seen[-1] == pytest.approx(1e-3)


# --- distillation -------------------------------------------------------------------------------------------------


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def loss_and_gradient(fit: Fit, settings: FineTuning, targets: np.ndarray, logits: np.ndarray) -> tuple[float, Any]:
    """The loss and its gradient by the logits of a model whose last activation is as the fit says."""
    tf, inputs = tensorflow(), tensorflow().constant(logits, "float32")
    activation = tf.nn.softmax if fit.task == "classification" else tf.sigmoid
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        answers = inputs if fit.from_logits or "classification" not in fit.task else activation(inputs)
        found = tf.reduce_mean(getattr(losses(fit, settings), "call", losses(fit, settings))(tf.constant(targets, "float32"), answers))  # fmt: skip
    return float(found), tape.gradient(found, inputs).numpy()


STUDENT = np.asarray([[1.0, -0.5, 0.2], [0.3, 2.0, -1.0]])
TEACHER = np.asarray([[2.0, 0.0, -1.0], [0.0, 1.0, 0.5]])


@pytest.mark.parametrize("from_logits", [False, True])
def test_distillation_of_classes_has_the_gradient_of_the_paper(from_logits: bool) -> None:
    fit = EasyData.fit.model_copy(update={"from_logits": from_logits})
    labels, one_hot = np.asarray([0, 2]), np.eye(3)[[0, 2]]
    targets = with_answers(labels, TEACHER if from_logits else softmax(TEACHER))
    settings = FineTuning(distillation_alpha=0.7, distillation_temperature=4)
    _, gradient = loss_and_gradient(fit, settings, targets, STUDENT)
    of_labels = softmax(STUDENT) - one_hot
    of_teacher = 4 * (softmax(STUDENT / 4) - softmax(TEACHER / 4))  # T² / T
    np.testing.assert_allclose(gradient, (0.3 * of_labels + 0.7 * of_teacher) / 2, atol=1e-5)


@pytest.mark.parametrize("from_logits", [False, True])
def test_distillation_of_yes_and_no_has_the_gradient_of_the_paper(from_logits: bool) -> None:
    fit = Fit(
        task="multilabel_classification", loss="binary_crossentropy", metric_name="accuracy", from_logits=from_logits
    )
    labels = np.asarray([[1.0, 0, 1], [0, 0, 1]])

    def sigmoid(logits: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-logits)))

    targets = with_answers(labels, TEACHER if from_logits else sigmoid(TEACHER))
    settings = FineTuning(distillation_alpha=0.5, distillation_temperature=2)
    _, gradient = loss_and_gradient(fit, settings, targets, STUDENT)
    of_teacher = 2 * (sigmoid(STUDENT / 2) - sigmoid(TEACHER / 2))
    np.testing.assert_allclose(gradient, (0.5 * (sigmoid(STUDENT) - labels) + 0.5 * of_teacher) / 6, atol=1e-5)


def test_a_confident_teacher_is_taught_as_it_is() -> None:
    """Softened by 4, logits of 0 and -40 are 0 and -10: a floor under the probabilities would make -4 of the -10."""
    teacher = tensorflow().nn.softmax([[0.0, -40.0, -40.0]])
    loss = teacher_loss("classes", 4.0, logits=False, teacher_logits=False)
    assert float(loss(teacher, teacher)[0]) / 4.0**2 == pytest.approx(0.001, abs=0.002)


def test_distillation_of_numbers_is_the_squared_distance() -> None:
    fit = Fit(task="regression", loss="mean_absolute_error", metric_name="mae")
    labels = np.asarray([[1.0, 0, 1], [0, 0, 1]])
    settings = FineTuning(distillation_alpha=0.25, distillation_temperature=9)
    found, _ = loss_and_gradient(fit, settings, with_answers(labels, TEACHER), STUDENT)
    assert found == pytest.approx(0.75 * np.abs(STUDENT - labels).mean() + 0.25 * ((STUDENT - TEACHER) ** 2).mean())


def test_an_output_that_is_exactly_zero_has_a_finite_gradient() -> None:
    compare = teacher_loss("classes", 2.0, logits=False, teacher_logits=False)
    tf, answers = tensorflow(), tensorflow().constant([[1.0, 0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(answers)
        found = compare(tf.constant([[0.0, 0.5, 0.5]]), answers)
    assert np.isfinite(tape.gradient(found, answers)).all()


def test_temperature_softens_the_loss_of_projects_without_labels() -> None:
    fit = Fit(task="agreement", loss="distillation", metric_name="agreement", outputs=("classes", "numbers"))
    first, second = losses(fit, FineTuning(distillation_temperature=3))
    found = first(tensorflow().constant(softmax(TEACHER)), tensorflow().constant(softmax(STUDENT))).numpy().mean()
    soft = softmax(TEACHER / 3)
    assert found == pytest.approx(9 * -(soft * np.log(softmax(STUDENT / 3))).sum(axis=1).mean(), rel=1e-4)
    assert type(second).__name__ == "MeanSquaredError"


@pytest.mark.parametrize(
    ("fit", "units", "activation"),
    [
        (Fit(task="classification", loss="sparse_categorical_crossentropy", metric_name="accuracy"), 3, "softmax"),
        (Fit(task="classification", loss="categorical_crossentropy", metric_name="accuracy"), 3, "softmax"),
        (Fit(task="reconstruction", loss="mean_squared_error", metric_name="mse"), 64, "linear"),
    ],
    ids=lambda value: getattr(value, "loss", None),
)
def test_a_metric_of_distillation_is_that_of_the_labels(fit: Fit, units: int, activation: str, tmp_path: Path) -> None:
    layers = keras2().layers
    model = keras2().Sequential([
        layers.Flatten(input_shape=(8, 8, 1)), layers.Dense(units, activation=activation),
        *([layers.Reshape((8, 8, 1))] if units == 64 else []),
    ])  # fmt: skip
    seen: dict[float, dict[str, float]] = {}
    weights = model.get_weights()
    for alpha in (0.0, 0.9):
        model.set_weights(weights)
        settings = FineTuning(epochs=1, distillation_alpha=alpha, learning_rate=1e-12)
        data = easy_project(model, tmp_path / str(alpha), fit)
        train(
            model, fit, settings, data.batches(settings), data.validation(settings), [], lambda *_: None,
            lambda _epoch, _step, figures: seen.update({settings.distillation_alpha: figures}),  # noqa: B023
        )  # fmt: skip
    for name in (fit.metric_name, f"val_{fit.metric_name}"):
        assert seen[0.9][name] == pytest.approx(seen[0.0][name], abs=1e-5)
    assert seen[0.9]["loss"] != pytest.approx(seen[0.0]["loss"], rel=0.01)


def test_a_changed_model_learns_the_teacher_although_the_labels_are_wrong(tmp_path: Path, easy_data: EasyData) -> None:
    teacher = dense_model()
    teacher.compile("adam", "sparse_categorical_crossentropy")
    teacher.fit(easy_data.x, easy_data.y, epochs=10, batch_size=16, verbose=0)
    wrong = easy_images(96, 0)
    data = easy_project(teacher, tmp_path, x_train=wrong[0], y_train=(wrong[1] + 1) % 3)
    settings = FineTuning(epochs=15, batch_size=16, distillation_alpha=1, distillation_temperature=2)
    pupil = dense_model()
    train(pupil, data.fit, settings, data.batches(settings), None, [], lambda *_: None, lambda *_: None)
    right = (pupil.predict(easy_data.x_test, verbose=0).argmax(axis=1) == easy_data.y_test).mean()
    assert right > 0.9


# --- batch normalization, class weights ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("entry", [entry for entry in TECHNIQUES if entry.fine_tuning], ids=lambda entry: entry.name)
def test_frozen_batch_normalization_keeps_the_uploaded_statistics(entry: Any, easy_data: EasyData) -> None:
    model = convolutional_model()
    model.get_layer("bn").set_weights([np.full(8, value, np.float32) for value in (1.1, 0.2, 0.3, 1.4)])
    for choice, stays in (("freeze", True), ("train", False)):
        recipe = Recipe.single(entry.name, {}, {"epochs": 1, "batch_size": 64, "batch_normalization": choice})
        plain = apply_recipe(model, recipe, easy_data, lambda *_: None, lambda *_: None).plain
        found = plain.get_layer("bn")
        assert np.allclose([found.moving_mean, found.moving_variance], [[0.3], [1.4]], atol=1e-7) == stays
        assert found.trainable


def test_balanced_class_weights_raise_what_is_rare(tmp_path: Path) -> None:
    rare = np.asarray([0] * 45 + [1] * 45 + [2] * 6)
    images = np.zeros((96, 8, 8, 1), np.float32)  # nothing tells the classes apart, so their shares are learned
    shares = {}
    for choice in ("none", "balanced"):
        model = dense_model()
        data = easy_project(model, tmp_path / choice, x_train=images, y_train=rare)
        settings = FineTuning(epochs=60, batch_size=96, learning_rate=0.05, class_weight=choice)
        train(model, data.fit, settings, data.batches(settings), None, [], lambda *_: None, lambda *_: None)
        shares[choice] = float(model.predict(images[:1], verbose=0)[0, 2])
    assert shares["none"] == pytest.approx(6 / 96, abs=0.02)
    assert shares["balanced"] == pytest.approx(1 / 3, abs=0.03)


# --- what a project has no use for ---------------------------------------------------------------------------------

REGRESSION = Fit(task="regression", loss="mean_squared_error", metric_name="mae")
IMAGES, ROWS = (None, 8, 8, 1), (None, 5)


@pytest.mark.parametrize(
    ("settings", "fit", "shape", "validation", "words"),
    [
        ({"loss": "binary_crossentropy"}, REGRESSION, ROWS, 10, ["`loss` binary_crossentropy", "regression"]),
        ({"class_weight": "balanced"}, REGRESSION, ROWS, 10, ["`class_weight` balanced", "regression"]),
        ({"augmentation": "flip"}, EasyData.fit, ROWS, 10, ["`augmentation` flip", "(None, 5)"]),
        ({"augmentation": "shift", "shift_pixels": 8}, EasyData.fit, IMAGES, 10, ["`shift_pixels`", "got 8"]),
        ({"early_stopping_patience": 1}, EasyData.fit, IMAGES, 0, ["validation part"]),
        ({"restore_best_weights": True}, EasyData.fit, IMAGES, 0, ["validation part"]),
    ],
)
def test_what_a_project_has_no_use_for_is_refused(
    settings: dict[str, Any], fit: Fit, shape: Any, validation: int, words: list[str]
) -> None:
    (problem,) = unsuited_settings(FineTuning(**settings), fit, [shape], validation)
    assert all(word in problem for word in words)


def test_what_is_not_known_of_a_project_refuses_nothing() -> None:
    settings = FineTuning(augmentation="flip", early_stopping_patience=1)
    assert unsuited_settings(settings, EasyData.fit, None, None) == []
    assert unsuited_settings(settings, EasyData.fit, [IMAGES], 1) == []
    shifts = FineTuning(augmentation="shift", shift_pixels=7)
    assert unsuited_settings(shifts, EasyData.fit, [(None, None, None, 3)], 1) == []
    assert unsuited_settings(shifts, EasyData.fit, [(None, 28, 28)], 1) == []
