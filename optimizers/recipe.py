"""A recipe: which techniques, in which order, with which parameters. Frozen data, YAML in and out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from intake.errors import InvalidParams
from measure.conversion import Conversion
from optimizers import technique
from optimizers.declaration import Params
from optimizers.fine_tuning import FineTuning, suggested
from optimizers.technique import Technique


class RecipeStep(BaseModel):
    """One technique with its parameters and, where it trains, its fine-tuning settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    technique: str
    params: dict[str, Any] = Field(default_factory=dict)
    fine_tuning: dict[str, Any] | None = None

    @classmethod
    def checked(cls, technique_name: str, params: dict[str, Any], fine_tuning: dict[str, Any] | None = None) -> Self:
        """Return a step with every default filled in; raises InvalidParams with all problems at once."""
        entry = technique(technique_name)
        problems: list[str] = []
        filled: dict[str, Any] = {}
        settings: dict[str, Any] | None = None
        try:
            checked = entry.Params.checked(params)
            entry.check(checked)
            filled = checked.model_dump(mode="json")
        except InvalidParams as error:
            problems += error.problems
        try:
            settings = _settings(entry, fine_tuning)
        except InvalidParams as error:
            problems += error.problems
        if problems:
            raise InvalidParams(problems)
        return cls(technique=technique_name, params=filled, fine_tuning=settings)

    @property
    def entry(self) -> Technique:
        """The technique."""
        return technique(self.technique)

    @property
    def checked_params(self) -> Params:
        """The parameters as the technique's own declaration."""
        return self.entry.Params.checked(self.params)

    @property
    def settings(self) -> FineTuning | None:
        """The fine-tuning settings; None where the technique does not train."""
        return None if self.fine_tuning is None else FineTuning.checked(self.fine_tuning)


def _settings(entry: Technique, given: dict[str, Any] | None) -> dict[str, Any] | None:
    if entry.fine_tuning is None:
        if given:
            raise InvalidParams(f"{entry.title} does not train; leave out: {', '.join(given)}.")
        return None
    return FineTuning.checked({**entry.fine_tuning.model_dump(), **(given or {})}).model_dump()


class Recipe(BaseModel):
    """An ordered list of steps. Empty: the model as it is, exported in float32 (the baseline)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: tuple[RecipeStep, ...] = ()

    @classmethod
    def checked(cls, steps: list[RecipeStep]) -> Self:
        """Return the recipe with defaults filled in; raises InvalidParams with all problems at once."""
        problems: list[str] = []
        filled = []
        for step in steps:
            try:
                filled.append(RecipeStep.checked(step.technique, step.params, step.fine_tuning))
            except InvalidParams as error:
                problems += error.problems
        problems += problems_between(filled)
        if problems:
            raise InvalidParams(problems)
        return cls(steps=tuple(filled))

    @classmethod
    def single(
        cls, technique_name: str, params: dict[str, Any] | None = None, fine_tuning: dict[str, Any] | None = None
    ) -> Self:
        """Return the recipe of one technique."""
        return cls.checked([RecipeStep(technique=technique_name, params=params or {}, fine_tuning=fine_tuning)])

    @classmethod
    def from_yaml(cls, text: str) -> Self:
        """Read a recipe file; raises InvalidParams where it is not one."""
        return cls.checked(steps_of_yaml(text))

    def to_yaml(self) -> str:
        """Return the recipe as a file that `from_yaml` and the command line read."""
        return str(yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False))

    @property
    def title(self) -> str:
        """For people: "Pruning + Post-training quantization"; "Baseline" without steps."""
        return " + ".join(step.entry.title for step in self.steps) or "Baseline"


def steps_of_yaml(text: str) -> list[RecipeStep]:
    """Return the steps of a recipe file as they stand there, unchecked; raises InvalidParams where it is not one."""
    try:
        read = Recipe.model_validate(yaml.safe_load(text) or {})
    except (yaml.YAMLError, ValidationError) as error:
        raise InvalidParams(f"This is not a recipe file: {_reason(error)}") from None
    if not read.steps:
        raise InvalidParams("The recipe has no steps: give at least one, like `steps: [{technique: pruning}]`.")
    return list(read.steps)


def with_suggested_epochs(steps: Sequence[RecipeStep], train_samples: int) -> list[RecipeStep]:
    """Return the steps, those that train and do not say how long with enough epochs for a dataset of this size."""
    return [_with_suggested_epochs(step, train_samples) for step in steps]


def _with_suggested_epochs(step: RecipeStep, train_samples: int) -> RecipeStep:
    given, defaults = step.fine_tuning or {}, technique(step.technique).fine_tuning
    if defaults is None or "epochs" in given:
        return step
    batch_size = given.get("batch_size", defaults.batch_size)
    if isinstance(batch_size, int) and batch_size > 0:  # several, or wrong: told elsewhere
        defaults = defaults.model_copy(update={"batch_size": batch_size})
    return step.model_copy(update={"fine_tuning": {**given, "epochs": suggested(defaults, train_samples).epochs}})


def problems_between(steps: Sequence[RecipeStep]) -> list[str]:
    """Return why these steps cannot follow each other, in sentences; each step alone was checked before."""
    problems = []
    converting = [step.entry.title for step in steps if step.entry.converts]
    if len(converting) > 1:
        problems.append(
            f"Only one technique can decide the number format of the file, got {' and '.join(converting)}. Leave the "
            f"{'other' if len(converting) == 2 else 'others'} out."
        )
    elif any(step.entry.converts for step in steps[:-1]):
        problems.append(
            f"{converting[0]} must be the last step: it decides how the file is written. Move it to the end."
        )
    for number, step in enumerate(steps):
        entry = step.entry
        lost = [
            _lost(earlier.entry.title, entry.title, _WINS[win])
            for earlier in steps[:number]
            if step.fine_tuning is not None and (win := earlier.entry.wins) and win not in entry.keeps
        ]
        problems += lost
        others = [(earlier.entry.title, earlier.checked_params) for earlier in steps[:number]]
        problems += entry.conflicts(step.checked_params, others)
    conversion = Conversion()
    for step in steps:
        conversion = step.entry.conversion(step.checked_params, conversion)
    problems += conversion.problems()
    return list(dict.fromkeys(problems))


def _lost(earlier: str, later: str, won: str) -> str:
    why = f"training again would undo the {won} that it won"
    if earlier == later:
        return f"{earlier} cannot come twice: {why}. Leave one of the two out."
    return f"{earlier} must come after {later}: {why}. Move it behind, or leave one of the two out."


_WINS = {"zeros": "zeros", "values": "shared values"}


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors())
    return " ".join(str(error).split())
