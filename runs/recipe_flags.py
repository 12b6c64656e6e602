"""Settings given by name, as on the command line, laid over the steps of a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from intake.errors import InvalidParams
from optimizers import technique
from optimizers.declaration import specs
from optimizers.fine_tuning import FineTuning
from optimizers.recipe import RecipeStep


def pairs_of(texts: Iterable[str]) -> dict[str, str]:
    """Return name -> text of texts like "final_sparsity=0.8"; raises InvalidParams where one is not like that."""
    pairs = [text.partition("=") for text in texts]
    wrong = [name for name, separator, _ in pairs if not separator]
    if wrong:
        raise InvalidParams([f"--set takes NAME=VALUE, like final_sparsity=0.8, got {name!r}." for name in wrong])
    return {name.strip(): value.strip() for name, _, value in pairs}


def laid_over(steps: Sequence[RecipeStep], values: dict[str, str]) -> list[RecipeStep]:
    """Return the steps with these values, unchecked.

    Args:
        steps: of a recipe.
        values: name -> text. A name goes to every step that has it; "clustering.epochs" only to those of a technique.

    Raises:
        InvalidParams: no step has a setting of that name.
    """
    unknown = [name for name in values if not any(_has(step, name) for step in steps)]
    if unknown:
        raise InvalidParams([_unknown(name, steps) for name in unknown])
    return [
        _with(step, {_own(name, step): text for name, text in values.items() if _has(step, name)}) for step in steps
    ]


def _own(name: str, step: RecipeStep) -> str:
    return name.removeprefix(f"{step.technique}.")


def _names(step: RecipeStep) -> tuple[set[str], set[str]]:
    """The names of a step's parameters, and of its fine-tuning settings."""
    entry = technique(step.technique)
    own = {spec.name for spec in specs(entry.Params)}
    settings = {spec.name for spec in specs(FineTuning)} if entry.fine_tuning else set()
    return own, settings - own


def _has(step: RecipeStep, name: str) -> bool:
    return any(_own(name, step) in names for names in _names(step))


def _with(step: RecipeStep, values: dict[str, str]) -> RecipeStep:
    own, settings = _names(step)
    params = technique(step.technique).Params.from_text({name: text for name, text in values.items() if name in own})
    trained = FineTuning.from_text({name: text for name, text in values.items() if name in settings})
    fine_tuning = {**(step.fine_tuning or {}), **trained} if trained else step.fine_tuning
    return step.model_copy(update={"params": {**step.params, **params}, "fine_tuning": fine_tuning})


def _unknown(name: str, steps: Sequence[RecipeStep]) -> str:
    if name in {spec.name for spec in specs(FineTuning)}:
        return f"`{name}` is a setting of fine-tuning, and no step of this recipe trains; leave it out."
    known = sorted({known for step in steps for names in _names(step) for known in names})
    return f"`{name}` is not a setting of this recipe. Known: {', '.join(known)}."
