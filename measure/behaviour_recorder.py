"""Collects what two models answer to the test part, chunk by chunk, and says what changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from intake.fit import Fit
from measure.answer_kinds import kind_of, unit_names
from measure.behaviour import Behaviour, OutputChange
from measure.class_answers import ClassAnswers
from measure.label_answers import LabelAnswers
from measure.number_answers import NumberAnswers

Array = NDArray[Any]


class BehaviourRecorder:
    """Compares an exported file with the uploaded model.

    Args:
        fit: how answers are judged.
        class_names: of the dataset, in its own order; empty without classes.
        output_names: of the model.
    """

    def __init__(self, fit: Fit, class_names: Sequence[str], output_names: Sequence[str]) -> None:
        self._fit, self._output_names = fit, output_names
        self._class_names = class_names
        self._outputs: list[ClassAnswers | LabelAnswers | NumberAnswers] = []
        self._samples = 0

    def add(self, before: Sequence[Array], after: Sequence[Array], truth: Array | None) -> None:
        """Take note of the answers to the next samples of the test part.

        Args:
            before: of the uploaded model, for each output (n, *output shape), n >= 1.
            after: of the exported file, likewise.
            truth: as `intake.preprocessing.apply_labels` returns it; None without labels.
        """
        if not self._outputs:
            self._outputs = [self._collector(number, answers.shape) for number, answers in enumerate(before)]
        self._samples += len(before[0])
        for collector, old, new in zip(self._outputs, before, after, strict=True):
            collector.add(old, new, truth)

    def behaviour(self) -> Behaviour:
        """Return what changed over all samples that came."""
        changes = []
        for name, collector in zip(self._output_names, self._outputs, strict=True):
            if isinstance(collector, NumberAnswers):
                changes.append(OutputChange(name=name, numbers=collector.change()))
            else:
                changes.append(OutputChange(name=name, classes=collector.change()))
        return Behaviour(samples=self._samples, outputs=tuple(changes))

    def _collector(self, number: int, shape: tuple[int, ...]) -> ClassAnswers | LabelAnswers | NumberAnswers:
        kind = kind_of(self._fit, number, shape)
        if kind == "numbers":
            return NumberAnswers()
        if kind == "labels":
            return LabelAnswers(unit_names(self._fit, self._class_names, shape[1]), self._fit.from_logits)
        return ClassAnswers(unit_names(self._fit, self._class_names, max(2, shape[1])), self._fit.from_logits)
