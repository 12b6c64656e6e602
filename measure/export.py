"""A tf_keras model becomes the `.tflite` file that the user deploys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from intake.errors import DoesNotFit
from intake.keras_env import tensorflow
from measure.conversion import STATIC, Conversion, integers_in_and_out_of_a_loop
from measure.float_layers import quantize_calibrated
from measure.loops import is_recurrent
from measure.plain_zeros import with_plain_zeros
from measure.quantizer import Samples, does_all, quantize
from measure.signature import has_loop, in_model_order, named_samples
from measure.simple_operations import simple_operations
from measure.sparse_tensors import dense_where_needed
from measure.tensor_names import with_short_names
from measure.trained_ranges import has_trained_ranges, without_trained_ranges

__all__ = ["Conversion", "convert"]


def convert(
    model: Any,
    conversion: Conversion,
    representative: Sequence[np.ndarray] | None = None,
    float_file: bytes | None = None,
) -> bytes:
    """Return the `.tflite` file of a tf_keras model; its inputs and outputs are in the order of the model's.

    Args:
        model: functional tf_keras model, wrappers stripped (or quantization-aware).
        conversion: number format.
        representative: for each input of the model an array (n, *input_shape) of preprocessed training samples,
            n >= 1; needed where arithmetic is integer.
        float_file: what this function returns for this very model in float32, where it is known.

    Raises:
        DoesNotFit: the converter refuses the model; its own reason is in the sentence.
    """
    if conversion.number_format in STATIC and (not representative or not len(representative[0])):
        raise ValueError(f"{conversion.number_format} needs representative samples; none were given")
    if conversion.after_training and not conversion.sparse and conversion.number_format != "float32":
        floats = float_file or _by_converter(model, Conversion(), None)
        if not conversion.is_known_to_the_converter or does_all(floats, conversion):
            content = quantize(floats, conversion, named_samples(floats, representative))
            return with_short_names(with_plain_zeros(content), model, is_final=True)
    return _by_converter(model, conversion, representative)


def _by_converter(model: Any, conversion: Conversion, representative: Sequence[np.ndarray] | None) -> bytes:
    errors: list[str] = []
    for batch, ranges in _ways_to_try(model, conversion):
        try:
            served = _Served(model, batch, ranges)
            suited = _without_calibration(served, conversion) if batch == 1 else conversion
            content = _converted(served, suited, served.samples(representative))
            content = dense_where_needed(content) if suited.sparse and suited.number_format == "int8" else content
            content = with_plain_zeros(in_model_order(content, served.input_names, served.output_names))
            return with_short_names(content, model, is_final=conversion.number_format != "float32")
        except DoesNotFit:
            raise
        except Exception as error:  # the converter raises many kinds; each is reported below
            errors.append(_first_line(error))
    raise DoesNotFit(
        f"The model could not be converted to {conversion.number_format} .tflite. The converter says: {errors[-1]}"
    )


def _ways_to_try(model: Any, conversion: Conversion) -> Iterator[tuple[int | None, bool]]:
    """Pairs of batch size and whether trained ranges are kept, the best first."""
    for batch in _batches_to_try(model):
        yield batch, True
    if conversion.number_format == "int8" and conversion.representative_samples and has_trained_ranges(model):
        for batch in _batches_to_try(model):
            yield batch, False


def _batches_to_try(model: Any) -> tuple[int | None, ...]:
    """Recurrent layers convert only where the batch size is known (tensorflow#40083)."""
    return (1,) if any(is_recurrent(layer) for layer in model.layers) else (None, 1)


def _without_calibration(served: _Served, conversion: Conversion) -> Conversion:
    """Store only the weights in int8 where the file has a loop: TensorFlow's calibrator crashes on one (segfault)."""
    if conversion.number_format != "int8" or not has_loop(bytes(served.converter().convert())):
        return conversion
    if conversion.io_dtype != "float32":
        raise DoesNotFit(integers_in_and_out_of_a_loop(conversion.io_dtype))
    return replace(conversion, representative_samples=0, sparse=False)  # float arithmetic on sparse int8 fails


class _Served:
    """The model as one function with named inputs and outputs."""

    def __init__(self, model: Any, batch: int | None, trained_ranges: bool = True) -> None:
        tf = tensorflow()
        self.input_names = _plain_names(tensor._keras_history.layer.name for tensor in model.inputs)
        self.output_names = _plain_names(model.output_names)
        self._dtypes = [tensor.dtype.as_numpy_dtype for tensor in model.inputs]
        signature = [
            tf.TensorSpec([batch, *tensor.shape[1:]], tensor.dtype, name)
            for tensor, name in zip(model.inputs, self.input_names, strict=True)
        ]

        def serve(*inputs: Any) -> Any:
            outputs = model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)
            return dict(zip(self.output_names, tf.nest.flatten(outputs), strict=True))

        with simple_operations(model), nullcontext() if trained_ranges else without_trained_ranges():
            self._function = tf.function(serve, input_signature=signature).get_concrete_function()
        # The converter saves what it is given. Of a model it traces every layer again, which with recurrent ones takes
        # most of the time; the variables are all that the function needs.
        self._variables = tf.Module()
        self._variables.kept = list(self._function.variables)

    def converter(self) -> Any:
        """Return a fresh converter."""
        return tensorflow().lite.TFLiteConverter.from_concrete_functions([self._function], self._variables)

    def samples(self, representative: Sequence[np.ndarray] | None) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
        """Return what the converter calls to calibrate: one sample after the other, by name of the input."""

        def each() -> Iterator[dict[str, np.ndarray]]:
            for index in range(len(representative[0]) if representative else 0):
                yield {
                    name: array[index : index + 1].astype(dtype)
                    for name, array, dtype in zip(self.input_names, representative or (), self._dtypes, strict=True)
                }

        return each


def _plain_names(names: Any) -> list[str]:
    """Names that a signature may have: letters, digits and underscores, none twice."""
    plain: list[str] = []
    for name in names:
        word = re.sub(r"\W", "_", str(name), flags=re.ASCII)
        word = word if word[:1].isalpha() else f"x{word}"
        candidate, number = word, 1
        while candidate in plain:
            candidate, number = f"{word}_{number}", number + 1
        plain.append(candidate)
    return plain


def _converted(served: _Served, conversion: Conversion, samples: Samples) -> bytes:
    calibrates = conversion.number_format == "int8" and conversion.representative_samples
    if not calibrates or not conversion.float_layers:
        return bytes(_set_up(served.converter(), conversion, samples).convert())
    calibrating = _set_up(served.converter(), replace(conversion, io_dtype="float32"), samples)
    calibrating._experimental_calibrate_only = True
    return quantize_calibrated(calibrating.convert(), conversion.float_layers, conversion.io_dtype)


def _set_up(converter: Any, conversion: Conversion, samples: Samples) -> Any:
    tf = tensorflow()
    converter.optimizations = [tf.lite.Optimize.DEFAULT] if conversion.number_format != "float32" else []
    if conversion.sparse:
        converter.optimizations.append(tf.lite.Optimize.EXPERIMENTAL_SPARSITY)
    if conversion.number_format == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if conversion.number_format == "int8" and conversion.representative_samples:
        converter.representative_dataset = samples
    if conversion.io_dtype != "float32":
        # Only a file that is integer throughout can have integer inputs and outputs.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = getattr(tf, conversion.io_dtype)
        converter.inference_output_type = getattr(tf, conversion.io_dtype)
    return converter


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
