"""What a new user does, from the first visit to a downloaded file."""

from __future__ import annotations

import re
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Page, expect

from intake.keras_env import keras2
from optimizers import TECHNIQUES, technique
from optimizers.technique import Technique
from runs.records import RunRecord
from runs.settings import Settings
from runs.store import Store
from tests.conftest import easy_images, until
from tests.journeys.conftest import App

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]
RUN_TIMEOUT_MS = 240_000
PLOT = ".st-key-project-chart .js-plotly-plot"
POINTS = f"{PLOT} .scatterlayer .points path.point"


def open_example(page: Page, app: App) -> None:
    """From the home page to the example project with its baseline measured."""
    page.goto(app.url)
    page.get_by_role("button", name="Try the example").click()
    expect(page).to_have_url(re.compile(r"project=\d+"), timeout=RUN_TIMEOUT_MS)
    heading, plot = page.get_by_role("heading", name="New run"), page.locator(PLOT)
    try:
        expect(heading).to_be_visible()
        expect(plot).to_be_visible(timeout=RUN_TIMEOUT_MS / 4)
    except AssertionError:  # on a busy machine Streamlit sometimes leaves a page blank right after it was switched to
        page.reload()
        expect(heading).to_be_visible()
        expect(plot).to_be_visible(timeout=RUN_TIMEOUT_MS)


def choose(page: Page, entry: Technique) -> None:
    """Choose a technique and wait for its form."""
    page.locator(".st-key-step1-technique").get_by_text(entry.title, exact=True).click()
    expect(page.locator(f".st-key-step1-{entry.name}-explain")).to_be_visible()
    settled(page)


def settled(page: Page) -> None:
    """Wait until the script of the page has run."""
    idle = page.locator("[data-testid=stApp][data-test-script-state=notRunning]")
    expect(idle).to_be_visible()


def queue(page: Page, app: App, name: str) -> None:
    """Name the run, press Run and wait until it is stored: two presses that nobody saw answered count as one."""
    page.get_by_label("Name (optional)").fill(name)
    page.get_by_label("Name (optional)").press("Tab")
    settled(page)
    page.get_by_role("button", name="Run", exact=True).click()
    until(lambda: name in [run.name for run in runs_of(app)])
    settled(page)


def runs_of(app: App) -> list[RunRecord]:
    """The runs of the oldest project."""
    store = Store(Settings(home=app.home))
    return store.runs([store.projects()[-1].project_id])


def test_example_to_four_points_to_download(page: Page, app: App, tmp_path: Path) -> None:
    open_example(page, app)
    for entry in TECHNIQUES:
        choose(page, entry)
        queue(page, app, f"Mine: {entry.title}")
    until(lambda: not any(run.is_active for run in runs_of(app)), RUN_TIMEOUT_MS / 1000)
    runs = runs_of(app)
    assert [run.recipe.title for run in runs] == ["Baseline", *(entry.title for entry in TECHNIQUES)]
    assert [run.error for run in runs] == [""] * len(runs)
    page.goto(page.url.split("&")[0])
    expect(page.locator(POINTS)).to_have_count(len(runs))
    click_a_point(page)
    expect(page).to_have_url(re.compile(r"run=[0-9a-f]{32}"))
    expect(page.get_by_text("Finished").first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name=re.compile("Deployable model")).click()
    target = tmp_path / "model.tflite"
    download.value.save_as(target)
    assert target.read_bytes()[4:8] == b"TFL3"


def test_a_preset_becomes_a_sweep_of_tagged_runs(page: Page, app: App) -> None:
    open_example(page, app)
    before = len(runs_of(app))
    page.locator(".st-key-new_run-preset").get_by_text("Fast and safe", exact=True).click()
    settled(page)
    page.locator(".st-key-new_run-sweep label").click()
    settled(page)
    expect(page.get_by_text("Estimate:")).to_be_visible(timeout=RUN_TIMEOUT_MS)  # until then the page is drawn anew
    settled(page)
    page.get_by_role("combobox", name=re.compile("Mode")).click()
    page.get_by_role("option", name="float16", exact=True).click()
    expect(page.locator(".st-key-new_run-run button")).to_have_text("Queue 2 runs")
    page.keyboard.press("Escape")  # what lies behind the open list cannot be clicked
    page.get_by_role("button", name="Queue 2 runs").click()
    until(lambda: len(runs_of(app)) == before + 2)
    until(lambda: not any(run.is_active for run in runs_of(app)), RUN_TIMEOUT_MS / 1000)
    swept = runs_of(app)[before:]
    assert [run.error for run in swept] == ["", ""]
    page.goto(f"{page.url.split('&')[0]}&tags={swept[0].tags[0]}")
    expect(page.locator(POINTS)).to_have_count(3)


def click_a_point(page: Page) -> None:
    """Click the point farthest from the baseline's trace: the middle of its drawn symbol."""
    symbols = page.locator(POINTS)
    box = symbols.nth(1).bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_own_model_and_data_become_a_project(page: Page, app: App, easy_files: tuple[Path, Path]) -> None:
    upload_both(page, app, *easy_files)
    expect(page.get_by_role("button", name="Create project")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    page.reload()  # everything is in the address
    page.get_by_role("button", name="Create project").click(timeout=RUN_TIMEOUT_MS)
    expect(page).to_have_url(re.compile(r"project=\d+"))
    expect(page.locator(PLOT)).to_be_visible(timeout=RUN_TIMEOUT_MS)
    page.goto(page.url.split("&")[0])
    expect(page.locator(POINTS)).to_have_count(1)


def test_a_model_alone_becomes_a_project(page: Page, app: App, easy_files: tuple[Path, Path]) -> None:
    page.goto(f"{app.url}/new_project")
    page.locator("input[type=file]").first.set_input_files(easy_files[0])
    page.get_by_role("button", name="Go on without a dataset").click(timeout=RUN_TIMEOUT_MS)
    expect(page).to_have_url(re.compile("data=random"))
    expect(page.get_by_text("the inputs are random").first).to_be_visible()
    page.reload()  # everything is in the address
    page.get_by_role("button", name="Create project").click(timeout=RUN_TIMEOUT_MS)
    expect(page).to_have_url(re.compile(r"project=\d+"))
    expect(page.locator(PLOT)).to_be_visible(timeout=RUN_TIMEOUT_MS)
    expect(page.get_by_text("the inputs are random").first).to_be_visible()
    expect(page.locator(PLOT).get_by_text("Agreement of the .tflite with the uploaded model in %")).to_be_visible()


def upload_both(page: Page, app: App, model: Path, dataset: Path) -> None:
    page.goto(f"{app.url}/new_project")
    page.locator("input[type=file]").first.set_input_files(model)
    expect(page.get_by_text(model.name).first).to_be_visible()
    expect(page.get_by_text(re.compile("parameters", re.I)).first).to_be_visible(timeout=RUN_TIMEOUT_MS)
    expect(page.get_by_text("What to expect of each technique")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    settled(page)  # a file that is chosen while the page is drawn anew is lost with the old field
    page.locator("input[type=file]").last.set_input_files(dataset)
    expect(page.get_by_text(dataset.name).first).to_be_visible()


def test_table_with_a_label_column(page: Page, app: App, tmp_path: Path) -> None:
    x, y = easy_images(120, 3)
    rows = [
        ",".join([*(f"{value:.3f}" for value in image.reshape(-1)[:4]), f"kind{label}"])
        for image, label in zip(x, y, strict=True)
    ]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,c,d,kind", *rows]))
    layers = keras2().layers
    model = keras2().Sequential([layers.Dense(8, "relu", input_shape=(4,)), layers.Dense(3, "softmax")])
    model.save(tmp_path / "table.h5")
    upload_both(page, app, tmp_path / "table.h5", tmp_path / "table.csv")
    expect(page.get_by_role("button", name="Create project")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    expect(page.get_by_text(re.compile("kind")).first).to_be_visible()


def test_bad_file_is_a_sentence_and_loses_nothing(
    page: Page, app: App, easy_files: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 cut short")
    upload_both(page, app, easy_files[0], tmp_path / "broken.npz")
    expect(page.get_by_test_id("stAlert").filter(has_text="broken.npz")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    expect(page.get_by_text(easy_files[0].name).first).to_be_visible()
    assert "Traceback" not in page.content()
    page.locator(".st-key-new-data_remove button").click()
    page.locator("input[type=file]").last.set_input_files(easy_files[1])
    expect(page.get_by_role("button", name="Create project")).to_be_visible(timeout=RUN_TIMEOUT_MS)


def test_cancel_refresh_and_a_light_server(page: Page, app: App) -> None:
    """While a run trains: the server stays small and without TensorFlow, a refresh changes nothing, Cancel ends it."""
    open_example(page, app)
    choose(page, technique("pruning"))
    page.get_by_text("Fine-tuning", exact=True).first.click()
    epochs = page.locator(".st-key-step1-pruning-fine_tuning-epochs input")
    epochs.fill("1000")
    epochs.press("Tab")
    settled(page)
    queue(page, app, "Endless")
    expect(page.get_by_text(re.compile(r"Fine-tuning, step"))).to_be_visible(timeout=RUN_TIMEOUT_MS)
    server = psutil.Process(app.pid)
    assert server.memory_info().rss < 400 * 2**20
    assert not any("tensorflow" in mapped.path for mapped in server.memory_maps())
    workers = [child for child in server.children() if "runs.worker" in child.cmdline()]
    assert any("tensorflow" in mapped.path for worker in workers for mapped in worker.memory_maps())
    page.reload()
    expect(page.get_by_text(re.compile(r"Fine-tuning, step"))).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled").or_(page.get_by_role("heading", name="New run"))).to_be_visible()
    expect(page.get_by_text(re.compile(r"Fine-tuning, step"))).to_be_hidden()


def test_unknown_address_is_friendly(page: Page, app: App) -> None:
    page.goto(f"{app.url}/run?run=nothing")
    expect(page.get_by_text("Nothing here")).to_be_visible()
    page.get_by_text("All projects").click()
    expect(page.get_by_text(re.compile("Try the example|Projects")).first).to_be_visible()
