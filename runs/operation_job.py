"""Measuring the time of each operation of finished runs, in the worker, on one sample of the project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure.operation_times import OperationTimes, measure_operations
from runs.records import Project
from runs.settings import Settings


def answer_operations(settings: Settings, request: dict[str, Any], report: Callable[[float, str], None]) -> Any:
    """Measure in the worker; returns OperationTimes as plain data for each file."""
    from intake.representative import representative_samples
    from runs.worker import ensure_parsed, ensure_prepared

    project = Project.model_validate(request["project"])
    report(0.05, "Reading a sample")
    info = ensure_prepared(settings, project.model)
    dataset = ensure_parsed(settings, project.model, project.dataset, project.options)
    report(0.1, "Cutting the files into operations")
    measured = measure_operations(
        [Path(file).read_bytes() for file in request["files"]],
        representative_samples(dataset, project.fit, 1, 0),
        request["threads"],
        {layer.name: layer.parameters for layer in info.layers},
        info.output_names,
        lambda done: report(0.2 + 0.75 * done, "Calling each operation in turns"),
    )
    return [times.model_dump() for times in measured]


def read_operations(answer: Any) -> tuple[OperationTimes, ...]:
    """Return what the worker measured, in the order of the files."""
    return tuple(OperationTimes.model_validate(times) for times in answer)
