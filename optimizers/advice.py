"""What a recipe may ask for although it rarely goes well. It is said before the run; nothing is refused."""

from __future__ import annotations

from collections.abc import Sequence

from optimizers.sweep import Point, named


def advice_on(points: Sequence[Point]) -> list[str]:
    """Return advice in sentences, each once, with the points of a grid that it is for unless it is all of them."""
    found = [
        (point.label, sentence)
        for point in points
        for step in point.recipe.steps
        for sentence in step.entry.advice(step.checked_params, step.settings)
    ]
    return named(found, len(points))
