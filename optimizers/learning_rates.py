"""How the learning rate changes while a model fine-tunes."""

from __future__ import annotations

from typing import Any

from intake.keras_env import keras2, tensorflow
from optimizers.fine_tuning import FineTuning

EXPONENTIAL_ENDS_AT = 0.01
"""Share of the rate that an exponential decay ends with."""
STEPS_AT = (0.5, 0.75)
"""Shares of the fine-tuning after which the step schedule divides by ten (He et al. 2015, arXiv 1512.03385, 4.2)."""


def learning_rate(settings: FineTuning, total_steps: int) -> Any:
    """Return a number, or the Keras schedule that gives one for each of `total_steps` optimizer steps."""
    warm_up = round(settings.warm_up * total_steps)
    after = _schedule(settings, max(1, total_steps - warm_up))
    return after if warm_up == 0 else _warm_up(settings.learning_rate, warm_up, after)


def _schedule(settings: FineTuning, steps: int) -> Any:
    schedules, rate = keras2().optimizers.schedules, settings.learning_rate
    match settings.learning_rate_schedule:
        case "cosine":
            return schedules.CosineDecay(rate, steps)
        case "exponential":
            return schedules.ExponentialDecay(rate, steps, EXPONENTIAL_ENDS_AT)
        case "step":
            boundaries = [round(share * steps) for share in STEPS_AT]
            return schedules.PiecewiseConstantDecay(boundaries, [rate, rate / 10, rate / 100])
        case _:
            return rate


def _warm_up(rate: float, steps: int, after: Any) -> Any:
    """Rise in a line to the whole rate at step `steps`, then go on with a schedule (or a constant)."""
    tf = tensorflow()

    class WarmUp(keras2().optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
        def __call__(self, step: Any) -> Any:
            passed = tf.cast(step, tf.float32)
            later = after(tf.maximum(passed - steps, 0)) if callable(after) else after
            return tf.where(passed < steps, rate * (passed + 1) / steps, tf.cast(later, tf.float32))

        def get_config(self) -> dict[str, Any]:
            return {"rate": rate, "steps": steps}

    return WarmUp()
