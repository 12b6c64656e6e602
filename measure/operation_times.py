"""Where the time of a call goes: each operation of an exported file timed by itself, on what it is given in a call.

LiteRT's Python package has no profiler (2.3.0: its C library has one, without a documented way to it from Python). So
each operation is cut out as a file of its own (`measure.operation_files`) that is run by the same LiteRT, with XNNPACK
where it takes the operation. They take turns in the order of the graph, so that the processor's caches have to hold
about what they hold in a call of the whole file, which takes its turn too.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from intake.errors import DoesNotFit
from measure.flatbuffer import unpacked
from measure.litert import ready_interpreter, set_inputs
from measure.operation_files import Step, file_of, has_graphs, kind_of, smallest_file, steps_of
from measure.weights import buffer_bytes

SECONDS = 3.0
"""All turns together take about this long."""
LONGEST_SECONDS = 20.0
"""They end after this long even where there were fewer than `LEAST_TURNS`."""
LEAST_TURNS, MOST_TURNS, WARM_UP_TURNS = 20, 2000, 2
_NUMBER = re.compile(r"#\d+$")


class OperationTime(BaseModel):
    """One operation of a file."""

    model_config = ConfigDict(frozen=True)

    kind: str
    """Its name in the schema: "CONV_2D"."""
    layer: str
    """Of the uploaded model: the one whose kernel it multiplies with, or whose output it computes; "" where the names of
    its tensors tell none."""
    median_ms: float
    """At least 0: what any call takes is taken off."""
    is_loop: bool = False
    """True where it carries out other operations, which are in its time."""


class OperationTimes(BaseModel):
    """Of one file; calls are with one sample."""

    model_config = ConfigDict(frozen=True)

    threads: int
    turns: int
    call_ms: float
    """Median of the whole file, measured in the same turns."""
    overhead_ms: float
    """Median of a file that does next to nothing: taken off each operation, but not off `call_ms`."""
    operations: tuple[OperationTime, ...]
    """In the order of their execution."""

    @property
    def sum_ms(self) -> float:
        """Of all operations."""
        return sum(operation.median_ms for operation in self.operations)


def measure_operations(
    files: Sequence[bytes],
    sample: Sequence[np.ndarray],
    threads: int,
    layers: Mapping[str, int],
    output_layers: Sequence[str],
    report: Callable[[float], None],
) -> list[OperationTimes]:
    """Return the times of each file's operations, in the order of the files, which take turns.

    Args:
        files: exported files, with the same inputs.
        sample: for each input of the model an array (1, *input_shape), preprocessed.
        threads: CPU threads, at least 1.
        layers: name of each layer of the uploaded model -> its weights; tensors are named after layers
            (`measure.tensor_names`).
        output_layers: names of those that give the outputs.
        report: told how far the measurement is, 0 to 1.

    Raises:
        DoesNotFit: LiteRT cannot run a file, or an operation of it by itself; its own reason is in the sentence.
    """
    try:
        cut = [_cut(file, sample, threads, _Names(layers, output_layers)) for file in files]
        calls = [_ready(smallest_file(), [np.zeros(1, np.float32)], threads)]
        calls += [call for one in cut for call in one.calls]
        durations = iter(_take_turns([call.invoke for call in calls], report))
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DoesNotFit(
            f"LiteRT cannot run each operation of the exported file by itself. It says: {reason}"
        ) from error
    overhead = next(durations)
    return [one.times([next(durations) for _ in one.calls], overhead, threads) for one in cut]


@dataclass(frozen=True)
class _Cut:
    """A file, whole and in pieces."""

    calls: list[Any]
    """Interpreters that are ready to be called: of the whole file, then of each operation."""
    found: list[OperationTime]
    """The operations, not measured yet."""

    def times(self, durations: list[list[float]], overhead: list[float], threads: int) -> OperationTimes:
        """Return what was measured; `durations` in seconds, in the order of the calls."""
        overhead_ms = statistics.median(overhead) * 1000
        whole_ms, *medians_ms = (statistics.median(each) * 1000 for each in durations)
        return OperationTimes(
            threads=threads,
            turns=len(overhead),
            call_ms=whole_ms,
            overhead_ms=overhead_ms,
            operations=tuple(
                operation.model_copy(update={"median_ms": max(0.0, median_ms - overhead_ms)})
                for operation, median_ms in zip(self.found, medians_ms, strict=True)
            ),
        )


@dataclass(frozen=True)
class _Names:
    layers: Mapping[str, int]
    output_layers: Sequence[str]

    def layer_of(self, tflite: bytes, content: Any, step: Step) -> str:
        """The layer of the kernel, which was named first of those merged into it; else that of the output."""
        graph = content.subgraphs[0]
        kernels = [
            graph.tensors[index]
            for operator in (*step.before, step.operator)
            for index in operator.inputs
            if index >= 0 and graph.tensors[index].shape is not None and len(graph.tensors[index].shape) >= 2
            if len(buffer_bytes(tflite, content.buffers[graph.tensors[index].buffer]))
        ]
        named = [name for tensor in kernels for name in _parts(tensor)[::-1] if self.layers.get(name)]
        outputs = _with_converted(content, dict(zip(map(int, graph.outputs), self.output_layers, strict=False)))
        named += [outputs.get(index) or _parts(graph.tensors[index])[0] for index in step.outputs]
        return next((name for name in named if name in self.layers), "")


def _with_converted(content: Any, outputs: dict[int, str]) -> dict[int, str]:
    """Outputs, tensor -> layer, with the integers that some are converted from."""
    before = {int(one.outputs[0]): int(one.inputs[0]) for one in content.subgraphs[0].operators
              if kind_of(content, one) in ("DEQUANTIZE", "QUANTIZE")}  # fmt: skip
    return {**outputs, **{before[index]: layer for index, layer in outputs.items() if index in before}}


def _parts(tensor: Any) -> list[str]:
    return _NUMBER.sub("", tensor.name.decode()).split(";")


def _cut(tflite: bytes, sample: Sequence[np.ndarray], threads: int, names: _Names) -> _Cut:
    """Carry a file out operation by operation, each in an interpreter of its own."""
    whole = ready_interpreter(tflite, sample, 1, threads)
    content = unpacked(tflite)
    set_inputs(whole, sample)
    values = {detail["index"]: whole.get_tensor(detail["index"]) for detail in whole.get_input_details()}
    calls, found = [whole], []
    for step in steps_of(tflite, content):
        given = [values[index] for index in step.inputs]
        piece = _ready(file_of(tflite, content, step, [array.shape for array in given]), given, threads)
        piece.invoke()
        answers = [piece.get_tensor(detail["index"]) for detail in piece.get_output_details()]
        values.update(zip(step.outputs, answers, strict=True))
        calls.append(piece)
        found.append(
            OperationTime(
                kind=kind_of(content, step.operator),
                layer=names.layer_of(tflite, content, step),
                median_ms=0.0,
                is_loop=has_graphs(step.operator),
            )
        )
    return _Cut(calls, found)


def _ready(tflite: bytes, given: Sequence[np.ndarray], threads: int) -> Any:
    """An interpreter with its inputs set, as they are."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=tflite, num_threads=threads)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), given, strict=True):
        interpreter.set_tensor(detail["index"], array)
    return interpreter


def _take_turns(calls: Sequence[Callable[[], None]], report: Callable[[float], None]) -> list[list[float]]:
    """Return seconds of each call, of every turn but the first ones."""
    durations: list[list[float]] = [[] for _ in calls]
    started, reported = time.perf_counter(), 0.0
    while True:
        for call, each in zip(calls, durations, strict=True):
            before = time.perf_counter()
            call()
            each.append(time.perf_counter() - before)
        elapsed, turns = time.perf_counter() - started, len(durations[0])
        if turns >= MOST_TURNS or elapsed > LONGEST_SECONDS or (elapsed > SECONDS and turns >= LEAST_TURNS):
            return [each[min(WARM_UP_TURNS, turns - 1) :] for each in durations]
        if elapsed - reported > 0.5:
            reported = elapsed
            report(min(1.0, elapsed / SECONDS))
