"""A run that was interrupted goes on from its last epoch, and comes to what an uninterrupted one would."""

from __future__ import annotations

import json
import math
import os
import re
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake.dataset_info import DatasetOptions
from intake.errors import UserError
from intake.fit import FitOverrides
from intake.keras_env import keras2
from optimizers import TECHNIQUES
from optimizers.apply import Optimized, apply_recipe
from optimizers.checkpoint import Standing
from optimizers.fine_tuning import FineTuning
from optimizers.recipe import Recipe, RecipeStep
from runs.checkpoints import RunCheckpoints, checkpoint_folder, resumable_epochs
from runs.records import Project, RunRecord
from runs.service import Service
from tests.conftest import EasyData, until

EPOCHS = 4
TRAINING = [entry for entry in TECHNIQUES if entry.fine_tuning is not None]


one_model = pytest.mark.parametrize("trained_model", ["convolutional"], indirect=True)


class PowerCut(Exception):
    """What ends a training from outside."""


class InMemory:
    """Keeps every standing, as arrays that nothing changes afterwards."""

    def __init__(self, newest: Standing | None = None) -> None:
        self.kept = [newest] if newest else []

    def newest(self) -> Standing | None:
        return self.kept[-1] if self.kept else None

    def is_time(self) -> bool:
        return True

    def keep(self, standing: Standing) -> None:
        arrays = {name: np.array(array) for name, array in standing.training.items()}
        self.kept.append(replace(standing, plain=tuple(map(np.array, standing.plain)), training=arrays))


class OrderedData(EasyData):
    """The easy images in an order that depends on seed and epoch, as a project's are."""

    def batches(self, settings: FineTuning) -> Any:
        x, y, size = self.x, self.y, settings.batch_size

        class Batches(keras2().utils.Sequence):  # type: ignore[misc]
            def __init__(self) -> None:
                self.begin_with(0)

            def begin_with(self, epoch: int) -> None:
                self._epoch = epoch
                self._order = np.random.default_rng((settings.seed, epoch)).permutation(len(x))

            def on_epoch_end(self) -> None:
                self.begin_with(self._epoch + 1)

            def __len__(self) -> int:
                return math.ceil(len(x) / size)

            def __getitem__(self, index: int) -> tuple[Any, Any]:
                rows = self._order[index * size : (index + 1) * size]
                return x[rows], y[rows]

        return Batches()


@pytest.fixture(scope="module")
def data() -> OrderedData:
    return OrderedData()


def recipe(*names: str, **settings: Any) -> Recipe:
    tuned = {"epochs": EPOCHS, "batch_size": 32, **settings}
    steps = [RecipeStep(technique=name, fine_tuning=tuned) for name in names]
    return Recipe.checked(steps)


def carried_out(
    model: Any, recipe: Recipe, data: EasyData, checkpoints: InMemory | None = None, cut_after: int = 0
) -> tuple[Optimized, list[int]]:
    """The outcome, and the optimizer steps that it took; cut short after so many epochs."""
    steps: list[int] = []

    def on_epoch(epoch: int, step: int, figures: dict[str, float]) -> None:
        if cut_after and epoch > cut_after:
            raise PowerCut

    outcome = apply_recipe(model, recipe, data, lambda step, *_: steps.append(step), on_epoch, None, checkpoints)
    return outcome, steps


def same(one: Optimized, other: Optimized) -> None:
    for mine, theirs in zip(one.to_convert.get_weights(), other.to_convert.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-4)
        if mine.ndim > 1:
            assert (mine == 0).mean() == pytest.approx((theirs == 0).mean(), abs=0.01)


@one_model
@pytest.mark.parametrize("entry", TRAINING, ids=lambda entry: entry.name)
def test_a_resumed_training_ends_as_an_uninterrupted_one(trained_model: Any, entry: Any, data: OrderedData) -> None:
    whole, steps = carried_out(trained_model, recipe(entry.name), data)
    kept = InMemory()
    with pytest.raises(PowerCut):
        carried_out(trained_model, recipe(entry.name), data, kept, cut_after=2)
    assert [standing.trained_epochs for standing in kept.kept] == [1, 2]
    resumed, rest = carried_out(trained_model, recipe(entry.name), data, kept)
    assert (rest[0], rest[-1]) == (steps[-1] // 2 + 1, steps[-1])
    assert resumed.notes == ["Resumed after epoch 2, from its checkpoint.", *whole.notes]
    same(whole, resumed)


@one_model
def test_a_chain_goes_on_in_its_second_step(trained_model: Any, data: OrderedData) -> None:
    chain = recipe(*[entry.name for entry in TRAINING[:2]])
    whole, steps = carried_out(trained_model, chain, data)
    kept = InMemory()
    with pytest.raises(PowerCut):
        carried_out(trained_model, chain, data, kept, cut_after=EPOCHS + 1)
    newest = kept.newest()
    assert newest is not None
    assert (newest.steps_done, newest.epochs, newest.trained_epochs) == (1, EPOCHS, 1)
    resumed, rest = carried_out(trained_model, chain, data, kept)
    assert (rest[0], rest[-1]) == (steps[-1] * 5 // 8 + 1, steps[-1])
    same(whole, resumed)


@one_model
def test_a_checkpoint_within_steps_that_are_gone_is_not_used(trained_model: Any, data: OrderedData) -> None:
    """A run went on from another and was interrupted; then the other was deleted."""
    chain = recipe(*[entry.name for entry in TRAINING[:2]])
    whole, steps = carried_out(trained_model, chain, data)
    orphan = Standing(1, training={"variable/0": np.zeros(3)}, trained_epochs=2)
    again, taken = carried_out(trained_model, chain, data, InMemory(orphan))
    assert (taken[0], taken[-1]) == (1, steps[-1])
    assert again.notes == whole.notes
    same(whole, again)


@one_model
def test_the_best_epoch_and_patience_are_remembered(trained_model: Any, data: OrderedData) -> None:
    """A learning rate of nothing: no epoch is better than the first, and patience ends after two more."""
    patient = recipe("clustering", learning_rate=1e-12, early_stopping_patience=2, epochs=8)
    whole, _ = carried_out(trained_model, patient, data)
    kept = InMemory()
    carried_out(trained_model, patient, data, kept)
    assert [standing.trained_epochs for standing in kept.kept] == [1, 2, 3]
    for standing in kept.kept:
        resumed, rest = carried_out(trained_model, patient, data, InMemory(standing))
        done = 6 * standing.trained_epochs
        assert (rest[0], rest[-1]) == (min(done + 1, 18), 18)  # the last says that no more will come
        same(whole, resumed)


# --- on disk ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(service: Service, easy_files: tuple[Path, Path]) -> Project:
    prepared = service.prepare(*easy_files, DatasetOptions(), FitOverrides())
    return service.project_of("Resumed", prepared)


LONG = Recipe.single(TRAINING[0].name, {}, {"epochs": 1000, "batch_size": 8})


def test_a_killed_worker_leaves_a_run_that_resumes(service: Service, project: Project) -> None:
    run = service.submit(project.project_id, LONG)
    until(lambda: resumable_epochs(service.settings, run.run_id) > 0)
    worker = service._executor._slots[1]._child
    assert worker is not None
    os.killpg(worker.pid, signal.SIGKILL)
    failed = service.wait(run.run_id)
    assert failed.state == "failed"
    done = service.resumable_epochs(failed)
    assert done > 0
    service.resume(run.run_id)
    until(lambda: _steps(service, run) > 0)
    assert _steps(service, run) > 24 * done  # 24 steps an epoch, and not from the first again
    with pytest.raises(UserError, match="interrupted or failed"):
        service.resume(run.run_id)
    service.cancel(run.run_id)
    assert service.wait(run.run_id).state == "cancelled"
    assert resumable_epochs(service.settings, run.run_id) == 0


def _steps(service: Service, run: RunRecord) -> int:
    """Where its fine-tuning is, in optimizer steps."""
    progress = service.run(run.run_id).progress
    found = re.match(r"Fine-tuning, step ([\d,]+)", progress.phase if progress else "")
    return int(found[1].replace(",", "")) if found else 0


@pytest.fixture
def checkpoints(service: Service, project: Project) -> RunCheckpoints:
    """Those of a run that never began."""
    return RunCheckpoints(service.settings, _record(project, LONG), project)


def _record(project: Project, recipe: Recipe) -> RunRecord:
    values = {"run_id": "made-up", "project_id": project.project_id, "name": "x", "state": "queued"}
    return RunRecord(**values, recipe=recipe, is_baseline=False, created_at=project.created_at)


STANDING = Standing(1, (np.ones(3),), 12, 2, {"variable/0": np.zeros((2, 2))}, 3)


def test_what_was_kept_comes_back(service: Service, project: Project, checkpoints: RunCheckpoints) -> None:
    for epochs in (1, 2, 3):
        checkpoints.keep(replace(STANDING, trained_epochs=epochs))
    back = checkpoints.newest()
    assert back is not None
    assert (back.steps_done, back.optimizer_steps, back.epochs, back.trained_epochs) == (1, 12, 2, 3)
    np.testing.assert_array_equal(back.plain[0], np.ones(3))
    np.testing.assert_array_equal(back.training["variable/0"], np.zeros((2, 2)))
    assert resumable_epochs(service.settings, "made-up") == 5
    assert len(list(checkpoint_folder(service.settings, "made-up").iterdir())) == 2
    other = _record(project, recipe(TRAINING[0].name))
    assert RunCheckpoints(service.settings, other, project).newest() is None


@pytest.mark.parametrize("damage", ["cut", "garbage", "gone", "about", "kind", "outside"])
def test_a_damaged_checkpoint_is_none(service: Service, checkpoints: RunCheckpoints, damage: str) -> None:
    checkpoints.keep(STANDING)
    folder = checkpoint_folder(service.settings, "made-up")
    arrays = next(folder.glob("*.npz"))
    about = json.loads((folder / "about.json").read_text())
    if damage == "cut":
        arrays.write_bytes(arrays.read_bytes()[: arrays.stat().st_size // 2])
    elif damage == "garbage":
        arrays.write_bytes(b"not a file of arrays")
    elif damage == "gone":
        arrays.unlink()
    elif damage == "about":
        (folder / "about.json").write_text("{")
    elif damage == "kind":
        (folder / "about.json").write_text(json.dumps({**about, "epochs": "two"}))
    else:
        (folder / "about.json").write_text(json.dumps({**about, "arrays": "../../x.npz"}))
    assert checkpoints.newest() is None
