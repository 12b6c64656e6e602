"""Speed and working memory of exported files: measured in turns, asked for on the page, done by the worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intake.errors import DoesNotFit, UserError
from measure.conversion import Conversion
from measure.export import convert
from measure.speed import Speed, measure_speeds, working_bytes
from runs.service import Service
from runs.store import Store
from tests import test_pages
from tests.conftest import EasyData, convolutional_model
from tests.test_charts import result
from tests.test_pages import Project, RunRecord, measured, open_page, texts
from ui.formatting import as_text
from ui.run_speed import run_sentence, speed_table, thread_counts

service, project = test_pages.service, test_pages.project
FAST = Speed(threads=2, calls=40, median_ms=0.5, p95_ms=0.75, working_bytes=30_000)
SLOW = Speed(threads=2, calls=40, median_ms=1.0, p95_ms=3.0, working_bytes=None)


@pytest.fixture(scope="module")
def files() -> list[bytes]:
    """A float32 file and the same in int8."""
    model, data = convolutional_model(), EasyData()
    floats = convert(model, Conversion())
    small = Conversion("int8", representative_samples=16, after_training=True)
    return [floats, convert(model, small, data.representative(16, 0), floats)]


def test_files_are_measured_in_turns(files: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("measure.speed.SECONDS", 0.05)
    heard: list[float] = []
    speeds = measure_speeds(files, [EasyData().x[:1]], 2, heard.append)
    assert [speed.threads for speed in speeds] == [2, 2]
    assert speeds[0].calls == speeds[1].calls >= 30
    assert all(0 < speed.median_ms <= speed.p95_ms for speed in speeds)
    assert all(0 <= share <= 1 for share in heard)


def test_working_memory_holds_what_is_alive_together_and_not_the_weights(files: list[bytes]) -> None:
    floats, small = (working_bytes(file, [EasyData().x[:1]]) for file in files)
    assert floats is not None
    assert small is not None
    input_bytes, convolved = 4 * 8 * 8, 4 * 6 * 6 * 8
    assert input_bytes + convolved <= floats < len(files[0])
    assert small < floats


def test_a_file_that_cannot_be_run_says_so(files: list[bytes]) -> None:
    with pytest.raises(DoesNotFit, match="LiteRT cannot run"):
        measure_speeds([files[0], b"nothing"], [EasyData().x[:1]], 1, lambda done: None)
    assert working_bytes(b"nothing", [np.zeros((1, 8, 8, 1), np.float32)]) is None


def test_the_table_has_both_files_and_the_change() -> None:
    table = speed_table((FAST, SLOW)).set_index("")
    assert list(table.index) == ["This run", "Baseline", "Change"]
    assert list(table["Median"]) == ["0.500 ms", "1.0 ms", "-50.0 %"]
    assert list(table["95 % of calls within"]) == ["0.750 ms", "3.0 ms", "-75.0 %"]
    assert list(table["Working memory"]) == ["30.0 kB", "–", ""]
    assert list(speed_table((FAST,))[""]) == ["This run"]


@pytest.mark.parametrize(("processors", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4]), (64, [1, 2, 4, 8, 16])])
def test_threads_go_up_to_the_processors(processors: int, counts: list[int]) -> None:
    assert thread_counts(processors) == counts


def test_the_run_says_what_it_measured() -> None:
    said = run_sentence(result(0.9, 9, latency_ms=0.25), result(0.9, 9, latency_ms=12.5))
    assert said.startswith("In the run a call took 0.250 ms in the median, on one thread; the baseline took 12.5 ms")
    assert run_sentence(result(0.9, 9), None).endswith("on one thread.")


def with_file(service: Service, run: RunRecord, folder: Path) -> None:
    """Give a run a file."""
    files = folder / run.run_id
    files.mkdir()
    (files / "model.tflite").write_bytes(b"x")
    Store(service.settings).log_artifacts(run.run_id, files)


def test_the_page_asks_the_worker_and_shows_its_answer(service: Service, project: Project, tmp_path: Path) -> None:
    baseline, run = measured(service, project)
    for one in (baseline, run):
        with_file(service, one, tmp_path)
    app = open_page("pages/run.py", run=run.run_id)
    assert service.speed(run.run_id, 1) is None
    app.button(key="run:speed:measure").click().run()
    assert not app.exception
    job = service.speed(run.run_id, 1)
    assert job is not None
    assert not job.is_done
    job.finish((FAST, SLOW))
    shown = open_page("pages/run.py", run=run.run_id)
    table: Any = next(frame.value for frame in shown.dataframe if "Working memory" in frame.value)
    assert list(table["Median"]) == ["0.500 ms", "1.0 ms", "-50.0 %"]
    assert "40 calls of each file, in turns" in texts(shown)
    assert service.measure_speed(run.run_id, 1) is not job  # what is done is measured anew


def test_a_run_without_its_file_says_so(service: Service, project: Project) -> None:
    _, run = measured(service, project)
    with pytest.raises(UserError, match=r"left no \.tflite"):
        service.measure_speed(run.run_id, 1)
    app = open_page("pages/run.py", run=run.run_id)
    app.button(key="run:speed:measure").click().run()
    assert app.error[0].value == as_text("This run left no .tflite file. Run it again.")
