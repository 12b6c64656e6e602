"""What earlier steps of a chain won on each kernel, and how later training keeps it: zeros stay zero, equal stays equal.

TFMOT has schemes for this (PQAT, CQAT, PCQAT), but they know Conv2D and Dense only, rebuild their masks from whatever
they find, and let zeros drift while clustering (tensorflow/model-optimization #513, PR #720). Here the masks and the
sharing are taken from the trained weights and enforced between the optimizer steps, on any kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from intake.keras_env import keras2, tensorflow
from measure.facts import WeightOf

Won = Literal["zeros", "values"]
"""zeros: many weights of a kernel are 0. values: a kernel has few different values."""
KernelKey = tuple[str, str]
"""(name of the layer, name of the kernel within it)."""


@dataclass(frozen=True)
class KeptKernel:
    """What must survive in one kernel."""

    zeros: np.ndarray | None = None
    """bool, the kernel's shape: True where the weight stays 0."""
    members: np.ndarray | None = None
    """int32, the kernel's shape: weights of equal number stay equal; 0 ... n-1."""


Kept = Mapping[KernelKey, KeptKernel]


def won_by(win: Won, kernels: Mapping[KernelKey, Any], weights: Sequence[WeightOf], before: Kept) -> Kept:
    """Return what is to be kept after a step: what was kept before, and what the step has won.

    Args:
        win: what the step wins.
        kernels: variables of the trained model.
        weights: what the step acted on.
        before: what earlier steps had won.
    """
    kept = dict(before)
    for weight in weights:
        key = (weight.layer, weight.weight)
        if key not in kernels:
            continue
        values = kernels[key].numpy()
        old = kept.get(key, KeptKernel())
        if win == "zeros":
            kept[key] = KeptKernel(values == 0, old.members)
        else:
            members = np.unique(values, return_inverse=True)[1].reshape(values.shape).astype(np.int32)
            kept[key] = KeptKernel(old.zeros, members)
    return kept


class Keeper:
    """Brings kernels back to what must be kept, after each optimizer step.

    Args:
        kept: what to keep.
        kernels: variables of the model in training; those that are not in `kept` are left alone.
    """

    def __init__(self, kept: Kept, kernels: Mapping[KernelKey, Any]) -> None:
        self._rules = [(kernels[key], _rule(rule)) for key, rule in kept.items() if key in kernels]

        def bring_back() -> None:
            for variable, rule in self._rules:
                variable.assign(rule(variable))

        self.bring_back = tensorflow().function(bring_back)

    def callback(self) -> Any:
        """Return the Keras callback that does this while a model trains."""
        bring_back = self.bring_back

        class KeepWhatWasWon(keras2().callbacks.Callback):  # type: ignore[misc]
            def after_step(self) -> None:
                bring_back()

        return KeepWhatWasWon()


def _rule(kept: KeptKernel) -> Any:
    """Return what maps a kernel to the nearest one that keeps the rule.

    Weights that share a value move together by the mean of their updates, as in clustering.
    """
    tf = tensorflow()
    mask = None if kept.zeros is None else tf.constant(~kept.zeros)
    members = None if kept.members is None else tf.constant(kept.members.reshape(-1))
    count = 0 if kept.members is None else int(kept.members.max()) + 1

    def bring(kernel: Any) -> Any:
        if members is not None:
            means = tf.math.unsorted_segment_mean(tf.reshape(kernel, [-1]), members, count)
            kernel = tf.reshape(tf.gather(means, members), tf.shape(kernel))
        return kernel if mask is None else tf.where(mask, kernel, tf.zeros_like(kernel))

    return bring
