"""What becomes of files before there is a project: stored, opened, read, matched; and what a recipe would do."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from intake.dataset_info import DatasetInfo, DatasetOptions
from intake.fit import FitOverrides, MatchReport
from intake.model_info import ModelInfo
from optimizers.estimate import EstimatedSizes, SizeEstimator
from optimizers.recipe import Recipe
from runs.executor import LocalExecutor
from runs.jobs import Job
from runs.paths import parsed_folder
from runs.plan import ModelPlan, estimator_of, stored_plan
from runs.records import Upload
from runs.settings import Settings
from runs.uploads import find_upload, store_upload

ESTIMATORS_KEPT = 8
"""Models whose kernel samples (2 MB each) stay in memory."""


@dataclass(frozen=True)
class Prepared:
    """Two stored files (or a model alone) that were opened, read and matched."""

    model_id: str
    dataset_id: str | None
    """None where the inputs are random."""
    options: DatasetOptions
    model_info: ModelInfo
    dataset_info: DatasetInfo
    report: MatchReport


class FilesIn:
    """The part of the service that knows files and jobs, but no runs."""

    def __init__(self, settings: Settings, executor: LocalExecutor) -> None:
        self.settings = settings
        self._executor = executor
        self._jobs: dict[str, Job] = {}
        self._estimators: dict[str, tuple[ModelPlan, SizeEstimator]] = {}
        self._lock = threading.Lock()

    def add_upload(self, name: str, stream: BinaryIO) -> Upload:
        """Store a file; raises UserError where it is empty or too large."""
        return store_upload(self.settings, name, stream)

    def upload(self, upload_id: str) -> Upload:
        """Return a stored file; raises UserError where there is none of that id."""
        return find_upload(self.settings, upload_id)

    def inspect_model(self, upload_id: str) -> Job:
        """Open a model in the worker. The job's result is a ModelInfo; the same call returns the same job."""
        upload = self.upload(upload_id)
        request = {"kind": "inspect_model", "upload": upload.model_dump(mode="json")}
        return self._job(f"model:{upload_id}", f"Opening {upload.file_name}", request, ModelInfo.model_validate)

    def inspect_dataset(self, upload_id: str, options: DatasetOptions | None = None) -> Job:
        """Read a dataset in the worker. The job's result is a DatasetInfo; the same call returns the same job."""
        upload, options = self.upload(upload_id), options or DatasetOptions()
        request = {
            "kind": "inspect_dataset",
            "model": None,
            "dataset": upload.model_dump(mode="json"),
            "options": options.model_dump(),
        }
        key = f"dataset:{upload_id}:{options.model_dump_json()}"
        return self._job(key, f"Reading {upload.file_name}", request, DatasetInfo.model_validate)

    def inspect_random(self, model_upload_id: str, options: DatasetOptions | None = None) -> Job:
        """Make random inputs for a model in the worker. The job's result is a DatasetInfo."""
        options = options or DatasetOptions()
        request = {
            "kind": "inspect_dataset",
            "model": self.upload(model_upload_id).model_dump(mode="json"),
            "dataset": None,
            "options": options.model_dump(),
        }
        key = f"random:{model_upload_id}:{options.model_dump_json()}"
        return self._job(key, "Making random inputs", request, DatasetInfo.model_validate)

    def _inspect_samples(self, model_upload_id: str, dataset_upload_id: str | None, options: DatasetOptions) -> Job:
        if dataset_upload_id is None:
            return self.inspect_random(model_upload_id, options)
        return self.inspect_dataset(dataset_upload_id, options)

    def match(
        self,
        model_upload_id: str,
        dataset_upload_id: str | None,
        options: DatasetOptions | None = None,
        overrides: FitOverrides | None = None,
    ) -> Job:
        """Measure the plausible ways to fit the two (None: random inputs). The job's result is a MatchReport."""
        options, overrides = options or DatasetOptions(), overrides or FitOverrides()
        request = {
            "kind": "match",
            "model": self.upload(model_upload_id).model_dump(mode="json"),
            "dataset": self.upload(dataset_upload_id).model_dump(mode="json") if dataset_upload_id else None,
            "options": options.model_dump(),
            "overrides": overrides.model_dump(),
        }
        digest = hashlib.sha256(f"{options.model_dump_json()}{overrides.model_dump_json()}".encode()).hexdigest()
        key = f"match:{model_upload_id}:{dataset_upload_id}:{digest}"
        return self._job(key, "Matching model and dataset", request, MatchReport.model_validate)

    def forget(self, job: Job) -> None:
        """Let the next call start a job afresh, to try again after a failure."""
        with self._lock:
            self._jobs = {key: kept for key, kept in self._jobs.items() if kept is not job}

    def preview_image(self, upload_id: str, options: DatasetOptions, name: str) -> Path:
        """Return the PNG file of a preview image (`DatasetInfo.preview_images`) of a dataset read with `options`."""
        return parsed_folder(self.settings, self.upload(upload_id).upload_id, options) / Path(name).name

    def _job(self, key: str, title: str, request: dict[str, Any], read: Callable[[Any], Any]) -> Job:
        with self._lock:
            if key not in self._jobs:
                self._jobs[key] = Job(title)
                self._executor.submit_job(self._jobs[key], request, read)
            return self._jobs[key]

    def known_job(self, key: str) -> Job | None:
        """Return the newest job of that name; None where there is none."""
        with self._lock:
            return self._jobs.get(key)

    def job_anew(self, key: str, title: str, request: dict[str, Any], read: Callable[[Any], Any]) -> Job:
        """Have the worker answer a request; one that is still at work is not asked twice."""
        if (last := self.known_job(key)) is not None and last.is_done:
            self.forget(last)
        return self._job(key, title, request, read)

    def model_plan(self, upload_id: str) -> Job:
        """Find out in the worker what each technique can do to a model. The job's result is a ModelPlan."""
        upload = self.upload(upload_id)
        key = f"plan:{upload_id}"
        plan = None if key in self._jobs else stored_plan(self.settings, upload_id)
        if plan is not None:
            with self._lock:
                job = self._jobs.setdefault(key, Job(f"Looking at the layers of {upload.file_name}"))
            job.finish(plan)
            return job
        request = {"kind": "plan", "upload": upload.model_dump(mode="json")}
        return self._job(key, f"Looking at the layers of {upload.file_name}", request, ModelPlan.model_validate)

    def estimate(self, upload_id: str, recipe: Recipe) -> EstimatedSizes | None:
        """Return the sizes that a recipe is expected to come to; None where the model has no plan yet, or cannot have.

        Takes a fraction of a second, and less for what was asked before.

        Raises:
            InvalidParams: a step leaves layers as they are that the model does not have.
        """
        plan = stored_plan(self.settings, upload_id)
        if plan is None or plan.problem:
            return None
        known = self._estimators.get(upload_id)
        if known is None or known[0] != plan:
            while len(self._estimators) >= ESTIMATORS_KEPT:
                self._estimators.pop(next(iter(self._estimators)))
            try:
                known = plan, estimator_of(self.settings, upload_id, plan)
            except (OSError, ValueError):  # the copy is a cache; whoever cleared it gets it back with the next run
                return None
            self._estimators[upload_id] = known
        return known[1].estimate(recipe)

    def prepare(
        self,
        model: Path,
        dataset: Path | None,
        options: DatasetOptions,
        overrides: FitOverrides,
        job: Job | None = None,
    ) -> Prepared:
        """Open, read and match two files (or a model alone), as the pages do step by step; blocks.

        Args:
            model: path of the model file.
            dataset: path of the dataset file; None for random inputs.
            options: how to read the dataset.
            overrides: parts of the fit that are decided already.
            job: told how far it is.
        """
        job = job or Job("Preparing")
        job.report(0.05, f"Opening {model.name}")
        model_id = self._stored(model)
        model_info: ModelInfo = self.inspect_model(model_id).wait()
        job.report(0.4, f"Reading {dataset.name}" if dataset else "Making random inputs")
        dataset_id = self._stored(dataset) if dataset else None
        options = options_for(model_info, options) if dataset else DatasetOptions(seed=options.seed)
        dataset_info: DatasetInfo = self._inspect_samples(model_id, dataset_id, options).wait()
        job.report(0.6, "Matching model and dataset")
        report: MatchReport = self.match(model_id, dataset_id, options, overrides).wait()
        return Prepared(model_id, dataset_id, options, model_info, dataset_info, report)

    def _stored(self, path: Path) -> str:
        with path.open("rb") as stream:
            return self.add_upload(path.name, stream).upload_id


def options_for(model_info: ModelInfo, options: DatasetOptions) -> DatasetOptions:
    """Return the options as the model needs them.

    Images are decoded straight to the size that it takes, unless one was chosen; arrays are looked up by the names of
    its inputs where it has several.
    """
    if len(model_info.input_names) > 1:
        return options.model_copy(update={"input_names": model_info.input_names})
    shape = model_info.input_shapes[0]
    if options.image_size is None and len(shape) == 4 and all(shape[1:3]) and shape[3] in (1, 3):
        return options.model_copy(update={"image_size": (shape[1], shape[2])})
    return options
