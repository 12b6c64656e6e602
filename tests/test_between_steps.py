"""Several steps at a time are as good as one after the other, and techniques act between them all the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from intake.keras_env import keras2, tensorflow
from optimizers import between_steps
from optimizers.apply import apply_recipe
from optimizers.between_steps import MOST_STEPS, steps_within
from optimizers.recipe import Recipe, RecipeStep
from tests.conftest import EasyData

one_model = pytest.mark.parametrize("trained_model", ["convolutional"], indirect=True)
CHAIN = Recipe.checked(
    [
        RecipeStep(technique="pruning", fine_tuning={"epochs": 3, "batch_size": 16}),
        RecipeStep(technique="clustering", fine_tuning={"epochs": 2, "batch_size": 16}),
    ]
)


def weights_and_executions(model: Any, data: EasyData) -> tuple[list[np.ndarray], int]:
    told: list[int] = []
    outcome = apply_recipe(model, CHAIN, data, lambda step, *_: told.append(step), lambda *_: None)
    return outcome.plain.get_weights(), len(told)


@one_model
def test_several_steps_at_a_time_end_as_single_ones(
    trained_model: Any, easy_data: EasyData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(between_steps, "FEW_STEPS", 1)
    monkeypatch.setattr(between_steps, "EXECUTION_SECONDS", 0.0)
    singly, many = weights_and_executions(trained_model, easy_data)
    monkeypatch.setattr(between_steps, "EXECUTION_SECONDS", 1e6)
    together, few = weights_and_executions(trained_model, easy_data)
    assert few < many / 2
    for one, other in zip(singly, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
        np.testing.assert_array_equal(one == 0, other == 0)


def test_what_callbacks_do_is_done_at_each_step() -> None:
    tf = tensorflow()
    model = keras2().Sequential([keras2().layers.Dense(1, input_shape=(2,))])
    model.compile("sgd", "mse")
    counter = tf.Variable(0)

    class Counts:
        def before_step(self) -> None:
            counter.assign_add(1)

        def after_step(self) -> None:
            counter.assign_add(100)

    pace = between_steps.take_several_steps(model, 140)
    step = model.train_step
    with between_steps.between_steps(model, [Counts(), object()]):
        model.fit(np.ones((70, 2)), np.ones(70), batch_size=1, epochs=2, verbose=0, callbacks=pace)
    assert int(counter) == 140 * 101
    assert int(model.optimizer.iterations) == 140
    assert model.train_step == step


def test_slow_steps_and_few_are_taken_singly() -> None:
    assert between_steps.take_several_steps(object(), between_steps.FEW_STEPS - 1) == []
    assert steps_within(2.0) == 1
    assert steps_within(0.06) == 1
    assert steps_within(0.01) == 10
    assert steps_within(0.0) == MOST_STEPS
