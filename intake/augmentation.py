"""Training images changed at random: mirrored left and right, moved by a few pixels (He et al. 2015, arXiv 1512.03385)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intake.parts import Array


@dataclass(frozen=True)
class Augmentation:
    """What may happen to an image."""

    flips: bool = False
    """Mirrored left and right, every second one."""
    shift_pixels: int = 0
    """Farthest that one is moved, down or across; its edges are repeated where it leaves a gap."""

    @property
    def changes(self) -> bool:
        """True where there is anything to do."""
        return self.flips or self.shift_pixels > 0

    def applied(self, inputs: Sequence[Array], random: np.random.Generator) -> tuple[Array, ...]:
        """Return new inputs of the model, each (n, *input shape).

        All images of a sample change alike; other inputs stay as they are.
        """
        count = len(inputs[0])
        mirrored = random.random(count) < 0.5 if self.flips else np.zeros(count, bool)
        down, across = random.integers(-self.shift_pixels, self.shift_pixels + 1, (2, count))
        return tuple(_moved(array, mirrored, down, across) if is_image(array.shape[1:]) else array for array in inputs)


def is_image(shape: Sequence[int | None]) -> bool:
    """True for the shape (height, width, channels) of a sample, and for a square of one channel, as MNIST comes."""
    is_square = len(shape) == 2 and shape[0] is not None and shape[0] == shape[1]
    return len(shape) == 3 or is_square


def _moved(images: Array, mirrored: Array, down: Array, across: Array) -> Array:
    """One gather for all images: row and column that each pixel comes from."""
    height, width = images.shape[1:3]
    rows = np.clip(np.arange(height) - down[:, None], 0, height - 1)
    columns = np.clip(np.arange(width) - across[:, None], 0, width - 1)
    columns = np.where(mirrored[:, None], width - 1 - columns, columns)
    return np.asarray(images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]])
