"""Which layers cost accuracy: each is treated alone, without training, while all others stay as they were uploaded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from intake.errors import InvalidParams
from intake.fit import Metric
from optimizers.estimate import steps_on_kernels
from optimizers.kept import KernelKey
from optimizers.kernels import kernels_of
from optimizers.layer_facts import KernelFacts, LayerFacts
from optimizers.recipe import Recipe, RecipeStep

_Z = 1.959964
"""Normal quantile of a two-sided 95 % interval."""

Scores = NDArray[np.float64]


class LayerCost(BaseModel):
    """What one layer costs, treated alone."""

    model_config = ConfigDict(frozen=True)

    layer: str
    class_name: str
    weights: int
    """Of the kernels that the recipe acts on."""
    metric: float | None = None
    """With this layer treated; None where it was not measured."""
    change: float | None = None
    """Of the metric: with this layer treated, less without any."""
    noise: float | None = None
    """Half of the 95 % interval of the change, from the number of samples."""
    saved_bytes: int | None = None
    """By which the recipe is expected to make the gzip of the file smaller at this layer; None where that is not known."""
    reason: str = ""
    """Why it was not measured, in a sentence."""


class Sensitivity(BaseModel):
    """What each layer that a recipe acts on costs by itself."""

    model_config = ConfigDict(frozen=True)

    metric_name: Metric
    part: Literal["validation", "train"]
    """Of the dataset: the samples are from it. Never the test part, or a choice of layers would be made for it."""
    samples: int
    whole: float
    """The metric of the uploaded model on the same samples."""
    layers: tuple[LayerCost, ...]
    """In the order of the model."""
    notes: tuple[str, ...] = ()
    """What the recipe does beside, in sentences."""


def layer_costs(
    model: Any,
    recipe: Recipe,
    layers: Sequence[LayerFacts],
    scores: Callable[[], Scores],
    *,
    is_share: bool,
    limit_s: float,
    on_layer: Callable[[int, int], None] = lambda done, total: None,
    now: Callable[[], float] = time.monotonic,
) -> list[LayerCost]:
    """Treat each layer alone, and return what that costs, in the order of the model.

    Small layers come first: to leave them as they are costs the fewest bytes, so they are most worth knowing.

    Args:
        model: clean tf_keras model; its kernels are replaced and put back.
        recipe: what is done to a layer.
        layers: of the model.
        scores: returns the metric of each of the same samples (n,), for the model as it is when called.
        is_share: whether the metric is a share of 0 to 1.
        limit_s: seconds after which no further layer is begun.
        on_layer: told after each layer how many of how many are done.
        now: seconds.

    Raises:
        InvalidParams: a step leaves layers as they are that the model does not have.
    """
    acted_on, began = steps_on_kernels(recipe, layers), now()
    facts = {layer.name: layer for layer in layers if any(name == layer.name for name, _ in acted_on)}
    kernels = {(layer.name, one.name): one.variable for layer in model.layers for one in kernels_of(layer)}
    before = scores()
    costs: dict[str, LayerCost] = {}
    for layer in sorted(facts.values(), key=lambda one: _weights(one, acted_on)):
        if now() - began > limit_s:
            reason = f"Not measured: the time was up ({limit_s:g} s)."
            costs[layer.name] = _cost(layer, acted_on).model_copy(update={"reason": reason})
            continue
        costs[layer.name] = _measured(layer, acted_on, kernels, scores, before, is_share)
        on_layer(len(costs), len(facts))
    return [costs[name] for name in facts]


def _weights(layer: LayerFacts, acted_on: Mapping[KernelKey, Any]) -> int:
    return sum(kernel.size for kernel in layer.kernels if (layer.name, kernel.name) in acted_on)


def _cost(layer: LayerFacts, acted_on: Mapping[KernelKey, Any]) -> LayerCost:
    return LayerCost(layer=layer.name, class_name=layer.class_name, weights=_weights(layer, acted_on))


def _measured(
    layer: LayerFacts,
    acted_on: Mapping[KernelKey, Sequence[RecipeStep]],
    kernels: Mapping[KernelKey, Any],
    scores: Callable[[], Scores],
    before: Scores,
    is_share: bool,
) -> LayerCost:
    chosen = [(kernels[key], key, steps) for key, steps in acted_on.items() if key[0] == layer.name and key in kernels]
    originals = [(variable, variable.numpy()) for variable, _, _ in chosen]
    try:
        for (variable, values), (_, key, steps) in zip(originals, chosen, strict=True):
            variable.assign(treated(values, steps, layer, layer.kernel(key[1])))
        after = scores()
    except NotImitated as error:
        return _cost(layer, acted_on).model_copy(update={"reason": str(error)})
    finally:
        for variable, values in originals:
            variable.assign(values)
    change, noise = paired_change(before, after, is_share=is_share)
    found = {"metric": float(after.mean()), "change": change, "noise": noise}
    return _cost(layer, acted_on).model_copy(update=found)


class NotImitated(Exception):
    """A technique does not say what it makes of a kernel; the message is a sentence for the user."""


def treated(
    values: np.ndarray, steps: Sequence[RecipeStep], layer: LayerFacts, kernel: KernelFacts
) -> NDArray[np.float32]:
    """Return what some steps make of a kernel without training: float32, the shape of the kernel.

    Zeros that a step wins stay zero under the steps after it, as in a chain.

    Raises:
        NotImitated: a technique has no imitation.
    """
    rows, zeros = rows_of(values, kernel), None
    for step in steps:
        found = step.entry.imitate(rows, step.checked_params, layer, kernel)
        if found is None:
            raise NotImitated(f"Not measured: what {step.entry.title} does without training is not known.")
        rows = found if zeros is None else np.where(zeros, np.float32(0), found)
        if step.entry.wins == "zeros":
            zeros = rows == 0
    return from_rows(rows, kernel)


def rows_of(values: np.ndarray, kernel: KernelFacts) -> NDArray[np.float32]:
    """Return a kernel as (output channels, values of each), the inputs of a convolution last, as the file has it."""
    order, leading = _order(kernel)
    channels = math.prod(kernel.shape[axis] for axis in order[:leading])
    return np.ascontiguousarray(values.transpose(order), np.float32).reshape(channels, -1)


def from_rows(rows: np.ndarray, kernel: KernelFacts) -> NDArray[np.float32]:
    """Undo `rows_of`."""
    order, _ = _order(kernel)
    turned = rows.reshape([kernel.shape[axis] for axis in order])
    return np.ascontiguousarray(turned.transpose(np.argsort(order)), np.float32)


def _order(kernel: KernelFacts) -> tuple[tuple[int, ...], int]:
    """The axes of a kernel in the order of the file, and how many of the first make up an output channel."""
    rank = len(kernel.shape)
    others = tuple(range(rank))
    if kernel.is_depthwise:
        return (*others[-2:], *others[:-2]), 2
    axis = rank - 1
    if kernel.operation == "GATHER":
        axis = 0
    elif rank > 2 and kernel.input_axis == rank - 1:  # transposed convolutions
        axis = rank - 2
    return (axis, *others[:axis], *others[axis + 1 :]), 1


def paired_change(before: Scores, after: Scores, *, is_share: bool) -> tuple[float, float]:
    """Return the mean change of the metric, and half of its 95 % interval, from the same samples before and after.

    For shares half a sample more of each change is counted, so that no change at all has an interval, too (Agresti and
    Min 2005, Simple improved confidence intervals for comparing matched proportions).

    Args:
        before: metric of each sample (n,), n >= 1.
        after: of the same samples.
        is_share: whether the metric of a sample is 0 to 1.
    """
    differences, more = after - before, 2 if is_share else 0
    count = len(differences) + more
    squares = float((differences**2).sum()) + more / 2
    mean = float(differences.sum()) / count
    return float(differences.mean()), _Z * math.sqrt(max(0.0, squares / count - mean**2) / count)


def spared(recipe: Recipe, layer: str, layers: Sequence[LayerFacts]) -> Recipe:
    """Return a recipe that leaves one layer as it is in each step that acts on it, by what each technique declares.

    Raises:
        InvalidParams: no step acts on the layer or can spare it, or what is left contradicts itself.
    """
    steps = [_spared(step, layer, layers) for step in recipe.steps]
    if steps == list(recipe.steps):
        raise InvalidParams(f"No step of this recipe can treat {layer} more gently than it does.")
    return Recipe.checked(steps)


def _spared(step: RecipeStep, layer: str, layers: Sequence[LayerFacts]) -> RecipeStep:
    params = step.checked_params
    treatments = step.entry.treatments(layers, params)
    if not any(one.layer == layer and one.verdict == "acts" for one in treatments):
        return step
    gentle = step.entry.spare(params, layer).model_dump(mode="json")
    return step.model_copy(update={"params": gentle})
