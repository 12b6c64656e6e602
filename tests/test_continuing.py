"""A run that continues another: it goes on from the other's weights, and comes to what the whole chain would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cli
from intake.dataset_info import DatasetOptions
from intake.errors import InvalidParams, UserError
from intake.fit import FitOverrides
from intake.keras_env import keras2
from optimizers.apply import Done, apply_recipe
from optimizers.recipe import Recipe, RecipeStep
from optimizers.sweep import expand
from runs.continuing import why_not_continued
from runs.records import Parent, Project, RunRecord
from runs.service import Service
from tests.conftest import EasyData
from tests.test_pages import finished

QUICK = {"epochs": 1, "batch_size": 32}
PRUNE = RecipeStep(technique="pruning", fine_tuning=QUICK)
CLUSTER = RecipeStep(technique="clustering", fine_tuning=QUICK)
QUANTIZE = RecipeStep(technique="post_training_quantization")


def applied(model: Any, steps: list[RecipeStep], data: EasyData, done: Done | None = None) -> tuple[Any, int]:
    """The outcome, and how many optimizer steps it took."""
    taken: list[int] = []
    recipe = Recipe.checked(steps)
    outcome = apply_recipe(model, recipe, data, lambda step, *_: taken.append(step), lambda *_: None, done)
    return outcome, max(taken, default=0)


@pytest.mark.parametrize("trained_model", ["convolutional"], indirect=True)
def test_going_on_comes_to_the_same_as_the_whole_chain(trained_model: Any, easy_data: EasyData) -> None:
    first, few = applied(trained_model, [PRUNE], easy_data)
    whole, many = applied(trained_model, [PRUNE, CLUSTER], easy_data)
    before = [weights.copy() for weights in first.plain.get_weights()]
    onward, rest = applied(trained_model, [PRUNE, CLUSTER], easy_data, Done(1, first.plain))
    assert few + rest == many
    assert len(onward.claims) == len(whole.claims) == 2
    for old, one, other in zip(before, whole.plain.get_weights(), onward.plain.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
        if old.ndim > 1 and (old == 0).mean() > 0.5:
            assert (other[old == 0] == 0).all()
    for old, now in zip(before, first.plain.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


# --- in the worker ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def easy(service: Service, easy_files: tuple[Path, Path]) -> Project:
    """A project of the easy files."""
    prepared = service.prepare(*easy_files, DatasetOptions(), FitOverrides())
    return service.project_of("Continued", prepared)


@pytest.fixture(scope="module")
def pruned(service: Service, easy: Project) -> RunRecord:
    """A pruned run to continue."""
    run = service.wait(service.submit(easy.project_id, Recipe.checked([PRUNE])).run_id)
    assert run.state == "finished", run.error
    return run


def continued(service: Service, run: RunRecord, *steps: RecipeStep) -> RunRecord:
    recipe = Recipe.checked([*run.recipe.steps, *steps])
    queued = service.submit(run.project_id, recipe, parent=Parent(run_id=run.run_id, relation="continues"))
    ended = service.wait(queued.run_id)
    assert ended.state == "finished", ended.error
    return ended


def kernels_left(service: Service, run: RunRecord) -> list[np.ndarray]:
    file = next(one.path for one in service.artifacts(run.run_id) if one.name == "easy.h5")
    model = keras2().models.load_model(file, compile=False)
    return [weights for weights in model.get_weights() if weights.ndim > 1]


def test_a_run_goes_on_from_the_weights_of_another(service: Service, pruned: RunRecord) -> None:
    run = continued(service, pruned, CLUSTER)
    assert run.parent == Parent(run_id=pruned.run_id, relation="continues")
    assert [note for note in run.notes if "step 1 was not carried out again" in note]
    assert run.verified_met == run.verified_count > 0
    assert "train/sparsity" not in service.curves(run.run_id)
    steps = max(step for step, _ in service.curves(run.run_id)["train/loss"])
    assert steps == max(step for step, _ in service.curves(pruned.run_id)["train/loss"])
    zeros = [kernel == 0 for kernel in kernels_left(service, pruned)]
    assert max(mask.mean() for mask in zeros) > 0.7
    for mask, kernel in zip(zeros, kernels_left(service, run), strict=True):
        if mask.mean() > 0.5:
            assert (kernel[mask] == 0).all()
    quantized = continued(service, run, QUANTIZE)
    assert [note for note in quantized.notes if "steps 1 to 2 were not carried out again" in note]
    assert quantized.result is not None
    assert run.result is not None
    assert quantized.result.training_s == 0
    assert quantized.result.keras_metric == run.result.keras_metric
    assert service.run_again(run.run_id).parent == run.parent


def test_where_the_weights_are_gone_all_steps_run(service: Service, pruned: RunRecord) -> None:
    file = next(one.path for one in service.artifacts(pruned.run_id) if one.name == "easy.h5")
    file.rename(file.with_suffix(".away"))
    try:
        run = continued(service, pruned, QUANTIZE)
    finally:
        file.with_suffix(".away").rename(file)
    (note,) = [note for note in run.notes if "all steps were carried out from the start" in note]
    assert "left no Keras model" in note
    assert run.result is not None
    assert run.result.training_s > 0


def test_the_command_line_goes_on_from_a_run(
    service: Service, pruned: RunRecord, easy_files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--model", str(easy_files[0]), "--dataset", str(easy_files[1])]
    what = ["--technique", QUANTIZE.technique, "--continue", pruned.run_id, "--json"]
    given = cli._parser().parse_args(["run", *files, *what])
    assert given.command(service, given) == 0
    run = service.run(json.loads(capsys.readouterr().out)["run_id"])
    assert run.parent == Parent(run_id=pruned.run_id, relation="continues")
    assert [step.technique for step in run.recipe.steps] == [PRUNE.technique, QUANTIZE.technique]


def test_the_worker_measures_layers_on_other_than_test_samples_and_keeps_it(
    service: Service, pruned: RunRecord, easy_files: tuple[Path, Path]
) -> None:
    found = service.sensitivities.measure(pruned).wait()
    samples = service.dataset_info(service.project(pruned.project_id)).train_samples
    assert (found.part, found.samples) == ("train", samples)
    assert found.whole > 0.9
    assert {cost.layer for cost in found.layers} == {"hidden"}
    assert all(cost.saved_bytes and cost.metric is not None for cost in found.layers)
    assert Service(service.settings).sensitivities.known(pruned) == found
    alone = service.prepare(easy_files[0], None, DatasetOptions(), FitOverrides())
    random = service.project_of("Continued, without data", alone)
    other = finished(service, random, "harsh", pruned.recipe, 0.5, 30_000)
    agreement = service.sensitivities.measure(other).wait()
    assert (agreement.metric_name, agreement.whole) == ("agreement", 1.0)
    assert service.sensitivities.known(pruned) == found


# --- what is refused ----------------------------------------------------------------------------------------------


def test_only_a_finished_run_is_continued_by_its_own_steps_and_more(pruned: RunRecord) -> None:
    whole, own = Recipe.checked([PRUNE, CLUSTER]), pruned.project_id
    assert why_not_continued(pruned, own, whole) == ""
    assert "must begin with its steps" in why_not_continued(pruned, own, Recipe.checked([CLUSTER]))
    assert "add at least one" in why_not_continued(pruned, own, pruned.recipe)
    assert "belongs to another project" in why_not_continued(pruned, "other", whole)
    assert "but 1 · Pruning is failed" in why_not_continued(
        pruned.model_copy(update={"state": "failed", "name": "1 · Pruning"}), own, whole
    )


def test_what_cannot_be_continued_is_not_queued(service: Service, pruned: RunRecord) -> None:
    before, other = len(service.runs(pruned.project_id)), Recipe.checked([CLUSTER])
    with pytest.raises(InvalidParams, match="must begin with its steps"):
        service.submit(pruned.project_id, other, parent=Parent(run_id=pruned.run_id, relation="continues"))
    with pytest.raises(InvalidParams, match="must begin with its steps"):
        service.submit_sweep(
            pruned.project_id,
            expand([CLUSTER.model_copy(update={"params": {"number_of_clusters": "8, 16"}})]),
            parent=Parent(run_id=pruned.run_id, relation="continues"),
        )
    with pytest.raises(UserError, match="no run of this address"):
        service.submit(pruned.project_id, other, parent=Parent(run_id="0" * 32, relation="continues"))
    assert len(service.runs(pruned.project_id)) == before
