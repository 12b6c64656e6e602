"""Which class does each output unit stand for? Proposed from the confusion matrix, believed only if it holds up."""

from __future__ import annotations

import numpy as np

from intake.parts import Array

_Z = 1.96
_LEAST_GAIN = 0.05
_LEAST_SKILL = 0.2
"""A proposed order must close at least this share of the way from guessing to always right: even an untrained
network reacts differently to different classes, and some order of its units then beats chance a little."""


def propose_class_order(units: Array, classes: Array, count: int, seed: int) -> tuple[tuple[int, ...], float] | None:
    """Return (class of each output unit, accuracy of it), or None where the order of the dataset is as good.

    The order is derived from one half of the samples; accuracy and gain are measured on the other half.

    Args:
        units: int64 (n,), the output unit that the model answers with.
        classes: int64 (n,), the class that is right, 0..count-1.
    """
    shuffled = np.random.default_rng(seed).permutation(len(units))
    first, second = shuffled[::2], shuffled[1::2]
    if len(second) < 2 * count:
        return None
    order = _best_order(units[first], classes[first], count)
    before = units[second] == classes[second]
    after = order[units[second]] == classes[second]
    gain = after.astype(np.float64) - before
    noise = _Z * float(gain.std()) / np.sqrt(len(gain))
    guessing = float(np.bincount(classes[second], minlength=count).max()) / len(second)
    accuracy = float(after.mean())
    enough = float(gain.mean()) > max(noise, _LEAST_GAIN)
    skilled = accuracy > guessing + _LEAST_SKILL * (1 - guessing)
    return (tuple(int(c) for c in order), accuracy) if enough and skilled else None


def _best_order(units: Array, classes: Array, count: int) -> Array:
    from scipy.optimize import linear_sum_assignment

    confusion = np.zeros((count, count))
    np.add.at(confusion, (units, classes), 1)
    # Units that never answered keep their own class where that is free.
    confusion += np.eye(count) * 1e-3
    _, order = linear_sum_assignment(confusion, maximize=True)
    return np.asarray(order)
