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
from intake.models import load_prepared
from optimizers.apply import Done, apply_recipe
from optimizers.recipe import Recipe, RecipeStep
from optimizers.sweep import expand
from runs.continuing import steps_done, why_not_continued
from runs.paths import prepared_folder
from runs.records import Parent, Project, RunRecord
from runs.service import Service
from runs.store import Store
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


# --- steps that another run has carried out -----------------------------------------------------------------------


def ended(service: Service, project: Project, *steps: RecipeStep) -> RunRecord:
    run = service.wait(service.submit(project.project_id, Recipe.checked(list(steps))).run_id)
    assert run.state == "finished", run.error
    assert run.result is not None
    return run


def test_the_same_first_steps_are_carried_out_once(service: Service, easy: Project, pruned: RunRecord) -> None:
    again = ended(service, easy, PRUNE)
    assert again.result is not None
    assert again.result.training_s > 0  # the same recipe once more is what somebody wants to see once more
    assert not [note for note in again.notes if "not carried out again" in note]
    chain = ended(service, easy, PRUNE, QUANTIZE)
    assert [note for note in chain.notes if "step 1 was not carried out again, which had the same settings" in note]
    assert chain.result is not None
    assert chain.result.training_s == 0
    assert chain.result.keras_metric == again.result.keras_metric
    assert chain.verified_met == chain.verified_count > 0
    assert chain.parent is None
    for mine, theirs in zip(kernels_left(service, chain), kernels_left(service, pruned), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_the_weights_of_a_quantized_run_are_those_before(service: Service, easy: Project) -> None:
    seeded = PRUNE.model_copy(update={"fine_tuning": {**QUICK, "seed": 7}})
    first = ended(service, easy, seeded, QUANTIZE)
    assert first.result is not None
    assert first.result.training_s > 0
    second = ended(
        service, easy, seeded, RecipeStep(technique="post_training_quantization", params={"mode": "float16"})
    )
    assert [note for note in second.notes if first.name in note]
    assert second.result is not None
    assert second.result.training_s == 0


def test_another_seed_other_libraries_or_the_setting_have_all_steps_run(
    service: Service, easy: Project, pruned: RunRecord, tmp_path: Path
) -> None:
    model = load_prepared(prepared_folder(service.settings, easy.model.upload_id))
    record = pruned.model_copy(update={"recipe": Recipe.checked([PRUNE, QUANTIZE])})
    report = service.report(pruned.run_id)
    assert report is not None

    def done(record: RunRecord, versions: dict[str, str]) -> Done | None:
        return steps_done(record, easy, Store(service.settings), model, tmp_path / "scratch", versions)[0]

    assert done(record, report.versions) is not None
    assert done(record, {}) is None
    assert done(record, {**report.versions, "tensorflow": "0"}) is None
    other = PRUNE.model_copy(update={"fine_tuning": {**QUICK, "seed": 123}})
    assert done(record.model_copy(update={"recipe": Recipe.checked([other, QUANTIZE])}), report.versions) is None
    assert done(record.model_copy(update={"recipe": Recipe.checked([QUANTIZE])}), report.versions) is None
    assert not (tmp_path / "scratch").exists()


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
