"""What of a recipe can be refused before anything runs: layers that are not there, steps without anything to act on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from intake.errors import InvalidParams, UserError
from optimizers.layer_facts import LayerFacts
from optimizers.recipe import Recipe, RecipeStep
from optimizers.sweep import MANY_POINTS, Point, named
from optimizers.technique import require_weights


def check_layers(recipe: Recipe, layers: Sequence[LayerFacts]) -> None:
    """Raise UserError where a step leaves layers as they are that are not there, or leaves itself nothing to act on."""
    for step in recipe.steps:
        _check_step(step, layers)


def _check_step(step: RecipeStep, layers: Sequence[LayerFacts]) -> None:
    params = step.checked_params
    treatments = step.entry.treatments(layers, params)
    if any(treatment.verdict == "acts" for treatment in treatments):
        return
    if step.params.get("leave_as_is"):
        raise InvalidParams(
            f"With these layers left as they are, {step.entry.title} has nothing to act on. "
            "Take at least one that it can act on off the list (`leave_as_is`)."
        )
    if step.settings is not None and not step.entry.converts:
        require_weights(step.entry.title, treatments)


def check_points(points: Sequence[Point], checks: Sequence[Callable[[Recipe], None]], confirmed: bool) -> None:
    """Raise UserError with all that is wrong at any point of a grid, each problem with the points that have it.

    Args:
        points: of the grid.
        checks: each raises UserError for a recipe that cannot be.
        confirmed: whether somebody said yes to a grid of more than `MANY_POINTS`.
    """
    problems: list[tuple[str, str]] = []
    for point in points:
        for check in checks:
            try:
                check(point.recipe)
            except UserError as error:
                problems += [(point.label, problem) for problem in error.problems]
    found = named(problems, len(points))
    if len(points) > MANY_POINTS and not confirmed:
        found.append(f"This grid has {len(points)} points. Confirm that you mean so many, or take fewer values.")
    if found:
        raise InvalidParams(found)
