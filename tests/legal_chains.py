"""Every mode of every technique and every chain of them, derived from what the registry declares.

A mode is a technique's parameters with one choice made differently from the default, or one layer treated by itself;
of techniques that do not train, which cost nothing, every combination of choices. What a chain may be is asked of
`Recipe`; nothing here knows a technique by name.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from intake.errors import InvalidParams
from optimizers import TECHNIQUES, technique
from optimizers.declaration import OF_LAYERS, Condition, ParameterSpec, specs
from optimizers.recipe import Recipe, RecipeStep

QUICK = {"epochs": 1, "batch_size": 64}
"""Few steps: properties are there or not, however long the training."""
LAYERS = ("hidden", "pointwise")
"""Of `suits_everything`: the first is treated by itself, the second left as it is."""
FEW = 8
"""A whole number with no more values than these is a choice."""
FIRST, MOST_TRIED = 12, 800
"""Modes of each technique, and combinations of them, after which an order counts as one that cannot be."""
PARTNERS = 3
"""Modes of the other techniques that a mode meets in turn; what several chains begin with is trained once."""
Mode = dict[str, Any]


def modes(name: str) -> list[Mode]:
    """Return the modes of a technique, its default first."""
    entry = technique(name)
    declared = specs(entry.Params)
    alone = [{}, *(mode for spec in declared for mode in _departures(spec, declared))]
    if entry.fine_tuning is None:
        alone += _combinations(declared)
    different = [mode for index, mode in enumerate(alone) if mode not in alone[:index]]
    return [mode for mode in different if not reasons_against((name,), (mode,))]


def values_of(spec: ParameterSpec) -> list[Any]:
    """Return the values that a parameter can take where they are few, the default first; else the default alone."""
    if spec.kind in OF_LAYERS:
        return [spec.default]
    found = [spec.default, *spec.choices]
    if spec.kind == "switch":
        found = [spec.default, not spec.default]
    if spec.kind == "integer" and spec.low is not None and spec.high is not None and spec.high - spec.low < FEW:
        found = [spec.default, *range(int(spec.low), int(spec.high) + 1)]
    return list(dict.fromkeys(found))


def _departures(spec: ParameterSpec, declared: Sequence[ParameterSpec]) -> Iterator[Mode]:
    own, left = LAYERS
    if spec.kind == "layers":
        yield {spec.name: [left]}
    elif spec.kind == "layer_number":
        yield {spec.name: {own: 0.9}}
    elif spec.kind == "layer_integer":
        yield {spec.name: {own: max(int(spec.low or 0), 3)}}
    for value in values_of(spec)[1:]:
        yield {**_met(spec.only_if, declared), spec.name: value}


def _met(condition: Condition | None, declared: Sequence[ParameterSpec]) -> Mode:
    """What must be set for a parameter to count."""
    if condition is None:
        return {}
    default = next(spec.default for spec in declared if spec.name == condition.parameter)
    own = {} if default in condition.values else {condition.parameter: condition.values[0]}
    return {**_met(condition.and_if, declared), **own}


def _combinations(declared: Sequence[ParameterSpec]) -> Iterator[Mode]:
    several = [spec for spec in declared if len(values_of(spec)) > 1]
    for values in itertools.product(*map(values_of, several)):
        chosen = {spec.name: value for spec, value in zip(several, values, strict=True)}
        if all(
            spec.only_if is None or chosen[spec.name] == spec.default or spec.only_if.holds(chosen) for spec in several
        ):
            yield {spec.name: chosen[spec.name] for spec in several if chosen[spec.name] != spec.default}


Order = tuple[str, ...]
Chain = tuple[Mode, ...]
"""A mode for each technique of an order."""


def steps_of(order: Order, chain: Chain) -> list[RecipeStep]:
    """Return the steps of a chain, with a quick fine-tuning where they train."""
    return [
        RecipeStep(technique=name, params=mode, fine_tuning=QUICK if technique(name).fine_tuning else None)
        for name, mode in zip(order, chain, strict=True)
    ]


def reasons_against(order: Order, chain: Chain) -> tuple[str, ...]:
    """Return why a chain cannot be, in sentences; empty where it can."""
    try:
        Recipe.checked(steps_of(order, chain))
    except InvalidParams as error:
        return error.problems
    return ()


NAMES = [entry.name for entry in TECHNIQUES]
MODES = {name: modes(name) for name in NAMES}


@functools.cache
def can_be(order: Order) -> bool:
    """True where some chain of an order is legal. No step more makes a chain legal that is not."""
    if not all(can_be(part) for part in itertools.combinations(order, len(order) - 1) if part):
        return False
    chains = itertools.islice(itertools.product(*(MODES[name][:FIRST] for name in order)), MOST_TRIED)
    return any(not reasons_against(order, chain) for chain in chains)


def chains_of(order: Order) -> list[Chain]:
    """Return the chains of an order to carry out.

    One technique: every mode. Two: every mode of the first, and those of the last that `_share` deals to this order.
    Three: only the latter. With whom a mode goes changes from one to the next. Where a technique comes more than once,
    one chain. So every mode is at the end of some chain, and every pair of techniques meets in every mode of the first.
    """
    if not can_be(order):
        return []
    found: list[Chain] = []
    wanted = [(len(order) - 1, mode) for mode in _share(order)]
    if len(order) == 2:
        wanted += [(0, mode) for mode in MODES[order[0]]]
    for place, mode in wanted:
        if not any(chain[place] == mode for chain in found):
            found += itertools.islice(_with(order, place, mode, len(found)), 1)
    return found[:1] if is_repeating(order) else found


def _share(order: Order) -> list[Mode]:
    """The modes of the last technique, dealt out among the orders that it ends."""
    ends = [one for one in ORDERS if len(one) > 1 and one[-1] == order[-1] and not is_repeating(one) and can_be(one)]
    if order not in ends:
        return MODES[order[-1]]
    return MODES[order[-1]][ends.index(order) :: len(ends)]


def is_repeating(order: Order) -> bool:
    """True where a technique comes more than once."""
    return len(set(order)) < len(order)


def _with(order: Order, place: int, mode: Mode, turn: int) -> Iterator[Chain]:
    """Legal chains with a mode at a place; the others begin at other modes with each turn."""
    starts = [turn % min(PARTNERS, len(MODES[name])) for name in order]
    turned = [[*MODES[name][start:], *MODES[name][:start]] for name, start in zip(order, starts, strict=True)]
    choices = [[mode] if index == place else each for index, each in enumerate(turned)]
    tried = itertools.islice(itertools.product(*choices), MOST_TRIED)
    return (chain for chain in tried if not reasons_against(order, chain))


ORDERS = [order for length in range(1, 5) for order in itertools.product(NAMES, repeat=length)]
CHAINS = {order: chains for order in ORDERS if (chains := chains_of(order))}
"""Order -> chains to carry out; each order that can be, up to four steps."""


def everything_set(name: str) -> list[Mode]:
    """Return each parameter of a technique set alone to each of its few values, or near both ends of its range."""
    declared = specs(technique(name).Params)
    return [
        {spec.name: value}
        for spec in declared
        for value in (_of_layers(spec) if spec.kind in OF_LAYERS else [*values_of(spec)[1:], *_near_the_ends(spec)])
    ]


def _of_layers(spec: ParameterSpec) -> list[Any]:
    own = LAYERS[0]
    return [[own]] if spec.kind == "layers" else [{own: value} for value in _near_the_ends(spec)]


def _near_the_ends(spec: ParameterSpec) -> list[Any]:
    if spec.low is None or spec.high is None:
        return []
    is_whole = spec.kind in ("integer", "layer_integer")
    inwards = 1 if is_whole else (spec.high - spec.low) / 100
    return [spec.low + inwards * spec.low_open, spec.high - inwards * spec.high_open]
