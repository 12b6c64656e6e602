"""What is done between the optimizer steps, as part of the compiled training step.

Of a small model a step takes less time than coming back to Python after it. So Keras is told to do several steps at a
time (`steps_per_execution`), and what techniques do between the steps is traced into them: each is done as if one step
was taken after the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from intake.keras_env import keras2

EXECUTION_SECONDS = 0.1
"""About how long Keras is left alone: progress is told, and a loss that is no number is noticed, as often as that."""
MOST_STEPS = 64
"""Of one execution."""
FEW_STEPS = 100
"""A training of fewer takes them singly: building what takes several costs as much as it saves."""


@contextmanager
def between_steps(model: Any, callbacks: Sequence[Any]) -> Iterator[None]:
    """Let some Keras callbacks act between the steps of a tf_keras model while it is trained.

    Those with a method `before_step()` or `after_step()` are asked for it in their order, once, when the step is traced:
    what they do with TensorFlow's variables is then done at every step.
    """
    before = [callback.before_step for callback in callbacks if hasattr(callback, "before_step")]
    after = [callback.after_step for callback in callbacks if hasattr(callback, "after_step")]
    train_step = model.train_step

    def whole_step(data: Any) -> Any:
        for act in before:
            act()
        outputs = train_step(data)
        for act in after:
            act()
        return outputs

    model.train_step = whole_step
    try:
        yield
    finally:
        model.train_step = train_step


def take_several_steps(model: Any, total_steps: int) -> list[Any]:
    """Let a model that was just compiled take several steps at a time; how many is up to the callbacks returned.

    It begins with one, and goes on with as many as take `EXECUTION_SECONDS`. In a training of fewer than `FEW_STEPS` it
    takes them singly.
    """
    if total_steps < FEW_STEPS:
        return []
    # Which kind of function Keras makes depends on the number at this moment; it can be changed afterwards.
    model.steps_per_execution = MOST_STEPS
    model.make_train_function()
    model.make_test_function()
    model.steps_per_execution = 1

    class Pace(keras2().callbacks.Callback):  # type: ignore[misc]
        _began = 0.0
        _timed = 0

        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self._began = time.perf_counter()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self._timed += 1
            if self._timed == 2:  # the first is traced as well, which takes longer
                self.model.steps_per_execution = steps_within(time.perf_counter() - self._began)

    return [Pace()]


def steps_within(step_seconds: float) -> int:
    """Return how many steps of so many seconds Keras is to take at a time."""
    return max(1, min(MOST_STEPS, int(EXECUTION_SECONDS / max(step_seconds, 1e-6))))
