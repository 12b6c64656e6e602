"""Somebody tries samples on a finished run, shows the project to others, and takes a comparison along."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from intake.datasets import load_parsed
from intake.preprocessing import model_inputs
from measure.litert import predict
from optimizers import technique
from runs.paths import samples_folder
from runs.records import RunRecord
from runs.service import EXAMPLE_NAME
from runs.settings import Settings
from runs.store import Store
from tests.conftest import until
from tests.journeys.conftest import App
from tests.journeys.test_journeys import (
    RUN_TIMEOUT_MS,
    choose,
    open_example,
    settled,
)
from ui.formatting import metric_text, percent
from ui.frames import baseline_of
from ui.presentation_words import headlines

pytestmark = [pytest.mark.journey, pytest.mark.timeout(600)]
BAR_TEXTS = ".st-key-run-try .js-plotly-plot .bartext"


def finished_run(page: Page, app: App) -> RunRecord:
    """A finished run of the example; one in int8 is queued on its page where no journey before has left any."""
    if not _finished(app):
        open_example(page, app)
        choose(page, technique("post_training_quantization"))
        page.get_by_role("button", name="Run", exact=True).click()
        until(lambda: bool(_finished(app)), RUN_TIMEOUT_MS / 1000)
    return _finished(app)[0]


def _finished(app: App) -> list[RunRecord]:
    return [run for run in runs_of_example(app) if run.state == "finished" and not run.is_baseline]


def runs_of_example(app: App) -> list[RunRecord]:
    """The runs of the example; none where it is not there yet."""
    store = Store(Settings(home=app.home))
    ids = [project.project_id for project in store.projects() if project.name == EXAMPLE_NAME]
    return store.runs(ids[:1]) if ids else []


def answers_to(app: App, run: RunRecord, row: int) -> tuple[list[np.ndarray], np.ndarray]:
    """What the stored files of the original and of a run answer to a test row, and the row itself."""
    store = Store(Settings(home=app.home))
    project, baseline = store.project(run.project_id), baseline_of(runs_of_example(app))
    assert baseline is not None
    folder = samples_folder(Settings(home=app.home), project.model.upload_id, project.dataset_id, project.options)
    sample = np.asarray(load_parsed(folder).x_test[row])
    files = [
        next(one.path for one in store.artifacts(run_id) if one.name == "model.tflite").read_bytes()
        for run_id in (baseline.run_id, run.run_id)
    ]
    return [predict(file, model_inputs(project.fit, [sample[None]]))[0][0] for file in files], sample


def bars(before: np.ndarray, after: np.ndarray) -> list[str]:
    """What is written beside the bars: the classes that either file likes best, all of the original first."""
    shown = np.argsort(-np.maximum(before, after), kind="stable")[:5]
    return [percent(float(values[unit]), 1) for values in (before, after) for unit in shown]


def test_samples_are_tried_by_number_by_chance_and_by_file(page: Page, app: App, tmp_path: Path) -> None:
    run = finished_run(page, app)
    page.goto(f"{app.url}/run?run={run.run_id}&sample=7")
    (before, after), sample = answers_to(app, run, 7)
    expect(page.locator(BAR_TEXTS)).to_have_text(bars(before, after), timeout=RUN_TIMEOUT_MS)
    said = page.locator(".st-key-run-try strong").first
    both = f"({percent(float(before.max()), 1)} and {percent(float(after.max()), 1)})"
    agree = before.argmax() == after.argmax()
    expect(said).to_have_text(
        f"Both say {after.argmax()} {both}." if agree else re.compile("The original says .+ this run says")
    )
    expect(page.get_by_text(re.compile(r"A call takes .+ with the original and .+ with this run"))).to_be_visible()
    page.get_by_role("button", name="Another one").click()
    expect(page).not_to_have_url(re.compile(r"sample=7\b"))
    expect(page).to_have_url(re.compile(r"sample=\d+"))
    row = int(re.findall(r"sample=(\d+)", page.url)[0])
    expect(page.locator(BAR_TEXTS)).to_have_text(bars(*answers_to(app, run, row)[0]))
    settled(page)
    page.locator(".st-key-run-try").get_by_text("File of your own").click()
    upload = page.locator(".st-key-run-try input[type=file]")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    upload.set_input_files(tmp_path / "broken.png")
    expect(page.get_by_test_id("stAlert").filter(has_text="broken.png must be an image")).to_be_visible()
    settled(page)
    Image.fromarray(sample.reshape(8, 8)).save(tmp_path / "seven.png")
    upload.set_input_files(tmp_path / "seven.png")
    expect(page.locator(BAR_TEXTS)).to_have_text(bars(before, after))
    expect(page.get_by_text("Sample of your own")).to_be_visible()
    assert "Traceback" not in page.content()


def test_the_presentation_fits_a_screen_and_shows_the_numbers_of_the_store(page: Page, app: App) -> None:
    run = finished_run(page, app)
    baseline = baseline_of(runs_of_example(app))
    assert baseline is not None
    assert baseline.result is not None
    assert run.result is not None
    page.goto(f"{app.url}/run?run={run.run_id}")
    page.get_by_role("link", name="Present").click()
    expect(page).to_have_url(re.compile(rf"/presentation\?.*run={run.run_id}"))
    page.set_viewport_size({"width": 1280, "height": 720})
    project = Store(Settings(home=app.home)).project(run.project_id)
    shown = headlines(run.result, baseline.result, project.fit)
    figures = page.locator(".st-key-presentation-figures")
    expect(figures.get_by_test_id("stMetricValue")).to_have_text([headline.value for headline in shown])
    expect(figures).to_contain_text(metric_text("accuracy", run.result.metric_low))
    plot = page.locator(".st-key-presentation-chart .js-plotly-plot")
    expect(plot.get_by_text("This run", exact=True)).to_be_visible()
    expect(plot.get_by_text("Original", exact=True)).to_be_visible()
    settled(page)
    for part in (plot, figures):
        box = part.bounding_box()
        assert box is not None
        assert 0 <= box["y"] < box["y"] + box["height"] <= 720
    expect(page.locator(".st-key-presentation-group-0 img").first).to_be_visible()
    main = page.get_by_test_id("stMain")
    assert main.get_by_role("button").count() + main.get_by_role("textbox").count() == 0
    address = page.url
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(address)  # is all there is to share
    expect(figures.get_by_test_id("stMetricValue").first).to_have_text(shown[0].value)
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_text("Open the project in Tare").click()
    expect(page.get_by_test_id("stHeader")).to_be_visible()


def test_a_comparison_is_taken_along_as_a_file(page: Page, app: App, tmp_path: Path) -> None:
    run = finished_run(page, app)
    baseline = baseline_of(runs_of_example(app))
    assert baseline is not None
    page.goto(f"{app.url}/project?project={run.project_id}&selected={baseline.run_id},{run.run_id}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Report of this comparison").click()
    download.value.save_as(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert baseline.run_id in text
    assert run.run_id in text
    assert "<h1>" in text
