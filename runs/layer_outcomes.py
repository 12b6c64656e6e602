"""What became of each layer: what every step meant to do with it, and how its largest kernel stands in the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from measure.layer_bytes import layer_bytes
from measure.layer_errors import LayerError
from measure.weight_histograms import WeightHistogram, weight_histogram
from measure.weights import WeightTensor, of_layer
from optimizers.layer_facts import LayerFacts
from optimizers.recipe import Recipe
from optimizers.treatment import Treatment

MOST_HISTOGRAMS = 100
"""Layers whose histograms are kept, the largest ones: each takes about 2 kB."""


class LayerOutcome(BaseModel):
    """One layer of the uploaded model."""

    model_config = ConfigDict(frozen=True)

    layer: str
    class_name: str
    parameters: int
    inputs: tuple[str, ...] = ()
    """Layers that it takes from, those of the model's inputs among them; runs of older versions have none."""
    treatments: tuple[Treatment, ...]
    """One for each step of the recipe; none of a baseline."""
    left_by_choice: bool
    """True where some step was told to leave it as it is."""
    dtype: str = ""
    """In which its largest kernel is stored; empty where it has none, or the file does not tell which it is."""
    zero_share: float | None = None
    """Of that kernel, 0 to 1."""
    distinct: int | None = None
    """Different values in that kernel."""
    bytes_before: int | None = None
    """Of all its weights in the float32 file of the uploaded model; None where the file has none of its name."""
    bytes_after: int | None = None
    """Of all its weights in the exported file."""
    histogram: WeightHistogram | None = None
    """Of the values of its largest kernel; None of the smaller ones of very many layers."""
    error: LayerError | None = None
    """Of what it puts out against the float32 file; None where it has no tensor of its own in both."""


def layer_outcomes(
    recipe: Recipe,
    layers: Sequence[LayerFacts],
    tensors: list[WeightTensor],
    originals: Sequence[WeightTensor] = (),
    errors: Mapping[str, LayerError] | None = None,
) -> tuple[LayerOutcome, ...]:
    """Return the outcome of each layer; of a recipe without steps how it stands in the exported file.

    Args:
        recipe: that was carried out.
        layers: of the model.
        tensors: weights of the exported file.
        originals: those of the float32 file of the uploaded model, where it has one.
        errors: of layers, from `measure.layer_errors`.
    """
    by_step = [step.entry.treatments(layers, step.checked_params) for step in recipe.steps]
    chosen = {name for step in recipe.steps for name in step.params.get("leave_as_is", ())}
    weighted = {layer.name for layer in layers if layer.parameters}
    before, after = layer_bytes(originals, weighted), layer_bytes(tensors, weighted)
    drawn = _largest(layers)
    found = []
    for index, layer in enumerate(layers):
        tensor = _of_largest(layer, tensors, weighted)
        original = _of_largest(layer, originals, weighted) if tensor and layer.name in drawn else None
        found.append(
            LayerOutcome(
                layer=layer.name,
                class_name=layer.class_name,
                parameters=layer.parameters,
                inputs=layer.inputs,
                treatments=tuple(treatments[index] for treatments in by_step),
                left_by_choice=layer.name in chosen,
                dtype=tensor.dtype if tensor else "",
                zero_share=tensor.zero_share if tensor else None,
                distinct=tensor.distinct if tensor else None,
                bytes_before=before.get(layer.name),
                bytes_after=after.get(layer.name),
                histogram=weight_histogram(tensor, original) if tensor and layer.name in drawn else None,
                error=(errors or {}).get(layer.name),
            )
        )
    return tuple(found)


def _of_largest(layer: LayerFacts, tensors: Sequence[WeightTensor], weighted: set[str]) -> WeightTensor | None:
    """The tensor that holds the largest kernel of a layer."""
    if not layer.kernels:
        return None
    kernel = max(layer.kernels, key=lambda kernel: kernel.size)
    return of_layer(list(tensors), layer.name, kernel.size, kernel.shape, weighted - {layer.name})


def _largest(layers: Sequence[LayerFacts]) -> set[str]:
    ranked = sorted((layer for layer in layers if layer.kernels), key=lambda layer: -layer.parameters)
    return {layer.name for layer in ranked[:MOST_HISTOGRAMS]}
