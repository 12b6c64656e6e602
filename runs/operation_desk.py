"""Where the time of each operation is asked for: the part of the service that times finished runs in pieces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runs.jobs import Job
from runs.operation_job import read_operations
from runs.speed_job import MOST_THREADS, timing_request

if TYPE_CHECKING:
    from runs.service import Service


class OperationDesk:
    """Measures the operations of runs of a service.

    Args:
        service: whose runs.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def times(self, run_id: str, threads: int) -> Job | None:
        """Return the newest job of `measure` with these arguments; None where there is none."""
        return self._service.known_job(_key(run_id, threads))

    def measured(self, run_id: str) -> Job | None:
        """Return a job that has measured this run, that with the fewest threads; None where there is none."""
        jobs = (self.times(run_id, threads) for threads in range(1, MOST_THREADS + 1))
        return next((job for job in jobs if job is not None and job.state == "finished"), None)

    def measure(self, run_id: str, threads: int) -> Job:
        """Measure each operation of a run's file, and of the baseline's in turns, in the worker, when it has time.

        The job's result is a tuple of `measure.operation_times.OperationTimes`: those of the run, and of the baseline
        where there is another. Raises UserError where the run left no file.
        """
        project = self._service.project(self._service.run(run_id).project_id)
        request = timing_request("operations", project, self._service.files_beside_baseline(run_id), threads)
        return self._service.job_anew(_key(run_id, threads), "Timing each operation", request, read_operations)


def _key(run_id: str, threads: int) -> str:
    return f"operations:{run_id}:{threads}"
