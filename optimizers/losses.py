"""What a fine-tuning lowers, and what it shows of it: the project's loss and metric, labels and teacher together."""

from __future__ import annotations

from typing import Any

from intake.fit import Fit, OutputKind
from intake.keras_env import keras2, tensorflow
from optimizers.distillation import labels_of, mixed, output_kind, teacher_loss
from optimizers.fine_tuning import FineTuning


def loss_name(fit: Fit, settings: FineTuning) -> str:
    """Return the loss that will be trained with."""
    return fit.loss if settings.loss == "auto" else settings.loss


def losses(fit: Fit, settings: FineTuning) -> Any:
    """Return one loss, or for agreement one per output."""
    name = loss_name(fit, settings)
    if fit.task == "agreement":
        return [_loss_of_output(kind, name, fit, settings) for kind in fit.outputs]
    of_labels = _loss(name, fit.from_logits)
    if not settings.distillation_alpha:
        return of_labels
    kind = output_kind(fit, name)
    of_teacher = teacher_loss(kind, settings.distillation_temperature, fit.from_logits, fit.from_logits)
    return mixed(of_labels.call, of_teacher, settings.distillation_alpha)


def _loss_of_output(kind: OutputKind, name: str, fit: Fit, settings: FineTuning) -> Any:
    if name != "distillation":
        return _loss(name, fit.from_logits)
    if kind != "numbers" and settings.distillation_temperature != 1:
        return teacher_loss(kind, settings.distillation_temperature, fit.from_logits, teacher_logits=False)
    by_kind = {
        "classes": "categorical_crossentropy", "yes_no": "binary_crossentropy", "numbers": "mean_squared_error",
    }  # fmt: skip
    return _loss(by_kind[kind], fit.from_logits)


def _loss(name: str, from_logits: bool) -> Any:
    kinds = keras2().losses
    by_name = {
        "sparse_categorical_crossentropy": kinds.SparseCategoricalCrossentropy,
        "categorical_crossentropy": kinds.CategoricalCrossentropy,
        "binary_crossentropy": kinds.BinaryCrossentropy,
    }
    if name in by_name:
        return by_name[name](from_logits=from_logits)
    return {"mean_squared_error": kinds.MeanSquaredError, "mean_absolute_error": kinds.MeanAbsoluteError}[name]()


def metrics(fit: Fit, settings: FineTuning) -> Any:
    """Return the metric, or for agreement one per output."""
    if fit.task != "agreement":
        return [_metric(fit, settings)]
    each = [_metric_of_output(kind, fit, loss_name(fit, settings)) for kind in fit.outputs]
    return each if len(each) == 1 else [[metric] for metric in each]


def _metric_of_output(kind: OutputKind, fit: Fit, loss: str) -> Any:
    kinds = keras2().metrics
    if kind == "classes":
        return kinds.CategoricalAccuracy(name="agreement")
    if kind == "numbers":  # what a number may be off is known only of a whole part
        return kinds.MeanAbsoluteError(name="mae")
    half = 0.0 if fit.from_logits else 0.5
    half_of_target = 0.5 if loss == "distillation" else half  # distillation makes probabilities of logits

    def same_side(targets: Any, answers: Any) -> Any:
        return tensorflow().cast((targets > half_of_target) == (answers > half), "float32")

    return kinds.MeanMetricWrapper(same_side, name="agreement")


def _metric(fit: Fit, settings: FineTuning) -> Any:
    """The metric on the labels, also where the targets hold the teacher's answers beside them."""
    measure = _measure(fit, settings)

    def of_labels(targets: Any, answers: Any) -> Any:
        return measure(labels_of(targets, answers) if settings.distillation_alpha else targets, answers)

    return keras2().metrics.MeanMetricWrapper(of_labels, name=fit.metric_name)


def _measure(fit: Fit, settings: FineTuning) -> Any:
    kinds = keras2().metrics
    if fit.metric_name != "accuracy":
        return {"mae": kinds.mean_absolute_error, "mse": kinds.mean_squared_error}[fit.metric_name]
    if fit.task == "classification":
        sparse = loss_name(fit, settings) == "sparse_categorical_crossentropy"
        return kinds.sparse_categorical_accuracy if sparse else kinds.categorical_accuracy
    half = 0.0 if fit.from_logits else 0.5
    return lambda targets, answers: kinds.binary_accuracy(targets, answers, threshold=half)
