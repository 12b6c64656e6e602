"""What somebody does with the runs of a project: choose axes, set a budget, draw around points, tick rows, share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from bench.ui import add_made_up_run
from intake.dataset_info import DatasetOptions
from optimizers.recipe import Recipe
from runs.records import Project, RunRecord, Upload
from runs.settings import Settings
from runs.store import Store
from tests.journeys.conftest import App
from tests.journeys.test_journeys import PLOT, POINTS, settled
from tests.test_charts import ACCURACY, result

pytestmark = [pytest.mark.journey, pytest.mark.timeout(600)]
ROW_HEIGHT = 35


@pytest.fixture
def project(app: App) -> Iterator[Project]:
    """A project with a measured baseline and eleven runs."""
    store = Store(Settings(home=app.home))
    upload = Upload(upload_id="0" * 16, file_name="m.keras", size_bytes=1, sha256="0")
    values = {"model": upload, "options": DatasetOptions(), "fit": ACCURACY, "created_at": datetime.now(UTC)}
    project = store.add_project(Project(project_id="", name="Chart", **values))
    measured = result(0.97, 100_000, zstd_bytes=48_000, xz_bytes=45_000, compact_bytes=44_000)
    about = {"run_id": "", "project_id": project.project_id, "name": "Baseline", "recipe": Recipe()}
    baseline = store.add_run(RunRecord(**about, is_baseline=True, state="queued", created_at=datetime.now(UTC)))
    store.log_result(baseline.run_id, measured, 0, 0)
    store.set_state(baseline.run_id, "finished")
    for number in range(1, 12):
        add_made_up_run(store, project, measured, number)
    yield project
    store.delete_project(project.project_id)  # other journeys count on theirs


def open_project(page: Page, app: App, project: Project, query: str = "") -> None:
    page.goto(f"{app.url}/project?project={project.project_id}{query}")
    expect(page.locator(PLOT)).to_be_visible()
    settled(page)


def test_axes_and_budget_go_into_a_link_that_shows_the_same(page: Page, app: App, project: Project) -> None:
    open_project(page, app, project)
    expect(page.locator(POINTS)).to_have_count(12)
    page.get_by_role("combobox", name="Across").click()
    page.get_by_role("option", name="Latency").click()
    expect(page).to_have_url(re.compile("x=Latency"))
    expect(page.locator(PLOT).get_by_text("Latency, ms (left is better)")).to_be_visible()
    slider = page.get_by_role("slider", name=re.compile("lose at most"))
    slider.press("Home")
    expect(page).to_have_url(re.compile(r"loss=0\+points"))
    said = page.get_by_text(re.compile("keeps? the budget|only the baseline"))
    expect(said).to_be_visible()
    words = said.inner_text()
    page.goto(page.url)
    expect(page.get_by_text(words)).to_be_visible()
    expect(page.locator(PLOT).get_by_text("Latency, ms (left is better)")).to_be_visible()
    click_a_cell(page, 2)
    expect(page).to_have_url(re.compile(r"/run\?run=[0-9a-f]{32}"))
    settled(page)
    page.get_by_test_id("stPageLink").get_by_text("Chart", exact=True).click()
    expect(page.locator(PLOT).get_by_text("Latency, ms (left is better)")).to_be_visible()
    expect(page).to_have_url(re.compile("selected=[0-9a-f]{32}"))


def test_runs_inside_a_box_are_compared_and_ticks_change_the_same_selection(
    page: Page, app: App, project: Project
) -> None:
    open_project(page, app, project)
    page.locator(PLOT).hover()
    page.locator(f"{PLOT} [data-title='Box Select']").click()
    area = page.locator(f"{PLOT} .nsewdrag").first.bounding_box()
    assert area is not None
    page.mouse.move(area["x"] + 2, area["y"] + 2)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] - 2, steps=8)
    page.mouse.up()
    expect(page).to_have_url(re.compile("selected=[0-9a-f]{32}"))
    heading = page.get_by_role("heading", name=re.compile("runs beside each other"))
    expect(heading).to_be_visible()
    before = int(heading.inner_text().split()[0])
    assert before > 1
    tick(page, 1)
    expect(heading).to_have_text(re.compile(f"^{before + 1} runs"))
    page.reload()
    expect(heading).to_have_text(re.compile(f"^{before + 1} runs"))
    page.get_by_role("button", name="Clear the selection").click()
    expect(heading).to_be_hidden()


def click_a_cell(page: Page, row: int) -> None:
    """Click the name in a row of the table; row 1 is the first below the heading."""
    click_in_table(page, 140, row)


def tick(page: Page, row: int) -> None:
    """Click the box at the beginning of a row."""
    click_in_table(page, 17, row)


def click_in_table(page: Page, x: float, row: int) -> None:
    table = page.locator(".st-key-project-table")
    table.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)  # the canvas takes its place a moment after it is there
    settled(page)
    canvas = table.locator("canvas").first.bounding_box()
    assert canvas is not None
    page.mouse.click(canvas["x"] + x, canvas["y"] + ROW_HEIGHT * row + ROW_HEIGHT / 2)
