"""Quantize a model, except for some of its layers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from intake.keras_env import lite_convert, tensorflow
from measure.weights import buffer_bytes, layer_pattern


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
            denylisted_nodes=sorted(set(_output_names(calibrated, float_layers))),
        )
    )


def quantize_weights(
    float_file: bytes, number_format: Literal["dynamic_range", "float16"], float_layers: Sequence[str]
) -> bytes:
    """Return a float32 file with its weights in int8 or float16, except for those of some Keras layers."""
    from ai_edge_quantizer import qtyping, quantizer
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    work = quantizer.Quantizer(float_file)
    everything = qtyping.TFLOperationName.ALL_SUPPORTED
    if number_format == "dynamic_range":
        work.add_dynamic_config(".*", everything, num_bits=8)
    else:
        half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=half,
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
        work.update_quantization_recipe(".*", everything, config, AlgorithmName.FLOAT_CASTING)
    for name in set(_output_names(float_file, float_layers)):
        work.update_quantization_recipe(re.escape(name), everything, algorithm_key=AlgorithmName.NO_QUANTIZE)
    return bytes(work.quantize().quantized_model)


def _output_names(tflite: bytes, layers: Sequence[str]) -> Iterator[str]:
    """Names of what the operations of these layers put out; an operation is known by its outputs and its constants."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite, 0))
    patterns = [layer_pattern(layer) for layer in layers]
    for subgraph in model.subgraphs:
        for operator in subgraph.operators:
            outputs = [subgraph.tensors[index] for index in operator.outputs]
            inputs = [subgraph.tensors[index] for index in operator.inputs if index >= 0]
            constants = [tensor for tensor in inputs if len(buffer_bytes(tflite, model.buffers[tensor.buffer]))]
            if any(pattern.search(tensor.name.decode()) for tensor in (*outputs, *constants) for pattern in patterns):
                yield from (tensor.name.decode() for tensor in outputs)
