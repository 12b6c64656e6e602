"""How good predictions are: accuracy, error or agreement, and how far chance could have moved it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from intake.fit import Fit
from intake.parts import Array

_Z = 1.959964
"""Normal quantile of a two-sided 95 % interval."""


def score(fit: Fit, predictions: Array, targets: Array) -> float:
    """Return the metric of `fit`: accuracy as a share of 0 to 1, or the mean absolute or squared error (>= 0).

    A prediction that is NaN counts as wrong; for errors the result is then NaN.

    Args:
        predictions: outputs of the model, (n, ...), n >= 1.
        targets: as `apply_labels` returns them.
    """
    return float(sample_scores(fit, predictions, targets).mean())


def confidence_interval(fit: Fit, predictions: Array, targets: Array) -> tuple[float, float]:
    """Return the 95 % interval of `score`: Wilson for shares, mean -+ 1.96 standard errors (not below 0) for errors."""
    return interval_of(fit, sample_scores(fit, predictions, targets))


def interval_of(fit: Fit, each: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95 % interval of the mean of the metric of each sample (n,), n >= 1."""
    mean, count = float(each.mean()), len(each)
    if fit.is_share:
        return _wilson(mean, count)
    spread = _Z * float(each.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    return max(0.0, mean - spread), mean + spread


def _wilson(share: float, count: int) -> tuple[float, float]:
    middle = share + _Z**2 / (2 * count)
    half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    scale = 1 + _Z**2 / count
    # At a share of exactly 0 or 1 rounding can put the end of the interval on the wrong side of the share.
    return max(0.0, min(share, (middle - half) / scale)), min(1.0, max(share, (middle + half) / scale))


def sample_scores(fit: Fit, predictions: Array, targets: Array) -> NDArray[np.float64]:
    """Return the metric of each sample, float64 (n,); `score` is its mean."""
    if fit.metric_name == "accuracy":
        return _hits(fit, predictions, targets)
    count = len(predictions)
    difference = predictions.reshape(count, -1).astype(np.float64) - targets.reshape(count, -1)
    return np.asarray((np.abs(difference) if fit.metric_name == "mae" else difference**2).mean(axis=1))


def _hits(fit: Fit, predictions: Array, targets: Array) -> NDArray[np.float64]:
    count = len(predictions)
    flat = predictions.reshape(count, -1)
    usable = ~np.isnan(flat).any(axis=1)
    if fit.task == "classification":
        truth = targets.reshape(count, -1)
        classes = truth.argmax(axis=1) if truth.shape[1] > 1 else truth[:, 0]
        return np.asarray((flat.argmax(axis=1) == classes) & usable, np.float64)
    answers = flat > (0.0 if fit.from_logits else 0.5)
    return np.asarray((answers == (targets.reshape(count, -1) > 0.5)).mean(axis=1) * usable)
