"""A report in a browser without any network: figures are drawn, names stay text, both colour schemes can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from intake.dataset_info import DatasetOptions
from intake.fit import FitOverrides
from optimizers.recipe import Recipe, RecipeStep
from runs.records import RunRecord
from runs.service import Service
from tests.journeys.conftest import SCREENSHOTS
from ui.behaviour_charts import as_figures
from ui.formatting import kilobytes, metric_text
from ui.run_report import Reports

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]
NASTY = '<img src=x onerror="document.title=1"><script>document.title="owned"</script></script>'


@pytest.fixture(scope="module")
def run(service: Service, easy_files: tuple[Path, Path]) -> RunRecord:
    """A trained run whose name tries to run code."""
    service._reports = Reports()
    prepared = service.prepare(*easy_files, DatasetOptions(), FitOverrides())
    project = service.project_of("Reported", prepared)
    step = RecipeStep(technique="pruning", fine_tuning={"epochs": 1, "batch_size": 32})
    ended = service.wait(service.submit(project.project_id, Recipe.checked([step]), NASTY).run_id)
    assert ended.state == "finished"
    service.wait(service.baseline(project.project_id).run_id)
    return ended


@pytest.fixture(params=["light", "dark"])
def offline(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """A context that reaches nothing."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=request.param, offline=True)
    yield context
    context.close()


def opened(context: BrowserContext, content: bytes, path: Path) -> tuple[Page, list[str]]:
    """Open a file, wait for its figures and return the page, and what went wrong or was asked for on the way."""
    path.write_bytes(content)
    tab, events = context.new_page(), list[str]()
    tab.on("pageerror", lambda error: events.append(f"error {error}"))
    tab.on("console", lambda message: events.append(f"console {message.text}") if message.type == "error" else None)
    tab.on("request", lambda asked: events.append(f"request {asked.url}") if asked.url != path.as_uri() else None)
    tab.goto(path.as_uri())
    tab.wait_for_selector(".js-plotly-plot .main-svg")
    return tab, events


def test_a_report_opens_offline_with_the_numbers_of_the_store(
    service: Service, run: RunRecord, offline: BrowserContext, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    assert run.result is not None
    tab, events = opened(offline, service.handovers.one_file(run.run_id, "report")[1], tmp_path / "report.html")
    cards = tab.locator(".card b").all_inner_texts()
    sizes = [kilobytes(size) for size in (run.result.tflite_bytes, run.result.gzip_bytes)]
    assert cards[:3] == [metric_text("accuracy", run.result.metric), *sizes]
    assert tab.locator("h1").inner_text().replace("\n", "") == NASTY
    assert tab.title() == NASTY, "no script of the name may run"
    assert tab.locator("main img:not([src^='data:image/webp;base64,'])").count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    drawn = tab.locator(".js-plotly-plot").count()
    report = service.report(run.run_id)
    assert report is not None
    assert report.behaviour is not None
    changes = [as_figures(output.classes) for output in report.behaviour.outputs if output.classes]
    assert drawn == 1 + sum(map(len, changes)) + len({name.split("/")[1] for name in service.curves(run.run_id)})
    ink, paper = tab.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    axis = tab.locator(".js-plotly-plot .xtick text").first.evaluate("text => getComputedStyle(text).fill")
    assert axis == ink != paper
    assert events == []
    SCREENSHOTS.mkdir(exist_ok=True)
    tab.screenshot(path=SCREENSHOTS / f"{request.node.name}.png", full_page=True)


def test_a_point_of_a_comparison_tells_its_name_as_text(
    service: Service, run: RunRecord, offline: BrowserContext, tmp_path: Path
) -> None:
    ids = [service.baseline(run.project_id).run_id, run.run_id]
    tab, events = opened(offline, service.handovers.comparison(ids)[1], tmp_path / "comparison.html")
    tab.locator(".js-plotly-plot").scroll_into_view_if_needed()
    points = tab.locator(".scatterlayer .points path.point")
    assert points.count() == 2
    for index in range(2):
        box = points.nth(index).bounding_box()
        assert box is not None
        tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tab.wait_for_selector(".hoverlayer .hovertext")
        if "onerror" in tab.locator(".hoverlayer").inner_html():
            break
    else:
        pytest.fail("no card shows the name of the run")
    assert tab.locator(".hoverlayer img").count() == 0
    assert "owned" not in tab.title()
    assert events == []
