"""What plain TFMOT and LiteRT can repeat without Tare, and the lines of a script that convert a model."""

from __future__ import annotations

from measure.conversion import STATIC, Conversion
from measure.quantizer import LEAST_WEIGHTS


class NeedsTare(Exception):
    """A step, or a model, that plain TFMOT and LiteRT cannot do as Tare does; the message is the reason, a sentence."""


def conversion_lines(conversion: Conversion, seed: int) -> list[str]:
    """Return the lines of a script that make `tflite` (bytes) of `model`.

    The script has the functions of `runs.handover.parts_training`.

    Args:
        conversion: what the steps of the recipe asked for.
        seed: of the representative samples.

    Raises:
        NeedsTare: no converter setting and no quantizer rule comes to the same.
    """
    if conversion.float_layers:
        raise NeedsTare("It leaves layers in float32 in the file, which takes rules by operation.")
    if conversion.is_known_to_the_converter:
        return _by_converter(conversion, seed)
    if conversion.weights.block_size:
        raise NeedsTare("It gives blocks of weights a scale of their own, only where they divide the rows.")
    return _by_quantizer(conversion, seed)


def _by_converter(conversion: Conversion, seed: int) -> list[str]:
    lines = ["converter = converter_of(model)"]
    optimizations = [] if conversion.number_format == "float32" else ["tf.lite.Optimize.DEFAULT"]
    if conversion.sparse:
        if conversion.number_format == "int8":
            raise NeedsTare("Sparse int8 files need dense kernels where LiteRT cannot run sparse ones.")
        optimizations.append("tf.lite.Optimize.EXPERIMENTAL_SPARSITY")
    lines.append(f"converter.optimizations = [{', '.join(optimizations)}]")
    if conversion.number_format == "float16":
        lines.append("converter.target_spec.supported_types = [tf.float16]")
    if conversion.representative_samples:
        lines += [
            "dtypes = [tensor.dtype.as_numpy_dtype for tensor in model.inputs]",
            f"samples = representative({conversion.representative_samples}, seed={seed})",
            "converter.representative_dataset = lambda: one_by_one(samples, dtypes)",
        ]
    if conversion.io_dtype != "float32":
        lines += [
            "converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]",
            f"converter.inference_input_type = converter.inference_output_type = tf.{conversion.io_dtype}",
        ]
    return [*lines, "tflite = bytes(converter.convert())"]


_ALGORITHMS = {"min_max": "min_max_uniform_quantize", "MSE": "MSE", "OCTAV": "OCTAV"}


def _by_quantizer(conversion: Conversion, seed: int) -> list[str]:
    if conversion.io_dtype != "float32":
        raise NeedsTare("Integer inputs and outputs with these weights take rules of their own.")
    weights, is_static = conversion.weights, conversion.number_format in STATIC
    granularity = "CHANNELWISE" if weights.granularity == "per_channel" else "TENSORWISE"
    return [
        "from ai_edge_quantizer import qtyping, quantizer",
        "",
        "float_file = bytes(converter_of(model).convert())",
        "work = quantizer.Quantizer(float_file)",
        f"GRANULARITY = qtyping.QuantGranularity.{granularity}",
        "operations = qtyping.TFLOperationName",
        "",
        *_rules(conversion),
        *(_calibrating(conversion, seed) if is_static else ["ranges = None"]),
        "quantized = work.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)",
        "tflite = bytes(quantized.quantized_model)",
    ]


def _rules(conversion: Conversion) -> list[str]:
    weights = conversion.weights
    algorithm = repr(_ALGORITHMS[weights.algorithm])
    kernels = (
        f"KERNELS = {{'FULLY_CONNECTED': {weights.bits}, 'CONV_2D': {weights.bits}, 'DEPTHWISE_CONV_2D': 8, "
        "'CONV_2D_TRANSPOSE': 8}"
    )
    few_bits = ["# LiteRT has 4-bit kernels for dense and convolutional layers only."] if weights.bits == 4 else []
    if conversion.number_format == "dynamic_range" and weights.bits == 8:
        return [
            f"# As the converter does it, kernels of fewer than {LEAST_WEIGHTS:,} weights stay float32.",
            "config = qtyping.OpQuantizationConfig(",
            "    weight_tensor_config=qtyping.TensorQuantizationConfig(num_bits=8, granularity=GRANULARITY),",
            "    compute_precision=qtyping.ComputePrecision.INTEGER, explicit_dequantize=False,",
            f"    min_weight_elements={LEAST_WEIGHTS},",
            ")",
            "work.update_quantization_recipe('.*', operations.ALL_SUPPORTED, config,",
            "                                algorithm_key='min_max_uniform_quantize')",
            kernels,
            "for operation in KERNELS:",
            f"    work.update_quantization_recipe('.*', operations(operation), config, algorithm_key={algorithm})",
        ]
    add, bits, scale, activations = "add_weight_only_config", "num_bits", "granularity", ""
    if conversion.number_format == "dynamic_range":
        add = "add_dynamic_config"
    elif conversion.number_format in STATIC:
        add, bits, scale = "add_static_config", "weight_num_bits", "weight_granularity"
        activations = f"activation_num_bits={8 if conversion.number_format == 'int8' else 16}, "
    return [
        f"work.{add}('.*', operations.ALL_SUPPORTED, {activations}{bits}=8, {scale}=GRANULARITY)",
        *few_bits,
        kernels,
        "for operation, bits in KERNELS.items():",
        f"    work.{add}(",
        f"        '.*', operations(operation), {activations}{bits}=bits, {scale}=GRANULARITY,",
        f"        algorithm_key={algorithm},",
        "    )",
    ]


def _calibrating(conversion: Conversion, seed: int) -> list[str]:
    return [
        "for end in (operations.INPUT, operations.OUTPUT):",
        "    work.update_quantization_recipe('.*', end, None, algorithm_key='no_quantize')",
        f"ranges = calibrated(work, float_file, representative({conversion.representative_samples}, seed={seed}))",
    ]
