"""Answers that choose one class, before and after: which flipped, which classes suffer, what probabilities are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measure.behaviour import ClassChange, ClassCounts, ConfusionCell, Flip
from measure.reliability import are_probabilities, reliability, sigmoid, softmax

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
MOST_FLIPS = 300
MOST_UNCHANGED = 8
MOST_CLASSES = 200
MOST_CELLS = 3600
NOT_A_NUMBER = -1
"""Stands where a model answered with NaN: no class."""


class ClassAnswers:
    """Collects the answers of an output, chunk by chunk: chosen class and its probability.

    Args:
        names: of the classes, in the order of the output's units; of yes and no: no first.
        from_logits: whether answers are before the softmax or sigmoid.
    """

    def __init__(self, names: Sequence[str], from_logits: bool) -> None:
        self._names, self._from_logits = names, from_logits
        self._old: list[tuple[Integers, Floats]] = []
        self._new: list[tuple[Integers, Floats]] = []
        self._truth: list[Integers] = []

    def add(self, before: NDArray[Any], after: NDArray[Any], truth: NDArray[Any] | None) -> None:
        """Take note of the answers to some samples.

        Args:
            before: of the uploaded model, (n, classes), or (n, 1) for yes or no.
            after: of the exported file, likewise.
            truth: numbers of the classes (n,), one-hot rows (n, classes) or yes and no (n, 1); None without labels.
        """
        self._old.append(chosen(before.astype(np.float64), self._from_logits))
        self._new.append(chosen(after.astype(np.float64), self._from_logits))
        if truth is not None:
            rows = truth.reshape(len(truth), -1)
            self._truth.append((rows.argmax(axis=1) if rows.shape[1] > 1 else rows[:, 0]).astype(np.int64))

    def change(self) -> ClassChange:
        """Return what became of the answers; at least one chunk must have come."""
        old, old_sure = (np.concatenate(parts) for parts in zip(*self._old, strict=True))
        new, new_sure = (np.concatenate(parts) for parts in zip(*self._new, strict=True))
        are_shares = are_probabilities(old_sure) and are_probabilities(new_sure)
        sure = (old_sure, new_sure) if are_shares else (None, None)
        if not self._truth:
            changed = np.flatnonzero(old != new)
            flips = self._flips(changed, None, (old, new), sure)
            same = self._flips(in_turn(old, old == new), None, (old, new), sure)
            return ClassChange(
                names=tuple(self._names), changed=len(changed), better=0, worse=0, flips=flips, unchanged=same
            )
        truth = np.concatenate(self._truth)
        was_right, is_right = old == truth, new == truth
        changed = np.flatnonzero(old != new)
        order = changed[np.lexsort((changed, ~is_right[changed], ~was_right[changed]))]
        return ClassChange(
            names=tuple(self._names),
            changed=len(changed),
            better=int(np.count_nonzero(~was_right & is_right)),
            worse=int(np.count_nonzero(was_right & ~is_right)),
            flips=self._flips(order, truth, (old, new), sure),
            unchanged=self._flips(in_turn(truth, old == new), truth, (old, new), sure),
            classes=self._counts(truth, was_right, is_right),
            cells=self._cells(truth, old, new),
            before=reliability(old_sure, was_right) if are_shares else None,
            after=reliability(new_sure, is_right) if are_shares else None,
        )

    def _flips(
        self,
        rows: Integers,
        truth: Integers | None,
        answers: tuple[Integers, Integers],
        sure: tuple[Floats, Floats] | tuple[None, None],
    ) -> tuple[Flip, ...]:
        old_sure, new_sure = sure
        return tuple(
            Flip(
                row=int(row),
                truth="" if truth is None else self._names[truth[row]],
                before=self._name(answers[0][row]),
                after=self._name(answers[1][row]),
                before_probability=None if old_sure is None else float(old_sure[row]),
                after_probability=None if new_sure is None else float(new_sure[row]),
                gain=0 if truth is None else int(answers[1][row] == truth[row]) - int(answers[0][row] == truth[row]),
            )
            for row in rows[:MOST_FLIPS]
        )

    def _name(self, number: int) -> str:
        return "not a number" if number == NOT_A_NUMBER else self._names[number]

    def _counts(self, truth: Integers, was_right: Booleans, is_right: Booleans) -> tuple[ClassCounts, ...]:
        samples, old, new = (
            np.bincount(truth[chosen], minlength=len(self._names)).tolist()
            for chosen in (np.ones(len(truth), bool), was_right, is_right)
        )
        return most_changed(
            [
                ClassCounts(name=name, samples=samples[i], right_before=old[i], right_after=new[i])
                for i, name in enumerate(self._names)
            ]
        )

    def _cells(self, truth: Integers, old: Integers, new: Integers) -> tuple[ConfusionCell, ...]:
        classes, pairs = len(self._names), dict[int, list[int]]()
        for place, answers in enumerate((old, new)):
            usable = answers != NOT_A_NUMBER
            found, counts = np.unique(truth[usable] * classes + answers[usable], return_counts=True)
            for key, count in zip(found.tolist(), counts.tolist(), strict=True):
                pairs.setdefault(key, [0, 0])[place] = count
        cells = [
            ConfusionCell(truth=key // classes, answer=key % classes, before=before, after=after)
            for key, (before, after) in sorted(pairs.items())
        ]
        return tuple(sorted(cells, key=lambda cell: -abs(cell.after - cell.before))[:MOST_CELLS])


def chosen(answers: Floats, from_logits: bool) -> tuple[Integers, Floats]:
    """Return the class chosen for each sample, and what the model gives it, (n,) each: a probability, where it has any.

    Args:
        answers: (n, classes), or (n, 1) for yes or no, where class 1 is yes.
        from_logits: whether they are before the softmax or sigmoid.
    """
    if answers.shape[1] == 1:
        yes = sigmoid(answers[:, 0]) if from_logits else answers[:, 0]
        answers = np.stack([1 - yes, yes], axis=1)  # a tie is a no, as the metric has it: argmax takes the first
    elif from_logits:
        answers = softmax(answers)
    broken = np.asarray(np.isnan(answers).any(axis=1))
    usable = np.where(broken[:, None], 0.0, answers)
    return np.where(broken, NOT_A_NUMBER, usable.argmax(axis=1)), usable.max(axis=1)


def in_turn(classes: Integers, wanted: Booleans) -> Integers:
    """Return the rows of up to `MOST_UNCHANGED` wanted samples: the first of each class (n,), then the second, ..."""
    rows = np.flatnonzero(wanted)
    turn = np.zeros(len(rows), np.int64)
    for each in np.unique(classes[rows]):
        members = classes[rows] == each
        turn[members] = np.arange(np.count_nonzero(members))
    return np.asarray(rows[np.lexsort((rows, turn))][:MOST_UNCHANGED])


def most_changed(counts: list[ClassCounts]) -> tuple[ClassCounts, ...]:
    """Return all in their order; of very many only the most changed."""
    if len(counts) <= MOST_CLASSES:
        return tuple(counts)
    ranked = sorted(range(len(counts)), key=lambda i: -abs(counts[i].right_after - counts[i].right_before))
    return tuple(counts[i] for i in sorted(ranked[:MOST_CLASSES]))
