"""Real runs of projects without a dataset, without labels, and with several inputs and outputs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake.dataset_info import RANDOM_INPUTS_NOTE, DatasetOptions
from intake.errors import UserError
from intake.fit import FitOverrides
from intake.keras_env import keras2
from measure.litert import predict
from optimizers.recipe import Recipe
from runs.paths import parsed_folder
from runs.records import RunRecord
from runs.service import Service
from runs.settings import Settings
from tests.conftest import easy_images
from tests.test_agreement import two_by_two


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with two inputs and two outputs, as a user would upload it."""
    keras2().utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("wired") / "wired.h5"
    two_by_two().save(path)
    return path


def run_of(service: Service, project_id: str, recipe: Recipe) -> RunRecord:
    run = service.wait(service.submit(project_id, recipe).run_id)
    assert run.state == "finished", run.error
    assert run.result is not None
    assert run.result.metric_name == "agreement"
    assert run.result.metric_low <= run.result.metric <= run.result.metric_high
    return run


@pytest.mark.slow
def test_a_model_alone_is_quantized_and_says_what_its_figure_means(
    service: Service, easy_files: tuple[Path, Path]
) -> None:
    prepared = service.prepare(easy_files[0], None, DatasetOptions(), FitOverrides())
    assert prepared.dataset_id is None
    project = service.project_of("Alone", prepared)
    assert service.project(project.project_id) == project == service.project_of("Again", prepared)
    assert (project.dataset, project.dataset_name) == (None, "random inputs")
    baseline = service.wait(service.baseline(project.project_id).run_id)
    assert baseline.result is not None, baseline.error
    assert baseline.result.metric == 1
    run = run_of(service, project.project_id, Recipe.single("post_training_quantization", {"mode": "int8"}))
    assert run.result is not None
    assert run.result.tflite_bytes < baseline.result.tflite_bytes
    assert run.result.metric > 0.8
    assert run.result.test_samples == 256
    assert run.notes == (RANDOM_INPUTS_NOTE,) == baseline.notes
    report = service.report(run.run_id)
    assert report is not None
    assert report.random_inputs
    assert service.dataset_info(project).kind == "random"


@pytest.mark.slow
def test_several_inputs_and_outputs_are_pruned_by_distillation(service: Service, wired: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {"first": random.normal(size=(300, 3)), "second": random.integers(0, 9, (300, 2))}
    np.savez(tmp_path / "wired.npz", **arrays)
    prepared = service.prepare(wired, tmp_path / "wired.npz", DatasetOptions(), FitOverrides())
    assert prepared.report.fit.outputs == ("classes", "numbers")
    project = service.project_of("Wired", prepared)
    params = {"final_sparsity": 0.5, "smallest_kernel": 16}
    run = run_of(service, project.project_id, Recipe.single("pruning", params, {"epochs": 3, "batch_size": 32}))
    assert any(name.endswith("agreement") for name in service.curves(run.run_id))
    assert service.report(run.run_id) is not None
    files = {artifact.name: artifact.path for artifact in service.artifacts(run.run_id)}
    assert "wired.h5" in files
    inputs = [arrays["first"][:5].astype(np.float32), arrays["second"][:5].astype(np.float32)]
    kinds, numbers = predict(files["model.tflite"].read_bytes(), inputs)
    assert np.allclose(kinds.sum(axis=1), 1, atol=1e-4)
    assert numbers.shape == (5, 2)


@pytest.mark.slow
def test_data_without_labels_is_enough_to_cluster(
    service: Service, easy_files: tuple[Path, Path], tmp_path: Path
) -> None:
    np.savez(tmp_path / "unlabelled.npz", x=easy_images(240, 0)[0])
    prepared = service.prepare(easy_files[0], tmp_path / "unlabelled.npz", DatasetOptions(), FitOverrides())
    assert (prepared.dataset_info.label_kind, prepared.report.fit.task) == ("none", "agreement")
    project = service.project_of("Unlabelled", prepared)
    run = run_of(service, project.project_id, Recipe.single("clustering", {}, {"epochs": 5, "batch_size": 16}))
    assert run.result is not None
    assert run.result.metric > 0.8
    assert RANDOM_INPUTS_NOTE not in run.notes


def test_what_older_versions_parsed_is_still_found(settings: Settings) -> None:
    before = DatasetOptions(label_column="y").model_dump_json(exclude={"input_names"})
    digest = hashlib.sha256(before.encode()).hexdigest()[:12]
    assert parsed_folder(settings, "1234", DatasetOptions(label_column="y")).name == f"1234-{digest}"
    assert parsed_folder(settings, "1234", DatasetOptions(label_column="y", input_names=("a", "b"))).name != digest


def test_a_loss_that_needs_labels_cannot_train_agreement(service: Service, easy_files: tuple[Path, Path]) -> None:
    prepared = service.prepare(easy_files[0], None, DatasetOptions(), FitOverrides())
    project = service.project_of("Alone", prepared)
    with pytest.raises(UserError, match="sparse_categorical_crossentropy"):
        service.submit(project.project_id, Recipe.single("pruning", {}, {"loss": "sparse_categorical_crossentropy"}))
