"""Preprocessed samples for calibrating a quantization, never from the test part."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intake.datasets import Dataset
from intake.fit import Fit
from intake.preprocessing import model_inputs
from intake.split import stratified_draw


def representative_samples(dataset: Dataset, fit: Fit, count: int, seed: int) -> tuple[NDArray[np.float32], ...]:
    """Return preprocessed training samples, for each input float32 (min(count, training samples), *input shape).

    Stratified by class; the same seed gives the same samples in the same (random) order.

    Args:
        count: samples wanted, at least 1.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    classes = dataset.y_train if dataset.info.label_kind == "class" else None
    index = stratified_draw(len(dataset.x_train), classes, count, seed)
    samples = model_inputs(fit, [np.asarray(array[index]) for array in dataset.part("train").arrays])
    order = np.random.default_rng(seed).permutation(len(index))
    return tuple(array[order] for array in samples)
