"""The runs with made-up figures that `make bench-ui` times the pages with: as real ones are, and the same every time."""

from __future__ import annotations

from datetime import UTC, datetime

from bench.ui import Timing, add_made_up_run, slower
from intake.dataset_info import DatasetOptions
from runs.records import Project, Upload
from runs.settings import Settings
from runs.store import Store
from tests.test_charts import ACCURACY, result


def test_made_up_runs_are_finished_differ_and_are_the_same_again(settings: Settings) -> None:
    store = Store(settings)
    upload = Upload(upload_id="0" * 16, file_name="m.keras", size_bytes=1, sha256="0")
    values = {"model": upload, "options": DatasetOptions(), "fit": ACCURACY, "created_at": datetime.now(UTC)}
    project = store.add_project(Project(project_id="", name="many", **values))
    for number in (1, 2, 1):
        add_made_up_run(store, project, result(0.98, 100_000), number)
    runs = store.runs([project.project_id])
    assert [run.state for run in runs] == ["finished"] * 3
    assert runs[0].result == runs[2].result != runs[1].result
    assert runs[0].recipe == runs[2].recipe


def test_many_runs_are_held_against_few() -> None:
    rows = slower({20: [100.0, 300.0, 120.0], 1000: [150.0, 170.0, 190.0]}, {20: 900.0, 1000: 5000.0})
    assert rows == [Timing(20, 900.0, 120.0, 1.0, ""), Timing(1000, 5000.0, 170.0, 170 / 120, "yes")]
    assert slower({20: [100.0], 1000: [150.0]}, {20: 1.0, 1000: 1.0})[1].ok == "no"
