"""Run the exported file through LiteRT, as a phone or a server would.

Inputs and outputs are lists with one array for each input and output of the model, in the model's order
(`measure.export.convert` puts those of the file into that order).
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from intake.errors import DoesNotFit
from measure.flatbuffer import largest_computed_bytes

WARM_UP_CALLS = 10
LATENCY_SECONDS = 1.0
"""Latency calls go on for about this long, at least 30 and at most 1,000 of them; fewer where one takes seconds."""
SLOWEST_SECONDS = 10.0
"""Measuring latency ends after about this long whatever the number of calls."""


LARGEST_BATCH = 256
LARGEST_TENSOR_BYTES = 2 * 2**20
"""Batches whose largest tensor is no larger stay in the processor's caches; larger ones take longer for each sample."""


def predict(
    tflite: bytes, inputs: Sequence[np.ndarray], batch_size: int | None = None, threads: int = 1
) -> list[np.ndarray]:
    """Return what the file answers: for each output float32 (n, *output_shape).

    Integer inputs and outputs are quantized and dequantized with the scale and zero point in the file.

    Args:
        tflite: content of the file.
        inputs: for each input of the model an array (n, *input_shape), preprocessed, n >= 1.
        batch_size: samples a call, where the file allows another batch than it was made with and answers the same;
            None: as many as are quickest.
        threads: CPU threads, at least 1.

    Raises:
        DoesNotFit: LiteRT cannot run the file; its own reason is in the sentence.
    """
    few = [array[:4] for array in inputs]
    try:
        batch_size = batch_size or _quickest_batch(tflite)
        if batch_size > 1 and _batches_agree(tflite, few, threads):
            return _predict(tflite, inputs, min(batch_size, len(inputs[0])), threads)
        return _predict(tflite, inputs, 1, threads)
    except (RuntimeError, ValueError) as error:
        raise DoesNotFit(f"LiteRT cannot run the exported file. It says: {str(error).splitlines()[0]}") from error


def _quickest_batch(tflite: bytes) -> int:
    return max(1, min(LARGEST_BATCH, LARGEST_TENSOR_BYTES // max(1, largest_computed_bytes(tflite))))


def _batches_agree(tflite: bytes, few: Sequence[np.ndarray], threads: int) -> bool:
    """Some files have a batch of one baked in and fail, or answer wrongly, with another; only trust what agrees."""
    if len(few[0]) < 2:
        return False
    try:
        batched = _predict(tflite, few, len(few[0]), threads)
        single = _predict(tflite, few, 1, threads)
    except (RuntimeError, ValueError):
        return False
    return all(
        some.shape == other.shape and np.allclose(some, other, rtol=1e-3, atol=1e-4, equal_nan=True)
        for some, other in zip(batched, single, strict=True)
    )


def _predict(tflite: bytes, inputs: Sequence[np.ndarray], batch_size: int, threads: int) -> list[np.ndarray]:
    count = len(inputs[0])
    full = count - count % batch_size
    answers: list[list[np.ndarray]] = []
    interpreter = ready_interpreter(tflite, inputs, batch_size, threads)
    details = interpreter.get_input_details(), interpreter.get_output_details()
    for start in range(0, full, batch_size):
        if start and not forgets_state(interpreter):
            interpreter = ready_interpreter(tflite, inputs, batch_size, threads)
        answers.append(_invoke(interpreter, details, [array[start : start + batch_size] for array in inputs]))
    if full < count:
        rest = [array[full:] for array in inputs]
        answers.append(_invoke(ready_interpreter(tflite, inputs, len(rest[0]), threads), details, rest))
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]


def ready_interpreter(tflite: bytes, inputs: Sequence[np.ndarray], batch_size: int, threads: int) -> Any:
    """Return an interpreter of the file whose memory is reserved for calls with `batch_size` samples of these shapes."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=tflite, num_threads=threads)
    for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
        wanted = [batch_size, *array.shape[1:]]
        if list(detail["shape"]) != wanted:
            interpreter.resize_tensor_input(detail["index"], wanted)
    interpreter.allocate_tensors()
    return interpreter


def forgets_state(interpreter: Any) -> bool:
    """Have an interpreter forget its state, which a fused LSTM keeps from call to call; Keras starts fresh in each.

    False where LiteRT cannot: the state of an LSTM that begins with what another ended with has no fixed place.
    """
    try:
        interpreter.reset_all_variables()
    except RuntimeError:
        return False
    return True


_Details = tuple[list[dict[str, Any]], list[dict[str, Any]]]
"""Of inputs and of outputs. Asking for them takes longer than a call of a small file."""


def _invoke(interpreter: Any, details: _Details, batch: Sequence[np.ndarray]) -> list[np.ndarray]:
    sources, targets = details
    _set(interpreter, sources, batch)
    interpreter.invoke()
    return [dequantized(interpreter.get_tensor(target["index"]), target) for target in targets]


def set_inputs(interpreter: Any, batch: Sequence[np.ndarray]) -> None:
    """Give an interpreter its inputs, quantized where the file wants integers."""
    _set(interpreter, interpreter.get_input_details(), batch)


def _set(interpreter: Any, sources: list[dict[str, Any]], batch: Sequence[np.ndarray]) -> None:
    for source, values in zip(sources, batch, strict=True):
        interpreter.set_tensor(source["index"], _quantized(values, source))


def _quantized(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    dtype = detail["dtype"]
    if not np.issubdtype(dtype, np.integer) or not detail["quantization"][0]:
        return np.ascontiguousarray(values, dtype)
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(dtype)
    return np.clip(np.round(values / scale) + zero_point, limits.min, limits.max).astype(dtype)


def dequantized(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """Return what a tensor of these details stands for, float32."""
    scale, zero_point = detail["quantization"]
    if np.issubdtype(detail["dtype"], np.integer) and scale:
        return ((values.astype(np.float32) - zero_point) * scale).astype(np.float32)
    return np.asarray(values, np.float32)


def latency_ms(tflite: bytes, sample: Sequence[np.ndarray], threads: int = 1) -> float:
    """Return the median time of one call with one sample, in milliseconds, after a warm-up.

    Args:
        tflite: content of the file.
        sample: for each input of the model an array (1, *input_shape).
        threads: CPU threads, at least 1.
    """
    interpreter = ready_interpreter(tflite, sample, 1, threads)
    set_inputs(interpreter, sample)
    begun = time.perf_counter()
    for _ in range(WARM_UP_CALLS):
        interpreter.invoke()
        if time.perf_counter() - begun > LATENCY_SECONDS:
            break
    durations: list[float] = []
    started = time.perf_counter()
    while not durations or _goes_on(len(durations), time.perf_counter() - started):
        before = time.perf_counter()
        interpreter.invoke()
        durations.append(time.perf_counter() - before)
    return statistics.median(durations) * 1000


def _goes_on(calls: int, elapsed_s: float) -> bool:
    if calls < 30:
        return elapsed_s < SLOWEST_SECONDS
    return elapsed_s < LATENCY_SECONDS and calls < 1000
