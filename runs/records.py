"""The records that travel between worker, store and pages. Frozen, plain data."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from intake.dataset_info import RANDOM_INPUTS, DatasetOptions
from intake.fit import Fit, Metric
from measure.sizes import Sizes
from optimizers.recipe import Recipe

RunState = Literal["queued", "running", "finished", "failed", "cancelled", "interrupted"]
Relation = Literal["continues", "changed"]
"""continues: the recipe begins with that of the other run, whose weights it goes on from. changed: it came of changing it."""
ACTIVE_STATES: tuple[RunState, ...] = ("queued", "running")
RESUMABLE_STATES: tuple[RunState, ...] = ("interrupted", "failed")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Upload(_Record):
    """A file that was stored under the home folder."""

    upload_id: str
    file_name: str
    size_bytes: int
    sha256: str


class Project(_Record):
    """One model, one dataset (or none) and how they fit together."""

    project_id: str
    """Id of the MLflow experiment."""
    name: str
    model: Upload
    dataset: Upload | None = None
    """None where the inputs are random, made from the model."""
    options: DatasetOptions
    fit: Fit
    created_at: datetime
    owner: str = ""
    """Who created it; "" without a login, and on the command line."""

    @property
    def dataset_id(self) -> str | None:
        """Upload id of the dataset."""
        return self.dataset.upload_id if self.dataset else None

    @property
    def dataset_name(self) -> str:
        """Name of the dataset's file, or "random inputs"."""
        return self.dataset.file_name if self.dataset else RANDOM_INPUTS


class Progress(_Record):
    """Where a running run is."""

    phase: str
    """For people: "Fine-tuning, epoch 1 of 2"."""
    fraction: float
    """0 to 1 over the whole run."""
    remaining_s: float | None = None
    """Estimated seconds to the end; None while too little is known."""


class Result(Sizes):
    """The measured outcome of a run."""

    metric_name: Metric
    metric: float
    """Of the `.tflite`, on the test part."""
    metric_low: float
    """Lower end of the 95 % confidence interval from the number of test samples."""
    metric_high: float
    keras_metric: float
    """Of the Keras model before conversion, on the same samples."""
    latency_ms: float
    """Median of one call with one sample, one thread."""
    test_samples: int
    duration_s: float
    """From start to end of the run."""
    training_s: float
    """Spent in fine-tuning; 0 where none was needed."""


class Parent(_Record):
    """The run that another came of."""

    run_id: str
    """It may have been deleted since."""
    relation: Relation


class RunRecord(_Record):
    """One recipe applied to one project."""

    run_id: str
    project_id: str
    name: str
    recipe: Recipe
    is_baseline: bool
    state: RunState
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    progress: Progress | None = None
    error: str = ""
    """One readable sentence (or several, a line each) where the run failed, or finished with a file that does not keep
    what a step promised of it."""
    notes: tuple[str, ...] = ()
    """What happened on the way ("retried with oneDNN off")."""
    result: Result | None = None
    verified_count: int = 0
    """Claims checked on the exported file."""
    verified_met: int = 0
    tags: tuple[str, ...] = ()
    """What the run belongs to: "sweep:3fa9c1", or names that the user gave."""
    note: str = ""
    """What somebody wrote about the run."""
    starred: bool = False
    archived: bool = False
    """Kept, but out of sight until somebody asks for archived runs."""
    parent: Parent | None = None
    """None where it was begun from nothing, and in runs of older versions."""
    owner: str = ""
    """Who queued it; "" without a login, and on the command line."""

    @property
    def parent_run_id(self) -> str:
        """Of the run that it came of; "" where there is none."""
        return self.parent.run_id if self.parent else ""

    @property
    def is_continuing(self) -> bool:
        """True where it goes on from the weights of another run."""
        return self.parent is not None and self.parent.relation == "continues"

    @property
    def is_active(self) -> bool:
        """True while queued or running."""
        return self.state in ACTIVE_STATES


class Artifact(_Record):
    """A file that a run left."""

    name: str
    path: Path
    size_bytes: int
