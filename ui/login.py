"""Who is at the other end of a session: nobody in particular without a login, else whom Streamlit's cookie names.

Streamlit does the login itself (`st.login`, with Authlib); this file decides what follows from it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import streamlit as st

from intake.errors import UserError
from runs.people import Person, described, person_of, verified_address
from runs.settings import Settings

log = logging.getLogger("tare")
CALLBACK = "/oauth2callback"
SHORTEST_SECRET = 32
"""Characters: who guesses the secret of the cookies can be anybody."""
_OF_PROVIDER = ("client_id", "client_secret", "server_metadata_url")
_HOW = "How to set the login up is in docs/hosting.md."


class NotLetIn(UserError):
    """Nobody is logged in, or somebody whom no list names, or nobody can be."""


def person_here(settings: Settings) -> Person:
    """Return who is logged in and let in; raises NotLetIn where there is nobody, also where the login is not set up."""
    if problems := login_problems():
        raise NotLetIn(problems)
    if not is_logged_in():
        raise NotLetIn("Nobody is logged in here. Log in first.")
    person = person_of(st.user.to_dict(), settings)
    if person is None:
        raise NotLetIn(refusal(settings))
    return person


def warn_of_open_door(settings: Settings) -> None:
    """Log that nobody has to log in, although the secrets describe how: somebody may have forgotten the setting."""
    if not settings.login and _auth_section():
        log.warning(
            "Streamlit's secrets have [auth], but TARE_LOGIN is off: whoever reaches this dashboard may do everything."
        )


def is_logged_in() -> bool:
    """True where Streamlit has a signed cookie of somebody; a header or a text that says so is not enough."""
    return st.user.to_dict().get("is_logged_in") is True


def refusal(settings: Settings) -> tuple[str, ...]:
    """Return why somebody who is logged in sees nothing, and whom to ask."""
    claims: Mapping[str, Any] = st.user.to_dict()
    ask = settings.contact or "whoever runs this installation"
    sentences = [f"You are logged in as {described(claims)}, who may not see this installation. Ask {ask} for access."]
    if claims.get("email") and not verified_address(claims):
        sentences.append(
            "Your provider says that this address is not verified, so it counts for nothing here. Verify it."
        )
    return tuple(sentences)


def providers() -> list[str]:
    """Return the names of the providers that the secrets describe; "" for one directly in [auth]."""
    section = _auth_section()
    named = [name for name, value in section.items() if isinstance(value, Mapping) and name != "client_kwargs"]
    return [*([""] if any(section.get(key) for key in _OF_PROVIDER) else []), *named]


def login_problems() -> tuple[str, ...]:
    """Return why nobody can log in, a sentence for each thing to mend, without any value of the secrets; () where all is well."""
    if missing := missing_packages():
        return (
            f"TARE_LOGIN is on, but {' and '.join(missing)} is not installed. Run `pip install -r requirements.txt`.",
        )
    section = _auth_section()
    if not section:
        return (
            "TARE_LOGIN is on, but Streamlit's secrets.toml is not there, is no TOML, or has no section [auth]. Mend it, or "
            f"unset TARE_LOGIN. {_HOW}",
        )
    found = [*_shared_problems(section), *_provider_problems(section)]
    return (f"TARE_LOGIN is on, but the login is not set up. {_HOW}", *found) if found else ()


@cache
def missing_packages() -> tuple[str, ...]:
    """Return which of the packages that Streamlit's login needs are not installed."""
    return tuple(name for name, module in (("Authlib", "authlib"), ("httpx", "httpx")) if find_spec(module) is None)


def _auth_section() -> Mapping[str, Any]:
    if not st.secrets.load_if_toml_exists():
        return {}
    found = st.secrets.get("auth")
    return found if isinstance(found, Mapping) else {}


def _shared_problems(section: Mapping[str, Any]) -> list[str]:
    problems = []
    address = str(section.get("redirect_uri", ""))
    if not (address.startswith(("http://", "https://")) and address.endswith(CALLBACK)):
        problems.append(f"`redirect_uri` in [auth] must be this dashboard's address followed by {CALLBACK}.")
    if len(str(section.get("cookie_secret", ""))) < SHORTEST_SECRET:
        problems.append(
            f"`cookie_secret` in [auth] must be random and at least {SHORTEST_SECRET} characters long: "
            '`python -c "import secrets; print(secrets.token_urlsafe(48))"` makes one.'
        )
    return problems


def _provider_problems(section: Mapping[str, Any]) -> list[str]:
    names = providers()
    if not names:
        return [f"[auth] must describe a provider, with {', '.join(_OF_PROVIDER)}."]
    problems = []
    for name in names:
        place, described_there = (f"[auth.{name}]", section[name]) if name else ("[auth]", section)
        lacking = [f"`{key}`" for key in _OF_PROVIDER if not described_there.get(key)]
        if lacking:
            problems.append(f"{place} must have {', '.join(lacking)}.")
        if "_" in name:
            problems.append(f"The name of {place} must have no underscore: Streamlit's login cannot have any.")
    return problems


def origin_of_login() -> str:
    """Return the address at which the login works, "https://tare.example.org"."""
    address = str(_auth_section().get("redirect_uri", ""))
    parts = urlsplit(address.replace("{port}", str(st.get_option("server.port"))))  # as Streamlit fills it in
    return f"{parts.scheme}://{parts.netloc}"
