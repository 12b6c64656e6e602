"""Zeros of one kind: what is -0.0 in a file's weights becomes 0.0."""

from __future__ import annotations

import numpy as np

from measure.compact_regions import regions_of


def with_plain_zeros(tflite: bytes) -> bytes:
    """Return the file with 0.0 for every -0.0 of its float weights.

    A mask times a negative weight is -0.0, and so is zero times the negative scale of a BatchNormalization. The two
    are equal to everyone who calculates with them, but not to a compressor: half of all zeros being of the other kind
    costs up to one bit a weight.
    """
    content = np.frombuffer(tflite, np.uint8).copy()
    for region in regions_of(tflite):
        if region.is_float:
            values = content[region.start : region.end].view(f"<f{region.width // 8}")
            values[values == 0] = 0
    return content.tobytes()
