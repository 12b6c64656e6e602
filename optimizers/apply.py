"""Carry out a recipe on a model: wrap, fine-tune, strip, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from intake.fit import Fit
from intake.keras_env import keras2
from measure.export import Conversion
from measure.facts import WeightOf
from optimizers import facts_of
from optimizers.batch_statistics import (
    SAMPLE_BYTES,
    SAMPLES,
    before_validation,
    freeze_batch_normalization,
    has_batch_statistics,
    measure_batch_statistics,
    unfreeze_batch_normalization,
)
from optimizers.checkpoint import Checkpoints, Journey, Standing
from optimizers.fine_tuning import FineTuning, TrainingPlan
from optimizers.kept import Keeper, Kept, won_by
from optimizers.promises import Claim
from optimizers.recipe import Recipe, RecipeStep
from optimizers.technique import clone_with_weights, require_weights
from optimizers.training import OnEpoch, Trained, train
from optimizers.training import OnStep as TrainStep


class TrainingData(Protocol):
    """What fine-tuning needs of a dataset that was fitted to the model."""

    fit: Fit
    train_samples: int
    validation_samples: int

    def batches(self, settings: FineTuning) -> Any:
        """Preprocessed training batches; of the validation part too where the settings say so."""

    def validation(self, settings: FineTuning) -> Any:
        """Preprocessed validation batches; None where there is no such part, or it is trained on."""

    def representative(self, count: int, seed: int) -> Sequence[np.ndarray]:
        """For each input of the model (count or fewer, *input_shape), preprocessed training samples."""


@dataclass(frozen=True)
class Optimized:
    """The outcome of a recipe: what to convert, what to save, what was promised."""

    to_convert: Any
    """tf_keras model for the converter."""
    plain: Any
    """tf_keras model of the uploaded architecture with the optimized weights."""
    conversion: Conversion
    claims: list[Claim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the user should know of how the training went, in sentences."""


OnStep = Callable[[int, int, Callable[[], dict[str, float]]], None]
"""Called with (optimizer step from 1, steps in all, how to get loss, metric and live figures, which takes time)."""


@dataclass(frozen=True)
class Done:
    """Steps that were carried out before, by a run that another continues."""

    steps: int
    """How many of the first steps of the recipe."""
    model: Any
    """tf_keras model of the uploaded architecture with the weights that they ended with; it is left untouched."""


def apply_recipe(
    model: Any,
    recipe: Recipe,
    data: TrainingData,
    on_step: OnStep,
    on_epoch: OnEpoch,
    done: Done | None = None,
    checkpoints: Checkpoints | None = None,
) -> Optimized:
    """Return the optimized model; `model` itself is left untouched.

    Args:
        model: clean functional tf_keras model.
        recipe: checked recipe; without steps the model comes back as it is.
        data: the dataset, fitted to this model.
        on_step: told of every optimizer step.
        on_epoch: told of every epoch.
        done: the steps that are not trained again; what they won is read off their weights and kept.
        checkpoints: where the recipe goes on from, if it was interrupted, and where it is kept while it goes on.

    Raises:
        DoesNotFit: a technique finds nothing to act on, or cannot take this model.
        TrainingDiverged: the loss is no longer a number.
    """
    standing = _begin(checkpoints, done.steps if done else 0)
    if standing.plain:
        done = Done(standing.steps_done, _with_weights(model, standing.plain))
    journey = Journey(checkpoints, standing)
    current = plain = clone_with_weights(done.model if done else model)
    conversion = Conversion()
    claims: list[Claim] = []
    resumed = standing.epochs + standing.trained_epochs
    notes = [f"Resumed after epoch {resumed}, from its checkpoint."] if resumed else []
    kept: Kept = {}
    facts = facts_of(model)
    ahead = recipe.steps[done.steps if done else 0 :]
    progress = _Progress(ahead, data, on_step, on_epoch, standing)
    for number, step in enumerate(recipe.steps):
        entry, params = step.entry, step.checked_params
        weights = entry.weights_of(facts, params)
        claims.append(Claim(step, weights))
        if step.settings is not None:
            if not entry.converts:  # writing the file in another format is worth it whatever the kernels
                require_weights(entry.title, entry.treatments(facts, params))
            if number >= len(recipe.steps) - len(ahead):
                current, trained = _fine_tuned(current, step, step.settings, weights, kept, data, progress, journey)
                notes += _notes(step, step.settings, trained)
                plain = entry.plain(current, clone_with_weights(model))
                if any(later.settings is not None for later in recipe.steps[number + 1 :]):
                    journey.step_ended(number + 1, plain.get_weights(), progress.steps, progress.epochs)
            if entry.wins is not None:
                kept = won_by(entry.wins, entry.kernel_variables(current), weights, kept)
        conversion = entry.conversion(params, conversion)
    return Optimized(current, plain, conversion, claims, notes)


def _begin(checkpoints: Checkpoints | None, steps_done: int) -> Standing:
    """Where to begin: at the newest checkpoint, unless it was within steps of another run that is gone since."""
    newest = checkpoints.newest() if checkpoints else None
    if newest is not None and (newest.plain or newest.steps_done == steps_done):
        return newest
    return Standing(steps_done)


def _with_weights(model: Any, weights: Sequence[np.ndarray]) -> Any:
    copy = clone_with_weights(model)
    copy.set_weights(weights)
    return copy


def plan_of(settings: FineTuning, data: TrainingData) -> TrainingPlan:
    """Return how many optimizer steps a fine-tuning on these data takes."""
    more = data.validation_samples if settings.train_on_validation else 0
    return TrainingPlan.of(settings, data.train_samples + more)


class _Progress:
    """Counts the steps and epochs of all trainings of a chain as one."""

    def __init__(
        self,
        steps: Sequence[RecipeStep],
        data: TrainingData,
        on_step: OnStep,
        on_epoch: OnEpoch,
        standing: Standing,
    ) -> None:
        self._on_step, self._on_epoch = on_step, on_epoch
        self.steps, self.epochs = standing.optimizer_steps, standing.epochs
        self._total = self.steps + sum(plan_of(step.settings, data).total_steps for step in steps if step.settings)

    def begin(self, live_metrics: Callable[[], dict[str, float]]) -> tuple[TrainStep, OnEpoch]:
        """Return what one training reports to."""
        steps, epochs = self.steps, self.epochs

        def on_step(number: int, logs: dict[str, float]) -> None:
            self._on_step(steps + number, self._total, lambda: {**logs, **live_metrics()})

        def on_epoch(epoch: int, number: int, logs: dict[str, float]) -> None:
            self._on_epoch(epochs + epoch, steps + number, logs)

        return on_step, on_epoch

    def end(self, plan: TrainingPlan, trained: Trained, live_metrics: Callable[[], dict[str, float]]) -> None:
        """Go on from where a training ended. What it left out by stopping early is no longer ahead."""
        self.steps, self.epochs = self.steps + trained.steps, self.epochs + trained.epochs
        left_out = plan.total_steps - trained.steps
        if left_out > 0:
            self._total -= left_out
            self._on_step(self.steps, self._total, live_metrics)


def _fine_tuned(
    model: Any,
    step: RecipeStep,
    settings: FineTuning,
    weights: list[WeightOf],
    kept: Kept,
    data: TrainingData,
    progress: _Progress,
    journey: Journey,
) -> tuple[Any, Trained]:
    entry, plan = step.entry, plan_of(settings, data)
    representative = data.representative(_samples_to_start_from(step), settings.seed)
    keras2().utils.set_random_seed(settings.seed)  # wrapping may draw: centroids start at random
    _unfreeze(model, weights)
    wrapped = entry.wrap(model, step.checked_params, weights, plan, representative, kept)
    frozen = freeze_batch_normalization(wrapped.model) if settings.batch_normalization == "freeze" else set()
    statistics = _samples_for_statistics(data, settings, representative)
    callbacks = list(wrapped.callbacks)
    if kept:
        callbacks.append(Keeper(kept, entry.kernel_variables(wrapped.model)).callback())
    if settings.chooses_an_epoch and has_batch_statistics(wrapped.model):
        callbacks.append(before_validation(statistics()))
    on_step, on_epoch = progress.begin(wrapped.live_metrics)
    batches, validation = data.batches(settings), data.validation(settings)
    settled = wrapped.settled_step
    trained = train(
        wrapped.model, data.fit, settings, batches, validation, callbacks, on_step, on_epoch, settled, journey
    )
    progress.end(plan, trained, wrapped.live_metrics)
    stripped = entry.strip(wrapped.model)
    if has_batch_statistics(stripped):
        measure_batch_statistics(stripped, statistics())
    unfreeze_batch_normalization(stripped, frozen)
    return stripped, trained


def _samples_for_statistics(
    data: TrainingData, settings: FineTuning, representative: Sequence[np.ndarray]
) -> Callable[[], Sequence[np.ndarray]]:
    sample_bytes = sum(array[:1].nbytes for array in representative)
    count = max(2, min(SAMPLES, SAMPLE_BYTES // max(1, sample_bytes)))
    return lambda: data.representative(count, settings.seed)


def _notes(step: RecipeStep, settings: FineTuning, trained: Trained) -> list[str]:
    title, best = step.entry.title, trained.best_epoch
    notes = []
    if trained.epochs < settings.epochs:
        notes.append(
            f"{title} stopped after epoch {trained.epochs} of {settings.epochs}: none was better on the validation part "
            f"since epoch {best}."
        )
    if settings.restore_best_weights and best and best < trained.epochs:
        notes.append(f"{title} ended with the weights of epoch {best}, the best of {trained.epochs}.")
    return notes


def _unfreeze(model: Any, weights: list[WeightOf]) -> None:
    """A layer that was frozen for transfer learning must train to recover from what the technique does to it."""
    acted_on = {weight.layer for weight in weights}
    for layer in model.layers:
        if layer.name in acted_on:
            layer.trainable = True


def _samples_to_start_from(step: RecipeStep) -> int:
    return max(1, step.entry.conversion(step.checked_params, Conversion()).representative_samples)
