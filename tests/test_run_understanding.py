"""A real run leaves what is needed to understand it: changed answers, the error of each layer, histograms."""

from __future__ import annotations

import pytest

from intake.dataset_info import DatasetOptions
from intake.fit import FitOverrides
from optimizers.recipe import Recipe
from runs.paths import prepared_folder
from runs.records import Project
from runs.report import RunReport
from runs.service import EXAMPLE_DATASET, EXAMPLE_MODEL, Service

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(service: Service) -> Project:
    """The example, its baseline measured."""
    prepared = service.prepare(EXAMPLE_MODEL, EXAMPLE_DATASET, DatasetOptions(), FitOverrides())
    made = service.project_of("Understood", prepared)
    service.wait(service.baseline(made.project_id).run_id)
    return made


def report_of(service: Service, project: Project, recipe: Recipe) -> RunReport:
    """What a finished run left."""
    run = service.wait(service.submit(project.project_id, recipe).run_id)
    assert run.state == "finished", run.error
    report = service.report(run.run_id)
    assert report is not None
    return report


def test_baseline_answers_as_the_uploaded_model(service: Service, project: Project) -> None:
    report = service.report(service.baseline(project.project_id).run_id)
    assert report is not None
    assert report.behaviour is not None
    assert report.behaviour.samples == 360
    change = report.behaviour.outputs[0].classes
    assert change is not None
    assert change.changed == 0
    assert sum(row.samples for row in change.classes) == 360
    assert len(change.classes) == 10
    features = next(layer for layer in report.layers if layer.layer == "features")
    assert (features.dtype, features.bytes_after, features.treatments) == ("float32", 4 * (512 * 64 + 64), ())
    assert "flatten" in {name for layer in report.layers for name in layer.inputs}


def test_a_harsh_run_says_what_broke_and_asks_the_uploaded_model_only_once(service: Service, project: Project) -> None:
    answers = list((prepared_folder(service.settings, project.model.upload_id) / "answers").iterdir())
    assert len(answers) == 1
    made_at = answers[0].stat().st_mtime_ns
    recipe = Recipe.single("pruning", {"final_sparsity": 0.9}, {"epochs": 2})
    report = report_of(service, project, recipe)
    assert report.behaviour is not None
    change = report.behaviour.outputs[0].classes
    assert change is not None
    assert change.changed == len(change.flips) > 0
    assert change.worse > change.better
    rights = sum(row.right_before for row in change.classes), sum(row.right_after for row in change.classes)
    assert rights[0] - rights[1] == change.worse - change.better
    assert list((prepared_folder(service.settings, project.model.upload_id) / "answers").iterdir()) == answers
    assert answers[0].stat().st_mtime_ns == made_at


def test_layers_have_errors_bytes_and_histograms(service: Service, project: Project) -> None:
    report = report_of(service, project, Recipe.single("clustering", {"number_of_clusters": 16}, {"epochs": 1}))
    layers = {outcome.layer: outcome for outcome in report.layers}
    features = layers["features"]
    assert features.error is not None
    assert 0 < features.error.sqnr_db < 60
    assert (features.bytes_before, features.bytes_after) == (4 * (512 * 64 + 64),) * 2
    assert features.distinct == 16
    assert features.histogram is not None
    assert len([value for value, _ in features.histogram.values if value]) in (15, 16)
    assert sum(features.histogram.before) > 0.99
    assert layers["pool"].error is not None
    assert layers["pool"].histogram is None


def test_the_worker_measures_speed_of_run_and_baseline(service: Service, project: Project) -> None:
    baseline = service.baseline(project.project_id)
    recipe = Recipe.single("post_training_quantization", {"mode": "int8"})
    run = service.wait(service.submit(project.project_id, recipe).run_id)
    small, floats = service.measure_speed(run.run_id, 2).wait()
    assert (small.threads, small.calls) == (2, floats.calls)
    assert small.working_bytes < floats.working_bytes
    assert len(service.measure_speed(baseline.run_id, 1).wait()) == 1


def test_the_worker_times_each_operation_of_run_and_baseline(service: Service, project: Project) -> None:
    recipe = Recipe.single("post_training_quantization", {"mode": "int8"})
    run = service.wait(service.submit(project.project_id, recipe).run_id)
    small, floats = service.operations.measure(run.run_id, 1).wait()
    layers = {layer.name for layer in service.model_info(project).layers}
    assert {one.layer for one in small.operations if one.kind == "CONV_2D"} <= layers
    assert [one.layer for one in small.operations if one.kind == "CONV_2D"] == [
        one.layer for one in floats.operations if one.kind == "CONV_2D"
    ]
    assert "QUANTIZE" in {one.kind for one in small.operations} - {one.kind for one in floats.operations}
