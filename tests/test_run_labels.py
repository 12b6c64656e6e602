"""Names, notes, tags, stars, archiving and deleting: in the store, on the run's page and for several runs at once."""

# ruff: noqa: F811 (fixtures of another file are named twice)

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from intake.errors import UserError
from optimizers import TECHNIQUES
from optimizers.recipe import Recipe
from runs.labels import MOST_TAGS, NAME_LENGTH, NOTE_LENGTH, cleaned_labels
from runs.records import Project, RunRecord
from runs.service import Service
from runs.store import Store
from tests.test_pages import measured, open_page, project, service, texts  # noqa: F401
from ui import session
from ui.run_labels import ARCHIVE, DELETE, DESCRIBE, RESTORE, STAR, TAG, UNSTAR, choices_for


@pytest.fixture
def run(service: Service, project: Project) -> RunRecord:
    """A measured run beside its baseline."""
    return measured(service, project)[1]


def named(service: Service, project: Project) -> list[str]:
    return [run.name for run in service.runs(project.project_id)]


def test_labels_are_stored_and_read_by_every_process(service: Service, project: Project, run: RunRecord) -> None:
    service.label_run(run.run_id, name=" a \n name ", note="two\nlines ", tags=["x", "x", " "], starred=True)
    for found in (
        service.run(run.run_id),
        Store(service.settings).run(run.run_id),
        service.runs(project.project_id)[1],
    ):
        assert (found.name, found.note, found.tags) == ("a name", "two\nlines", ("x",))
        assert (found.starred, found.archived) == (True, False)
    service.label_run(run.run_id, starred=False, archived=True)
    found = service.run(run.run_id)
    assert (found.name, found.starred, found.archived) == ("a name", False, True)
    assert found.result == run.result


def test_labels_of_an_unknown_run_are_refused(service: Service) -> None:
    with pytest.raises(UserError, match="no run of this address"):
        service.label_run("0" * 32, starred=True)


def test_what_is_typed_is_cut_to_what_a_page_can_hold() -> None:
    cleaned = cleaned_labels({"name": "n" * 999, "note": "x" * 9999, "tags": map(str, range(99)), "starred": None})
    assert [len(cleaned[key]) for key in ("name", "note", "tags")] == [NAME_LENGTH, NOTE_LENGTH, MOST_TAGS]
    assert "starred" not in cleaned
    assert cleaned_labels({"name": " \n "}) == {"name": "Untitled"}


def test_menu_offers_what_would_change_something(run: RunRecord) -> None:
    starred = run.model_copy(update={"starred": True, "archived": True})
    assert choices_for([run]) == [DESCRIBE, STAR, ARCHIVE, DELETE]
    assert choices_for([starred]) == [DESCRIBE, UNSTAR, RESTORE, DELETE]
    assert choices_for([run, starred]) == [TAG, STAR, UNSTAR, ARCHIVE, RESTORE, DELETE]


def _page_with_a_dialog(name: str, project_id: str, run_ids: list[str]) -> None:
    """A page on which a dialog is open: AppTest forgets one after a click, as it knows no fragments."""
    from ui import run_labels
    from ui.session import service

    chosen = [run for run in service().runs(project_id) if run.run_id in run_ids]
    if name == "describe_run":
        run_labels.describe_run(chosen[0])
    elif name == "tag_runs":
        run_labels.tag_runs(chosen)
    elif chosen:
        run_labels.delete_runs(chosen, on_run_page=False)


def open_dialog(name: str, *runs: RunRecord) -> AppTest:
    app = AppTest.from_function(
        _page_with_a_dialog, args=(name, runs[0].project_id, [run.run_id for run in runs]), default_timeout=120
    )
    app.run()
    assert not app.exception
    return app


def test_menus_open_the_dialogs(project: Project, run: RunRecord) -> None:
    app = open_page("pages/run.py", run=run.run_id)
    app.menu_button(key="run:menu").click(DESCRIBE).run()
    assert app.text_input(key=f"describe:name:{run.run_id}").value == "smaller"
    app.menu_button(key="run:menu").click(DELETE).run()
    assert app.button(key="delete_run:do").label == "Delete run"
    baseline = service_runs(project)[0]
    app = open_page("pages/project.py", project=project.project_id, selected=f"{baseline.run_id},{run.run_id}")
    app.menu_button(key="project:selected_menu").click(TAG).run()
    assert app.button(key="tag:do").disabled
    app.menu_button(key="project:selected_menu").click(DELETE).run()
    assert app.button(key="delete_run:do").label == "Delete 2 runs"
    assert [found.name for found in service_runs(project)] == ["Baseline", "smaller"]


def service_runs(project: Project) -> list[RunRecord]:
    return session.service().runs(project.project_id)


def test_name_note_and_tags_are_changed_in_the_dialog(service: Service, run: RunRecord) -> None:
    app = open_dialog("describe_run", run)
    app.text_input(key=f"describe:name:{run.run_id}").set_value("**bold**")
    app.text_area(key=f"describe:note:{run.run_id}").set_value("# <b>why</b>\nsecond line")
    app.button(key="describe:do").click().run()
    assert not app.exception
    assert service.run(run.run_id).note == "# <b>why</b>\nsecond line"
    page = open_page("pages/run.py", run=run.run_id)
    assert page.title[0].value == r"\*\*bold\*\*"
    assert "\\# \\<b\\>why\\</b\\>  \nsecond line" in texts(page)


def test_star_and_archive_on_the_page_of_the_run(service: Service, run: RunRecord) -> None:
    app = open_page("pages/run.py", run=run.run_id)
    app.menu_button(key="run:menu").click(STAR).run()
    app.menu_button(key="run:menu").click(ARCHIVE).run()
    assert not app.exception
    assert app.title[0].value == "★ smaller"
    found = service.run(run.run_id)
    assert (found.starred, found.archived) == (True, True)


def test_archived_runs_are_out_of_sight_until_asked_for(service: Service, project: Project, run: RunRecord) -> None:
    app = open_page("pages/project.py", project=project.project_id, selected=run.run_id)
    app.menu_button(key="project:selected_menu").click(ARCHIVE).run()
    assert not app.exception
    assert list(app.dataframe[0].value["Run"]) == ["Baseline"]
    app.toggle(key="archived").set_value(True).run()
    assert list(app.dataframe[0].value["Run"]) == ["Baseline", "smaller (archived)"]
    app.menu_button(key="project:selected_menu").click(RESTORE).run()
    assert not service.run(run.run_id).archived


def test_several_runs_are_deleted_at_once_but_none_at_work(service: Service, project: Project, run: RunRecord) -> None:
    waiting = service.submit(project.project_id, Recipe.single(TECHNIQUES[-1].name), "waiting")
    app = open_dialog("delete_runs", run, waiting)
    app.button(key="delete_run:do").click().run()
    assert not app.exception
    assert app.error[0].value == r"waiting\: This run is still at work\. Cancel it first\."
    assert named(service, project) == ["Baseline", "waiting"]


def test_tags_are_added_to_several_runs_and_their_own_stay(service: Service, project: Project, run: RunRecord) -> None:
    service.label_run(run.run_id, tags=["own"])
    baseline, tagged = service.runs(project.project_id)
    app = open_dialog("tag_runs", baseline, tagged)
    app.multiselect(key=f"describe:tags:{baseline.run_id}").set_value(["own"]).run()
    app.button(key="tag:do").click().run()
    assert not app.exception
    assert [found.tags for found in service.runs(project.project_id)] == [("own",), ("own",)]
