"""Who trains and who tests: splits and draws that depend only on the labels, the share and the seed."""

from __future__ import annotations

import numpy as np

from intake.parts import Array


def split_indices(count: int, classes: Array | None, share: float, seed: int) -> tuple[Array, Array]:
    """Split the indices 0..count-1 into (kept, held out), both sorted, int64.

    With `classes` (int64, one per sample) each class gives its share: at least one sample where it has two or
    more, none where it has only one. Same arguments, same split.

    Args:
        share: part to hold out, above 0 and below 1.
    """
    rng = np.random.default_rng(seed)
    groups = [np.arange(count)] if classes is None else [np.flatnonzero(classes == c) for c in np.unique(classes)]
    held = [share_of(group, share, rng) for group in groups]
    held_out = np.sort(np.concatenate(held)) if held else np.empty(0, np.int64)
    return np.setdiff1d(np.arange(count), held_out), held_out


def share_of(group: Array, share: float, rng: np.random.Generator) -> Array:
    """Draw a share of a group of indices: at least one of them, and never all."""
    wanted = round(share * len(group))
    wanted = min(max(wanted, 1), len(group) - 1)
    return rng.permutation(group)[:wanted]


def stratified_draw(count: int, classes: Array | None, size: int, seed: int) -> Array:
    """Draw `size` different indices of 0..count-1 (all of them if size >= count), sorted, int64.

    With `classes` (int64, one per sample) each class comes with its own share (rounded down, the rest drawn from
    everyone), and with at least one sample while there is room.
    """
    if size >= count:
        return np.arange(count)
    rng = np.random.default_rng(seed)
    if classes is None:
        return np.sort(rng.permutation(count)[:size])
    order = rng.permutation(count)
    labels = classes[order]
    # Rank of each sample within its class, as a share of the class: the smallest `size` of them spread evenly.
    position = np.empty(count, np.float64)
    for value in np.unique(labels):
        members = np.flatnonzero(labels == value)
        position[members] = np.arange(len(members)) / len(members)
    return np.sort(order[np.argsort(position, kind="stable")[:size]])


def lonely_classes(classes: Array, class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the classes that have exactly one sample, and so cannot be in two parts."""
    counts = np.bincount(classes, minlength=len(class_names))
    return tuple(class_names[i] for i in np.flatnonzero(counts == 1))
