"""Answering like the uploaded model: what counts as the same answer, and what training towards it aims at.

The original's answers take the place of labels, so no labels are needed (distillation, Hinton et al. 2015,
arXiv 1503.02531).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from intake.fit import Fit, OutputKind
from intake.model_info import ModelInfo
from intake.parts import Array
from intake.preprocessing import RunningStatistics

TOLERATED_SHARE = 0.1
"""A number agrees within this share of the standard deviation that it has in the original's answers."""
_LEAST_SHARE = 0.1
"""Numbers that hardly vary are held to this share of the deviation of the whole output, not to nothing."""
_ROUNDING = 1e-6

Tolerances = tuple[NDArray[np.float64] | None, ...]
"""For each output float64 of the shape of one sample's answer; None for classes and yes_no."""


def output_kinds(model_info: ModelInfo, from_logits: bool) -> tuple[OutputKind, ...]:
    """Return what each output gives, read from its activation; with `from_logits`, of one before its activation."""
    return tuple(
        _kind(shape[-1], activation, from_logits)
        for shape, activation in zip(model_info.output_shapes, model_info.output_activations, strict=True)
    )


def _kind(units: int | None, activation: str, from_logits: bool) -> OutputKind:
    if activation in ("sigmoid", "hard_sigmoid"):
        return "yes_no"
    several = units is None or units > 1
    if from_logits and activation != "softmax":
        return "classes" if several else "yes_no"
    return "classes" if activation == "softmax" and several else "numbers"


def tolerances(fit: Fit, originals: Iterable[Sequence[Array]]) -> Tolerances:
    """Return how far each number of each output may be off.

    Args:
        fit: with the kinds of the outputs.
        originals: the original's answers, chunk by chunk: for each output (n, ...).
    """
    running = [RunningStatistics() for _ in fit.outputs]
    shapes: list[tuple[int, ...]] = [()] * len(fit.outputs)
    for answers in originals:
        for number, (kind, answer) in enumerate(zip(fit.outputs, answers, strict=True)):
            if kind == "numbers":
                running[number].add(answer.reshape(len(answer), -1).astype(np.float64))
                shapes[number] = answer.shape[1:]
    return tuple(
        _tolerance(statistics).reshape(shape) if kind == "numbers" else None
        for kind, statistics, shape in zip(fit.outputs, running, shapes, strict=True)
    )


def _tolerance(statistics: RunningStatistics) -> NDArray[np.float64]:
    each = statistics.deviation
    whole = float(np.sqrt((each**2).mean() + statistics.mean.var()))
    largest = max(1.0, float(np.abs(statistics.high).max()), float(np.abs(statistics.low).max()))
    return np.maximum(TOLERATED_SHARE * np.maximum(each, _LEAST_SHARE * whole), _ROUNDING * largest)


def agreement_scores(
    fit: Fit, answers: Sequence[Array], originals: Sequence[Array], tolerated: Tolerances
) -> NDArray[np.float64]:
    """Return how far each sample is answered as by the original, float64 (n,) of 0 to 1.

    An output of classes agrees where the same class is largest, one of yes_no unit by unit by the side of one half,
    one of numbers number by number within the tolerance. Where an output has several of them (pixels, steps, units),
    the share that agrees counts; outputs count alike. A NaN never agrees.
    """
    each = [
        _agrees(kind, fit.from_logits, answer, original, tolerance)
        for kind, answer, original, tolerance in zip(fit.outputs, answers, originals, tolerated, strict=True)
    ]
    return np.asarray(np.mean([agrees.reshape(len(agrees), -1).mean(axis=1) for agrees in each], axis=0))


def _agrees(kind: OutputKind, from_logits: bool, answer: Array, original: Array, tolerance: Array | None) -> Array:
    match kind:
        case "classes":
            same = answer.argmax(axis=-1) == original.argmax(axis=-1)
            return np.asarray(same & ~np.isnan(answer).any(axis=-1))
        case "yes_no":
            half = 0.0 if from_logits else 0.5
            return np.asarray(((answer > half) == (original > half)) & ~np.isnan(answer))
        case "numbers":
            return np.asarray(np.abs(answer.astype(np.float64) - original) <= tolerance)


def training_targets(fit: Fit, originals: Sequence[Array]) -> list[Array]:
    """Return what the loss compares each output with: the original's answers, logits made probabilities."""
    if not fit.from_logits or fit.loss != "distillation":
        return list(originals)
    return [_probabilities(kind, original) for kind, original in zip(fit.outputs, originals, strict=True)]


def with_answers(labels: Array, answers: Array) -> Array:
    """Return targets that hold both: float32, the labels and then what the original answers, along the last axis.

    Args:
        labels: as the loss takes them: (n,) class indices, or of the rank of the answers.
        answers: float32 (n, *output shape).
    """
    columns = labels if labels.ndim == answers.ndim else labels[..., None]
    return np.concatenate([columns.astype(np.float32), answers], axis=-1)


def _probabilities(kind: OutputKind, logits: Array) -> Array:
    match kind:
        case "classes":
            powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
        case "yes_no":
            return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
        case "numbers":
            return logits
