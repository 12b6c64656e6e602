"""The runs that `make screenshots` shows: real ones, of the built-in example."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from intake.dataset_info import DatasetOptions
from intake.fit import FitOverrides
from optimizers import TECHNIQUES
from optimizers.recipe import Recipe, RecipeStep
from optimizers.sweep import expand
from runs.paths import samples_folder, upload_path
from runs.records import RunRecord
from runs.service import EXAMPLE_DATASET, EXAMPLE_MODEL, EXAMPLE_NAME, Service
from runs.settings import Settings

EPOCHS = 12
"""Enough for the example to recover."""


@dataclass(frozen=True)
class Shown:
    """Ids of what is photographed; all empty for an app without projects."""

    project_id: str = ""
    alone_id: str = ""
    """Of the project without a dataset."""
    baseline_id: str = ""
    pruned_id: str = ""
    int8_id: str = ""
    chain_id: str = ""
    failed_id: str = ""
    endless_id: str = ""
    compared: tuple[str, ...] = ()


def make_runs(home: Path) -> Shown:
    """Make the example with its runs in a home folder, wait for them, and return their ids; those of the last time."""
    home.mkdir(parents=True, exist_ok=True)
    if (home / "shown.json").is_file():
        return Shown(**json.loads((home / "shown.json").read_text()))
    shown = _made(home)
    (home / "shown.json").write_text(json.dumps(asdict(shown)))
    return shown


def _made(home: Path) -> Shown:
    service = Service(Settings(home=home))
    service.start()
    try:
        alone = service.prepare(EXAMPLE_MODEL, None, DatasetOptions(), FitOverrides())
        without_data = service.project_of("Digits without a dataset", alone)
        service.wait(service.baseline(without_data.project_id).run_id)
        packed = service.submit(without_data.project_id, Recipe.checked([_step("post_training_quantization")]))
        failed = _failed_run(service, home)
        prepared = service.prepare(EXAMPLE_MODEL, EXAMPLE_DATASET, DatasetOptions(), FitOverrides())
        service.model_plan(prepared.model_id).wait()
        project = service.project_of(EXAMPLE_NAME, prepared)
        baseline = service.baseline(project.project_id)
        singles = {
            entry.name: service.submit(project.project_id, Recipe.checked([_step(entry.name)])) for entry in TECHNIQUES
        }
        chain = service.submit(
            project.project_id,
            Recipe.checked([_step("pruning"), _step("post_training_quantization", mode="int8")]),
            "Pruned, then int8",
        )
        int8 = service.submit(project.project_id, Recipe.checked([_step("post_training_quantization", mode="int8")]))
        swept = service.submit_sweep(
            project.project_id, expand([_step("clustering", number_of_clusters=[4, 8, 32])]), "Clusters"
        )
        runs = [packed, baseline, *singles.values(), chain, int8, *swept]
        for run in runs:
            ended = service.wait(run.run_id)
            if ended.state != "finished":
                raise SystemExit(f"{ended.name} {ended.state}: {ended.error}")
        service.label_run(chain.run_id, starred=True, note="Smallest that keeps the accuracy.")
    finally:
        service.stop()
    pruned = singles["pruning"].run_id
    return Shown(
        project_id=project.project_id,
        alone_id=without_data.project_id,
        baseline_id=baseline.run_id,
        pruned_id=pruned,
        int8_id=int8.run_id,
        chain_id=chain.run_id,
        failed_id=failed.run_id,
        compared=(chain.run_id, pruned, int8.run_id),
    )


def _failed_run(service: Service, home: Path) -> RunRecord:
    """A run whose dataset somebody removed from the home folder."""
    with np.load(EXAMPLE_DATASET) as arrays:
        np.savez_compressed(home / "my_digits.npz", **arrays)
    prepared = service.prepare(EXAMPLE_MODEL, home / "my_digits.npz", DatasetOptions(), FitOverrides())
    project = service.project_of("Digits whose file is gone", prepared)
    service.wait(service.baseline(project.project_id).run_id)
    assert project.dataset is not None
    upload_path(service.settings, project.dataset).unlink()
    shutil.rmtree(samples_folder(service.settings, project.model.upload_id, project.dataset_id, project.options))
    run = service.wait(service.submit(project.project_id, Recipe.checked([_step("pruning")])).run_id)
    if run.state != "failed":
        raise SystemExit(f"The run that should have failed is {run.state}.")
    return run


def _step(name: str, **params: object) -> RecipeStep:
    trains = next(entry for entry in TECHNIQUES if entry.name == name).fine_tuning is not None
    return RecipeStep(technique=name, params=params, fine_tuning={"epochs": EPOCHS} if trains else None)


@contextlib.contextmanager
def endless_run(home: Path, shown: Shown) -> Iterator[Shown]:
    """A run that would take very long, at work in this process's worker until the end; then it is removed."""
    service = Service(Settings(home=home))  # not started: that is for the app, which has the folder to itself
    step = RecipeStep(technique="pruning", fine_tuning={"epochs": 1000, "batch_size": 8})
    run = service.submit(shown.project_id, Recipe.checked([step]), "At work")
    try:
        yield replace(shown, endless_id=run.run_id)
    finally:
        service.cancel(run.run_id)
        service.wait(run.run_id)
        service.delete_run(run.run_id)
        service.stop()
