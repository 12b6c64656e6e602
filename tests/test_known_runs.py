"""Runs are read once and then only where they changed, by whomever: always the same as a look at the whole store."""

# ruff: noqa: F811 (fixtures of another file are named twice)

from __future__ import annotations

import time
from typing import Any

import pytest

from optimizers import TECHNIQUES
from optimizers.recipe import Recipe
from runs import known_runs
from runs.known_runs import KnownRuns
from runs.records import Progress, Project, RunRecord
from runs.service import Service
from runs.store import Store
from tests.conftest import until
from tests.test_pages import finished, measured, project, service  # noqa: F401


@pytest.fixture
def writer(service: Service) -> Store:
    """Another process's view of the same store."""
    return Store(service.settings)


@pytest.fixture
def known(service: Service, project: Project) -> KnownRuns:
    """What a page knows after its first look at a baseline and a run."""
    measured(service, project)
    known = KnownRuns(Store(service.settings))
    assert len(known.of(project.project_id)) == 2
    return known


def seen(known: KnownRuns, writer: Store, project: Project) -> list[RunRecord]:
    """What is known, which must be what a whole look finds."""
    found = known.of(project.project_id)
    assert found == writer.runs([project.project_id])
    return found


def test_every_kind_of_change_is_seen(known: KnownRuns, writer: Store, service: Service, project: Project) -> None:
    recipe = Recipe.single(TECHNIQUES[-1].name)
    run = service.submit(project.project_id, recipe, "new")
    assert [found.name for found in seen(known, writer, project)] == ["Baseline", "smaller", "new"]
    writer.set_state(run.run_id, "running")
    assert seen(known, writer, project)[-1].state == "running"
    for fraction in (0.1, 0.2):
        writer.set_progress(run.run_id, Progress(phase="Converting", fraction=fraction))
        progress = seen(known, writer, project)[-1].progress
        assert progress is not None
        assert progress.fraction == fraction
    writer.add_note(run.run_id, "retried")
    assert seen(known, writer, project)[-1].notes == ("retried",)
    writer.set_state(run.run_id, "failed", "No room.")
    assert seen(known, writer, project)[-1].error == "No room."
    writer.label_run(run.run_id, {"archived": True})
    assert seen(known, writer, project)[-1].archived
    writer.delete_run(run.run_id)
    assert len(seen(known, writer, project)) == 2


def test_a_run_that_finishes_while_it_is_read_has_its_figures(
    known: KnownRuns, writer: Store, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow had read the figures before they were there, and the state after."""
    whole, search = writer.runs([project.project_id]), writer._client.search_runs

    def torn(*args: Any, **named: Any) -> Any:
        page = search(*args, **named)
        for run in page:
            run.data.metrics.clear()
        return page

    monkeypatch.setattr(writer._client, "search_runs", torn)
    assert writer.runs([project.project_id]) == whole
    assert writer.newest_finished(project.project_id)[0] == whole[-1]


def test_what_did_not_change_is_not_read_again(
    known: KnownRuns, writer: Store, service: Service, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_runs, "OVERLAP_S", 0.0)
    before = {run.run_id: run for run in known.of(project.project_id)}
    added = finished(service, project, "third", Recipe.single(TECHNIQUES[0].name), 0.9, 10)
    read: list[str] = []
    looked = known._store.changed_runs

    def counted(project_id: str, since: float) -> tuple[list[RunRecord], list[str]]:
        found, gone = looked(project_id, since)
        read.extend(run.run_id for run in found)
        return found, gone

    monkeypatch.setattr(known._store, "changed_runs", counted)
    after = {run.run_id: run for run in known.of(project.project_id)}
    assert read == [added.run_id]
    assert all(after[run_id] is run for run_id, run in before.items())


def test_a_change_during_a_read_of_everything_is_not_lost(
    known: KnownRuns, writer: Store, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_runs, "OVERLAP_S", 0.0)
    run = known.of(project.project_id)[-1]
    began_at = time.time()
    stale = known._store.runs([project.project_id])
    writer.label_run(run.run_id, {"name": "meanwhile"})
    assert known.of(project.project_id)[-1].name == "meanwhile"
    monkeypatch.setattr(known._store, "runs", lambda *_: stale)
    known._read_whole(project.project_id, known._projects[project.project_id], began_at)
    monkeypatch.undo()
    assert known.of(project.project_id)[-1].name == "meanwhile"


def test_a_read_of_everything_finds_what_other_programs_did(
    known: KnownRuns, writer: Store, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_runs, "OVERLAP_S", 0.0)
    run = known.of(project.project_id)[-1]
    writer._client.update_run(run.run_id, name="by MLflow's own page")
    assert known.of(project.project_id)[-1].name == "smaller"
    monkeypatch.setattr(known_runs, "EVERYTHING_AGAIN_S", 0.0)
    until(lambda: known.of(project.project_id)[-1].name == "by MLflow's own page")
    writer._client.delete_run(run.run_id)
    until(lambda: known.of(project.project_id) == writer.runs([project.project_id]))
    assert len(known.of(project.project_id)) == 1
