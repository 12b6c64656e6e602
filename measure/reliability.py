"""Answers as probabilities, and how far these can be taken at their word."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from measure.behaviour import Reliability

Floats = NDArray[np.float64]
BINS = 10
_ROUNDING = 0.02
"""Eight bits can make a probability of 1 a little more."""


def are_probabilities(values: Floats) -> bool:
    """True where all are in 0 to 1; never for NaN."""
    return bool(np.all((values >= 0) & (values <= 1 + _ROUNDING)))


def sigmoid(logits: Floats) -> Floats:
    """Return the probability of yes."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -500, 500))))


def softmax(logits: Floats) -> Floats:
    """Return the probability of each class, for rows (n, classes)."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def reliability(probability: Floats, right: NDArray[np.bool_]) -> Reliability:
    """Return how far the probabilities of answers (n,), 0 to 1, agree with how often these are right (n,).

    Guo et al. 2017, arXiv 1706.04599, with ten bins.
    """
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    counts = np.bincount(place, minlength=BINS)
    filled = np.maximum(counts, 1)
    mean = np.bincount(place, weights=np.minimum(probability, 1.0), minlength=BINS) / filled
    share = np.bincount(place, weights=right.astype(float), minlength=BINS) / filled
    return Reliability(
        expected_calibration_error=float((counts * np.abs(mean - share)).sum() / max(1, counts.sum())),
        samples=tuple(counts.tolist()),
        probability=tuple(mean.tolist()),
        right=tuple(share.tolist()),
    )
