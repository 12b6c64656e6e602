"""What somebody does who lost accuracy: finds the layer that costs it, leaves that out, and goes on from there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from optimizers.recipe import Recipe, RecipeStep
from optimizers.sensitivity import Sensitivity
from runs.paths import prepared_folder
from runs.records import Project, RunRecord
from runs.settings import Settings
from runs.store import Store
from tests.conftest import until
from tests.journeys.conftest import App
from tests.journeys.test_journeys import RUN_TIMEOUT_MS, open_example, settled
from tests.test_charts import result
from ui.formatting import metric_text
from ui.sensitivity_figures import costly

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]
PRUNE = RecipeStep(technique="pruning", fine_tuning={"epochs": 1, "batch_size": 256})


@pytest.fixture
def pruned(page: Page, app: App) -> Iterator[RunRecord]:
    """A finished run in a project of its own, of the example's files."""
    open_example(page, app)
    store = Store(Settings(home=app.home))
    example = next(one for one in store.projects() if one.name.startswith("Example"))
    project = store.add_project(example.model_copy(update={"project_id": "", "name": "Layers"}))
    yield added(store, project)
    store.delete_project(project.project_id)  # other journeys count on theirs


def added(store: Store, project: Project) -> RunRecord:
    values = {"run_id": "", "project_id": project.project_id, "is_baseline": False, "state": "queued"}
    record = RunRecord(**values, name="Pruned", recipe=Recipe.checked([PRUNE]), created_at=datetime.now(UTC))
    run = store.add_run(record)
    store.log_result(run.run_id, result(0.90, 40_000), 0, 0)
    store.set_state(run.run_id, "finished")
    return store.run(run.run_id)


def run_of(page: Page, store: Store) -> RunRecord:
    """The run whose page is open, once it has ended."""
    found = re.search(r"run=([0-9a-f]{32})", page.url)
    assert found is not None
    until(lambda: not store.run(found[1]).is_active, RUN_TIMEOUT_MS / 1000)
    run = store.run(found[1])
    assert run.state == "finished", run.error
    return run


def test_from_a_costly_layer_to_a_run_without_it_and_on(page: Page, app: App, pruned: RunRecord) -> None:
    store = Store(Settings(home=app.home))
    page.goto(f"{app.url}/run?run={pruned.run_id}")
    page.get_by_text("Which layers cost accuracy").click()
    page.get_by_role("button", name="Measure the layers").click()
    leave = page.get_by_role("button", name=re.compile("^Leave .* as it is and run"))
    expect(leave.first).to_be_visible(timeout=RUN_TIMEOUT_MS)
    settled(page)
    project = store.project(pruned.project_id)
    (file,) = (prepared_folder(Settings(home=app.home), project.model.upload_id) / "sensitivity").glob("*.json")
    found = Sensitivity.model_validate(json.loads(file.read_text()))
    worst = costly(found)[0].layer
    assert found.part == "validation"
    expect(page.get_by_text(f"{worst} costs most by itself")).to_be_visible()
    expect(page.get_by_text(f"on {found.samples} validation samples")).to_be_visible()
    expect(page.locator(".st-key-run-sensitivity-figure .bars .point")).to_have_count(len(found.layers))
    leave.filter(has_text=worst).click()
    expect(page.get_by_role("heading", name=f"Pruned · {worst} as it is")).to_be_visible()
    left = run_of(page, store)
    assert left.parent_run_id == pruned.run_id
    assert left.recipe.steps[0].params["leave_as_is"] == [worst]

    go_on = page.get_by_role("button", name="Continue from this run")
    expect(go_on).to_be_enabled(timeout=RUN_TIMEOUT_MS)
    settled(page)
    expect(page.locator(".st-key-run-lineage-parent").get_by_text("Pruned")).to_be_visible()
    go_on.click()
    continues = page.get_by_text(f"Continues from {left.name}")
    expect(continues).to_be_visible()  # before the reload: the address changes piece by piece
    expect(page).to_have_url(re.compile(rf"/project\?.*continue={left.run_id}"))
    page.reload()
    expect(continues).to_be_visible()
    expect(page.get_by_text("Estimate:")).to_be_visible(timeout=RUN_TIMEOUT_MS)  # until then the page is drawn anew
    settled(page)
    page.get_by_text("Post-training quantization", exact=True).first.click()
    expect(page.locator("[class*=post_training_quantization-explain]")).to_be_visible()
    settled(page)
    page.get_by_role("button", name="Run", exact=True).click()
    until(lambda: len(children_of(store, left)) == 1)
    (child,) = children_of(store, left)
    page.goto(f"{app.url}/run?run={child.run_id}")
    onward = run_of(page, store)
    assert onward.result is not None
    assert left.result is not None
    assert onward.result.keras_metric == left.result.keras_metric
    note = page.get_by_test_id("stAlertContentInfo").get_by_text(
        "step 1 was not carried out again"
    )  # the log says it, too
    expect(note).to_be_visible(timeout=RUN_TIMEOUT_MS)
    shown = metric_text(onward.result.metric_name, onward.result.metric)
    expect(page.get_by_test_id("stMetricValue").first).to_have_text(shown)
    page.locator(".st-key-run-lineage-parent").get_by_text(left.name).click()
    expect(page.get_by_role("heading", name=left.name)).to_be_visible()
    expect(page.locator(".st-key-run-lineage-continues").get_by_text(onward.name)).to_be_visible()


def children_of(store: Store, run: RunRecord) -> list[RunRecord]:
    return [one for one in store.runs([run.project_id]) if one.parent_run_id == run.run_id]
