"""Which values the weights of a kernel have, before and after: a histogram, and the values themselves where few."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from measure.weights import WeightTensor

Floats = NDArray[np.float64]
BINS = 60
FEW_VALUES = 64
"""Up to so many different values are kept one by one."""
MOST_WEIGHTS = 2**20
"""Of larger kernels, evenly spaced weights are looked at."""


class WeightHistogram(BaseModel):
    """Of one kernel. Shares are of all its weights, 0 to 1."""

    model_config = ConfigDict(frozen=True)

    low: float
    """Where the first bin begins; bins are even."""
    high: float
    before: tuple[float, ...]
    """Share of the float32 weights of the uploaded model in each bin, zeros left out; empty where it is not known."""
    after: tuple[float, ...]
    """The same of the exported file."""
    zeros_before: float | None
    """Share that is exactly 0."""
    zeros_after: float
    values: tuple[tuple[float, float], ...]
    """Value and share of each value but 0 that the exported file has, smallest first; empty where there are many."""
    is_as_stored: bool
    """True where the values are the integers of the file, whose scales differ from block to block."""


def weight_histogram(exported: WeightTensor, original: WeightTensor | None) -> WeightHistogram:
    """Return the histogram of a kernel of an exported file.

    Args:
        exported: the kernel.
        original: the same kernel in the float32 file of the uploaded model; None where that is not known.
    """
    real = exported.real_values
    after = _some(exported.values if real is None else real)
    before = None if real is None or original is None or original.size != exported.size else _some(original.values)
    seen = after if before is None else np.concatenate([after, before])
    low, high = float(seen.min()), float(seen.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    return WeightHistogram(
        low=low,
        high=high,
        before=() if before is None else _shares(before, low, high),
        after=_shares(after, low, high),
        zeros_before=None if before is None else _zeros(before),
        zeros_after=_zeros(after),
        values=_few_values(after),
        is_as_stored=real is None,
    )


def _some(values: NDArray[np.generic]) -> Floats:
    flat = values.ravel()
    return np.asarray(flat[:: max(1, -(-flat.size // MOST_WEIGHTS))], np.float64)


def _shares(values: Floats, low: float, high: float) -> tuple[float, ...]:
    counts = np.histogram(values[values != 0], BINS, (low, high))[0]
    return tuple((counts / values.size).round(7).tolist())


def _zeros(values: Floats) -> float:
    return float((values == 0).mean())


def _few_values(values: Floats) -> tuple[tuple[float, float], ...]:
    found, counts = np.unique(values, return_counts=True)
    if len(found) > FEW_VALUES:
        return ()
    return tuple(
        (float(value), float(count / values.size)) for value, count in zip(found, counts, strict=True) if value
    )
