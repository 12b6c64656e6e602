"""The schedule in steps: the target must be reached, however short the fine-tuning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intake.errors import InvalidParams
from measure.export import convert
from measure.weights import of_layer, read_weights
from optimizers.apply import apply_recipe
from optimizers.fine_tuning import TrainingPlan
from optimizers.pruning_params import PruningParams
from optimizers.pruning_schedule import schedule_steps
from optimizers.recipe import Recipe
from optimizers.sparse_patterns import largest_kept
from tests.conftest import EasyData

plans = st.builds(TrainingPlan, epochs=st.integers(1, 20), steps_per_epoch=st.integers(1, 500))


@given(plan=plans, begin=st.floats(0, 0.95), length=st.floats(0.01, 1), frequency=st.integers(1, 1000))
def test_polynomial_schedule_updates_its_mask_at_the_end_step(
    plan: TrainingPlan, begin: float, length: float, frequency: int
) -> None:
    end = min(1.0, begin + length)
    steps = schedule_steps(PruningParams(begin=begin, end=end, frequency=frequency), plan)
    assert 0 <= steps.begin_step < steps.end_step <= plan.total_steps
    assert (steps.end_step - steps.begin_step) % steps.frequency == 0
    assert steps.frequency <= frequency


@given(plan=plans, begin=st.floats(0, 0.99), frequency=st.integers(1, 1000))
def test_constant_schedule_updates_its_mask_at_least_once(plan: TrainingPlan, begin: float, frequency: int) -> None:
    steps = schedule_steps(PruningParams(schedule="ConstantSparsity", begin=begin, frequency=frequency), plan)
    assert 1 <= steps.begin_step <= plan.total_steps


@pytest.mark.parametrize("schedule", ["PolynomialDecay", "ConstantSparsity"])
@pytest.mark.parametrize("batch_size", [8, 64, 1024])
def test_target_is_reached_however_few_the_steps(
    trained_model: Any, easy_data: EasyData, schedule: str, batch_size: int
) -> None:
    params = {"schedule": schedule, "final_sparsity": 0.7, "target_sparsity": 0.7, "initial_sparsity": 0.1}
    recipe = Recipe.single("pruning", params, {"epochs": 1, "batch_size": batch_size})
    outcome = apply_recipe(trained_model, recipe, easy_data, lambda *_: None, lambda *_: None)
    tensors = read_weights(convert(outcome.to_convert, outcome.conversion))
    assert all(fact.met for fact in outcome.claims[0].verify(tensors))


def test_small_kernels_stay_dense(trained_model: Any, easy_data: EasyData) -> None:
    recipe = Recipe.single("pruning", {"smallest_kernel": 100})
    outcome = apply_recipe(trained_model, recipe, easy_data, lambda *_: None, lambda *_: None)
    head = of_layer(
        read_weights(convert(outcome.to_convert, outcome.conversion)),
        "head",
        outcome.plain.get_layer("head").kernel.shape.num_elements(),
    )
    assert head is not None
    assert head.zero_share == 0
    assert {weight.layer for weight in outcome.claims[0].weights} == {"hidden"}


def test_live_sparsity_rises_to_the_target(trained_model: Any, easy_data: EasyData) -> None:
    seen: list[float] = []
    apply_recipe(
        trained_model, Recipe.single("pruning", {}, {"batch_size": 16}), easy_data,
        lambda _step, _total, values: seen.append(values()["sparsity"]), lambda *_: None,
    )  # fmt: skip
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(0.8, abs=0.01)


def test_contradicting_values_are_refused_together() -> None:
    with pytest.raises(InvalidParams) as caught:
        Recipe.single("pruning", {"begin": 0.9, "end": 0.1, "initial_sparsity": 0.9, "final_sparsity": 0.5})
    assert len(caught.value.problems) == 2


@given(sparsity=st.floats(0, 0.99), size=st.integers(2, 200), different=st.integers(1, 5))
def test_equal_weights_do_not_keep_the_target_from_being_reached(sparsity: float, size: int, different: int) -> None:
    weights = (np.arange(size) % different + 1).astype(np.float32)
    mask = largest_kept(weights, sparsity)
    assert (mask == 0).sum() == min(round(sparsity * size), size - 1)
    assert weights[mask == 0].max(initial=0) <= weights[mask == 1].min()
