"""A tf_keras model becomes the `.tflite` file that the user deploys."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from intake.errors import DoesNotFit
from intake.keras_env import tensorflow

NumberFormat = Literal["float32", "dynamic_range", "float16", "int8"]


@dataclass(frozen=True)
class Conversion:
    """How numbers are stored in the exported file.

    float32: as they are. dynamic_range: int8 weights, float arithmetic. float16: half-precision weights.
    int8: weights and activations, calibrated on representative samples.
    """

    number_format: NumberFormat = "float32"
    io_dtype: Literal["float32", "int8", "uint8"] = "float32"
    """dtype of the file's inputs and outputs; other than float32 only with int8."""
    representative_samples: int = 0
    """How many training samples calibrate the activations; 0 where none are needed."""


def convert(model: Any, conversion: Conversion, representative: np.ndarray | None = None) -> bytes:
    """Return the `.tflite` file of a tf_keras model.

    Args:
        model: functional tf_keras model, wrappers stripped (or quantization-aware).
        conversion: number format.
        representative: float32 (n, *input_shape), preprocessed training samples, n >= 1; needed for int8.

    Raises:
        DoesNotFit: the converter refuses the model; its own reason is in the sentence.
    """
    if conversion.number_format == "int8" and (representative is None or not len(representative)):
        raise ValueError("int8 needs representative samples; none were given")
    errors: list[str] = []
    for attempt in (_with_dynamic_batch, _with_batch_of_one):
        try:
            return bytes(_set_up(attempt(model), conversion, representative).convert())
        except Exception as error:  # the converter raises many kinds; each is reported below
            errors.append(_first_line(error))
    raise DoesNotFit(
        f"The model could not be converted to {conversion.number_format} .tflite. The converter says: {errors[-1]}"
    )


def _with_dynamic_batch(model: Any) -> Any:
    return tensorflow().lite.TFLiteConverter.from_keras_model(model)


def _with_batch_of_one(model: Any) -> Any:
    """Recurrent layers convert only where the batch size is known (tensorflow#40083)."""
    tf = tensorflow()
    signature = [
        tf.TensorSpec([1, *tensor.shape[1:]], tensor.dtype, tensor.name.split(":")[0]) for tensor in model.inputs
    ]

    def serve(*inputs: Any) -> Any:
        return model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)

    concrete = tf.function(serve, input_signature=signature).get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)


def _set_up(converter: Any, conversion: Conversion, representative: np.ndarray | None) -> Any:
    tf = tensorflow()
    if conversion.number_format == "float32":
        return converter
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if conversion.number_format == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if conversion.number_format == "int8":
        converter.representative_dataset = _sample_by_sample(representative)
    if conversion.io_dtype != "float32":
        # Only a file that is integer throughout can have integer inputs and outputs.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = getattr(tf, conversion.io_dtype)
        converter.inference_output_type = getattr(tf, conversion.io_dtype)
    return converter


def _sample_by_sample(representative: np.ndarray | None) -> Any:
    def samples() -> Iterator[list[np.ndarray]]:
        for sample in representative if representative is not None else ():
            yield [sample[np.newaxis].astype(np.float32)]

    return samples


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def write_file(path: Path, content: bytes) -> Path:
    """Write a whole file or nothing: temporary name, then rename."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    return path
