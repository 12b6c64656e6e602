"""How far each layer of an exported file puts out other numbers than the float32 file of the uploaded model."""

from __future__ import annotations

import math
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from measure.flatbuffer import unpacked
from measure.litert import dequantized, forgets_state, set_inputs
from measure.weights import buffer_bytes

SAMPLES = 8
"""Test samples that both files are fed with, one by one."""
BUDGET_SECONDS = 1.0
"""No further sample is begun after this long."""
SAME_DB = 150.0
"""Stands for no difference at all: float32 cannot show a smaller one."""
_NUMBER = re.compile(r"#\d+$")


class LayerError(BaseModel):
    """Difference of what one layer puts out, over some samples; what earlier layers changed is in it."""

    model_config = ConfigDict(frozen=True)

    sqnr_db: float
    """Signal to quantization noise: 10 log10 of the power of the original over that of the difference; at most 150."""
    cosine: float
    """Of the angle between both, -1 to 1."""


def layer_errors(
    float_file: bytes, tflite: bytes, samples: Sequence[np.ndarray], output_layers: Sequence[str]
) -> dict[str, LayerError]:
    """Return the error of each layer that both files have a tensor of.

    A layer that is computed in one with the next (a convolution and its activation) has the error of what comes out.

    Args:
        float_file: of the uploaded model; tensors are named after layers (`measure.tensor_names`).
        tflite: the exported file, its inputs and outputs in the same order.
        samples: for each input (n, *input_shape), preprocessed, n >= 1; at most 8 are looked at.
        output_layers: names of the layers that give the outputs.

    Returns:
        Nothing where LiteRT cannot run a file with every tensor kept.
    """
    try:
        original, exported = _Tapped(float_file, output_layers), _Tapped(tflite, output_layers)
        taps = list(_common(original, exported))
        begun = time.monotonic()
        for index in range(min(SAMPLES, len(samples[0]))):
            if index and time.monotonic() - begun > BUDGET_SECONDS:
                break
            sample = [array[index : index + 1] for array in samples]
            original.run(sample)
            exported.run(sample)
            for tap in taps:
                tap.sums.add(original.values(tap.original), exported.values(tap.exported))
    except (RuntimeError, ValueError):  # some kernels exist only in XNNPACK, which keeps no tensors
        return {}
    found: dict[str, LayerError] = {}
    for tap in taps:
        error = tap.sums.error()
        for layer in tap.layers if error else ():
            found.setdefault(layer, error)  # type: ignore[arg-type]
    return found


class _Tapped:
    """A file that is run with every tensor kept."""

    def __init__(self, tflite: bytes, output_layers: Sequence[str]) -> None:
        self._tflite = tflite
        self._interpreter = self._fresh_interpreter()
        self._details = {detail["index"]: detail for detail in self._interpreter.get_tensor_details()}
        outputs = [detail["index"] for detail in self._interpreter.get_output_details()]
        self.outputs = dict(zip(output_layers, outputs, strict=True))
        self.computed = [(index, layers) for index, layers in _computed(tflite) if index not in outputs]

    def _fresh_interpreter(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        with warnings.catch_warnings():  # that keeping all tensors takes memory
            warnings.simplefilter("ignore", UserWarning)
            interpreter = Interpreter(
                model_content=self._tflite,
                num_threads=1,
                experimental_preserve_all_tensors=True,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
        interpreter.allocate_tensors()
        return interpreter

    def shape(self, index: int) -> tuple[int, ...]:
        """Of a tensor, for one sample."""
        return tuple(int(side) for side in self._details[index]["shape"])

    def run(self, sample: Sequence[np.ndarray]) -> None:
        """Feed one sample."""
        if not forgets_state(self._interpreter):
            self._interpreter = self._fresh_interpreter()
        set_inputs(self._interpreter, sample)
        self._interpreter.invoke()

    def values(self, index: int) -> np.ndarray:
        """Return what a tensor holds, as real numbers."""
        return dequantized(self._interpreter.get_tensor(index), self._details[index])


def _computed(tflite: bytes) -> Iterator[tuple[int, list[str]]]:
    """Yield each tensor that the main graph computes from its inputs, in order, with the layers that it is named after."""
    content: Any = unpacked(tflite)
    graph = content.subgraphs[0]
    constant = {
        index for index, tensor in enumerate(graph.tensors) if len(buffer_bytes(tflite, content.buffers[tensor.buffer]))
    }
    for operator in graph.operators:
        if all(index < 0 or int(index) in constant for index in operator.inputs):
            constant.update(int(index) for index in operator.outputs)  # weights that are unpacked
            continue
        for index in operator.outputs:
            yield int(index), _NUMBER.sub("", graph.tensors[index].name.decode()).split(";")


@dataclass
class _Sums:
    """Added up over samples."""

    signal: float = 0.0
    other: float = 0.0
    noise: float = 0.0
    product: float = 0.0

    def add(self, original: np.ndarray, exported: np.ndarray) -> None:
        """Take note of what both files computed; shapes that differ are an error."""
        one, two = (np.ravel(values).astype(np.float64) for values in (original, exported))
        self.signal += float(one @ one)
        self.other += float(two @ two)
        self.noise += float((one - two) @ (one - two))
        self.product += float(one @ two)

    def error(self) -> LayerError | None:
        """None where the original is all zeros, or a sum is not a number."""
        if not self.signal or not math.isfinite(self.signal + self.other + self.noise):
            return None
        decibels = 10 * math.log10(self.signal / self.noise) if self.noise else SAME_DB
        cosine = self.product / math.sqrt(self.signal * self.other) if self.other else 0.0
        return LayerError(sqnr_db=min(SAME_DB, decibels), cosine=max(-1.0, min(1.0, cosine)))


@dataclass
class _Tap:
    """Tensors of both files that hold the same, and the layers whose output it is, the last one first."""

    layers: list[str]
    original: int
    exported: int
    sums: _Sums = field(default_factory=_Sums)


def _common(original: _Tapped, exported: _Tapped) -> Iterator[_Tap]:
    """Yield what both files have, layers by their own tensor before those computed together with others."""
    taps = {layers[0]: _Tap(layers, index, other) for index, layers, other in _pairs(original, exported)}
    for layer, index in original.outputs.items():
        taps.setdefault(layer, _Tap([layer], index, exported.outputs[layer]))
    for layer, tap in taps.items():
        yield _Tap([layer, *(name for name in tap.layers[1:] if name not in taps)], tap.original, tap.exported)


def _pairs(original: _Tapped, exported: _Tapped) -> Iterator[tuple[int, list[str], int]]:
    """A layer can compute several tensors: the last counts that the other file has in the same shape too."""
    others: Mapping[tuple[str, tuple[int, ...]], int] = {
        (layers[0], exported.shape(index)): index for index, layers in exported.computed
    }
    for index, layers in original.computed:
        other = others.get((layers[0], original.shape(index)))
        if other is not None:
            yield index, layers, other
