"""Everything that is known of a finished run, gathered for whoever writes it down for others."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Protocol

from intake.dataset_info import DatasetInfo
from intake.model_classes import LAYER_CLASSES
from intake.model_info import ModelInfo
from optimizers.layer_facts import LayerFacts
from runs.records import Artifact, Project, Result, RunRecord
from runs.report import RunReport
from runs.shown_samples import ShownSamples

TFLITE = "model.tflite"
OF_TARE = ("Keras3Activation",)
"""Classes of Tare's own that a rebuilt model may hold."""


@dataclass(frozen=True)
class FinishedRun:
    """One finished run with its files."""

    run: RunRecord
    result: Result
    project: Project
    baseline_run: RunRecord | None
    """None on the baseline itself, and where there is none."""
    report: RunReport | None
    artifacts: tuple[Artifact, ...]

    @property
    def baseline(self) -> Result | None:
        """The figures of the baseline."""
        return self.baseline_run.result if self.baseline_run else None

    @property
    def tflite_sha256(self) -> str:
        """Of the exported file."""
        return hashlib.sha256(self.tflite).hexdigest()

    @property
    def tflite(self) -> bytes:
        """The exported file; raises FileNotFoundError where it is no longer stored."""
        return self.artifact(TFLITE).path.read_bytes()

    def artifact(self, name: str) -> Artifact:
        """Return a file that the run left; raises FileNotFoundError where there is none of that name."""
        for artifact in self.artifacts:
            if artifact.name == name:
                return artifact
        raise FileNotFoundError(name)

    @property
    def stem(self) -> str:
        """A name for files, see `file_stem`."""
        return file_stem(self.run, self.project)


def file_stem(run: RunRecord, project: Project) -> str:
    """Return a name for files that tells runs apart: "digits_cnn-pruning-3fa9c1"."""
    words = "-".join(step.technique for step in run.recipe.steps) or "baseline"
    return f"{PurePath(project.model.file_name).stem}-{words}-{run.run_id[:6]}"


SampleSource = Callable[[Sequence[int]], ShownSamples]
"""Looks rows of the test part up, to be shown; returns none where they are no longer stored."""


class ReportWriter(Protocol):
    """What writes reports; it draws as the pages do, so it is handed in from there."""

    def of_run(self, finished: FinishedRun, curves: dict[str, list[tuple[int, float]]], samples: SampleSource) -> str:
        """Return the report of one run as one HTML file."""

    def of_comparison(self, project: Project, runs: Sequence[FinishedRun]) -> str:
        """Return the report of several runs of a project as one HTML file."""


@dataclass(frozen=True)
class Inputs:
    """What a run began with: the files, and what Tare had found out about them."""

    model_info: ModelInfo
    dataset_info: DatasetInfo
    layers: tuple[LayerFacts, ...]
    """Of the model, inputs left out."""
    uploaded_model: Path
    clean_model: Path
    """The tf_keras model that every run of the project starts from, HDF5."""
    uploaded_dataset: Path | None
    """None for random inputs."""
    parsed: Path
    """Folder of the arrays of the dataset."""


def own_classes(inputs: Inputs) -> list[str]:
    """Return what the clean model holds that tf_keras alone does not have: classes of Tare, or of trusted modules."""
    import h5py

    found = {layer.class_name for layer in inputs.layers} - LAYER_CLASSES
    with h5py.File(inputs.clean_model, "r") as file:
        config = file.attrs["model_config"]
    text = config.decode() if isinstance(config, bytes) else str(config)
    return sorted(found | {name for name in OF_TARE if f'"{name}"' in text})
