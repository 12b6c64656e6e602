"""Continuing and changing a run on the pages: what the form is filled with, what the address keeps, what is linked."""

from __future__ import annotations

from typing import Any

import pytest
from mlflow import MlflowClient
from streamlit.testing.v1 import AppTest

from optimizers import TECHNIQUES
from optimizers.recipe import Recipe, RecipeStep
from optimizers.technique import Technique
from runs.durations import expected_seconds
from runs.records import Parent, Project, RunRecord
from runs.service import Service
from runs.store import Store
from tests import test_pages
from tests.test_pages import finished, links, open_page, steps_on, texts
from ui import new_run
from ui.chain import reasons_against, technique_key

service, project = test_pages.service, test_pages.project
CONTINUABLE = [entry for entry in TECHNIQUES if not entry.converts]
FINAL = next(entry for entry in TECHNIQUES if entry.converts and entry.fine_tuning is None)


def first_run(service: Service, project: Project, entry: Technique) -> RunRecord:
    return finished(service, project, "**first**", Recipe.single(entry.name), 0.97, 30_000)


def continuing(run: RunRecord) -> AppTest:
    return open_page("pages/project.py", project=run.project_id, **{"continue": run.run_id})


@pytest.mark.parametrize("entry", CONTINUABLE, ids=lambda entry: entry.name)
def test_a_run_is_continued_by_one_step_more(service: Service, project: Project, entry: Technique) -> None:
    run = first_run(service, project, entry)
    app = open_page("pages/run.py", run=run.run_id)
    app.button(key="run:continue").click().run()
    assert not app.exception
    assert dict(app.query_params) == {"project": project.project_id, "continue": run.run_id}
    assert f"**1 · {entry.title}**" in texts(app)
    (step,) = steps_on(app)
    offered = app.radio(key=technique_key(step)).options
    assert offered == [one.title for one in TECHNIQUES if not reasons_against(one.name, run.recipe.steps)]
    app.button(key=new_run.RUN_KEY).click().run()
    child = service.runs(project.project_id)[-1]
    assert child.parent == Parent(run_id=run.run_id, relation="continues")
    assert child.recipe.steps[:1] == run.recipe.steps
    assert [one.technique for one in child.recipe.steps] == [entry.name, step.technique]


def test_a_reload_keeps_what_is_continued_and_stopping_ends_it(service: Service, project: Project) -> None:
    run = first_run(service, project, CONTINUABLE[0])
    app = continuing(run)  # a session of its own, as after a reload
    assert r"Continues from \*\*first\*\*" in links(app)
    app.button(key="new_run:forget_origin").click().run()
    assert "continue" not in app.query_params
    assert "Continues from" not in links(app)
    app.button(key=new_run.RUN_KEY).click().run()
    assert service.runs(project.project_id)[-1].parent is None


def test_what_cannot_be_continued_says_why(service: Service, project: Project) -> None:
    last = first_run(service, project, FINAL)
    app = open_page("pages/run.py", run=last.run_id)
    button = app.button(key="run:continue")
    assert button.disabled
    assert "must be the last step" in button.help
    for unfit in (last.run_id, "0" * 32):
        app = open_page("pages/project.py", project=project.project_id, **{"continue": unfit})
        assert "is not here, or nothing can follow it" in texts(app)
    baseline = finished(service, project, "Baseline", Recipe(), 0.98, 100_000)
    app = open_page("pages/run.py", run=baseline.run_id)
    assert "run:continue" not in [one.key for one in app.button]


def test_a_changed_run_stores_what_it_was_changed_from(service: Service, project: Project) -> None:
    run = first_run(service, project, FINAL)
    app = open_page("pages/run.py", run=run.run_id)
    app.button(key="run:change").click().run()
    assert app.query_params["change"] == run.run_id
    app.button(key=new_run.RUN_KEY).click().run()
    child = service.runs(project.project_id)[-1]
    assert (child.recipe, child.parent) == (run.recipe, Parent(run_id=run.run_id, relation="changed"))
    assert service.run_again(child.run_id).parent == child.parent


def stored(service: Service, run: RunRecord, name: str, parent: Parent) -> RunRecord:
    values: dict[str, Any] = {**run.model_dump(), "run_id": "", "name": name, "parent": parent, "recipe": run.recipe}
    return Store(service.settings).add_run(RunRecord(**values))


def test_the_page_links_to_where_a_run_came_from_and_what_came_of_it(service: Service, project: Project) -> None:
    first = first_run(service, project, CONTINUABLE[0])
    child = stored(service, first, "<b>child</b>", Parent(run_id=first.run_id, relation="continues"))
    stored(service, first, "variant", Parent(run_id=first.run_id, relation="changed"))
    app = open_page("pages/run.py", run=first.run_id)
    assert r"\<b\>child\</b\>" in links(app)
    assert "variant" in links(app)
    assert "Continued by" in texts(app)
    assert "Changed to" in texts(app)
    app = open_page("pages/run.py", run=child.run_id)
    assert "Continues" in texts(app)
    assert r"\*\*first\*\*" in links(app)
    service.delete_run(first.run_id)
    assert "Continues a run that was deleted." in texts(open_page("pages/run.py", run=child.run_id))


def test_runs_of_older_stores_have_no_parent(service: Service, project: Project) -> None:
    first = first_run(service, project, CONTINUABLE[0])
    assert service.run(first.run_id).parent is None
    child = stored(service, first, "child", Parent(run_id=first.run_id, relation="continues"))
    tags = MlflowClient(tracking_uri=service.settings.store_uri).get_run(child.run_id).data.tags
    assert tags["tare.parent_run_id"] == first.run_id
    assert service.run(child.run_id).parent_run_id == first.run_id


def test_a_run_that_went_on_tells_nothing_of_how_long_a_step_takes(service: Service, project: Project) -> None:
    entry = next(one for one in CONTINUABLE if one.fine_tuning)
    run = first_run(service, project, entry)
    assert run.result is not None
    slow = run.model_copy(update={"result": run.result.model_copy(update={"training_s": 100.0, "duration_s": 101.0})})
    quick = run.model_copy(update={"parent": Parent(run_id=run.run_id, relation="continues")})
    recipe = Recipe.checked([RecipeStep(technique=entry.name)])
    alone = expected_seconds([recipe], [slow], 1000)
    assert alone == pytest.approx(101)
    assert expected_seconds([recipe], [slow, quick, quick], 1000) == alone
