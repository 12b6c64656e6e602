"""Trying one sample on a run's page: what it asks the worker for, and how it shows the answer. No worker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from intake.datasets import parse_dataset
from runs.paths import samples_folder
from runs.records import Project, RunRecord
from runs.service import Service
from runs.store import Store
from runs.try_job import AskedSample, Tried
from tests import test_pages
from tests.conftest import easy_images
from tests.test_behaviour import fit_of
from tests.test_pages import measured, open_page, texts
from tests.test_try_it import pair_of
from ui.formatting import as_text

service, project = test_pages.service, test_pages.project


@pytest.fixture
def run(service: Service, project: Project, tmp_path: Path) -> RunRecord:
    """A run with its file, in a project whose samples are stored; no worker."""
    baseline, run = measured(service, project)
    for one in (baseline, run):
        (tmp_path / one.run_id).mkdir()
        (tmp_path / one.run_id / "model.tflite").write_bytes(b"x")
        Store(service.settings).log_artifacts(one.run_id, tmp_path / one.run_id)
    x, y = easy_images(60, 0)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    folder = samples_folder(service.settings, project.model.upload_id, project.dataset_id, project.options)
    parse_dataset(tmp_path / "data.npz", project.options, folder)
    return run


def test_the_page_asks_for_the_sample_of_the_address_and_shows_the_answer(service: Service, run: RunRecord) -> None:
    app = open_page("pages/run.py", run=run.run_id)
    assert "Choose a sample by its number" in texts(app)
    app.button(key="run:try:random").click().run()
    row = app.number_input(key="sample").value
    assert row is not None
    assert 0 <= row < 12
    asked = service.tries.ask(run.run_id, AskedSample(row=3))
    pair = pair_of(fit_of("classification"), [[0.1, 0.2, 0.7]], [[0.5, 0.2, 0.3]], ("ant", "bee", "*cat*"))
    picture_address = "data:image/webp;base64,AAAA"
    asked.finish(
        Tried(
            row=3,
            image=picture_address,
            values="",
            truth="*cat*",
            note="Far off.",
            outputs=(pair,),
            before_ms=2,
            after_ms=1,
        )
    )
    shown = open_page("pages/run.py", run=run.run_id, sample="3")
    assert f"**{as_text('The original says *cat* (70.0 %), this run says ant (50.0 %).')}**" in texts(shown)
    assert as_text("Far off.") in texts(shown)
    assert as_text("2.0 ms with the original") in texts(shown)


def test_a_failed_try_is_said_and_can_be_repeated(service: Service, run: RunRecord) -> None:
    job = service.tries.ask(run.run_id, AskedSample(row=3))
    job.fail(("The worker was *killed*.",))
    app = open_page("pages/run.py", run=run.run_id, sample="3")
    assert app.error[0].value == as_text("The worker was *killed*.")
    app.button(key="run:try:again").click().run()
    assert service.tries.ask(run.run_id, AskedSample(row=3)) is not job


def test_without_samples_or_file_the_page_says_so(service: Service, project: Project, run: RunRecord) -> None:
    _, other = measured(service, project)
    app = open_page("pages/run.py", run=other.run_id, sample="3")
    assert app.error[0].value == as_text("This run left no .tflite file. Run it again.")
    folder = samples_folder(service.settings, project.model.upload_id, project.dataset_id, project.options)
    (folder / "info.json").unlink()
    assert "no longer stored here" in texts(open_page("pages/run.py", run=run.run_id))


def table_of(service: Service, project: Project, columns: int, folder: Path) -> None:
    """Have the samples of a project be a table of a town and some numbers."""
    names = [f"c{number}" for number in range(columns - 1)]
    rows = [
        f"{('Bern', 'Ulm')[i % 2]},{','.join(str(i + n / 2) for n in range(columns - 1))},{i % 2}" for i in range(40)
    ]
    (folder / "t.csv").write_text("\n".join([",".join(["town", *names, "label"]), *rows]))
    parsed = samples_folder(service.settings, project.model.upload_id, project.dataset_id, project.options)
    parse_dataset(folder / "t.csv", project.options, parsed)


def test_a_row_has_a_field_for_each_column_and_stands_in_the_address(
    service: Service, project: Project, run: RunRecord, tmp_path: Path
) -> None:
    table_of(service, project, 3, tmp_path)
    app = open_page("pages/run.py", run=run.run_id, row="Ulm,7,2.5")
    assert app.selectbox(key="run:try:cell:0").value == "Ulm"
    assert [app.number_input(key=f"run:try:cell:{number}").value for number in (1, 2)] == [7.0, 2.5]
    app.selectbox(key="run:try:cell:0").select("Bern")
    app.number_input(key="run:try:cell:2").set_value(0.125)
    next(button for button in app.button if button.label == "Try this row").click()
    app.run()
    assert not app.exception
    assert app.query_params["row"] == "Bern,7,0.125"
    asked = {f"{run.run_id}:{AskedSample(line=line).digest}" for line in ("Ulm,7,2.5", "Bern,7,0.125")}
    assert set(service.tries._jobs) == asked


def test_a_row_of_many_columns_is_one_line(service: Service, project: Project, run: RunRecord, tmp_path: Path) -> None:
    table_of(service, project, 14, tmp_path)
    line = "Ulm," + ",".join(["1"] * 13)
    app = open_page("pages/run.py", run=run.run_id, row=line)
    assert app.text_input(key="row").value == line
    assert "of the 14 columns" in app.text_input(key="row").label
    service.tries.ask(run.run_id, AskedSample(line=line)).fail(("Column must hold a number.",))
    again = open_page("pages/run.py", run=run.run_id, row=line)
    assert again.error[0].value == as_text("Column must hold a number.")
