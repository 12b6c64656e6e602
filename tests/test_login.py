"""The pages behind a login: for nobody, for somebody without a role, for viewers and for editors."""

# ruff: noqa: F811 (fixtures of another file are named twice)

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from optimizers.recipe import Recipe
from runs.records import Project, RunRecord
from runs.rights import service_of
from runs.service import Service
from runs.settings import Settings
from runs.store import Store
from tests.test_pages import APP, links, measured, open_page, project, service, shown_page, texts  # noqa: F401
from tests.test_roles import ANNA
from ui import login, session
from ui.run_filter import RunFilter, matching

AUTH: dict[str, Any] = {
    "redirect_uri": "https://tare.example.org/oauth2callback",
    "cookie_secret": "a secret of the tests, long enough",
    "client_id": "tare",
    "client_secret": "another secret",
    "server_metadata_url": "https://login.example.org/.well-known/openid-configuration",
}
NOBODY: dict[str, Any] = {"is_logged_in": False}
EVERY_PAGE = ("", "pages/new_project.py", "pages/techniques.py", "pages/project.py", "pages/run.py", "pages/presentation.py")  # fmt: skip


def claims(name: str, **more: Any) -> dict[str, Any]:
    return {
        "is_logged_in": True,
        "email": f"{name}@example.org",
        "email_verified": True,
        "name": name.capitalize(),
        **more,
    }


@pytest.fixture
def locked(service: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """The service of the pages, behind a login: anna edits, everybody else of example.org looks."""
    monkeypatch.setenv("TARE_LOGIN", "true")
    monkeypatch.setenv("TARE_EDITORS", "anna@example.org")
    monkeypatch.setenv("TARE_VIEWERS", "@example.org")
    monkeypatch.setenv("TARE_INSTALLATION_NAME", "Tare of the *lab*")
    monkeypatch.setenv("TARE_CONTACT", "help@example.org")
    service.home_lock.release()
    session._services.clear()
    session.shared_service.clear()
    return session.shared_service()


def visit(path: str, user: dict[str, Any], auth: Any = AUTH, **query: str) -> AppTest:
    """Open a page as somebody; AppTest keeps secrets and user where Streamlit has a file and a cookie."""
    app = AppTest.from_file(str(APP), default_timeout=120)
    app.secrets = {"auth": auth} if auth is not None else {}
    app.user = user
    return shown_page(app, path, query)


def keys(app: AppTest) -> set[str]:
    """The keys of all buttons, menus and widgets that take input."""
    kinds = (
        app.button,
        app.text_input,
        app.selectbox,
        app.multiselect,
        app.get("menu_button"),
        app.get("file_uploader"),
    )
    return {str(getattr(element, "key", None)) for kind in kinds for element in kind}


@pytest.mark.parametrize("path", EVERY_PAGE)
def test_nobody_sees_anything_but_the_login(locked: Service, project: Project, path: str) -> None:
    run = measured(locked, project)[1]
    app = visit(path, NOBODY, project=project.project_id, run=run.run_id)
    assert keys(app) == {"entrance:log_in:"}
    assert app.button(key="entrance:log_in:").label == "Log in"
    assert [title.value for title in app.title] == [r"Tare of the \*lab\*"]
    assert "digits" not in texts(app) + links(app)
    assert not app.get("plotly_chart")


@pytest.mark.parametrize(
    "user",
    [{}, {"email": "anna@example.org"}, {"is_logged_in": "True", "email": "anna@example.org"}],
    ids=["nothing", "an address without a login", "a text for a truth"],
)
def test_only_the_signed_cookie_of_the_login_counts(locked: Service, user: dict[str, Any]) -> None:
    assert keys(visit("", user)) == {"entrance:log_in:"}


def test_each_provider_has_its_button(locked: Service) -> None:
    named = {key: AUTH[key] for key in ("client_id", "client_secret", "server_metadata_url")}
    shared = {key: AUTH[key] for key in ("redirect_uri", "cookie_secret")}
    app = visit("", NOBODY, auth={**shared, "google": named, "keycloak": named})
    assert [button.label for button in app.button] == ["Log in with google", "Log in with keycloak"]


@pytest.mark.parametrize("path", EVERY_PAGE)
def test_who_is_in_no_list_is_told_whom_to_ask(locked: Service, project: Project, path: str) -> None:
    app = visit(path, claims("mallory", email="mallory@example.com"), project=project.project_id)
    assert keys(app) == {"entrance:log_out"}
    (error,) = app.error
    assert r"mallory@example\.com, who may not see this installation" in error.value
    assert r"Ask help@example\.org for access" in error.value
    assert "digits" not in texts(app) + links(app)


def test_an_address_that_nobody_has_checked_lets_nobody_in(locked: Service) -> None:
    app = visit("", claims("anna", email_verified=False))
    assert keys(app) == {"entrance:log_out"}
    assert "is not verified" in app.error[0].value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "has no section"),
        ({}, "has no section"),
        ({"redirect_uri": "https://tare.example.org"}, "`redirect_uri`"),
        ({"cookie_secret": "short"}, "at least 32 characters"),
        ({"client_secret": ""}, "must have `client_secret`"),
        ({"client_id": "", "client_secret": "", "server_metadata_url": ""}, "must describe a provider"),
        ({"key_cloak": {"client_id": "x"}}, "must have no underscore"),
    ],
)
def test_a_login_that_is_not_set_up_is_no_open_door(
    locked: Service, project: Project, change: dict[str, Any] | None, said: str
) -> None:
    auth = {**AUTH, **change} if change else change
    for user in (NOBODY, {}, claims("anna")):
        app = visit("pages/project.py", user, auth=auth, project=project.project_id)
        assert keys(app) == set()
        (error,) = app.error
        assert r"TARE\_LOGIN is on, but" in error.value
        assert said in error.value.replace("\\", "")
        assert "secret of the tests" not in error.value


@pytest.mark.parametrize("is_on", [False, True])
def test_secrets_without_the_setting_are_warned_of(
    is_on: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(login, "_auth_section", lambda: AUTH)
    login.warn_of_open_door(Settings(login=is_on))
    assert ("TARE_LOGIN is off" in caplog.text) != is_on
    assert "secret of the tests" not in caplog.text


def test_missing_packages_are_no_open_door(locked: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "find_spec", lambda name: None)
    login.missing_packages.cache_clear()
    try:
        app = visit("", claims("anna"))
    finally:
        login.missing_packages.cache_clear()
    assert "Authlib and httpx is not installed" in app.error[0].value
    assert keys(app) == set()


def _page_without_the_app() -> None:
    import streamlit as st

    from ui.login import NotLetIn
    from ui.session import service

    try:
        service().projects()
    except NotLetIn as error:
        st.error(str(error))


def test_pages_ask_the_same_gate_as_the_app(locked: Service) -> None:
    """Even where a page would be drawn without app.py, its service is none."""
    app = AppTest.from_function(_page_without_the_app, default_timeout=120)
    for user, said in ((NOBODY, "Nobody is logged in here. Log in first."), (claims("anna"), "")):
        app.secrets, app.user = {"auth": AUTH}, dict(user)
        app.run()
        assert "".join(error.value for error in app.error) == said
        assert not app.exception


# --- viewers and editors ------------------------------------------------------------------------------------------

CHANGING = (
    "home:new", "home:example", "project:menu", "new_run:run", "new_run:name", "run:again", "run:change", "run:continue",
    "run:menu", "run:resume", "run:sensitivity:measure", "run:speed:measure", "run:operations:measure",
    "project:selected_menu",
)  # fmt: skip


def everything(locked: Service, project: Project, user: dict[str, Any]) -> set[str]:
    """The keys of all that can be pressed on all pages."""
    baseline, run = measured(locked, project)
    failed = locked.submit(project.project_id, Recipe.single("pruning"))
    locked._store.set_state(failed.run_id, "failed", "for the test")
    found: set[str] = set()
    selected = f"{baseline.run_id},{run.run_id}"
    for path, query in (
        ("", {}),
        ("pages/project.py", {"project": project.project_id, "selected": selected}),
        ("pages/run.py", {"run": run.run_id}),
        ("pages/run.py", {"run": failed.run_id}),
        ("pages/presentation.py", {"project": project.project_id}),
        ("pages/techniques.py", {}),
    ):
        found |= keys(visit(path, user, **query))
    return found


def test_viewers_get_no_button_that_changes_anything(locked: Service, project: Project) -> None:
    found = everything(locked, project, claims("vera"))
    assert found & set(CHANGING) == set()
    assert not any(key.startswith(("menu:", "cancel:")) for key in found)
    assert {"order", "columns", "run:speed:threads"} <= found


def test_editors_get_all_of_them(locked: Service, project: Project) -> None:
    found = everything(locked, project, claims("anna"))
    assert set(CHANGING) - found <= {"run:resume"}  # it needs a checkpoint
    assert any(key.startswith("menu:") for key in found)


def test_runs_at_work_cannot_be_cancelled_by_viewers(locked: Service, project: Project) -> None:
    run = locked.submit(project.project_id, Recipe.single("pruning"))
    for user, expected in ((claims("vera"), False), (claims("anna"), True)):
        app = visit("pages/run.py", user, run=run.run_id)
        assert (f"cancel:{run.run_id}" in keys(app)) == expected
        assert len(app.get("progress")) == 1


def test_forms_by_address_are_a_sentence_for_viewers(locked: Service, project: Project) -> None:
    run = measured(locked, project)[1]
    app = visit("pages/new_project.py", claims("vera"))
    assert "You may look here, but not change anything" in app.info[0].value
    assert keys(app) == set()
    app = visit("pages/project.py", claims("vera"), project=project.project_id, change=run.run_id)
    assert any("You may look here, but not change anything" in info.value for info in app.info)
    assert "new_run:run" not in keys(app)


def test_viewers_of_an_empty_installation_are_not_asked_to_fill_it(locked: Service) -> None:
    app = visit("", claims("vera"))
    assert keys(app) == set()
    assert "There is no project yet" in texts(app)


def test_what_an_editor_queues_is_theirs(locked: Service, project: Project) -> None:
    app = visit("pages/project.py", claims("anna"), project=project.project_id)
    app.button(key="new_run:run").click().run()
    assert not app.exception
    (run,) = locked.runs(project.project_id)
    assert run.owner == "anna@example.org"


# --- owners on the pages ------------------------------------------------------------------------------------------


def owned(locked: Service, project: Project) -> RunRecord:
    """A finished run of Anna's beside two of nobody's."""
    from tests.test_charts import result

    measured(locked, project)
    run = service_of(locked, ANNA).submit(project.project_id, Recipe.single("pruning"), "hers")
    store = Store(locked.settings)
    file = locked.settings.folder("temporary") / "model.tflite"
    file.write_bytes(b"a file")
    for one in locked.runs(project.project_id):
        store.log_artifacts(one.run_id, file.parent)
    store.log_result(run.run_id, result(0.9, 20_000), 1, 1)
    store.set_state(run.run_id, "finished")
    return locked.run(run.run_id)


def test_owners_are_on_the_run_page_in_the_table_and_in_reports(locked: Service, project: Project) -> None:
    run = owned(locked, project)
    assert r"queued by anna@example\.org" in texts(visit("pages/run.py", claims("vera"), run=run.run_id))
    app = visit("pages/project.py", claims("vera"), project=project.project_id)
    table = app.dataframe[0].value
    assert list(table["Owner"]) == ["", "", "anna@example.org"]
    seen = service_of(locked, ANNA).handovers
    assert "queued by anna@example.org" in seen.one_file(run.run_id, "report")[1].decode()
    ids = [one.run_id for one in locked.runs(project.project_id)]
    assert ">anna@example.org<" in seen.comparison(ids)[1].decode()
    assert ">Owner<" not in seen.comparison(ids[:2])[1].decode()


def test_owners_are_found_by_text(locked: Service, project: Project) -> None:
    run = owned(locked, project)
    found = matching(locked.runs(project.project_id), RunFilter(text="ANNA@"))
    assert [one.run_id for one in found if not one.is_baseline] == [run.run_id]


def test_without_a_login_no_owner_is_spoken_of(service: Service, project: Project) -> None:
    run = measured(service, project)[1]
    app = open_page("pages/project.py", project=project.project_id)
    assert "Owner" not in app.dataframe[0].value
    assert "Owner" not in app.multiselect(key="columns").options
    assert "queued by" not in texts(open_page("pages/run.py", run=run.run_id))
    assert "queued by" not in service.handovers.one_file(run.run_id, "report")[1].decode()
