"""The page of a project as Streamlit runs it: axes, budget, filters, columns and selection, all in the address."""

# ruff: noqa: F811 (fixtures of another file are named twice)

from __future__ import annotations

import json
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from optimizers import TECHNIQUES
from optimizers.recipe import Recipe
from runs.records import Project, RunRecord
from runs.service import Service
from runs.store import Store
from tests.test_pages import finished, open_page, project, service, texts  # noqa: F401


@pytest.fixture
def runs(service: Service, project: Project) -> list[RunRecord]:
    """A baseline, a run that is smaller, and one that is smaller still and worse."""
    last, first = Recipe.single(TECHNIQUES[-1].name), Recipe.single(TECHNIQUES[0].name)
    return [
        finished(service, project, "Baseline", Recipe(), 0.98, 100_000),
        finished(service, project, "small", last, 0.97, 30_000),
        finished(service, project, "tiny", first, 0.90, 20_000),
    ]


def open_project(project: Project, **query: str) -> AppTest:
    return open_page("pages/project.py", project=project.project_id, **query)


def figure_of(app: AppTest) -> Any:
    """The chart as the browser gets it."""
    return json.loads(app.get("plotly_chart")[0].proto.spec)


def names_of(app: AppTest) -> list[str]:
    return list(app.dataframe[0].value["Run"])


def test_axes_come_from_the_address(project: Project, runs: list[RunRecord]) -> None:
    figure = figure_of(open_project(project, x="Latency", y="Sparsity", log="true"))
    assert figure["layout"]["xaxis"]["title"]["text"].startswith("Latency, ms")
    assert figure["layout"]["xaxis"]["type"] == "log"
    assert figure["layout"]["yaxis"]["title"]["text"].startswith("Sparsity, %")


def test_budgets_of_the_address_grey_out_and_name_the_best(project: Project, runs: list[RunRecord]) -> None:
    app = open_project(project, limit="30 kB", loss="5 points")
    assert "**small**" in texts(app)
    missing = next(trace for trace in figure_of(app)["data"] if trace["name"] == "Misses the budget")
    assert [entry[0] for entry in missing["customdata"]] == [runs[2].run_id]


def test_a_limit_of_a_link_holds_whatever_runs_there_are(project: Project, runs: list[RunRecord]) -> None:
    app = open_project(project, limit="12.34 kB")
    assert app.select_slider(key="limit").value == "12.34 kB"
    assert "none of 3 remains" in texts(app)


def test_without_a_budget_nothing_is_said_of_it(project: Project, runs: list[RunRecord]) -> None:
    app = open_project(project)
    assert "budget" not in texts(app)
    app.select_slider(key="loss").set_value("1 point").run()
    assert "2 of 3 runs keep the budget" in texts(app)


def test_filters_of_the_address_hold_for_chart_and_table(project: Project, runs: list[RunRecord]) -> None:
    app = open_project(project, q="tiny")
    assert names_of(app) == ["Baseline", "tiny"]
    assert "2 of 3 runs" in texts(app)
    drawn = {entry[0] for trace in figure_of(app)["data"] for entry in trace.get("customdata", [])}
    assert drawn == {runs[0].run_id, runs[2].run_id}
    assert [popover.proto.popover.label for popover in app.get("popover")][1] == "Filter (1)"
    app.button(key="project:show_all").click().run()
    assert names_of(app) == ["Baseline", "small", "tiny"]


def test_filters_and_budget_are_not_taken_along_to_another_project(
    service: Service, project: Project, runs: list[RunRecord]
) -> None:
    other = Store(service.settings).add_project(project.model_copy(update={"name": "other"}))
    finished(service, other, "Baseline", Recipe(), 0.98, 100_000)
    finished(service, other, "theirs", Recipe.single(TECHNIQUES[-1].name), 0.97, 30_000)
    app = open_project(project, q="tiny", loss="1 point")
    app.query_params["project"] = other.project_id
    app.run()
    assert not app.exception
    assert names_of(app) == ["Baseline", "theirs"]
    assert app.select_slider(key="loss").value == "any"


def test_columns_and_order_come_from_the_address(project: Project, runs: list[RunRecord]) -> None:
    app = open_project(project, columns="Sparsity", order="Newest first")
    assert names_of(app) == ["Baseline", "tiny", "small"]
    assert list(app.dataframe[0].value.columns) == ["Run", "Sparsity, %", "Sparsity, change in points"]


def test_the_metric_is_the_first_column_and_a_failure_puts_the_state_before_it(
    service: Service, project: Project, runs: list[RunRecord]
) -> None:
    first = list(open_project(project).dataframe[0].value.columns)
    assert first[:4] == ["Run", "Accuracy, %", "Accuracy, change in points", ".tflite, kB"]
    failed = service.submit(project.project_id, Recipe.single(TECHNIQUES[-1].name))
    Store(service.settings).set_state(failed.run_id, "failed", "It broke.")
    assert list(open_project(project).dataframe[0].value.columns)[:3] == ["Run", "State", "Accuracy, %"]
    assert list(open_project(project, x="Latency").dataframe[0].value.columns)[4] == "Latency, ms"


def test_selected_runs_of_the_address_are_ringed_and_ticked(project: Project, runs: list[RunRecord]) -> None:
    chosen = [runs[0].run_id, runs[2].run_id]
    app = open_project(project, selected=",".join(chosen), order="Newest first")
    ring = figure_of(app)["data"][-1]
    assert ring["marker"]["symbol"] == "circle-open"
    assert {entry[0] for entry in ring["customdata"]} == set(chosen)
    assert app.session_state["project:table"]["selection"]["rows"] == [0, 1]


def test_an_unknown_selection_does_no_harm(project: Project, runs: list[RunRecord]) -> None:
    app = open_project(project, selected="nonsense,,x", limit="7 bananas", columns="Nothing", x="What")
    assert names_of(app) == ["Baseline", "small", "tiny"]


def test_two_selected_runs_are_compared_by_what_differs(project: Project, runs: list[RunRecord]) -> None:
    app = open_project(project, selected=f"{runs[1].run_id},{runs[2].run_id}")
    assert "2 runs beside each other" in texts(app)
    table = next(frame.value for frame in app.dataframe if "small" in frame.value.columns)
    assert list(table.columns) == ["", "small", "tiny"]
    assert "Techniques" in list(table[""])
    assert "Latency" not in list(table[""])
    app.button(key="project:clear").click().run()
    assert not app.exception
    assert "beside each other" not in texts(app)


def test_one_selected_run_is_not_compared(project: Project, runs: list[RunRecord]) -> None:
    assert "beside each other" not in texts(open_project(project, selected=runs[1].run_id))
