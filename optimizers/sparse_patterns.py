"""Which weights of a kernel become zero together: single ones, whole blocks, or m of each n inputs. numpy only."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

Pooling = Literal["AVG", "MAX"]


def largest_kept(weights: np.ndarray, sparsity: float) -> np.ndarray:
    """Return a mask of 0 and 1 with `zeros_for` zeros, where the magnitudes are smallest.

    TFMOT compares with a threshold instead and keeps all weights that equal it, so kernels with many equal weights
    (clustered or quantized before) stay denser than asked.
    """
    mask = np.ones(weights.size, weights.dtype)
    count = zeros_for(sparsity, weights.size)
    mask[np.argsort(np.abs(weights.reshape(-1)), kind="stable")[:count]] = 0
    return mask.reshape(weights.shape)


def zeros_for(sparsity: float, size: int) -> int:
    """Return how many of `size` weights must be zero for no smaller a share than `sparsity`; one is left at least.

    The share may come from float32, whose 0.8 is a little more than 0.8: what is below a millionth of it does not count.
    """
    return min(math.ceil(round(sparsity, 6) * size - 1e-6), size - 1)


def largest_blocks_kept(
    weights: np.ndarray, sparsity: float, block: tuple[int, int], pooling: Pooling = "AVG"
) -> np.ndarray:
    """Return a mask of 0 and 1 that keeps or zeroes whole blocks; at least one is kept.

    As in TFMOT, blocks at the far edges are smaller where a side is no multiple of the block. The share of zeros is
    the nearest that whole blocks can come to: within half a block of `sparsity`.

    Args:
        weights: (inputs, outputs).
        sparsity: share of zeros, 0 to 1.
        block: inputs and outputs of a block.
        pooling: a block counts as much as its mean magnitude (AVG) or its largest (MAX).
    """
    sizes = _pooled(np.ones_like(weights), block).sum((1, 3)).reshape(-1)
    parts = _pooled(np.abs(weights), block)
    scores = parts.max((1, 3)).reshape(-1) if pooling == "MAX" else parts.sum((1, 3)).reshape(-1) / sizes
    order = np.argsort(scores, kind="stable")
    zeros = np.concatenate([[0], np.cumsum(sizes[order])])[:-1]
    kept = np.ones(len(order), weights.dtype)
    kept[order[: np.abs(zeros - sparsity * weights.size).argmin()]] = 0
    return _spread(kept.reshape(parts.shape[0], parts.shape[2]), block, weights.shape)


def fewest_in_groups_kept(weights: np.ndarray, m: int, n: int, axis: int) -> np.ndarray:
    """Return a mask of 0 and 1 that zeroes the m smallest magnitudes of each n that follow each other along an axis.

    As in TFMOT, a last group of fewer counts as filled up with zeros: at most n - m of it are kept.
    """
    rows = np.moveaxis(np.abs(weights), axis, -1)
    groups = _groups(rows, n)
    order = np.argsort(groups, axis=-1, kind="stable")
    mask = np.ones(groups.shape, weights.dtype)
    np.put_along_axis(mask, order[..., :m], 0, axis=-1)
    flat = mask.reshape(*rows.shape[:-1], -1)[..., : rows.shape[-1]]
    return np.ascontiguousarray(np.moveaxis(flat, -1, axis))


def zeros_in_whole_blocks(zeros: np.ndarray, block: tuple[int, int]) -> float:
    """Return the share of weights that are in blocks of nothing but zeros, 0 to 1.

    Args:
        zeros: bool (inputs, outputs), True where a weight is 0.
        block: inputs and outputs of a block.
    """
    empty = np.logical_not(_pooled(~zeros, block).any((1, 3)))
    return float(_spread(empty, block, zeros.shape).mean())


def most_kept_in_a_group(zeros: np.ndarray, n: int) -> int:
    """Return the largest number of weights other than 0 in a group of n along the first axis.

    The last group may be smaller. zeros: bool (inputs, ...), True where a weight is 0.
    """
    return int(_groups(np.moveaxis(~zeros, 0, -1), n).sum(-1).max())


def _pooled(values: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """(inputs, outputs) as (block rows, rows of a block, block columns, columns of a block), filled up with 0."""
    height, width = block
    missing = [(0, -values.shape[0] % height), (0, -values.shape[1] % width)]
    filled = np.pad(values, missing)
    return filled.reshape(filled.shape[0] // height, height, filled.shape[1] // width, width)


def _spread(of_blocks: np.ndarray, block: tuple[int, int], shape: tuple[int, ...]) -> np.ndarray:
    """One value for each block as one for each weight."""
    whole = np.repeat(np.repeat(of_blocks, block[0], 0), block[1], 1)
    return whole[: shape[0], : shape[1]]


def _groups(rows: np.ndarray, n: int) -> np.ndarray:
    """(..., inputs) as (..., groups, n), filled up with 0."""
    missing = [(0, 0)] * (rows.ndim - 1) + [(0, -rows.shape[-1] % n)]
    filled = np.pad(rows, missing)
    return filled.reshape(*rows.shape[:-1], -1, n)
