"""The common part of every technique that trains: its declared settings, and how many steps they come to."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from intake.errors import InvalidParams
from optimizers.declaration import Condition, ParameterSpec, Params, parameter, specs

_SHIFTS = Condition("augmentation", ("shift", "flip_and_shift"), "only where the augmentation shifts")
_VALIDATES = Condition("train_on_validation", (False,), "only without training on the validation part")
NO_VALIDATION = (
    "`early_stopping_patience` and `restore_best_weights` choose an epoch by the validation part, but this dataset has "
    "none. Turn them off, or give the dataset one."
)


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
    learning_rate_schedule: Literal["constant", "cosine", "exponential", "step"] = parameter(
        "constant",
        "Learning-rate schedule",
        "cosine lowers the rate to zero by the end (arXiv 1608.03983), which settles the weights; exponential to a "
        "hundredth; step divides it by ten at 50 % and at 75 %; constant keeps it.",
    )
    loss: Literal[
        "auto",
        "sparse_categorical_crossentropy",
        "categorical_crossentropy",
        "binary_crossentropy",
        "mean_squared_error",
        "mean_absolute_error",
    ] = parameter("auto", "Loss", "auto takes the loss of the project.")
    early_stopping_patience: int = parameter(
        0, "Early stopping patience",
        "Stops after so many epochs that are not better on the validation part; 0 never stops early.",
        unit="epochs", ge=0, le=1000, only_if=_VALIDATES,
    )  # fmt: skip
    distillation_alpha: float = parameter(
        0.0, "Distillation alpha",
        "Share of the loss that compares with the uploaded model's answers instead of the labels (arXiv 1503.02531); "
        "0 is without. Projects without labels learn from the answers alone.",
        ge=0, le=1, step=0.1,
    )  # fmt: skip
    seed: int = parameter(0, "Seed", "Same seed, same machine, same result.", ge=0, le=2**31 - 1, step=1)
    warm_up: float = parameter(
        0.0, "Warm-up", "Share of the fine-tuning in which the learning rate rises from zero (arXiv 1706.02677).",
        ge=0, lt=1, step=0.05, advanced=True,
    )  # fmt: skip
    restore_best_weights: bool = parameter(
        False, "Restore best weights",
        "Ends with the weights of the epoch that was best on the validation part, not with the last. Epochs before a "
        "technique's schedule has ended do not count.",
        advanced=True, only_if=_VALIDATES,
    )  # fmt: skip
    train_on_validation: bool = parameter(
        False, "Train on validation",
        "Fine-tunes on the validation part too: more samples, but nothing is left to choose an epoch by.",
        advanced=True,
    )  # fmt: skip
    distillation_temperature: float = parameter(
        1.0, "Distillation temperature",
        "Softens the answers of both models before they are compared; higher lets unlikely classes count more. "
        "Numbers are compared as they are.",
        gt=0, le=100, step=0.5, advanced=True,
    )  # fmt: skip
    batch_normalization: Literal["train", "freeze"] = parameter(
        "train", "Batch normalization",
        "train measures its statistics again for the changed weights, which suits pruning and clustering; freeze keeps "
        "the uploaded ones, which suits quantization-aware training (arXiv 1806.08342) and small batches.",
        advanced=True,
    )  # fmt: skip
    class_weight: Literal["none", "balanced"] = parameter(
        "none", "Class weight",
        "balanced lets each class count alike, however few samples it has; only for one class per sample.",
        advanced=True,
    )  # fmt: skip
    augmentation: Literal["none", "flip", "shift", "flip_and_shift"] = parameter(
        "none", "Augmentation",
        "Changes training images at random: flip mirrors left and right, shift moves them and repeats their edges.",
        advanced=True,
    )  # fmt: skip
    shift_pixels: int = parameter(
        2, "Shift", "Farthest that an image is moved, down or across.", unit="pixels", ge=1, le=512, advanced=True,
        only_if=_SHIFTS,
    )  # fmt: skip

    @classmethod
    def checked(cls, values: dict[str, Any]) -> Self:
        """As of the base; also refuses what contradicts each other."""
        settings = super().checked(values)
        if settings.train_on_validation and settings.chooses_an_epoch:
            raise InvalidParams(
                "`early_stopping_patience` and `restore_best_weights` choose an epoch by the validation part, which "
                "`train_on_validation` trains on. Turn one or the other off."
            )
        return settings

    @property
    def chooses_an_epoch(self) -> bool:
        """True where the validation part decides when to stop, or which weights to keep."""
        return self.early_stopping_patience > 0 or self.restore_best_weights

    @property
    def flips(self) -> bool:
        """True where training images are mirrored at random."""
        return self.augmentation in ("flip", "flip_and_shift")

    @property
    def shifts_by(self) -> int:
        """Pixels by which training images are moved at most; 0 where they are not."""
        return self.shift_pixels if self.augmentation in _SHIFTS.values else 0


def fine_tuning_specs(defaults: FineTuning) -> tuple[ParameterSpec, ...]:
    """Return the declared fine-tuning settings with these defaults."""
    own = defaults.model_dump()
    return tuple(replace(spec, default=own[spec.name]) for spec in specs(FineTuning))


@dataclass(frozen=True)
class TrainingPlan:
    """How many optimizer steps a fine-tuning takes, unless it stops early."""

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
