"""A sweep: steps in which settings have several values, and the grid of recipes that they stand for. No TensorFlow.

A setting that is a number, a choice or a switch may hold a list (`[0.5, 0.7]`), or text that `values_of` reads.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from intake.errors import InvalidParams
from optimizers import technique
from optimizers.declaration import Condition, Kind, ParameterSpec, specs
from optimizers.fine_tuning import FineTuning
from optimizers.recipe import Recipe, RecipeStep

SWEPT: tuple[Kind, ...] = ("number", "integer", "choice", "switch")
"""Kinds of settings that can have several values."""
MANY_POINTS = 64
"""A larger grid is queued only by who says so."""
MOST_POINTS = 500
HOW = "Give values like `0.5, 0.7, 0.9`, or a range like `0.5..0.9 step 0.1` or `8..64 x2`."
_Part = Literal["params", "fine_tuning"]
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(
    rf"(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>{_NUMBER})"
    rf"(?:\s*(?::|step)\s*(?P<step>{_NUMBER})|\s*:?\s*[x×*]\s*(?P<factor>{_NUMBER}))?"
)
_DIGITS = 20
"""Decimal places that anybody means; far beyond, decimal arithmetic is slow or overflows."""
_SWITCH = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}


@dataclass(frozen=True)
class Point:
    """One recipe of a grid."""

    recipe: Recipe
    label: str
    """What tells it from the others: "final_sparsity 0.7, epochs 4"; "" where there are no others."""


@dataclass(frozen=True)
class Axis:
    """A setting with several values."""

    step: int
    part: _Part
    spec: ParameterSpec
    values: tuple[Any, ...]


def values_of(text: str, spec: ParameterSpec) -> tuple[Any, ...]:
    """Return the values that a text lists, each once, in its order.

    Commas separate values and ranges: "0.5, 0.7", "0.5..0.9 step 0.1" (or "0.5..0.9:0.1"), "8..64 x2", "1..4" for
    whole numbers. A range holds its lower end, and its upper end where a step meets it. Ranges are counted in decimals,
    so that the third value of 0.1..0.9:0.1 is 0.3.

    Raises:
        InvalidParams: something is neither a value nor a range. Bounds are those of the declaration, checked later.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise InvalidParams(f"`{spec.name}` ({spec.label}) has no value. {HOW}")
    if spec.kind not in ("number", "integer"):
        return _distinct(_choice(part, spec) for part in parts)
    return _distinct(value for part in parts for value in _numbers(part, spec))


def _distinct(values: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _choice(text: str, spec: ParameterSpec) -> Any:
    if spec.kind == "switch":
        return _SWITCH.get(text.lower(), text)
    return next((choice for choice in spec.choices if str(choice) == text), text)


def _numbers(text: str, spec: ParameterSpec) -> Iterator[int | float]:
    alone, range_ = re.fullmatch(_NUMBER, text), _RANGE.fullmatch(text)
    read = {name: Decimal(end) for name, end in range_.groupdict().items() if end} if range_ else {}
    if not (alone or range_) or any(abs(number.adjusted()) > _DIGITS for number in read.values()):
        raise InvalidParams(f"`{spec.name}` ({spec.label}) cannot be read from {text!r}. {HOW}")
    for value in _range(text, spec, **read) if range_ else [Decimal(text)]:
        yield _number(value, spec)


def _range(
    text: str,
    spec: ParameterSpec,
    low: Decimal,
    high: Decimal,
    step: Decimal | None = None,
    factor: Decimal | None = None,
) -> list[Decimal]:
    if step is None and factor is None:
        if spec.kind != "integer":
            raise InvalidParams(f"`{spec.name}` ({spec.label}): the range {text!r} needs a step, like {text} step 0.1.")
        step = Decimal(1)
    if low > high:
        raise InvalidParams(f"`{spec.name}` ({spec.label}): the range {text!r} must begin with its lower end.")
    if step is not None and step <= 0:
        raise InvalidParams(f"`{spec.name}` ({spec.label}): the step of the range {text!r} must be above 0.")
    if factor is not None and (factor <= 1 or low <= 0):
        raise InvalidParams(f"`{spec.name}` ({spec.label}): {text!r} must begin above 0 and grow by a factor above 1.")
    found = [low]
    while (following := found[-1] + step if step is not None else found[-1] * (factor or 1)) <= high:
        found.append(following)
        if len(found) > MOST_POINTS:
            raise InvalidParams(
                f"`{spec.name}` ({spec.label}): the range {text!r} has more than {MOST_POINTS} values. Take larger steps."
            )
    return found


def _number(value: Decimal, spec: ParameterSpec) -> int | float:
    """A whole number stays one; a fraction where one is asked for is left for the declaration to refuse."""
    whole = spec.kind == "integer" and value.adjusted() <= _DIGITS and value == value.to_integral_value()
    return int(value) if whole else float(value)


def has_several(steps: Iterable[RecipeStep]) -> bool:
    """True where some setting has several values; raises InvalidParams where one cannot be read."""
    return any(len(axis.values) > 1 for axis in _axes(list(steps)))


def expand(steps: Sequence[RecipeStep]) -> tuple[Point, ...]:
    """Return the grid: a checked recipe for each combination, the last setting changing fastest; one without any.

    A setting that counts only under some value of another one is varied only there.

    Raises:
        InvalidParams: with all problems of all points at once, those of some points with what they are.
    """
    steps = list(steps)
    axes = _axes(steps)
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_POINTS:
        raise InvalidParams(f"This grid has {count:,} points, at most {MOST_POINTS} can be queued. Take fewer values.")
    points: dict[str, Point] = {}
    problems: list[tuple[str, str]] = []
    labels: set[str] = set()
    for values in itertools.product(*(axis.values for axis in axes)):
        at_point, label = _at(steps, axes, values)
        if label in labels:
            continue
        labels.add(label)
        try:
            point = Point(Recipe.checked(at_point), label)
        except InvalidParams as error:
            problems += [(label, problem) for problem in error.problems]
        else:
            points.setdefault(point.recipe.model_dump_json(), point)
    if problems:
        raise InvalidParams(named(problems, len(labels)))
    return tuple(points.values())


def named(problems: Sequence[tuple[str, str]], points: int, most: int = 4) -> list[str]:
    """Return each problem once, with the points that have it unless it is all of them.

    Args:
        problems: (label of a point, sentence).
        points: how many the grid has.
        most: points named for one problem.
    """
    by_sentence: dict[str, list[str]] = {}
    for label, sentence in problems:
        by_sentence.setdefault(sentence, []).append(label)
    return [
        sentence if len(labels) == points else f"At {_some(labels, most)}: {sentence}"
        for sentence, labels in by_sentence.items()
    ]


def _some(labels: list[str], most: int) -> str:
    more = len(labels) - most
    return "; ".join(labels[:most]) + (f"; and {more} more points" if more > 0 else "")


def first_point(step: RecipeStep) -> RecipeStep:
    """Return a step with the first value of each setting, unchecked; what cannot be read stays as it is."""
    changed: dict[str, Any] = {}
    for part, declared in _declared(step):
        values = dict(getattr(step, part) or {})
        for spec in declared:
            if spec.name in values:
                try:
                    values[spec.name] = _several(values[spec.name], spec)[0]
                except InvalidParams:
                    continue
        if getattr(step, part) is not None:
            changed[part] = values
    return step.model_copy(update=changed)


def _declared(step: RecipeStep) -> list[tuple[_Part, tuple[ParameterSpec, ...]]]:
    return [("params", specs(technique(step.technique).Params)), ("fine_tuning", specs(FineTuning))]


def _axes(steps: list[RecipeStep]) -> list[Axis]:
    found: list[Axis] = []
    problems: list[str] = []
    for number, step in enumerate(steps):
        for part, declared in _declared(step):
            given = getattr(step, part) or {}
            for spec in declared:
                try:
                    values = _several(given[spec.name], spec) if spec.name in given else ()
                except InvalidParams as error:
                    problems += error.problems
                    continue
                if len(values) > 1 or (len(values) == 1 and values[0] is not given[spec.name]):
                    found.append(Axis(number, part, spec, values))
    if problems:
        raise InvalidParams(problems)
    return found


def _several(value: Any, spec: ParameterSpec) -> tuple[Any, ...]:
    """Return the values of a setting: those that a list or a text has, or the one that it is."""
    if spec.kind not in SWEPT:
        return (value,)
    if isinstance(value, list | tuple):
        if not value:
            raise InvalidParams(f"`{spec.name}` ({spec.label}) has no value. Choose at least one.")
        return _distinct(each for entry in value for each in _several(entry, spec))
    return values_of(value, spec) if isinstance(value, str) else (value,)


def _at(steps: list[RecipeStep], axes: list[Axis], values: tuple[Any, ...]) -> tuple[list[RecipeStep], str]:
    """The steps at one point of the grid, and its label."""
    for axis, value in zip(axes, values, strict=True):
        given = {**(getattr(steps[axis.step], axis.part) or {}), axis.spec.name: value}
        steps = [*steps[: axis.step], steps[axis.step].model_copy(update={axis.part: given}), *steps[axis.step + 1 :]]
    varied = {(axis.step, axis.part, axis.spec.name) for axis in axes if len(axis.values) > 1}
    steps = [_without_what_does_not_count(number, step, varied) for number, step in enumerate(steps)]
    words = []
    for axis, value in zip(axes, values, strict=True):
        given = getattr(steps[axis.step], axis.part) or {}
        if len(axis.values) > 1 and axis.spec.name in given:
            alike = sum(other.spec.name == axis.spec.name for other in axes) > 1
            name = f"{steps[axis.step].technique}.{axis.spec.name}" if alike else axis.spec.name
            words.append(f"{name} {value}")
    return steps, ", ".join(words)


def _without_what_does_not_count(number: int, step: RecipeStep, varied: set[tuple[int, _Part, str]]) -> RecipeStep:
    """Leave out, so that defaults hold, what another setting switches off at this point of the grid."""
    changed: dict[str, Any] = {}
    for part, declared in _declared(step):
        given = getattr(step, part)
        if given is not None:
            all_values = {spec.name: spec.default for spec in declared} | given
            changed[part] = {
                name: value
                for name, value in given.items()
                if not any(
                    spec.name == name
                    and spec.only_if is not None
                    and any((number, part, parent) in varied for parent in _parents(spec.only_if))
                    and not spec.only_if.holds(all_values)
                    for spec in declared
                )
            }
    return step.model_copy(update=changed)


def _parents(condition: Condition | None) -> list[str]:
    """The settings that a condition looks at."""
    return [condition.parameter, *_parents(condition.and_if)] if condition else []
