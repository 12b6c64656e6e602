"""Inputs made from the model alone: for a project without a dataset, and for comparing two models.

What an input is given is decided by a rule, in this order:

1. It feeds an Embedding (or a CategoryEncoding): indices that the table has.
2. Its dtype is an integer: 0 and 1.
3. A Rescaling follows: 0 to 255 where it makes values smaller, 0 to 1 where it makes them larger.
4. A Normalization follows: normal with the mean and the variance that it took from its training data.
5. It has four axes, like an image: 0 to 1.
6. Anything else: standard normal, or 0 to 1 where that makes answers that are no finite numbers (square roots).

Open sizes become 8 (one open axis of two), 16 (sequences) or 64 (images).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from intake.dataset_info import RANDOM_INPUTS, RANDOM_INPUTS_NOTE, DatasetInfo, DatasetOptions
from intake.datasets import store_dataset
from intake.errors import BadDataset
from intake.model_info import ModelInfo
from intake.parts import PARTS, Array, Part, PartName, ReadFile

MOST_SAMPLES: dict[PartName, int] = {"train": 512, "validation": 128, "test": 256}
MOST_BYTES = 64 * 2**20
"""Of all parts together, end included; fewer samples where each is large, but never fewer than one 32nd of MOST_SAMPLES."""
_FEWEST_SHARE = 1 / 32
_FREE_SIZES = {2: 8, 3: 16}
_FREE_IMAGE_SIZE = 64
_PASSED_THROUGH = {
    "Reshape", "Flatten", "Permute", "RepeatVector", "Masking", "Dropout", "SpatialDropout1D", "Concatenate",
    "TFOpLambda", "SlicingOpLambda", "InputLayer",
}  # fmt: skip
"""Layers that hand on (a part of) the indices they are given."""
_KEEP_THE_RANGE = {
    "Resizing", "CenterCrop", "Cropping2D", "ZeroPadding2D", "Reshape", "Permute", "Dropout", "GaussianNoise",
    "RandomFlip", "RandomRotation", "RandomZoom", "RandomCrop", "RandomTranslation", "RandomContrast",
    "RandomBrightness", "RandomHeight", "RandomWidth",
}  # fmt: skip
"""Layers that may come before a Rescaling or Normalization: what they give has the range of what they are given."""
_TRIED_SAMPLES = 32

Kind = Literal["indices", "flags", "bytes", "unit", "fitted", "normal"]
_WORDS: dict[Kind, str] = {
    "flags": "0 or 1",
    "bytes": "whole numbers from 0 to 255, because a Rescaling follows",
    "unit": "numbers from 0 to 1",
    "fitted": "normal numbers with the mean and variance of the Normalization that follows",
    "normal": "standard normal numbers",
}


@dataclass(frozen=True)
class InputPlan:
    """What one input is given."""

    name: str
    shape: tuple[int, ...]
    """Of one sample, open sizes filled in."""
    kind: Kind
    limit: int = 0
    """Indices stay below this."""
    mean: Array | float = 0.0
    deviation: Array | float = 1.0

    def draw(self, generator: np.random.Generator, count: int) -> Array:
        """Return (count, *shape): int32 for indices and flags, uint8 for bytes, float32 for the rest."""
        shape = (count, *self.shape)
        match self.kind:
            case "indices":
                return generator.integers(0, self.limit, shape, np.int32)
            case "flags":
                return generator.integers(0, 2, shape, np.int32)
            case "bytes":
                return generator.integers(0, 256, shape, np.uint8)
            case "unit":
                return generator.random(shape, np.float32)
        return np.asarray(generator.standard_normal(shape, np.float32) * self.deviation + self.mean, np.float32)

    @property
    def words(self) -> str:
        """For people."""
        return f"indices below {self.limit:,}" if self.kind == "indices" else _WORDS[self.kind]


def input_plans(model: Any) -> list[InputPlan]:
    """Return what each input of a tf_keras model is given, in their order.

    Raises:
        BadDataset: an input takes text.
    """
    limits = index_limits(model)
    plans = [_plan(model, tensor, limit) for tensor, limit in zip(model.inputs, limits, strict=True)]
    if all(plan.kind != "normal" for plan in plans) or _answers_are_finite(model, plans):
        return plans
    calmer = [replace(plan, kind="unit") if plan.kind == "normal" else plan for plan in plans]
    return calmer if _answers_are_finite(model, calmer) else plans


def _answers_are_finite(model: Any, plans: list[InputPlan]) -> bool:
    inputs = [plan.draw(np.random.default_rng(0), _TRIED_SAMPLES) for plan in plans]
    with np.errstate(all="ignore"):
        answers = model.predict(inputs[0] if len(inputs) == 1 else inputs, batch_size=_TRIED_SAMPLES, verbose=0)
    several = answers if isinstance(answers, list | tuple) else [answers]
    return all(bool(np.isfinite(answer).all()) for answer in several)


def _plan(model: Any, tensor: Any, limit: int | None) -> InputPlan:
    name, shape, dtype = tensor._keras_history.layer.name, filled_shape(tensor), tensor.dtype.as_numpy_dtype
    if not np.issubdtype(dtype, np.number) and not np.issubdtype(dtype, np.bool_):
        raise BadDataset(f"Input '{name}' takes {tensor.dtype.name}, which cannot be made up. Upload a dataset.")
    if limit is not None:
        return InputPlan(name, shape, "indices", limit)
    if not np.issubdtype(dtype, np.floating):
        return InputPlan(name, shape, "flags")
    for layer in _layers_fed_by(model, tensor):
        kind = type(layer).__name__
        if kind == "Rescaling":
            return InputPlan(name, shape, "bytes" if float(np.max(np.abs(layer.scale))) < 1 else "unit")
        if kind == "Normalization" and getattr(layer, "mean", None) is not None:
            mean, deviation = np.asarray(layer.mean, np.float32)[0], np.sqrt(np.asarray(layer.variance, np.float32))[0]
            return InputPlan(name, shape, "fitted", mean=mean, deviation=deviation)
    return InputPlan(name, shape, "unit" if len(tensor.shape) == 4 else "normal")


def filled_shape(tensor: Any) -> tuple[int, ...]:
    """Return the shape of one sample of a model's input, with sensible numbers where it is open."""
    free = _FREE_SIZES.get(len(tensor.shape), _FREE_IMAGE_SIZE)
    return tuple(free if size is None else int(size) for size in tensor.shape[1:])


def index_limits(model: Any) -> list[int | None]:
    """Return for each input the number of rows of the smallest table that it is an index into; None for no index."""
    limits: dict[int, int] = {}
    for layer in model.layers:
        size = _table_size(layer)
        for node in layer.inbound_nodes if size else ():
            for tensor in node.keras_inputs:
                for source in _sources(tensor):
                    limits[id(source)] = min(size, limits.get(id(source), size))
    return [limits.get(id(tensor)) for tensor in model.inputs]


def _table_size(layer: Any) -> int:
    names = {"Embedding": "input_dim", "CategoryEncoding": "num_tokens"}
    return int(getattr(layer, names.get(type(layer).__name__, ""), 0) or 0)


def _sources(tensor: Any) -> Iterator[Any]:
    """Yield the tensors that a tensor is made of without computing on them, back to the model's inputs."""
    yield tensor
    history = getattr(tensor, "_keras_history", None)
    if history is not None and type(history.layer).__name__ in _PASSED_THROUGH:
        for before in history.layer.inbound_nodes[history.node_index].keras_inputs:
            yield from _sources(before) if before is not tensor else ()


def _layers_fed_by(model: Any, tensor: Any) -> Iterator[Any]:
    """Yield the layers that take a tensor, looking through those that keep its range of values."""
    for layer in model.layers:
        for node in layer.inbound_nodes:
            if type(layer).__name__ == "InputLayer" or all(fed is not tensor for fed in node.keras_inputs):
                continue
            if type(layer).__name__ in _KEEP_THE_RANGE:
                yield from _layers_fed_by(model, node.outputs)
            else:
                yield layer


def make_random_inputs(model: Any, info: ModelInfo, options: DatasetOptions, parsed_dir: Path) -> DatasetInfo:
    """Store random inputs for a model as the folder `parsed_dir`, to be opened by `intake.datasets.load_parsed`.

    The same model and seed give the same samples.

    Args:
        model: clean tf_keras model.
        info: of the same model.
        options: the seed is used.

    Raises:
        BadDataset: an input takes text.
    """
    plans = input_plans(model)
    sample_bytes = sum(plan.draw(np.random.default_rng(0), 1).nbytes for plan in plans)
    counts = _counts(sample_bytes)

    def read(scratch: Path) -> ReadFile:
        parts = {part: Part(*_drawn(plans, counts[part], (options.seed, number))) for number, part in enumerate(PARTS)}
        names = tuple(plan.name for plan in plans) if len(plans) > 1 else ()
        notes = [f"Input '{plan.name}' is given {plan.words}." for plan in plans]
        return ReadFile("random", parts, options, "none", notes=(RANDOM_INPUTS_NOTE, *notes), array_names=names)

    digest = hashlib.sha256(f"{RANDOM_INPUTS} {info.sha256} {options.seed}".encode()).hexdigest()
    return store_dataset(read, parsed_dir, lambda: (RANDOM_INPUTS, sample_bytes * sum(counts.values()), digest))


def _counts(sample_bytes: int) -> dict[PartName, int]:
    wanted = sample_bytes * sum(MOST_SAMPLES.values())
    share = min(1.0, max(_FEWEST_SHARE, MOST_BYTES / wanted))
    return {part: math.floor(most * share) for part, most in MOST_SAMPLES.items()}


def _drawn(plans: list[InputPlan], count: int, seed: tuple[int, int]) -> tuple[Array, None, tuple[Array, ...]]:
    first, *more = (plan.draw(np.random.default_rng((*seed, i)), count) for i, plan in enumerate(plans))
    return first, None, tuple(more)
