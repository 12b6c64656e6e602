"""What somebody sees who looks into a run: its model as a graph with the store's figures, and where the time goes."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from bench.live_app import App
from measure.flatbuffer import unpacked
from measure.operation_files import steps_of
from optimizers import technique
from runs.report import RunReport
from runs.settings import Settings
from runs.store import Store
from tests.conftest import until
from tests.journeys.test_journeys import RUN_TIMEOUT_MS, choose, open_example, queue, runs_of, settled
from ui.formatting import kilobytes, percent

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]
NAME = "Looked into"


def test_the_graph_and_the_times_are_those_of_the_run(page: Page, app: App) -> None:
    open_example(page, app)
    choose(page, technique("post_training_quantization"))
    queue(page, app, NAME)
    until(lambda: not any(run.is_active for run in runs_of(app)), RUN_TIMEOUT_MS / 1000)
    run = next(run for run in runs_of(app) if run.name == NAME)
    files = {file.name: file.path for file in Store(Settings(home=app.home)).artifacts(run.run_id)}
    layers = RunReport.model_validate_json(files["report.json"].read_text()).layers
    page.goto(f"{app.url}/run?run={run.run_id}")
    settled(page)

    page.locator(".st-key-run-graph summary").click()
    nodes = page.locator(".st-key-run-graph svg g.node")
    expect(nodes).to_have_count(len(layers) + 1, timeout=RUN_TIMEOUT_MS)  # and the input
    expect(page.locator(".st-key-run-graph svg g.edge")).to_have_count(sum(len(layer.inputs) for layer in layers))
    stored = [layer for layer in layers if layer.bytes_after]
    assert stored
    for layer in stored:
        node = nodes.filter(has=page.get_by_text(layer.layer, exact=True))
        expect(node).to_contain_text(kilobytes(layer.bytes_after or 0))
    page.get_by_role("combobox", name="Colour by").click()
    page.get_by_role("option", name="Zeros").click()
    settled(page)
    for layer in stored:
        node = nodes.filter(has=page.get_by_text(layer.layer, exact=True))
        expect(node).to_contain_text(percent(layer.zero_share or 0, 1))

    tflite = files["model.tflite"].read_bytes()
    count = len(list(steps_of(tflite, unpacked(tflite))))
    page.locator(".st-key-run-speed summary").click()
    page.get_by_role("button", name="Time each operation").first.click()
    said = page.get_by_text(re.compile(rf"By themselves its {count} operations take"))
    expect(said).to_be_visible(timeout=RUN_TIMEOUT_MS)
    expect(page.locator(".st-key-run-operations-largest .barlayer .point").first).to_be_visible()
    settled(page)  # a list that is open while the page is drawn anew has the choices of before
    page.get_by_role("combobox", name="Colour by").click()
    page.get_by_role("combobox", name="Colour by").fill("Share")  # a long list draws only what is in sight
    page.get_by_role("option", name="Share of time").click()
    settled(page)
    expect(nodes.filter(has_text=" %").first).to_be_visible()
