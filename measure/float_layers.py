"""Quantize a calibrated model, except for some of its layers."""

from __future__ import annotations

from collections.abc import Sequence

from intake.keras_env import lite_convert, tensorflow
from measure.operations import operations_of, output_names


def quantize_calibrated(calibrated: bytes, float_layers: Sequence[str], io_dtype: str) -> bytes:
    """Return the int8 file of a calibrated one; the operations of some Keras layers stay float32.

    The converter's own selective quantization, as its debugger uses it (`tf.lite.experimental.QuantizationDebugger`,
    `denylisted_nodes`).

    Args:
        calibrated: what the converter gives with `_experimental_calibrate_only`.
        float_layers: names of Keras layers.
        io_dtype: "float32", "int8" or "uint8".
    """
    dtype = getattr(tensorflow(), io_dtype)
    return bytes(
        lite_convert().mlir_quantize(
            calibrated,
            input_data_type=dtype,
            output_data_type=dtype,
            denylisted_nodes=sorted(set(output_names(operations_of(calibrated), float_layers))),
        )
    )
