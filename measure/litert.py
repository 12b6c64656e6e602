"""Run the exported file through LiteRT, as a phone or a server would."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

from intake.errors import DoesNotFit

WARM_UP_CALLS = 10
LATENCY_SECONDS = 1.0
"""Latency calls go on for about this long, at least 30 and at most 1,000 of them."""


def predict(tflite: bytes, inputs: np.ndarray, batch_size: int = 256, threads: int = 1) -> np.ndarray:
    """Return what the file answers, float32 (n, *output_shape).

    Integer inputs and outputs are quantized and dequantized with the scale and zero point in the file.

    Args:
        tflite: content of the file.
        inputs: float32 (n, *input_shape), preprocessed, n >= 1.
        batch_size: samples per call, where the file allows another batch than it was made with.
        threads: CPU threads, at least 1.

    Raises:
        DoesNotFit: LiteRT cannot run the file; its own reason is in the sentence.
    """
    if batch_size > 1 and _batches_agree(tflite, inputs[: min(4, len(inputs))], threads):
        return _predict(tflite, inputs, min(batch_size, len(inputs)), threads)
    try:
        return _predict(tflite, inputs, 1, threads)
    except (RuntimeError, ValueError) as error:
        raise DoesNotFit(f"LiteRT cannot run the exported file. It says: {str(error).splitlines()[0]}") from error


def _batches_agree(tflite: bytes, few: np.ndarray, threads: int) -> bool:
    """Some files have a batch of one baked in and fail, or answer wrongly, with another; only trust what agrees."""
    if len(few) < 2:
        return False
    try:
        batched = _predict(tflite, few, len(few), threads)
        single = _predict(tflite, few, 1, threads)
    except (RuntimeError, ValueError):
        return False
    return batched.shape == single.shape and bool(np.allclose(batched, single, rtol=1e-3, atol=1e-4, equal_nan=True))


def _predict(tflite: bytes, inputs: np.ndarray, batch_size: int, threads: int) -> np.ndarray:
    outputs = []
    full = len(inputs) - len(inputs) % batch_size
    interpreter = _interpreter(tflite, inputs.shape[1:], batch_size, threads)
    for start in range(0, full, batch_size):
        outputs.append(_invoke(interpreter, inputs[start : start + batch_size]))
    if full < len(inputs):
        rest = inputs[full:]
        outputs.append(_invoke(_interpreter(tflite, inputs.shape[1:], len(rest), threads), rest))
    return np.concatenate(outputs)


def _interpreter(tflite: bytes, sample_shape: tuple[int, ...], batch_size: int, threads: int) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=tflite, num_threads=threads)
    detail = interpreter.get_input_details()[0]
    if list(detail["shape"]) != [batch_size, *sample_shape]:
        interpreter.resize_tensor_input(detail["index"], [batch_size, *sample_shape])
    interpreter.allocate_tensors()
    return interpreter


def _invoke(interpreter: Any, batch: np.ndarray) -> np.ndarray:
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.set_tensor(source["index"], _quantized(batch, source))
    interpreter.invoke()
    return _dequantized(interpreter.get_tensor(target["index"]), target)


def _quantized(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    dtype = detail["dtype"]
    if not np.issubdtype(dtype, np.integer) or not detail["quantization"][0]:
        return values.astype(dtype)
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(dtype)
    return np.clip(np.round(values / scale) + zero_point, limits.min, limits.max).astype(dtype)


def _dequantized(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    if np.issubdtype(detail["dtype"], np.integer) and scale:
        return ((values.astype(np.float32) - zero_point) * scale).astype(np.float32)
    return np.asarray(values, np.float32)


def latency_ms(tflite: bytes, sample: np.ndarray, threads: int = 1) -> float:
    """Return the median time of one call with one sample, in milliseconds, after a warm-up.

    Args:
        tflite: content of the file.
        sample: float32 (1, *input_shape).
        threads: CPU threads, at least 1.
    """
    interpreter = _interpreter(tflite, sample.shape[1:], 1, threads)
    detail = interpreter.get_input_details()[0]
    interpreter.set_tensor(detail["index"], _quantized(sample, detail))
    for _ in range(WARM_UP_CALLS):
        interpreter.invoke()
    durations: list[float] = []
    started = time.perf_counter()
    while len(durations) < 30 or (time.perf_counter() - started < LATENCY_SECONDS and len(durations) < 1000):
        before = time.perf_counter()
        interpreter.invoke()
        durations.append(time.perf_counter() - before)
    return statistics.median(durations) * 1000
