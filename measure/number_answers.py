"""Answers that are numbers, before and after: how far they moved, and where that made the error larger."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from measure.behaviour import Moved, NumberChange, Spread

Floats = NDArray[np.float64]
MOST_MOVED = 100
MOST_USUAL = 8
BINS = 40
_REACH = 99.0
"""Percentile at which the bins end; what lies beyond is counted in the outermost ones."""


class NumberAnswers:
    """Collects the answers of an output, chunk by chunk; keeps a few numbers of each sample, whatever its shape."""

    def __init__(self) -> None:
        self._moved: list[Floats] = []
        self._errors: list[tuple[Floats, Floats]] = []
        self._values: list[tuple[Floats, Floats, Floats]] = []

    def add(self, before: NDArray[np.float32], after: NDArray[np.float32], truth: NDArray[np.float32] | None) -> None:
        """Take note of the answers to some samples, (n, ...) each, n >= 1; truth has as many numbers, or is None."""
        old, new = (answers.reshape(len(answers), -1).astype(np.float64) for answers in (before, after))
        self._moved.append(np.abs(new - old).mean(axis=1))
        right = None if truth is None else truth.reshape(len(old), -1).astype(np.float64)
        if right is not None:
            self._errors.append((np.abs(old - right).mean(axis=1), np.abs(new - right).mean(axis=1)))
        if old.shape[1] == 1:
            nothing = np.full(len(old), np.nan)
            self._values.append((nothing if right is None else right[:, 0], old[:, 0], new[:, 0]))

    def change(self) -> NumberChange:
        """Return what became of the answers; at least one chunk must have come."""
        moved = np.concatenate(self._moved)
        errors = _joined(self._errors)
        values = _joined(self._values)
        worse = np.nan_to_num(moved, nan=np.inf) if errors is None else _growth(*errors)
        worst = np.argsort(-worse, kind="stable")[:MOST_MOVED]
        shown = _signed_or_absolute(moved, errors, values)
        edges = _edges(np.concatenate(shown))
        counts = [_counted(series, edges) for series in shown]
        return NumberChange(
            moved=_spread(moved),
            errors_before=None if errors is None else _spread(errors[0]),
            errors_after=None if errors is None else _spread(errors[1]),
            grew=0 if errors is None else int(np.count_nonzero(errors[1] > errors[0])),
            shrank=0 if errors is None else int(np.count_nonzero(errors[1] < errors[0])),
            is_signed=values is not None,
            edges=tuple(edges.tolist()),
            before=counts[0] if len(counts) == 2 else (),
            after=counts[-1],
            most_moved=tuple(_moved_sample(int(row), moved, errors, values) for row in worst if worse[row] > 0),
            usual=tuple(_moved_sample(int(row), moved, errors, values) for row in _spread_rows(len(moved))),
        )


def _spread_rows(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, MOST_USUAL)).astype(np.int64))


def _joined(chunks: Sequence[tuple[Floats, ...]]) -> tuple[Floats, ...] | None:
    return tuple(np.concatenate(parts) for parts in zip(*chunks, strict=True)) if chunks else None


def _growth(before: Floats, after: Floats) -> Floats:
    return np.nan_to_num(after - before, nan=np.inf)


def _signed_or_absolute(
    moved: Floats, errors: tuple[Floats, ...] | None, values: tuple[Floats, ...] | None
) -> list[Floats]:
    """What the bins count: one series without labels, else two."""
    if values is None:
        return [moved] if errors is None else list(errors)
    truth, old, new = values
    return [new - old] if errors is None else [old - truth, new - truth]


def _edges(values: Floats) -> Floats:
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.linspace(0.0, 1.0, BINS + 1)
    low, high = (
        np.percentile(finite, [100 - _REACH, _REACH]) if finite.min() < 0 else (0.0, np.percentile(finite, _REACH))
    )
    if finite.min() < 0:  # the same to both sides, so that a shift is seen
        high = max(abs(low), abs(high))
        low = -high
    if high <= low:
        high = low + (abs(low) or 1.0) * 1e-6
    return np.linspace(low, high, BINS + 1)


def _counted(values: Floats, edges: Floats) -> tuple[int, ...]:
    inside = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
    return tuple(np.histogram(inside, edges)[0].tolist())


def _spread(values: Floats) -> Spread:
    finite = values[np.isfinite(values)]
    if not len(finite):
        finite = np.zeros(1)
    median, high = np.percentile(finite, [50, 95])
    return Spread(mean=float(finite.mean()), median=float(median), high=float(high), largest=float(finite.max()))


def _moved_sample(
    row: int, moved: Floats, errors: tuple[Floats, ...] | None, values: tuple[Floats, ...] | None
) -> Moved:
    truth, before, after = (None, None, None) if values is None else (_number(part[row]) for part in values)
    old, new = (None, None) if errors is None else (_number(part[row]) for part in errors)
    return Moved(
        row=row, truth=truth, before=before, after=after, error_before=old, error_after=new, moved=_number(moved[row])
    )


def _number(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
