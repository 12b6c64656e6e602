"""The one service of this process, and what stands in the address of the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn, TypeVar

import streamlit as st
from pydantic import BaseModel, ValidationError
from streamlit.navigation.page import StreamlitPage
from streamlit.runtime.pages_manager import PagesManager

from intake.errors import UserError
from runs.full_disk import disk_sentence
from runs.records import Project, RunRecord
from runs.rights import service_of
from runs.service import Service
from runs.settings import Settings
from ui.formatting import sentences
from ui.login import person_here, warn_of_open_door
from ui.run_report import Reports

Record = TypeVar("Record", bound=BaseModel)

HOME = "pages/projects.py"
NEW_PROJECT = "pages/new_project.py"
PROJECT = "pages/project.py"
RUN = "pages/run.py"
PRESENTATION = "pages/presentation.py"
TECHNIQUES_PAGE = "pages/techniques.py"

ONLY_LOOKING = "You may look here, but not change anything. Whoever runs this installation can make you an editor (`TARE_EDITORS`)."


def begin_page() -> None:
    """Call this first in every page: it has app.py run where Streamlit opened the page file by itself.

    Where the first visit after a start is to a page's own address, Streamlit takes the folder `pages/` for its old
    kind of app and runs the page without app.py, for everybody, until `st.navigation` was called once.
    """
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()
    try:
        service()
    except UserError as error:
        show_problems(error.problems)
        st.stop()


def run_page(page: StreamlitPage) -> None:
    """Run a page; what none of them expects (the run store does not answer, the disk is full) is a sentence too."""
    try:
        page.run()
    except UserError as error:
        show_problems(error.problems)
    except OSError as error:
        if not (full := disk_sentence(error)):
            raise
        show_problems((full,))


def service() -> Service:
    """Return the service of this process, with a login as the person of this session may use it.

    The first call starts its workers.

    Raises:
        UserError: another dashboard is using the home folder; or nobody is let in here (NotLetIn).
    """
    whole = shared_service()
    return service_of(whole, person_here(whole.settings)) if whole.settings.login else whole


def may_change() -> bool:
    """True where whoever is here may change something: what they may not use is not drawn."""
    settings = shared_service().settings
    return not settings.login or person_here(settings).may_change


@st.cache_resource(show_spinner="Starting the workers …")
def shared_service() -> Service:
    """Return the service that all sessions of this process share, with all rights; pages call `service`."""
    settings = Settings()
    return _started(settings.home.resolve(), settings)


_services: dict[Path, Service] = {}


def _started(home: Path, settings: Settings) -> Service:
    """Streamlit's menu can clear its cache; the service, which holds its home folder, is kept nevertheless."""
    if home not in _services:
        warn_of_open_door(settings)
        started = Service(settings, Reports())
        started.start()
        _services[home] = started
    return _services[home]


def end_where_only_looking() -> None:
    """End a page that is all form for somebody who may change nothing, with the reason."""
    if not may_change():
        st.info(ONLY_LOOKING)
        st.stop()


def address(name: str) -> str:
    """Return a value of the page's address; "" where it is not there."""
    return str(st.query_params.get(name, ""))


def set_address(name: str, value: str) -> None:
    """Put a value into the page's address; "" takes it out."""
    if value:
        st.query_params[name] = value
    elif name in st.query_params:
        del st.query_params[name]


def record_of_address(name: str, kind: type[Record]) -> Record:
    """Return a record kept in the address as JSON; its defaults where there is none, or none that is valid."""
    try:
        return kind.model_validate_json(address(name) or "{}")
    except ValidationError:
        return kind()


def record_to_address(name: str, record: BaseModel) -> None:
    """Keep a record in the address as short JSON."""
    changed = record.model_dump(mode="json", exclude_defaults=True)
    set_address(name, json.dumps(changed, separators=(",", ":")) if changed else "")


def project_of_address() -> Project:
    """Return the project that the address names, or end the page with a friendly word."""
    try:
        return service().project(address("project"))
    except UserError as error:
        end_not_found(error)


def project_of(run: RunRecord) -> Project:
    """Return the project of a run, or end the page with a friendly word: a shared store can hold others' runs."""
    try:
        return service().project(run.project_id)
    except UserError as error:
        end_not_found(error)


def run_of_address() -> RunRecord:
    """Return the run that the address names, or end the page with a friendly word."""
    try:
        return service().run(address("run"))
    except UserError as error:
        end_not_found(error)


def end_not_found(error: UserError) -> NoReturn:
    """Say that what the address names is not here, and offer the way home."""
    st.header("Nothing here")
    st.info(sentences(error.problems))
    st.page_link(HOME, label="All projects", icon=":material/arrow_back:")
    st.stop()


def show_problems(problems: tuple[str, ...]) -> None:
    """Show sentences for the user, one a line."""
    st.error(sentences(problems))
