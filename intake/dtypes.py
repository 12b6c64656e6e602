"""Bring two operands of one operation to a common dtype."""

from __future__ import annotations

from typing import Any

from intake import keras_env


def alike(x1: Any, x2: Any) -> tuple[Any, Any]:
    """Both in the wider of their dtypes, as Keras 3 (and NumPy) do; plain numbers take the dtype of the tensor."""
    tf = keras_env.tensorflow()
    dtypes = [getattr(x, "dtype", None) for x in (x1, x2)]
    if None in dtypes:
        tensor, number = (x1, x2) if dtypes[1] is None else (x2, x1)
        if tensor.dtype.is_floating and isinstance(number, int):  # a saved TensorFlow call reads 1 as a whole number
            number = float(number)
        elif isinstance(number, float) and not tensor.dtype.is_floating:
            tensor = tf.cast(tensor, "float32")
        return (tensor, number) if dtypes[1] is None else (number, tensor)
    if dtypes[0] == dtypes[1]:
        return x1, x2
    names = [dtype if isinstance(dtype, str) else getattr(dtype, "name", str(dtype)) for dtype in dtypes]
    common = keras_env.keras3().backend.result_type(*names)
    first, second = (x if name == common else tf.cast(x, common) for x, name in zip((x1, x2), names, strict=True))
    return first, second
