"""How large the exported file will be, known before a second is spent. numpy only, no TensorFlow.

A technique says what it does to the values of a kernel (`Technique.simulate`). That is done to a sample of each kernel
that it acts on; the rest of the file stays as it is in float32.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from measure.conversion import Conversion
from optimizers.kept import KernelKey
from optimizers.kernel_samples import KernelSample
from optimizers.layer_facts import LayerFacts
from optimizers.recipe import Recipe, RecipeStep
from optimizers.stored_form import stored_form
from optimizers.stored_kernels import is_sparse

FLOAT_BYTES = 4
COMPRESSION_LEVEL = 9
"""Of zlib, as in `measure.sizes.gzip_bytes`: of many zeros a lower level would make a tenth more."""


class EstimatedSizes(BaseModel):
    """What the exported file is expected to weigh."""

    model_config = ConfigDict(frozen=True)

    tflite_bytes: int
    gzip_bytes: int
    """Of the `.tflite` in gzip."""


class SizeEstimator:
    """Estimates for one model; what one kernel came to is kept, so that a changed parameter costs only what it changes.

    Args:
        layers: of the model.
        float_sizes: measured sizes of its float32 `.tflite`.
        samples: of its kernels.
    """

    def __init__(
        self, layers: Sequence[LayerFacts], float_sizes: EstimatedSizes, samples: Sequence[KernelSample]
    ) -> None:
        self._layers, self._float_sizes = layers, float_sizes
        self._samples = {(sample.layer, sample.name): sample for sample in samples}
        self._by_name = {layer.name: layer for layer in layers}
        self._changes: dict[tuple[str, str, str], tuple[float, float]] = {}
        self._unchanged: dict[tuple[str, str], int] = {}

    def estimate(self, recipe: Recipe) -> EstimatedSizes:
        """Return the sizes that a recipe is expected to come to.

        Raises:
            InvalidParams: a step leaves layers as they are that the model does not have.
        """
        changes = list(self.changes(recipe).values())
        raw = self._float_sizes.tflite_bytes + sum(change for change, _ in changes)
        compressed = self._float_sizes.gzip_bytes + sum(change for _, change in changes)
        return EstimatedSizes(tflite_bytes=max(0, round(raw)), gzip_bytes=max(0, round(compressed)))

    def changes(self, recipe: Recipe) -> dict[KernelKey, tuple[float, float]]:
        """Return by how many bytes the file and its gzip grow by each kernel that a recipe acts on; mostly negative.

        Raises:
            InvalidParams: a step leaves layers as they are that the model does not have.
        """
        acted_on = steps_on_kernels(recipe, self._layers)
        return {kernel: self._change(kernel, steps) for kernel, steps in acted_on.items() if kernel in self._samples}

    def _change(self, kernel: tuple[str, str], steps: list[RecipeStep]) -> tuple[float, float]:
        """By how many bytes the file and its gzip grow where these steps act on one kernel; mostly negative."""
        key = (*kernel, " ".join(_what_counts(step) for step in steps))
        if len(self._changes) > 20_000:
            self._changes.clear()
        if key not in self._changes:
            layer = self._by_name[kernel[0]]
            self._changes[key] = _change(self._samples[kernel], layer, steps, self._compressed_as_it_is(kernel))
        return self._changes[key]

    def _compressed_as_it_is(self, kernel: tuple[str, str]) -> int:
        if kernel not in self._unchanged:
            sample = self._samples[kernel]
            self._unchanged[kernel] = compressed_bytes(stored_form(sample.values * sample.factor, sparse=False))
        return self._unchanged[kernel]


def steps_on_kernels(recipe: Recipe, layers: Sequence[LayerFacts]) -> dict[KernelKey, list[RecipeStep]]:
    """Return the kernels that a recipe acts on, each with the steps that do, in their order.

    Raises:
        InvalidParams: a step leaves layers as they are that the model does not have.
    """
    acted_on: dict[KernelKey, list[RecipeStep]] = {}
    for step in recipe.steps:
        for weight in step.entry.weights_of(layers, step.checked_params):
            acted_on.setdefault((weight.layer, weight.weight), []).append(step)
    return acted_on


def _what_counts(step: RecipeStep) -> str:
    """Which layers are left as they are is no matter for those that are not."""
    params = step.checked_params.model_copy(update={"leave_as_is": ()})
    return f"{step.technique}{params.model_dump_json()}"


def _change(
    sample: KernelSample, layer: LayerFacts, steps: list[RecipeStep], compressed_before: int
) -> tuple[float, float]:
    kernel = layer.kernel(sample.name)
    values: np.ndarray = sample.values
    folded, conversion, added = False, Conversion(), 0
    for step in steps:
        if step.entry.converts and not folded:
            values, folded = values * sample.factor, True
        values = step.entry.simulate(values, step.checked_params, layer, kernel)
        added += step.entry.added_bytes(sample.channels, step.checked_params, kernel)
        conversion = step.entry.conversion(step.checked_params, conversion)
    if not folded:
        values = values * sample.factor
    content = stored_form(values, sparse=is_sparse(kernel, conversion))
    raw = len(content) * sample.scale_up - sample.size * FLOAT_BYTES + added
    compressed = compressed_bytes(content) - compressed_before
    return raw, compressed * sample.scale_up + added * ADDED_IN_GZIP


ADDED_IN_GZIP = 0.35
"""How much of the scales and names beside a kernel is left in gzip."""


def compressed_bytes(content: bytes) -> int:
    """Return how many bytes a zlib stream of this content takes, without its frame."""
    deflate = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return len(deflate.compress(content) + deflate.flush())
