"""Who may look and who may change, and that every name of the service is one or the other."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from intake.dataset_info import DatasetOptions
from intake.errors import UserError
from optimizers.recipe import Recipe
from runs.executor import LocalExecutor
from runs.handover.desk import HandoverDesk
from runs.operation_desk import OperationDesk
from runs.people import Person, described, owner_now, person_of, role_of, verified_address
from runs.records import Project, RunRecord, Upload
from runs.rights import CHANGES, DESKS, LOOKS, NotAllowed, service_of
from runs.sensitivities import Sensitivities
from runs.service import Service
from runs.settings import Settings
from runs.store import Store
from runs.try_desk import TryDesk
from tests.test_pages import FIT

ANNA = Person(name="Anna", owner="anna@example.org", role="editor")
VERA = Person(name="Vera", owner="vera@example.org", role="viewer")
PARTS = {
    "service": Service,
    "handovers": HandoverDesk,
    "sensitivities": Sensitivities,
    "operations": OperationDesk,
    "tries": TryDesk,
}
IN_CONSTRUCTORS = {"settings", "home_lock", "tries"}
"""Public names that a Service has only as an object."""


def lists(editors: str = "", viewers: str = "") -> Settings:
    return Settings(editors=editors, viewers=viewers)


# --- rules --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "editors", "viewers", "role"),
    [
        ("anna@example.org", "", "", "editor"),
        ("", "", "", "editor"),
        ("anna@example.org", "anna@example.org", "", "editor"),
        ("Anna@Example.ORG", " ANNA@example.org , b@c.de", "", "editor"),
        ("vera@example.org", "anna@example.org", "", None),
        ("vera@example.org", "anna@example.org", "@example.org", "viewer"),
        ("anna@example.org", "anna@example.org", "@example.org", "editor"),
        ("anna@mail.example.org", "", "@example.org", None),
        ("anna@badexample.org", "", "@example.org", None),
        ("anna@example.org@evil.com", "", "@example.org", None),
        ("vera@example.org", "", "*", "viewer"),
        ("vera@example.org", "*", "vera@example.org", "editor"),
        ("", "anna@example.org", "*", "viewer"),
        ("", "@example.org", "@", None),
        ("example.org", "@example.org", "", None),
    ],
)
def test_lists_say_who_is_what(address: str, editors: str, viewers: str, role: str | None) -> None:
    assert role_of(address, lists(editors, viewers)) == role


@pytest.mark.parametrize(
    ("checked", "counts"), [(True, True), ("true", True), (False, False), ("false", False), (None, False), (0, False)]
)
def test_an_address_counts_where_its_provider_has_checked_it(checked: Any, counts: bool) -> None:
    claims = {"email": "anna@example.org", "email_verified": checked}
    assert verified_address(claims) == ("anna@example.org" if counts else "")
    assert (person_of(claims, lists("anna@example.org")) is not None) == counts


def test_a_provider_that_says_nothing_of_it_is_believed() -> None:
    person = person_of({"email": "anna@example.org", "name": "Anna Berg"}, lists("@example.org"))
    assert person == Person(name="Anna Berg", owner="anna@example.org", role="editor")


def test_who_has_no_checked_address_cannot_pass_for_somebody_else() -> None:
    claims = {"email": "anna@example.org", "email_verified": False}
    person = person_of(claims, lists())
    assert person is not None
    assert person.owner == person.name == "anna@example.org (not verified)"
    assert described({"name": " Anna \n Berg ", "sub": "7"}) == "Anna Berg"
    assert described({"sub": "7"}) == "7"


# --- every name is declared ---------------------------------------------------------------------------------------


def public_names(part: type) -> set[str]:
    return {name for name in dir(part) if not name.startswith("_")}


@pytest.mark.parametrize("part", PARTS)
def test_every_name_of_the_service_is_declared_as_looking_or_changing(part: str) -> None:
    names = public_names(PARTS[part]) | (IN_CONSTRUCTORS if part == "service" else set())
    names -= DESKS if part == "service" else set()
    declared = LOOKS[part] | CHANGES[part]
    assert names - declared == set(), "declare these in runs/rights.py"
    assert declared - names == set(), "these are no more"
    assert LOOKS[part] & CHANGES[part] == set()


def test_objects_have_no_public_names_that_their_classes_lack(service: Service) -> None:
    for part, kind in PARTS.items():
        one = service if part == "service" else getattr(service, part)
        own = {name for name in vars(one) if not name.startswith("_")}
        assert own <= public_names(kind) | IN_CONSTRUCTORS, part
    assert {name for name in public_names(Service) | IN_CONSTRUCTORS if name in DESKS} == set(PARTS) - {"service"}


# --- what a viewer may do -----------------------------------------------------------------------------------------


@pytest.fixture
def quiet(empty_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service on a home of its own, with workers that never start."""
    import shutil

    shutil.copytree(empty_home, tmp_path / "home")
    monkeypatch.setattr(LocalExecutor, "start", lambda self: None)
    return Service(Settings(home=tmp_path / "home"))


def project_in(service: Service) -> Project:
    files = [Upload(upload_id=f"{n:016x}", file_name=f"f{n}", size_bytes=9, sha256="0") for n in (1, 2)]
    return Store(service.settings).add_project(
        Project(
            project_id="",
            name="digits",
            model=files[0],
            dataset=files[1],
            options=DatasetOptions(),
            fit=FIT,
            created_at=datetime.now(UTC),
        )
    )


def test_a_viewer_can_call_nothing_that_changes(quiet: Service) -> None:
    seen = service_of(quiet, VERA)
    before = sorted((quiet.settings.home).rglob("*"))
    for part, names in CHANGES.items():
        one: Any = seen if part == "service" else getattr(seen, part)
        for name in names:
            with pytest.raises(NotAllowed, match=r"vera@example.org may look here, but not change anything"):
                getattr(one, name)()
    assert sorted((quiet.settings.home).rglob("*")) == before


def test_a_viewer_can_look(quiet: Service) -> None:
    project = project_in(quiet)
    run = quiet.submit(project.project_id, Recipe.single("pruning"))
    seen = service_of(quiet, VERA)
    assert seen.projects() == [project]
    assert seen.runs(project.project_id) == [run]
    assert seen.curves(run.run_id) == {}
    assert seen.settings is quiet.settings
    assert [entry.kind for entry, _ in seen.handovers.ways(project)] == [
        entry.kind for entry, _ in quiet.handovers.ways(project)
    ]
    with pytest.raises(UserError, match="no result to hand over"):
        seen.handovers.one_file(run.run_id, "report")


def test_what_is_declared_nowhere_is_nobodys(quiet: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Service, "burn_everything", lambda self: "burnt", raising=False)
    for person in (ANNA, VERA):
        for name in ("burn_everything", "_store", "_submit"):
            with pytest.raises(AttributeError, match=f"{name} of service is not declared"):
                getattr(service_of(quiet, person), name)


# --- owners -------------------------------------------------------------------------------------------------------


def mlflow_user(service: Service, run: RunRecord) -> str | None:
    from mlflow import MlflowClient

    tags = MlflowClient(tracking_uri=service.settings.store_uri).get_run(run.run_id).data.tags
    return tags.get("mlflow.user")


def test_a_run_remembers_who_queued_it(quiet: Service) -> None:
    project = project_in(quiet)
    hers = service_of(quiet, ANNA)
    run = hers.submit(project.project_id, Recipe.single("pruning"))
    assert run.owner == hers.run(run.run_id).owner == mlflow_user(quiet, run) == "anna@example.org"
    again = service_of(quiet, Person(name="Ben", owner="ben@example.org", role="editor")).run_again(run.run_id)
    assert again.owner == "ben@example.org"
    assert owner_now() == ""


def test_without_a_login_nobody_is_named(quiet: Service) -> None:
    run = quiet.submit(project_in(quiet).project_id, Recipe.single("pruning"))
    assert run.owner == ""
    assert mlflow_user(quiet, run) is None


@pytest.mark.slow
def test_the_example_belongs_to_whoever_asked_for_it(service: Service) -> None:
    project = service_of(service, ANNA).create_example().wait()
    assert project.owner == service.project(project.project_id).owner == "anna@example.org"
    (baseline,) = service.runs(project.project_id)
    assert baseline.owner == "anna@example.org"
    service.cancel(baseline.run_id)


def test_an_upload_of_an_editor_is_stored(quiet: Service) -> None:
    upload = service_of(quiet, ANNA).add_upload("a.npz", io.BytesIO(b"123"))
    assert quiet.upload(upload.upload_id).size_bytes == 3
