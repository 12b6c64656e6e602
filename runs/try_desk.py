"""Where single samples are tried: the part of the service that has a run and the original answer one sample."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from runs.executor import LocalExecutor
from runs.jobs import Job
from runs.paths import samples_folder
from runs.records import Project
from runs.try_job import AskedSample, read_tried, try_request

if TYPE_CHECKING:
    from runs.service import Service

JOBS_KEPT = 64
"""Answers that stay in memory, a few kB each, so that a page that is drawn again does not ask again."""


class TryDesk:
    """Has the worker try samples, and keeps the newest answers. Thread-safe."""

    def __init__(self, service: Service, executor: LocalExecutor) -> None:
        self._service, self._executor = service, executor
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()

    def ask(self, run_id: str, asked: AskedSample) -> Job:
        """Have a finished run and the original answer one sample, in the worker, when it has time.

        The job's result is a `runs.try_job.Tried`. The same call returns the same job while its answer is kept.

        Raises:
            UserError: the run left no file.
        """
        key = f"{run_id}:{asked.digest}"
        with self._lock:
            if key in self._jobs:
                return self._jobs[key]
        run = self._service.run(run_id)
        request = try_request(self._service.project(run.project_id), self._service.files_beside_baseline(run_id), asked)
        job = Job("Trying the sample")
        with self._lock:
            while len(self._jobs) >= JOBS_KEPT:
                self._jobs.pop(next(iter(self._jobs)))
            self._jobs[key] = job
        self._executor.submit_job(job, request, read_tried)
        return job

    def forget(self, job: Job) -> None:
        """Let the next call ask afresh, to try again after a failure."""
        with self._lock:
            self._jobs = {key: kept for key, kept in self._jobs.items() if kept is not job}

    def cells(self, project: Project, row: int) -> list[str]:
        """Return the cells of a row of the test part of a table, "" where only its file knows; [] where it is gone."""
        from intake.datasets import load_parsed
        from intake.table_rows import cells_of_row

        folder = samples_folder(self._service.settings, project.model.upload_id, project.dataset_id, project.options)
        try:
            dataset = load_parsed(folder)
            return cells_of_row(dataset.x_test[row], dataset.info)
        except (OSError, ValueError, IndexError):  # the parsed copy is a cache; the next run makes it again
            return []
