"""Runs carried out in the process of the test, as the worker does it, so that a test can look inside or break something."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from shutil import copytree

import pytest

from intake.dataset_info import DatasetOptions
from intake.fit import FitOverrides
from optimizers.recipe import Recipe
from runs.paths import log_path
from runs.records import Project, RunRecord
from runs.service import Service
from runs.settings import Settings
from runs.store import Store
from runs.worker import execute


def project_here(home: Path, empty_home: Path, files: tuple[Path, Path]) -> tuple[Settings, Project]:
    """Return a project in a home of its own, whose files a real worker has prepared; nothing has run."""
    copytree(empty_home, home)
    service = Service(Settings(home=home))
    service.start()
    try:
        prepared = service.prepare(*files, DatasetOptions(), FitOverrides())
        made = Project(
            project_id="", name="Here", model=service.upload(prepared.model_id),
            dataset=service.upload(str(prepared.dataset_id)), options=prepared.options, fit=prepared.report.fit,
            created_at=datetime.now(UTC),
        )  # fmt: skip
        return service.settings, Store(service.settings).add_project(made)
    finally:
        service.stop()


def run_here(settings: Settings, project: Project, recipe: Recipe, patched: pytest.MonkeyPatch) -> RunRecord:
    """Carry a recipe out in this process and return how the run ended."""
    patched.setattr("runs.worker._forget_graphs", lambda: None)  # models of other tests are in this process
    store = Store(settings)
    queued = store.add_run(
        RunRecord(
            run_id="", project_id=project.project_id, name="here", recipe=recipe, is_baseline=not recipe.steps,
            state="queued", created_at=datetime.now(UTC),
        )
    )  # fmt: skip
    log_path(settings, queued.run_id).write_text("")
    execute(queued.run_id, settings)
    return store.run(queued.run_id)
