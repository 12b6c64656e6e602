"""What a model answers to the test part of a dataset, kept from run to run: every run compares with the same answers."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from intake.parts import Array

KEPT_BYTES = 64 * 2**20
"""Larger answers are not kept: each run computes them."""


class StoredAnswers:
    """One file of answers.

    Args:
        path: of the file, named after everything that the answers depend on but the model.
        model: file of the model; answers that are older than it are not used.
    """

    def __init__(self, path: Path, model: Path) -> None:
        self._path, self._model = path, model

    def read(self, count: int) -> list[Array] | None:
        """Return the answers to all samples, for each output float32 (count, ...); None where they are not there."""
        try:
            if self._path.stat().st_mtime_ns < self._model.stat().st_mtime_ns:
                return None
            with np.load(self._path, allow_pickle=False) as file:
                found = [file[f"output_{number}"] for number in range(len(file.files))]
        except (
            OSError,
            ValueError,
            KeyError,
            zipfile.BadZipFile,
        ):  # not there, or not what this version writes: made again
            return None
        return found if all(len(answers) == count for answers in found) else None

    def write(self, answers: Sequence[Array]) -> None:
        """Keep the answers, all at once, unless they are too large."""
        if sum(array.nbytes for array in answers) > KEPT_BYTES:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._path.parent) as folder:
            unfinished = Path(folder) / self._path.name
            np.savez(
                unfinished, allow_pickle=False, **{f"output_{number}": array for number, array in enumerate(answers)}
            )
            os.replace(unfinished, self._path)
