"""What became of each layer: what every step meant to do with it, and how its largest kernel stands in the file."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from measure.weights import WeightTensor, of_layer
from optimizers.layer_facts import LayerFacts
from optimizers.recipe import Recipe
from optimizers.treatment import Treatment


class LayerOutcome(BaseModel):
    """One layer of the uploaded model."""

    model_config = ConfigDict(frozen=True)

    layer: str
    class_name: str
    parameters: int
    treatments: tuple[Treatment, ...]
    """One for each step of the recipe."""
    left_by_choice: bool
    """True where some step was told to leave it as it is."""
    dtype: str = ""
    """In which its largest kernel is stored; empty where it has none, or the file does not tell which it is."""
    zero_share: float | None = None
    """Of that kernel, 0 to 1."""


def layer_outcomes(
    recipe: Recipe, layers: Sequence[LayerFacts], tensors: list[WeightTensor]
) -> tuple[LayerOutcome, ...]:
    """Return the outcome of each layer; empty where the recipe has no steps.

    Args:
        recipe: that was carried out.
        layers: of the model.
        tensors: weights of the exported file.
    """
    if not recipe.steps:
        return ()
    by_step = [step.entry.treatments(layers, step.checked_params) for step in recipe.steps]
    chosen = {name for step in recipe.steps for name in step.params.get("leave_as_is", ())}
    found = []
    for index, layer in enumerate(layers):
        tensor = of_layer(tensors, layer.name, max(kernel.size for kernel in layer.kernels)) if layer.kernels else None
        found.append(
            LayerOutcome(
                layer=layer.name,
                class_name=layer.class_name,
                parameters=layer.parameters,
                treatments=tuple(treatments[index] for treatments in by_step),
                left_by_choice=layer.name in chosen,
                dtype=tensor.dtype if tensor else "",
                zero_share=tensor.zero_share if tensor else None,
            )
        )
    return tuple(found)
