"""Some samples of the test part as people can look at them: small images, or rows of values. Needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from intake.dataset_info import DatasetInfo
from intake.datasets import load_parsed
from intake.previews import looks_like_images, small_image, values_text


class ShownSamples(BaseModel):
    """Samples by their row in the test part, in the one or the other form; neither for random inputs."""

    model_config = ConfigDict(frozen=True)

    images: dict[int, bytes] = {}
    """WebP files of at most 96 pixels a side."""
    values: dict[int, str] = {}
    """The first values, with the names of their columns where there are any."""


def shown_samples(folder: Path, rows: Sequence[int]) -> ShownSamples:
    """Return some samples of the test part of a parsed dataset; none of rows that it does not have.

    Raises:
        OSError: the parsed copy is no longer there.
        ValueError: it is not what this version writes.
    """
    dataset = load_parsed(folder)
    info, samples = dataset.info, dataset.part("test").x
    inside = [row for row in rows if 0 <= row < len(samples)]
    if info.kind == "random":
        return ShownSamples()
    if info.kind != "table" and looks_like_images(info.sample_shape):
        return ShownSamples(images={row: small_image(samples[row], _value_range(info)) for row in inside})
    return ShownSamples(values={row: values_text(samples[row], info.feature_names) for row in inside})


def _value_range(info: DatasetInfo) -> tuple[float, float]:
    return info.sample_arrays[0].value_min, info.sample_arrays[0].value_max
