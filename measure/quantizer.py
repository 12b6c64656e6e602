"""Quantize a float32 `.tflite` file as it lies there, with LiteRT's quantizer (ai-edge-quantizer), in milliseconds.

The converter needs the Keras model and seconds for each format; this needs the one float32 file for all of them, and
has formats that the converter has not. What it cannot do is left to the converter: see `does_all`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from measure.conversion import STATIC, Conversion, WeightQuantization
from measure.operations import Operation, operations_of, output_names

LEAST_WEIGHTS = 1024
"""The converter's dynamic range leaves smaller kernels in float32; so that its files stay the same, so does ours."""
FOUR_BITS = ("FULLY_CONNECTED", "CONV_2D")
"""Operations whose kernels LiteRT runs in int4."""
EIGHT_BITS = (*FOUR_BITS, "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
"""Those that it runs in int8, and that have a float16 form."""
BY_TABLE = "BATCH_MATMUL"
"""Quantized where both factors are computed. Where one is a constant (locally connected layers), integer arithmetic
gives zeros (ai-edge-quantizer 0.10); only as weights of float arithmetic is it right."""
_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}
"""What the quantizer calls an operation where the schema has another name."""


def does_all(float_file: bytes, conversion: Conversion) -> bool:
    """True where it quantizes whatever the converter would quantize, so that nothing is lost by not asking that."""
    operations = operations_of(float_file)
    if conversion.number_format in STATIC and not all(_is_static(operation) for operation in operations):
        return False
    least = LEAST_WEIGHTS if conversion.number_format == "dynamic_range" else 1
    kernels = [(operation.code, kernel) for operation in operations for kernel in operation.kernels]
    return all(code in EIGHT_BITS or kernel.size < least for code, kernel in kernels)


def _is_static(operation: Operation) -> bool:
    """True for an operation of the main graph that it has in integers."""
    from ai_edge_quantizer.default_policy import DEFAULT_CONFIG_CHECK_POLICY

    names = {name.value for name in DEFAULT_CONFIG_CHECK_POLICY}
    return operation.is_in_main_graph and _NAMES.get(operation.code, operation.code) in names


Samples = Callable[[], Iterator[dict[str, np.ndarray]]]


def quantize(float_file: bytes, conversion: Conversion, samples: Samples) -> bytes:
    """Return a float32 file in another number format.

    Args:
        float_file: with one signature.
        conversion: other than float32; where arithmetic is integer and the file has a loop, which cannot be calibrated,
            only the weights are quantized.
        samples: gives one sample after the other, by name of the input; asked only where activations are calibrated.
    """
    from ai_edge_quantizer import quantizer

    operations = operations_of(float_file)
    loops = not all(operation.is_in_main_graph for operation in operations)
    work = quantizer.Quantizer(float_file)
    recipe = _Recipe(work, conversion, calibrates=conversion.number_format in STATIC and not loops)
    recipe.add_rules()
    recipe.leave(_by_table(operations) if recipe.calibrates else ())
    recipe.leave_blocks_that_do_not_fit(operations)
    recipe.leave(output_names(operations, conversion.float_layers))
    calibration = _calibrated(work, float_file, samples) if recipe.calibrates else None
    return bytes(work.quantize(calibration, enable_progress_bar=False, enable_progress_report=False).quantized_model)


def _by_table(operations: Sequence[Operation]) -> Iterator[str]:
    for operation in operations:
        if operation.code == BY_TABLE and operation.kernels:
            yield from operation.outputs


class _Recipe:
    """Rules of the quantizer: which operations it quantizes, and how. A later rule goes before an earlier one."""

    def __init__(self, work: Any, conversion: Conversion, *, calibrates: bool) -> None:
        self._work, self._format, self._io = work, conversion.number_format, conversion.io_dtype
        self._weights = conversion.weights
        self.calibrates = calibrates

    def add_rules(self) -> None:
        """Everything that has integers in 8 bits, then kernels as they were asked for."""
        self._add(".*", "*", WeightQuantization(granularity=self._weights.granularity))
        if self._format == "float16":
            return
        for code in EIGHT_BITS:
            self._add(".*", code, _for_operation(self._weights, code))
        if self.calibrates:
            self._add_inputs_and_outputs()

    def leave(self, names: Iterator[str] | Sequence[str]) -> None:
        """Leave the operations that put these tensors out in float32."""
        for name in sorted(set(names)):
            self._rule(_exactly(name), "*", None, "no_quantize")

    def leave_blocks_that_do_not_fit(self, operations: Sequence[Operation]) -> None:
        """Take a scale for each row where its length is no multiple of the block size."""
        size, whole_rows = self._weights.block_size, WeightQuantization(bits=self._weights.bits)
        for operation in operations:
            if size and operation.code == "FULLY_CONNECTED" and any(one.shape[-1] % size for one in operation.kernels):
                for name in operation.outputs:
                    self._add(_exactly(name), operation.code, whole_rows)

    def _add(self, regex: str, code: str, weights: WeightQuantization) -> None:
        from ai_edge_quantizer import qtyping

        stored = qtyping.TensorQuantizationConfig(
            num_bits=16 if self._format == "float16" else weights.bits,
            granularity=_granularity(weights),
            dtype=qtyping.TensorDataType.FLOAT if self._format == "float16" else qtyping.TensorDataType.INT,
        )
        floats = self._format in ("float16", "weight_only") or (self._format in STATIC and not self.calibrates)
        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=stored,
            activation_tensor_config=self._activations() if self.calibrates else None,
            compute_precision=qtyping.ComputePrecision.FLOAT if floats else qtyping.ComputePrecision.INTEGER,
            explicit_dequantize=floats,
            min_weight_elements=LEAST_WEIGHTS if self._format == "dynamic_range" and self._weights.bits == 8 else 0,
        )
        self._rule(
            regex, code, config, "float_casting" if self._format == "float16" else _ALGORITHMS[weights.algorithm]
        )

    def _activations(self) -> Any:
        """LiteRT's kernels have 8 bits with a zero point, and 16 without."""
        from ai_edge_quantizer import qtyping

        eight = self._format == "int8"
        return qtyping.TensorQuantizationConfig(num_bits=8 if eight else 16, symmetric=not eight)

    def _add_inputs_and_outputs(self) -> None:
        from ai_edge_quantizer import qtyping

        for code in ("INPUT", "OUTPUT"):
            if self._io == "float32":
                self._rule(".*", code, None, "no_quantize")
            elif self._io == "uint8":
                unsigned = qtyping.TensorQuantizationConfig(
                    num_bits=8, symmetric=False, dtype=qtyping.TensorDataType.UINT
                )
                config = qtyping.OpQuantizationConfig(
                    weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=8),
                    activation_tensor_config=unsigned,
                    compute_precision=qtyping.ComputePrecision.INTEGER,
                )
                self._rule(".*", code, config, "min_max_uniform_quantize")

    def _rule(self, regex: str, code: str, config: Any, algorithm: str) -> None:
        from ai_edge_quantizer import qtyping

        operation = qtyping.TFLOperationName(_NAMES.get(code, code))
        self._work.update_quantization_recipe(regex, operation, config, algorithm_key=algorithm)


def _exactly(name: str) -> str:
    """The quantizer looks for a rule's expression in the names of an operation's outputs, joined by semicolons."""
    return rf"(^|;){re.escape(name)}(;|$)"


_ALGORITHMS = {"min_max": "min_max_uniform_quantize", "MSE": "MSE", "OCTAV": "OCTAV"}


def _for_operation(weights: WeightQuantization, code: str) -> WeightQuantization:
    """What of the wish an operation's kernel can have."""
    return WeightQuantization(
        bits=weights.bits if code in FOUR_BITS else 8,
        block_size=weights.block_size if code == "FULLY_CONNECTED" else 0,
        algorithm=weights.algorithm,
        granularity=weights.granularity,
    )


def _granularity(weights: WeightQuantization) -> Any:
    from ai_edge_quantizer import qtyping

    if weights.block_size:
        return qtyping.QuantGranularity[f"BLOCKWISE_{weights.block_size}"]
    return qtyping.QuantGranularity["CHANNELWISE" if weights.granularity == "per_channel" else "TENSORWISE"]


def _calibrated(work: Any, float_file: bytes, samples: Samples) -> Any:
    """Return the range of each tensor over all samples, as the converter takes it.

    The quantizer's own `calibrate` forgets: it takes a moving average, which depends on the order of the samples.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_quantizer.calibrator import CalibrationMode, Calibrator
    from ai_edge_quantizer.utils.qsv_utils import min_max_update

    signature = schema.Model.GetRootAs(float_file, 0).SignatureDefs(0).SignatureKey().decode()
    calibrator = Calibrator(
        float_file,
        num_threads=1,
        mode=CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=min_max_update,
    )
    calibrator.calibrate({signature: list(samples())}, work._recipe_manager)
    return calibrator.get_model_qsvs()
