"""Which value ranges a model may have been trained on, judged by the data, and the steps that lead there."""

from __future__ import annotations

import math
from collections.abc import Sequence

from intake.dataset_info import ArrayInfo, DatasetInfo
from intake.fit import Scale, ScaleMode, Step
from intake.model_info import ModelInfo
from intake.parts import Array
from intake.preprocessing import scale_step
from intake.previews import looks_like_images

_PIXELS = 64
"""So many values of 0-255 in a row are taken for a flattened image."""


def plausible_scales(model_info: ModelInfo, dataset_info: DatasetInfo) -> tuple[ScaleMode, ...]:
    """Return the scales worth measuring; always begins with "none"."""
    if takes_indices(model_info):
        return ("none",)
    if len(model_info.input_shapes) > 1:
        return ("none", "standardize")
    low, high = dataset_info.value_min, dataset_info.value_max
    pixels = looks_like_images(dataset_info.sample_shape) or math.prod(dataset_info.sample_shape) >= _PIXELS
    if dataset_info.kind == "table" or not pixels or low < 0 or high > 255:
        return ("none", "standardize", "min_max")
    if _in_unit_range(dataset_info):
        return ("none", "multiply_255", "minus_one_to_one", "standardize")
    return ("none", "divide_255", "minus_one_to_one", "standardize")


def takes_indices(model_info: ModelInfo) -> bool:
    """Return whether inputs are indices into a table; scaling would only point outside of it."""
    return any(layer.class_name == "Embedding" for layer in model_info.layers)


def likeliest_scale(model_info: ModelInfo, dataset_info: DatasetInfo) -> ScaleMode:
    """Return the scale to take where measuring does not tell.

    Pixels of 0-255 are divided by 255 unless the model begins with a Rescaling or Normalization; all else goes in as
    it is.
    """
    begins = {layer.class_name for layer in model_info.layers[:4]}
    is_plain = not begins & {"Rescaling", "Normalization"}
    return "divide_255" if is_plain and "divide_255" in plausible_scales(model_info, dataset_info) else "none"


def unmeasured_scale(model_info: ModelInfo, dataset_info: DatasetInfo) -> tuple[ScaleMode, str]:
    """Return the likeliest scale where no label tells which is right, and a sentence that says so."""
    if dataset_info.kind == "random":
        return "none", ""
    if likeliest_scale(model_info, dataset_info) == "divide_255":
        return "divide_255", (
            "No label tells which values the model was trained on. Pixels of 0 to 255 were divided by 255, as most "
            "models want them; choose another scale if yours does not."
        )
    return "none", (
        "No label tells which values the model was trained on, so they go in as they are. Choose a scale if the model "
        "was trained on scaled ones."
    )


def scale_steps(
    mode: ScaleMode, dataset_info: DatasetInfo | ArrayInfo, x_train: Array, shape_steps: Sequence[Step]
) -> tuple[Scale, ...]:
    """Return the steps, to be put after `shape_steps`, that bring raw samples to the range of `mode`.

    "none" needs none. "minus_one_to_one" is defined for 0-255, so data within [0, 1] is multiplied by 255 first.
    """
    if mode == "none":
        return ()
    if mode == "minus_one_to_one" and _in_unit_range(dataset_info):
        return (Scale(mode="multiply_255"), Scale(mode=mode))
    return (scale_step(mode, x_train, shape_steps),)


def _in_unit_range(dataset_info: DatasetInfo | ArrayInfo) -> bool:
    return dataset_info.value_min >= 0 and dataset_info.value_max <= 1
