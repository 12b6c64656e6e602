"""The one training loop of all techniques."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from intake.errors import InvalidParams, UserError
from intake.fit import Fit
from intake.keras_env import keras2, tensorflow
from optimizers.best_epoch import BestEpoch
from optimizers.between_steps import between_steps, take_several_steps
from optimizers.checkpoint import Arrays, Journey, TrainingState, epoch_watch
from optimizers.fine_tuning import NO_VALIDATION, FineTuning
from optimizers.known_shapes import known_shapes
from optimizers.learning_rates import learning_rate
from optimizers.losses import losses, metrics

OnStep = Callable[[int, dict[str, float]], None]
"""Called after some optimizer steps, the first time after one, with their number so far and the running loss and metrics
of the epoch; and at the end of each epoch."""
OnEpoch = Callable[[int, int, dict[str, float]], None]
"""Called after an epoch with (epoch from 1, optimizer steps so far, loss, metric, val_loss, val_metric, ...)."""


class TrainingDiverged(UserError):
    """The loss became NaN or infinite: the settings, not the program, must change."""


@dataclass(frozen=True)
class Trained:
    """How a fine-tuning ended."""

    epochs: int
    """That were carried out."""
    steps: int
    """Optimizer steps that were carried out."""
    best_epoch: int = 0
    """From 1; 0 where none was chosen."""


def compile_for(model: Any, fit: Fit, settings: FineTuning, total_steps: int) -> None:
    """Compile a tf_keras model with the project's loss (or the one chosen) and its metric."""
    optimizers = keras2().optimizers
    kinds = {"adam": optimizers.Adam, "sgd": optimizers.SGD, "rmsprop": optimizers.RMSprop}
    optimizer = kinds[settings.optimizer](learning_rate(settings, total_steps))
    model.compile(optimizer=optimizer, loss=losses(fit, settings), metrics=metrics(fit, settings))


def train(
    model: Any,
    fit: Fit,
    settings: FineTuning,
    batches: Any,
    validation: Any,
    callbacks: Sequence[Any],
    on_step: OnStep,
    on_epoch: OnEpoch,
    settled_step: int = 0,
    journey: Journey | None = None,
) -> Trained:
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
        settled_step: optimizer step before which no epoch can be the best.
        journey: where the recipe stands: where that is within this training, it goes on from there.

    Raises:
        InvalidParams: an epoch is to be chosen, and there is no validation part.
        TrainingDiverged: the loss is no longer a number.
    """
    if settings.chooses_an_epoch and validation is None:
        raise InvalidParams(NO_VALIDATION)
    tensorflow().keras.utils.set_random_seed(settings.seed)
    total_steps = settings.epochs * max(1, len(batches))
    compile_for(model, fit, settings, total_steps)
    reporting = _reporting(on_step, on_epoch, settings)
    best = BestEpoch(model, settings, settled_step) if settings.chooses_an_epoch else None
    all_callbacks = [*callbacks, *([best.callback()] if best else []), reporting]
    all_callbacks += take_several_steps(model, total_steps)
    first_epoch = 0
    if journey is not None:
        state = TrainingState(model, all_callbacks)
        all_callbacks.append(epoch_watch(journey, state, settings.epochs))
        first_epoch = _go_on(journey, state, batches)
    if not (best is not None and best.is_over):
        with known_shapes(model), between_steps(model, callbacks):
            model.fit(
                batches,
                initial_epoch=first_epoch,
                epochs=settings.epochs,
                validation_data=validation,
                callbacks=all_callbacks,
                shuffle=False,  # the batches shuffle themselves, with the seed
                verbose=0,
            )
    if best is not None:
        best.restore()
    return Trained(reporting.epochs, reporting.steps, best.best_epoch if best else 0)


def _go_on(journey: Journey, state: TrainingState, batches: Any) -> int:
    """Bring back a training that was interrupted, and return how many of its epochs are done."""
    done = journey.standing.trained_epochs
    if not done:
        return 0
    state.restore(journey.standing.training)
    batches.begin_with(done)
    return done


def _reporting(on_step: OnStep, on_epoch: OnEpoch, settings: FineTuning) -> Any:
    class Reporting(keras2().callbacks.Callback):  # type: ignore[misc]
        steps = epochs = 0

        def training_state(self) -> dict[str, Any]:
            return {"steps": self.steps, "epochs": self.epochs}

        def restore_training_state(self, arrays: Arrays) -> None:
            self.steps, self.epochs = int(arrays["steps"]), int(arrays["epochs"])

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            self.steps = int(self.model.optimizer.iterations)
            if not math.isfinite((logs or {}).get("loss", 0.0)):
                raise TrainingDiverged(
                    f"The loss became {(logs or {})['loss']} by step {self.steps}, with optimizer "
                    f"{settings.optimizer} and learning rate {settings.learning_rate:g}. Choose a learning rate "
                    "ten times lower, or check that the preprocessing matches the model."
                )
            on_step(self.steps, dict(logs or {}))

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            self.epochs = epoch + 1
            on_epoch(epoch + 1, self.steps, dict(logs or {}))

    return Reporting()
