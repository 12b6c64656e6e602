"""What the uploaded model answers to the samples of a dataset: the target of distillation, the measure of agreement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from intake.agreement import Tolerances, tolerances
from intake.datasets import Dataset
from intake.fit import Fit
from intake.keras_env import tensorflow
from intake.parts import Array, PartName
from intake.preprocessing import model_inputs
from intake.stored_answers import StoredAnswers

KEPT_BYTES = 2**30
"""The answers to a part are computed once and kept on disk up to this, end included; else whenever they are asked for."""
_BATCH_BYTES = 32 * 2**20
_LARGEST_BATCH = 128


class Teacher:
    """The uploaded model, asked for its answers. It is never changed.

    Args:
        model: clean tf_keras model.
        dataset: fitted to it.
        fit: how.
        folder: where answers are kept; whoever made it removes it.
        stored: what keeps those to the test part for later runs; None: nothing does.
    """

    def __init__(
        self, model: Any, dataset: Dataset, fit: Fit, folder: Path, stored: StoredAnswers | None = None
    ) -> None:
        self._dataset, self._fit, self._folder, self._stored = dataset, fit, folder, stored
        self._run = tensorflow().function(lambda inputs: model(inputs, training=False), reduce_retracing=True)
        self._kept: dict[PartName, list[Array] | None] = {}

    def answers(self, part: PartName, index: Array | slice, inputs: Sequence[Array]) -> list[Array]:
        """Return the answers to some samples of a part: for each output float32 (n, *output shape).

        Args:
            part: of the dataset.
            index: which samples.
            inputs: the same samples, preprocessed; used where answers are not kept.
        """
        if part not in self._kept:
            self._kept[part] = self._keep(part)
        kept = self._kept[part]
        return self.ask(inputs) if kept is None else [np.asarray(array[index]) for array in kept]

    def tolerances(self, part: PartName) -> Tolerances:
        """Return how far each number of each output may be off, by its spread over a part."""
        return tolerances(self._fit, (answers for _, answers in self._chunks(part)))

    def _chunks(self, part: PartName) -> Iterator[tuple[slice, list[Array]]]:
        arrays, count = self._dataset.part(part).arrays, len(self._dataset.part(part).x)
        one = sum(array.nbytes for array in self._inputs(part, slice(0, 1)))
        step = min(_LARGEST_BATCH, max(1, _BATCH_BYTES // max(1, one)))
        kept = self._kept.get(part)
        for start in range(0, len(arrays[0]), step):
            rows = slice(start, min(start + step, count))
            yield rows, self.ask(self._inputs(part, rows)) if kept is None else [array[rows] for array in kept]

    def _inputs(self, part: PartName, rows: slice) -> tuple[Array, ...]:
        return model_inputs(self._fit, [array[rows] for array in self._dataset.part(part).arrays])

    def ask(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the answers to preprocessed samples that are in no part: for each output float32 (n, *output shape)."""
        outputs = self._run(inputs[0] if len(inputs) == 1 else list(inputs))
        return [np.asarray(output, np.float32) for output in tensorflow().nest.flatten(outputs)]

    def _keep(self, part: PartName) -> list[Array] | None:
        count = len(self._dataset.part(part).x)
        if not count:
            return None
        stored = self._stored if part == "test" else None
        if stored is not None and (found := stored.read(count)) is not None:
            return found
        first = self.ask(self._inputs(part, slice(0, 1)))
        if sum(answer.nbytes for answer in first) * count > KEPT_BYTES:
            return None
        self._folder.mkdir(parents=True, exist_ok=True)
        kept: list[Array] = [
            np.lib.format.open_memmap(
                self._folder / f"{part}_{number}.npy", "w+", np.float32, (count, *answer.shape[1:])
            )
            for number, answer in enumerate(first)
        ]
        for rows, answers in self._chunks(part):
            for target, answer in zip(kept, answers, strict=True):
                target[rows] = answer
        if stored is not None:
            stored.write(kept)
        return kept
