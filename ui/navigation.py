"""The pages of the app, and what the bar at the top shows of them: to whom, and under whose name."""

from __future__ import annotations

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from runs.settings import Settings
from ui.entrance import draw_entrance, go_where_wanted, is_let_in
from ui.formatting import as_text
from ui.login import person_here
from ui.session import HOME, NEW_PROJECT, PRESENTATION, PROJECT, RUN, TECHNIQUES_PAGE, run_page


def run_app() -> None:
    """Draw the bar at the top and run the page of the address; its place takes the login where that comes first."""
    settings = Settings()
    let_in = is_let_in(settings)
    person = person_here(settings) if settings.login and let_in else None
    pages = _pages(may_change=person is None or person.may_change)
    sections = {"": pages}
    if person is not None:
        name = as_text(person.name) + ("" if person.may_change else " (viewer)")
        sections[name] = [st.Page(_log_out, title="Log out", icon=":material/logout:", url_path="log-out")]
    page = st.navigation(sections, position="top" if let_in else "hidden")
    if not let_in:
        draw_entrance(page, settings)
        return
    if person is not None:
        go_where_wanted(page, pages)
    run_page(page)


def _pages(may_change: bool) -> list[StreamlitPage]:
    return [
        st.Page(HOME, title="Projects", default=True),
        st.Page(NEW_PROJECT, title="New project", visibility="visible" if may_change else "hidden"),
        st.Page(TECHNIQUES_PAGE, title="Techniques"),
        st.Page(PROJECT, title="Project", visibility="hidden"),
        st.Page(RUN, title="Run", visibility="hidden"),
        st.Page(PRESENTATION, title="Presentation", visibility="hidden"),
    ]


def _log_out() -> None:
    """A page that ends the session: the bar at the top holds pages only."""
    st.logout()
