"""What somebody sees who is not let in: the login, why there is none, or whom to ask. And the way to where they wanted."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from itertools import cycle
from urllib.parse import urlsplit

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from runs.settings import Settings
from ui.formatting import as_text, sentences
from ui.login import NotLetIn, is_logged_in, login_problems, origin_of_login, person_here, providers, refusal

KEPT_SECONDS = 900
MOST_KEPT = 1000
_BROWSER_COOKIE = "_streamlit_xsrf"
"""Streamlit gives every browser one, and the login leaves it: "2|mask|token under that mask|seconds"."""


@dataclass(frozen=True)
class _Wanted:
    page: str
    """Its part of the address; "" for home."""
    parameters: dict[str, str]
    at: float
    """Seconds of a clock that only goes forward."""


_wanted: OrderedDict[bytes, _Wanted] = OrderedDict()
"""Browser -> where it was going when it was asked to log in: Streamlit's login always comes back to the home page."""


def is_let_in(settings: Settings) -> bool:
    """True where the session may see pages: nobody has to log in, or somebody who is let in has."""
    if not settings.login:
        return True
    try:
        person_here(settings)
    except NotLetIn:
        return False
    return True


def draw_entrance(page: StreamlitPage, settings: Settings) -> None:
    """Draw what stands in the place of a page for somebody who is not let in."""
    left, middle, right = st.columns([1, 1.6, 1])
    del left, right
    with middle, st.container(border=True, key="entrance", gap="medium"):
        st.title(as_text(settings.installation_name))
        if problems := login_problems():
            st.error(sentences(problems))
        elif is_logged_in():
            st.error(sentences(refusal(settings)))
            st.button("Log out", key="entrance:log_out", on_click=st.logout)
        else:
            _draw_login(page)


def _draw_login(page: StreamlitPage) -> None:
    here, there = urlsplit(str(st.context.url or "")), origin_of_login()
    if here.netloc and there and f"{here.scheme}://{here.netloc}" != there:
        st.info(
            sentences(["The login works at another address of this installation only, the one that it comes back to."])
        )
        st.link_button("Go there", there + here.path)
        return
    st.markdown("Log in to see its projects.")
    with st.container(horizontal=True):
        for name in providers():
            label = f"Log in with {as_text(name)}" if name else "Log in"
            st.button(
                label, key=f"entrance:log_in:{name}", type="primary", on_click=_log_in, args=(name, page.url_path)
            )


def _log_in(provider: str, page: str) -> None:
    _remember(page)
    st.login(provider or None)


def _remember(page: str) -> None:
    browser = _browser()
    parameters = st.query_params.to_dict()
    if browser and (page or parameters):
        _wanted[browser] = _Wanted(page, parameters, time.monotonic())
        while len(_wanted) > MOST_KEPT:
            _wanted.popitem(last=False)


def _browser() -> bytes:
    """Return what stays the same in the cookie, whose mask is another with every answer; empty where there is none."""
    try:
        _, mask, masked, _ = st.context.cookies.get(_BROWSER_COOKIE, "").strip('"').split("|")
        return bytes(one ^ other for one, other in zip(bytes.fromhex(masked), cycle(bytes.fromhex(mask)), strict=False))
    except ValueError:
        return b""


def go_where_wanted(page: StreamlitPage, pages: list[StreamlitPage]) -> None:
    """Go on to the page that somebody was asked to log in for; returns where they are there, or wanted none."""
    browser = _browser()
    if page.url_path or st.query_params or not browser:
        return
    wanted = _wanted.pop(browser, None)
    if wanted is None or time.monotonic() - wanted.at > KEPT_SECONDS:
        return
    found = next((one for one in pages if one.url_path == wanted.page), None)
    if found is not None:
        st.switch_page(found, query_params=wanted.parameters)
