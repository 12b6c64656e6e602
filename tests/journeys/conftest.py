"""The real app in a real headless Chromium. Each journey keeps a screenshot under tests/screenshots/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from bench.live_app import App, running_app, running_browser

SCRIPT_TIMEOUT_MS = 30_000
"""Longest time that drawing a page may take while the tests of another file use the same processors."""

expect.set_options(timeout=SCRIPT_TIMEOUT_MS)

SCREENSHOTS = Path(__file__).parent.parent.parent / "tests" / "screenshots"


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app on a free loopback port with a home of its own."""
    with running_app(tmp_path_factory.mktemp("app-home")) as started:
        yield started


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless."""
    with running_browser() as started:
        yield started


@pytest.fixture
def page(browser: Browser, app: App, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A tab of its own; what it showed last is kept as a picture named after the journey."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    context.set_default_timeout(60_000)
    tab = context.new_page()
    yield tab
    SCREENSHOTS.mkdir(exist_ok=True)
    tab.screenshot(path=SCREENSHOTS / f"{request.node.name}.png", full_page=True)
    context.close()
    print((app.home / "server.log").read_text(errors="replace")[-8000:])  # pytest shows it where a journey failed
