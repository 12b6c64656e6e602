"""The common part of every technique that trains: its declared settings and the one training loop."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from intake.errors import UserError
from intake.fit import Fit, OutputKind
from intake.keras_env import keras2, tensorflow
from optimizers.declaration import Params, parameter


class FineTuning(Params):
    """How a model is trained while a technique acts on it."""

    epochs: int = parameter(
        2, "Epochs", "Passes over the training part; more recovers more accuracy.", unit="epochs", ge=1, le=1000
    )
    batch_size: int = parameter(128, "Batch size", "Samples per training step.", unit="samples", ge=1, le=8192)
    optimizer: Literal["adam", "sgd", "rmsprop"] = parameter("adam", "Optimizer", "The Keras training optimizer.")
    learning_rate: float = parameter(
        1e-3, "Learning rate", "Step size of the optimizer; lower keeps closer to the trained weights.", gt=0, le=1
    )
    learning_rate_schedule: Literal["constant", "cosine"] = parameter(
        "constant",
        "Learning-rate schedule",
        "cosine lowers the rate to zero by the end (arXiv 1608.03983), which settles the weights; constant keeps it.",
    )
    loss: Literal[
        "auto",
        "sparse_categorical_crossentropy",
        "categorical_crossentropy",
        "binary_crossentropy",
        "mean_squared_error",
        "mean_absolute_error",
    ] = parameter("auto", "Loss", "auto takes the loss of the project.")
    seed: int = parameter(0, "Seed", "Same seed, same machine, same result.", ge=0, le=2**31 - 1, step=1)


@dataclass(frozen=True)
class TrainingPlan:
    """How many optimizer steps a fine-tuning takes."""

    epochs: int
    steps_per_epoch: int

    @property
    def total_steps(self) -> int:
        """Optimizer steps in all; at least 1."""
        return self.epochs * self.steps_per_epoch

    @classmethod
    def of(cls, settings: FineTuning, train_samples: int) -> TrainingPlan:
        """Return the plan for `train_samples` samples, the last batch of an epoch possibly smaller."""
        return cls(settings.epochs, max(1, math.ceil(train_samples / settings.batch_size)))


ENOUGH_STEPS = 300
"""Optimizer steps under which a fine-tuning rarely recovers what a technique takes."""
MOST_SUGGESTED_EPOCHS = 30


def suggested(settings: FineTuning, train_samples: int) -> FineTuning:
    """Return a technique's default settings with as many epochs as a small dataset needs for ENOUGH_STEPS."""
    steps_per_epoch = TrainingPlan.of(settings, train_samples).steps_per_epoch
    epochs = min(MOST_SUGGESTED_EPOCHS, math.ceil(ENOUGH_STEPS / steps_per_epoch))
    return settings.model_copy(update={"epochs": max(settings.epochs, epochs)})


OnStep = Callable[[int, dict[str, float]], None]
"""Called after an optimizer step (1, 2, ...) with the running loss and metrics of the epoch."""
OnEpoch = Callable[[int, int, dict[str, float]], None]
"""Called after an epoch with (epoch from 1, optimizer steps so far, loss, metric, val_loss, val_metric, ...)."""


class TrainingDiverged(UserError):
    """The loss became NaN or infinite: the settings, not the program, must change."""


def compile_for(model: Any, fit: Fit, settings: FineTuning, total_steps: int) -> None:
    """Compile a tf_keras model with the project's loss (or the one chosen) and its metric."""
    optimizers = keras2().optimizers
    rate: Any = settings.learning_rate
    if settings.learning_rate_schedule == "cosine":
        rate = optimizers.schedules.CosineDecay(settings.learning_rate, total_steps)
    kinds = {"adam": optimizers.Adam, "sgd": optimizers.SGD, "rmsprop": optimizers.RMSprop}
    model.compile(
        optimizer=kinds[settings.optimizer](rate), loss=_losses(fit, settings), metrics=_metrics(fit, settings)
    )


def loss_name(fit: Fit, settings: FineTuning) -> str:
    """Return the loss that will be trained with."""
    return fit.loss if settings.loss == "auto" else settings.loss


def _losses(fit: Fit, settings: FineTuning) -> Any:
    """One loss, or for agreement one per output."""
    name = loss_name(fit, settings)
    if fit.task != "agreement":
        return _loss(name, fit.from_logits)
    by_kind = {
        "classes": "categorical_crossentropy", "yes_no": "binary_crossentropy", "numbers": "mean_squared_error",
    }  # fmt: skip
    return [_loss(by_kind[kind] if name == "distillation" else name, fit.from_logits) for kind in fit.outputs]


def _loss(name: str, from_logits: bool) -> Any:
    losses = keras2().losses
    if name == "sparse_categorical_crossentropy":
        return losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    if name == "categorical_crossentropy":
        return losses.CategoricalCrossentropy(from_logits=from_logits)
    if name == "binary_crossentropy":
        return losses.BinaryCrossentropy(from_logits=from_logits)
    return losses.get(name)


def _metrics(fit: Fit, settings: FineTuning) -> Any:
    """The metric, or for agreement one per output."""
    if fit.task != "agreement":
        return [_metric(fit, settings)]
    each = [_metric_of_output(kind, fit, loss_name(fit, settings)) for kind in fit.outputs]
    return each if len(each) == 1 else [[metric] for metric in each]


def _metric_of_output(kind: OutputKind, fit: Fit, loss: str) -> Any:
    metrics = keras2().metrics
    if kind == "classes":
        return metrics.CategoricalAccuracy(name="agreement")
    if kind == "numbers":  # what a number may be off is known only of a whole part
        return metrics.MeanAbsoluteError(name="mae")
    half = 0.0 if fit.from_logits else 0.5
    half_of_target = 0.5 if loss == "distillation" else half  # distillation makes probabilities of logits

    def same_side(targets: Any, answers: Any) -> Any:
        return tensorflow().cast((targets > half_of_target) == (answers > half), "float32")

    return metrics.MeanMetricWrapper(same_side, name="agreement")


def _metric(fit: Fit, settings: FineTuning) -> Any:
    metrics = keras2().metrics
    if fit.metric_name != "accuracy":
        return {"mae": metrics.MeanAbsoluteError, "mse": metrics.MeanSquaredError}[fit.metric_name](
            name=fit.metric_name
        )
    if fit.task == "classification":
        sparse = loss_name(fit, settings) == "sparse_categorical_crossentropy"
        kind = metrics.SparseCategoricalAccuracy if sparse else metrics.CategoricalAccuracy
        return kind(name="accuracy")
    return metrics.BinaryAccuracy(name="accuracy", threshold=0.0 if fit.from_logits else 0.5)


def train(
    model: Any,
    fit: Fit,
    settings: FineTuning,
    batches: Any,
    validation: Any,
    callbacks: Sequence[Any],
    on_step: OnStep,
    on_epoch: OnEpoch,
) -> None:
    """Fine-tune `model` in place.

    Args:
        model: tf_keras model, wrapped by the technique.
        fit: task, loss and metric of the project.
        settings: declared settings.
        batches: keras Sequence of preprocessed (inputs, targets).
        validation: the same for the validation part, or None.
        callbacks: the technique's own; they run before the reporting one.
        on_step: told of every optimizer step.
        on_epoch: told of every epoch.

    Raises:
        TrainingDiverged: the loss is no longer a number.
    """
    tensorflow().keras.utils.set_random_seed(settings.seed)
    compile_for(model, fit, settings, settings.epochs * max(1, len(batches)))
    reporting = _reporting(on_step, on_epoch, settings)
    model.fit(
        batches,
        epochs=settings.epochs,
        validation_data=validation,
        callbacks=[*callbacks, reporting],
        shuffle=False,  # the batches shuffle themselves, with the seed
        verbose=0,
    )


def _reporting(on_step: OnStep, on_epoch: OnEpoch, settings: FineTuning) -> Any:
    class Reporting(keras2().callbacks.Callback):  # type: ignore[misc]
        steps = 0

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            self.steps += 1
            if not math.isfinite((logs or {}).get("loss", 0.0)):
                raise TrainingDiverged(
                    f"The loss became {(logs or {})['loss']} at step {self.steps}, with optimizer "
                    f"{settings.optimizer} and learning rate {settings.learning_rate:g}. Choose a learning rate "
                    "ten times lower, or check that the preprocessing matches the model."
                )
            on_step(self.steps, dict(logs or {}))

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            on_epoch(epoch + 1, self.steps, dict(logs or {}))

    return Reporting()
