"""Answers of yes or no to each of several labels of a sample, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measure.behaviour import ClassChange, ClassCounts, Flip
from measure.class_answers import MOST_FLIPS, MOST_UNCHANGED, most_changed
from measure.reliability import are_probabilities, reliability, sigmoid

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]


class LabelAnswers:
    """Collects the answers of an output, chunk by chunk.

    Args:
        names: of the labels, in the order of the output's units.
        from_logits: whether answers are before the sigmoid.
    """

    def __init__(self, names: Sequence[str], from_logits: bool) -> None:
        self._names, self._from_logits = names, from_logits
        self._chunks: list[tuple[Floats, Floats, Booleans]] = []

    def add(self, before: NDArray[Any], after: NDArray[Any], truth: NDArray[Any] | None) -> None:
        """Take note of the answers to some samples, before, after and truth (0 or 1) each (n, labels)."""
        if truth is None:
            raise ValueError("labels are needed to judge several of them")
        old, new = (answers.astype(np.float64) for answers in (before, after))
        if self._from_logits:
            old, new = sigmoid(old), sigmoid(new)
        self._chunks.append((old, new, truth > 0.5))

    def change(self) -> ClassChange:
        """Return what became of the answers; at least one chunk must have come."""
        old, new, is_on = (np.concatenate(parts) for parts in zip(*self._chunks, strict=True))
        was_right, is_right = (((answers > 0.5) == is_on) & ~np.isnan(answers) for answers in (old, new))
        gain = is_right.sum(axis=1) - was_right.sum(axis=1)
        changed = np.flatnonzero(((old > 0.5) != (new > 0.5)).any(axis=1))
        same = np.setdiff1d(np.arange(len(is_on)), changed)[:MOST_UNCHANGED]
        are_shares = are_probabilities(old) and are_probabilities(new)
        return ClassChange(
            names=tuple(self._names),
            changed=len(changed),
            better=int(np.count_nonzero(gain[changed] > 0)),
            worse=int(np.count_nonzero(gain[changed] < 0)),
            flips=tuple(
                self._flip(int(row), is_on[row], old[row], new[row], int(gain[row]))
                for row in changed[np.argsort(gain[changed], kind="stable")][:MOST_FLIPS]
            ),
            unchanged=tuple(self._flip(int(row), is_on[row], old[row], new[row], 0) for row in same),
            classes=most_changed(
                [
                    ClassCounts(name=name, samples=len(is_on), right_before=int(before), right_after=int(after))
                    for name, before, after in zip(
                        self._names, was_right.sum(axis=0), is_right.sum(axis=0), strict=True
                    )
                ]
            ),
            before=_reliability(old, was_right) if are_shares else None,
            after=_reliability(new, is_right) if are_shares else None,
        )

    def _flip(self, row: int, is_on: Booleans, old: Floats, new: Floats, gain: int) -> Flip:
        return Flip(
            row=row,
            truth=self._labels(is_on),
            before=self._labels(old > 0.5),
            after=self._labels(new > 0.5),
            before_probability=None,
            after_probability=None,
            gain=gain,
        )

    def _labels(self, on: Booleans) -> str:
        return ", ".join(name for name, is_on in zip(self._names, on, strict=True) if is_on) or "none"


def _reliability(yes: Floats, right: Booleans) -> Any:
    return reliability(np.maximum(yes, 1 - yes).ravel(), right.ravel())
