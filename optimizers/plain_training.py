"""How a fine-tuning is written in a script that repeats a run without Tare, with tf_keras alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from intake.fit import Fit
from measure.plain_tools import NeedsTare
from optimizers.fine_tuning import FineTuning, TrainingPlan
from optimizers.kept import Won
from optimizers.layer_facts import LayerFacts
from optimizers.learning_rates import EXPONENTIAL_ENDS_AT, STEPS_AT


@dataclass(frozen=True)
class ScriptStep:
    """What a technique is told when it writes its lines."""

    number: int
    """Of the step in the recipe, from 1."""
    layers: Sequence[LayerFacts]
    """Of the model, as it was uploaded."""
    fit: Fit
    settings: FineTuning | None
    """None where the technique does not train."""
    plan: TrainingPlan | None
    kept: frozenset[Won]
    """What earlier steps won on the kernels."""


def require_plain_layers(step: ScriptStep) -> None:
    """Raise NeedsTare where TFMOT's wrappers would lose what goes from layer to layer beside the values."""
    masking = [layer.name for layer in step.layers if layer.class_name in ("Embedding", "Masking")]
    if masking:
        raise NeedsTare(f"TFMOT's wrappers lose the mask of padded sequences, which may start at {masking[0]}.")


def training_lines(step: ScriptStep, callbacks: str) -> list[str]:
    """Return the lines that fine-tune the model `wrapped`; `callbacks` is the text of a list.

    Raises:
        NeedsTare: a setting is one that Keras has not.
    """
    settings, plan = step.settings, step.plan
    assert settings is not None
    assert plan is not None
    _require_plain(settings, step.fit)
    loss = step.fit.loss if settings.loss == "auto" else settings.loss
    optimizer = {"adam": "Adam", "sgd": "SGD", "rmsprop": "RMSprop"}[settings.optimizer]
    more = ""
    if settings.train_on_validation:
        more += ", parts=('train', 'validation')"
    if settings.class_weight == "balanced":
        more += ", balanced=True"
    freezes = settings.batch_normalization == "freeze"
    return [
        *(["frozen = freeze_batch_normalization(wrapped)"] if freezes else []),
        f"optimizer = tf_keras.optimizers.{optimizer}({_learning_rate(settings, plan.total_steps)})",
        f"fine_tune(wrapped, {callbacks}, epochs={settings.epochs}, batch_size={settings.batch_size}, "
        f"optimizer=optimizer,",
        f"          loss={loss!r}, seed={settings.seed}{more})",
    ]


def after_training_lines(step: ScriptStep) -> list[str]:
    """Return the lines that follow once `model` is stripped of wrappers."""
    assert step.settings is not None
    lines = [f"measure_batch_statistics(model, seed={step.settings.seed})"]
    if step.settings.batch_normalization == "freeze":
        lines += [
            "for layer in frozen:",
            "    layer.trainable = True",
        ]
    return lines


def _require_plain(settings: FineTuning, fit: Fit) -> None:
    reasons = {
        "It learns from the answers of the uploaded model (distillation).": settings.distillation_alpha > 0
        or fit.task == "agreement",
        "It chooses the best epoch after the technique's schedule has ended.": settings.chooses_an_epoch,
        "It changes training images at random, as Tare draws them.": settings.flips or settings.shifts_by > 0,
        "Its learning rate warms up.": settings.warm_up > 0,
    }
    for reason, holds in reasons.items():
        if holds:
            raise NeedsTare(reason)


def _learning_rate(settings: FineTuning, steps: int) -> str:
    rate, schedules = settings.learning_rate, "tf_keras.optimizers.schedules"
    match settings.learning_rate_schedule:
        case "cosine":
            return f"{schedules}.CosineDecay({rate!r}, {steps})"
        case "exponential":
            return f"{schedules}.ExponentialDecay({rate!r}, {steps}, {EXPONENTIAL_ENDS_AT!r})"
        case "step":
            boundaries = [round(share * steps) for share in STEPS_AT]
            return f"{schedules}.PiecewiseConstantDecay({boundaries}, {[rate, rate / 10, rate / 100]})"
        case _:
            return repr(rate)
