"""How long calls of exported files take, measured side by side, and how much working memory they need."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from intake.errors import DoesNotFit
from measure.flatbuffer import unpacked
from measure.litert import WARM_UP_CALLS, ready_interpreter, set_inputs
from measure.weights import buffer_bytes

SECONDS = 2.0
"""Calls of each file take about this long together."""
SHORT_SECONDS = 0.15
"""The same for `short_medians`."""
LEAST_CALLS, MOST_CALLS = 30, 2000


class Speed(BaseModel):
    """Of one file; calls are with one sample."""

    model_config = ConfigDict(frozen=True)

    threads: int
    calls: int
    median_ms: float
    p95_ms: float
    """95 % of the calls took no longer."""
    working_bytes: int | None
    """What LiteRT's own kernels reserve for a call beside the weights; None where they cannot run the file."""


def measure_speeds(
    files: Sequence[bytes], sample: Sequence[np.ndarray], threads: int, report: Callable[[float], None]
) -> list[Speed]:
    """Return the speed of each file, in their order.

    Calls take turns, so that whatever else the machine does slows all files alike.

    Args:
        files: exported files, with the same inputs.
        sample: for each input of the model an array (1, *input_shape).
        threads: CPU threads, at least 1.
        report: told how far the measurement is, 0 to 1.

    Raises:
        DoesNotFit: LiteRT cannot run a file; its own reason is in the sentence.
    """
    try:
        calls = [_call(file, sample, threads) for file in files]
        for _ in range(WARM_UP_CALLS):
            for call in calls:
                call()
        durations = _take_turns(calls, SECONDS, report)
    except (RuntimeError, ValueError) as error:
        raise DoesNotFit(f"LiteRT cannot run the exported file. It says: {str(error).splitlines()[0]}") from error
    return [
        Speed(
            threads=threads,
            calls=len(each),
            median_ms=statistics.median(each) * 1000,
            p95_ms=float(np.percentile(each, 95)) * 1000,
            working_bytes=working_bytes(file, sample),
        )
        for file, each in zip(files, durations, strict=True)
    ]


def short_medians(files: Sequence[bytes], sample: Sequence[np.ndarray]) -> list[float]:
    """Return the median of some calls of each file, in milliseconds, in turns on one thread; takes a fraction of a second.

    For a look at one sample: `measure_speeds` takes its time and is more exact. Raises as it does.
    """
    try:
        calls = [_call(file, sample, 1) for file in files]
        for call in calls:
            call()
        durations = _take_turns(calls, SHORT_SECONDS, lambda done: None)
    except (RuntimeError, ValueError) as error:
        raise DoesNotFit(f"LiteRT cannot run the exported file. It says: {str(error).splitlines()[0]}") from error
    return [statistics.median(each) * 1000 for each in durations]


def _call(tflite: bytes, sample: Sequence[np.ndarray], threads: int) -> Callable[[], None]:
    interpreter = ready_interpreter(tflite, sample, 1, threads)
    set_inputs(interpreter, sample)
    return interpreter.invoke


def _take_turns(
    calls: Sequence[Callable[[], None]], seconds: float, report: Callable[[float], None]
) -> list[list[float]]:
    durations: list[list[float]] = [[] for _ in calls]
    started = time.perf_counter()
    wanted, longest = seconds * len(calls), 10 * seconds * len(calls)
    reported = 0.0
    while True:
        for call, each in zip(calls, durations, strict=True):
            before = time.perf_counter()
            call()
            each.append(time.perf_counter() - before)
        elapsed, count = time.perf_counter() - started, len(durations[0])
        if count >= MOST_CALLS or elapsed > longest or (elapsed > wanted and count >= LEAST_CALLS):
            return durations
        if elapsed - reported > 0.5:
            reported = elapsed
            report(min(1.0, elapsed / wanted))


def working_bytes(tflite: bytes, sample: Sequence[np.ndarray]) -> int | None:
    """Return how many bytes a call with one sample takes beside the weights: intermediate results and scratch space.

    Read off the addresses that LiteRT gives them when it plans its memory with its own kernels; XNNPACK, which it uses
    on larger processors, keeps books of its own. None where these kernels cannot run the file.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        interpreter = Interpreter(
            model_content=tflite,
            num_threads=1,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        for detail, array in zip(interpreter.get_input_details(), sample, strict=True):
            if list(detail["shape"]) != list(array.shape):
                interpreter.resize_tensor_input(detail["index"], list(array.shape))
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError):
        return None
    constant = _constants(tflite)
    places = [_place(interpreter, detail["index"]) for detail in interpreter.get_tensor_details()
              if detail["index"] not in constant]  # fmt: skip
    return _covered([place for place in places if place is not None])


def _constants(tflite: bytes) -> set[int]:
    content: Any = unpacked(tflite)
    tensors = content.subgraphs[0].tensors
    return {index for index, tensor in enumerate(tensors) if len(buffer_bytes(tflite, content.buffers[tensor.buffer]))}


def _place(interpreter: Any, index: int) -> tuple[int, int] | None:
    """Address of the first byte of a tensor and of that behind its last; None where it has no memory yet."""
    try:
        view = interpreter.tensor(index)()
    except (RuntimeError, ValueError):
        return None
    begin = view.__array_interface__["data"][0]
    return begin, begin + view.nbytes


def _covered(places: list[tuple[int, int]]) -> int:
    """Bytes that some places cover together; tensors that are never there at the same time share theirs."""
    covered, end = 0, 0
    for first, last in sorted(places):
        covered += max(0, last - max(first, end))
        end = max(end, last)
    return covered
