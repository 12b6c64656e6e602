"""The bytes that a `.tflite` file stores a kernel's values in. numpy only, no TensorFlow."""

from __future__ import annotations

import numpy as np

LEAST_SPARSE = 0.3
"""Share of zeros from which on the converter leaves them out (TensorFlow's sparsify_model, kMinSparsityLevel)."""


def stored_form(values: np.ndarray, *, sparse: bool) -> bytes:
    """Return the values as the file has them: int4 two in a byte, zeros left out where it is sparse, none negative.

    Args:
        values: (output channels, values of each), float32, float16, int8, or int4 of `ml_dtypes`.
        sparse: whether the file is.
    """
    if sparse and (values == 0).mean() >= LEAST_SPARSE:
        return _without_zeros(values)
    if values.dtype.name == "int4":
        halves = values.astype(np.int8).reshape(-1) & 0x0F
        even = np.append(halves, 0)[: (halves.size + 1) // 2 * 2].reshape(-1, 2)
        return (even[:, 0] | even[:, 1] << 4).astype(np.uint8).tobytes()
    return np.where(values == 0, values.dtype.type(0), values).tobytes()  # exported zeros have no sign


def _without_zeros(values: np.ndarray) -> bytes:
    """The values, the place of each within its row, and the number of each row's first one."""
    rows, places = np.nonzero(values)
    firsts = np.searchsorted(rows, np.arange(len(values) + 1))
    narrow = [column.astype(_narrowest(int(column.max(initial=0)))) for column in (places, firsts)]
    return values[rows, places].tobytes() + b"".join(column.tobytes() for column in narrow)


def _narrowest(largest: int) -> type[np.generic]:
    return np.uint8 if largest < 2**8 else np.uint16 if largest < 2**16 else np.int32
