"""What is saved comes back whole, in another folder too; what is no backup is refused and changes nothing."""

from __future__ import annotations

import shutil
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from intake.dataset_info import DatasetOptions
from intake.errors import UserError
from optimizers import TECHNIQUES
from optimizers.recipe import Recipe
from runs.backup import restore, save
from runs.home_lock import HomeLock
from runs.moved_home import point_to_home
from runs.records import Project, RunRecord
from runs.settings import Settings
from runs.store import Store
from runs.uploads import find_upload, store_upload
from tests.test_charts import ACCURACY, result


@pytest.fixture
def filled(empty_home: Path, tmp_path: Path) -> Settings:
    """A home with an upload, a project and a finished run that left a file."""
    home = tmp_path / "first" / "home"
    shutil.copytree(empty_home, home)
    settings = Settings(home=home)
    model = tmp_path / "m.keras"
    model.write_bytes(b"a model")
    with model.open("rb") as stream:
        upload = store_upload(settings, "m.keras", stream)
    store = Store(settings)
    about = {"model": upload, "options": DatasetOptions(), "fit": ACCURACY, "created_at": datetime.now(UTC)}
    project = store.add_project(Project(project_id="", name="Kept", **about))
    add_run(store, project, tmp_path)
    settings.folder("prepared").joinpath("cache").write_bytes(b"made again when it is needed")
    return settings


def add_run(store: Store, project: Project, tmp_path: Path) -> RunRecord:
    values = {"run_id": "", "project_id": project.project_id, "name": "r", "is_baseline": False, "state": "queued"}
    recipe = Recipe.single(TECHNIQUES[0].name)
    run = store.add_run(RunRecord(**values, recipe=recipe, created_at=datetime.now(UTC)))
    files = tmp_path / "files"
    files.mkdir(exist_ok=True)
    (files / "model.tflite").write_bytes(b"content of " + run.run_id.encode())
    store.log_artifacts(run.run_id, files)
    store.log_result(run.run_id, result(0.9, 1000), 1, 1)
    store.set_state(run.run_id, "finished")
    return store.run(run.run_id)


def everything(settings: Settings) -> list[tuple[Project, RunRecord, list[tuple[str, bytes]]]]:
    """All projects, runs, and files of runs."""
    store = Store(settings)
    return [
        (project, run, [(file.name, file.path.read_bytes()) for file in store.artifacts(run.run_id)])
        for project in store.projects()
        for run in store.runs([project.project_id])
    ]


def test_a_backup_comes_back_in_another_folder(filled: Settings, tmp_path: Path) -> None:
    before = everything(filled)
    file = tmp_path / "kept.tar.gz"
    assert "1 project." in save(filled, file)
    with tarfile.open(file) as archive:
        assert not [name for name in archive.getnames() if name.startswith("prepared")]
    filled.home.rename(tmp_path / "lost")
    second = Settings(home=tmp_path / "second")
    assert "1 project again" in restore(second, file)
    assert everything(second) == before
    assert all(second.home in file.path.parents for run in before for file in Store(second).artifacts(run[1].run_id))
    assert find_upload(second, before[0][0].model.upload_id)
    added = add_run(Store(second), before[0][0], tmp_path)  # what comes later lies in the new folder too
    assert second.home in Store(second).artifacts(added.run_id)[0].path.parents


def test_a_home_that_was_moved_is_found_again(filled: Settings, tmp_path: Path) -> None:
    before = everything(filled)
    moved = Settings(home=tmp_path / "moved")
    filled.home.rename(moved.home)
    assert point_to_home(moved) > 0
    assert point_to_home(moved) == 0
    assert everything(moved) == before


def test_restoring_over_projects_is_refused(filled: Settings, tmp_path: Path) -> None:
    save(filled, tmp_path / "kept.tar.gz")
    before = everything(filled)
    with pytest.raises(UserError, match="holds projects already"):
        restore(filled, tmp_path / "kept.tar.gz")
    assert everything(filled) == before


def test_restoring_under_a_dashboard_is_refused(tmp_path: Path) -> None:
    held = HomeLock(Settings(home=tmp_path).folder(""))
    held.take()
    with pytest.raises(UserError, match="Another dashboard"):
        restore(Settings(home=tmp_path), tmp_path / "any")
    held.release()


@pytest.mark.parametrize("members", [["../outside"], ["mlflow.db", "evil/x"], ["projects/1.json"], ["/etc/x"], []])
def test_what_is_no_backup_changes_nothing(tmp_path: Path, members: list[str]) -> None:
    (tmp_path / "x").write_bytes(b"x")
    with tarfile.open(tmp_path / "b.tar.gz", "w:gz") as archive:
        for name in members:
            archive.add(tmp_path / "x", name)
    settings = Settings(home=tmp_path / "home")
    with pytest.raises(UserError, match="no backup"):
        restore(settings, tmp_path / "b.tar.gz")
    (tmp_path / "b.tar.gz").write_bytes(b"\x1f\x8b cut short")
    with pytest.raises(UserError, match="cannot be read"):
        restore(settings, tmp_path / "b.tar.gz")
    assert not list(settings.home.rglob("*.db"))
    assert not (tmp_path / "outside").exists()


def test_nothing_to_save_and_a_server_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs yet"):
        save(Settings(home=tmp_path), tmp_path / "b")
    with pytest.raises(UserError, match="MLflow server"):
        save(Settings(home=tmp_path, tracking_uri="http://127.0.0.1:1"), tmp_path / "b")
