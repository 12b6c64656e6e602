"""Measuring the speed of finished runs anew, in the worker, on one sample of the project."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from measure.speed import Speed, measure_speeds
from runs.records import Project
from runs.settings import Settings

MOST_THREADS = 16


def timing_request(kind: str, project: Project, files: Sequence[Path], threads: int) -> dict[str, Any]:
    """Return what the worker is asked: to time exported files of one project side by side, in a way that it knows."""
    return {
        "kind": kind,
        "project": project.model_dump(mode="json"),
        "files": [str(file) for file in files],
        "threads": threads,
    }


def answer_speed(settings: Settings, request: dict[str, Any], report: Callable[[float, str], None]) -> Any:
    """Measure in the worker; returns a Speed as plain data for each file."""
    from intake.representative import representative_samples
    from runs.worker import ensure_parsed

    project = Project.model_validate(request["project"])
    report(0.05, "Reading a sample")
    dataset = ensure_parsed(settings, project.model, project.dataset, project.options)
    speeds = measure_speeds(
        [Path(file).read_bytes() for file in request["files"]],
        representative_samples(dataset, project.fit, 1, 0),
        request["threads"],
        lambda done: report(0.1 + 0.85 * done, "Calling the files in turns"),
    )
    return [speed.model_dump() for speed in speeds]


def read_speeds(answer: Any) -> tuple[Speed, ...]:
    """Return what the worker measured, in the order of the files."""
    return tuple(Speed.model_validate(speed) for speed in answer)
