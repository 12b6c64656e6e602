"""What to say of projects and runs that a newer version of Tare has written, which this one does not understand."""

from __future__ import annotations

from pydantic import ValidationError

from intake.errors import UserError
from optimizers import TECHNIQUES
from optimizers.fine_tuning import FineTuning
from optimizers.recipe import Recipe, RecipeStep


class NewerTare(UserError):
    """A project, a run or a report has something in it that this version does not know.

    Args:
        what: begins the sentence: "The run Pruned (3fa9...)".
        reason: what is not known.
    """

    def __init__(self, what: str, reason: str | ValidationError) -> None:
        known = reason if isinstance(reason, str) else _first_problem(reason)
        super().__init__(
            f"{what} cannot be read: {known}. A newer version of Tare has written it, or it is damaged. Start that version "
            "again, or update this one. Nothing was changed."
        )


def why_not_understood(recipe: Recipe) -> str:
    """Return what of a stored recipe this version does not know; "" where it knows all."""
    return next((problem for step in recipe.steps if (problem := _why_not(step))), "")


def _why_not(step: RecipeStep) -> str:
    entry = next((entry for entry in TECHNIQUES if entry.name == step.technique), None)
    if entry is None:
        return f"there is no technique named {step.technique!r} here"
    unknown = sorted(
        {*step.params} - {*entry.Params.model_fields} | {*(step.fine_tuning or {})} - {*FineTuning.model_fields}
    )
    return f"{entry.title} has no setting named {', '.join(unknown)} here" if unknown else ""


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    said = first["msg"][:1].lower() + first["msg"][1:]
    return f"{place or 'its file'}: {said}".rstrip(".")
