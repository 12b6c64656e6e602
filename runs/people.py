"""Who may look and who may change: people as an OpenID provider describes them, and the lists of the settings.

Plain data; who is logged in is found out by `ui/login.py`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from runs.settings import Settings

Role = Literal["viewer", "editor"]
"""viewer: looks, compares, downloads, presents. editor: does everything."""
EVERYBODY = "*"


@dataclass(frozen=True)
class Person:
    """Somebody who is logged in and let in."""

    name: str
    """For people: the full name, or the address where the provider tells none."""
    owner: str
    """What runs are marked with: the address, or the name where there is no address."""
    role: Role

    @property
    def may_change(self) -> bool:
        """True for editors."""
        return self.role == "editor"


def person_of(claims: Mapping[str, Any], settings: Settings) -> Person | None:
    """Return who an identity token describes; None for somebody in neither list.

    Args:
        claims: of the token: "email", "email_verified", "name", "preferred_username", "sub".
        settings: whose lists say who is what.
    """
    role = role_of(verified_address(claims), settings)
    if role is None:
        return None
    return Person(name=_text(claims, "name") or described(claims), owner=described(claims), role=role)


def role_of(address: str, settings: Settings) -> Role | None:
    """Return what somebody with an address may do, "" for somebody without one; None: nothing.

    With neither list set, everybody who can log in is an editor.
    """
    editors, viewers = _entries(settings.editors), _entries(settings.viewers)
    if not editors and not viewers:
        return "editor"
    if _matches(address, editors):
        return "editor"
    return "viewer" if _matches(address, viewers) else None


def verified_address(claims: Mapping[str, Any]) -> str:
    """Return the address of a token; "" where there is none, or its provider says that nobody has checked it.

    A provider that says nothing of it (Microsoft's) is believed; some write the answer as text.
    """
    checked = str(claims.get("email_verified", True)).casefold() == "true"
    return _text(claims, "email") if checked else ""


def described(claims: Mapping[str, Any]) -> str:
    """Return what to call somebody beside others: the address, marked where it is not checked, or a name."""
    address = _text(claims, "email")
    if address:
        return address if verified_address(claims) else f"{address} (not verified)"
    names = (_text(claims, key) for key in ("preferred_username", "name", "sub"))
    return next((name for name in names if name), "somebody without a name")


def _text(claims: Mapping[str, Any], key: str) -> str:
    return " ".join(str(claims.get(key) or "").split())[:200]


def _entries(written: str) -> list[str]:
    return [entry.strip().casefold() for entry in written.split(",") if entry.strip()]


def _matches(address: str, entries: list[str]) -> bool:
    folded = address.casefold()
    domain = f"@{folded.rpartition('@')[2]}" if "@" in folded else ""
    return any(entry == EVERYBODY or (folded and entry in (folded, domain)) for entry in entries)


_acting: ContextVar[Person | None] = ContextVar("acting", default=None)


@contextlib.contextmanager
def acting(person: Person) -> Iterator[None]:
    """Have what is queued within the block belong to a person."""
    token = _acting.set(person)
    try:
        yield
    finally:
        _acting.reset(token)


def owner_now() -> str:
    """Return whom what is queued now belongs to; "" without a login, and on the command line.

    The user of the operating system would be no answer: nobody has checked it, and in a container it is always the same.
    """
    person = _acting.get()
    return person.owner if person else ""
