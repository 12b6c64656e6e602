"""How long runs will take, by how long earlier runs of the same project took."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from optimizers.fine_tuning import TrainingPlan
from optimizers.recipe import Recipe
from runs.records import Result, RunRecord


def expected_seconds(recipes: Sequence[Recipe], earlier: Sequence[RunRecord], train_samples: int) -> float | None:
    """Return the seconds that recipes will take in all; None where no earlier run tells.

    A run takes its optimizer steps, each as long as in earlier runs of the same techniques (of any, where there are
    none), and besides what loading, converting and measuring took.
    """
    # One that continues another trained fewer steps than its recipe has.
    known = [(run.recipe, run.result) for run in earlier if run.result is not None and not run.is_continuing]
    if not known:
        return None
    besides = median(result.duration_s - result.training_s for _, result in known)
    step_seconds: dict[str, float] = {}
    total = 0.0
    for recipe in recipes:
        steps = optimizer_steps(recipe, train_samples)
        total += besides
        if steps:
            if recipe.title not in step_seconds:
                found = _step_seconds(recipe, known, train_samples)
                if found is None:
                    return None
                step_seconds[recipe.title] = found
            total += steps * step_seconds[recipe.title]
    return total


def optimizer_steps(recipe: Recipe, train_samples: int) -> int:
    """Return how many optimizer steps a recipe takes; 0 where it does not train."""
    return sum(TrainingPlan.of(step.settings, train_samples).total_steps for step in recipe.steps if step.settings)


def _step_seconds(recipe: Recipe, known: list[tuple[Recipe, Result]], train_samples: int) -> float | None:
    rates = [
        (earlier.title, result.training_s / steps)
        for earlier, result in known
        if (steps := optimizer_steps(earlier, train_samples))
    ]
    alike = [rate for title, rate in rates if title == recipe.title]
    found = alike or [rate for _, rate in rates]
    return median(found) if found else None
