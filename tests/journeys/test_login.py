"""An editor, a viewer and a stranger log in with a real OpenID provider, and log out again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from bench.live_app import running_app
from runs.settings import Settings
from runs.store import Store
from tests.conftest import until
from tests.journeys.conftest import SCREENSHOTS, App
from tests.journeys.openid_provider import OpenIdProvider, running_provider
from tests.journeys.test_journeys import RUN_TIMEOUT_MS, open_example, queue, runs_of, settled

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]
COOKIE_SECRET = "of-the-journey-for-cookies-only-0123456789"
CLIENT_SECRET = "of-the-journey-between-client-and-provider"
PEOPLE = {
    "Anna Berg": {"name": "Anna Berg", "email": "Anna@Example.org", "email_verified": True},
    "Vera Tal": {"name": "Vera Tal", "email": "vera@example.org", "email_verified": True},
    "Mallory": {"name": "Mallory", "email": "mallory@example.com", "email_verified": True},
    "Not Anna": {"name": "Anna Berg", "email": "anna@example.org", "email_verified": False},
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app behind a login: anna edits, the rest of example.org looks."""
    folder = tmp_path_factory.mktemp("login")
    home = folder / "home"
    home.mkdir()
    with running_provider(OpenIdProvider(PEOPLE, "tare", CLIENT_SECRET)) as provider:
        secrets = folder / "secrets.toml"
        secrets.write_text(
            "[auth]\n"
            'redirect_uri = "http://127.0.0.1:{port}/oauth2callback"\n'
            f'cookie_secret = "{COOKIE_SECRET}"\n'
            'client_id = "tare"\n'
            f'client_secret = "{CLIENT_SECRET}"\n'
            f'server_metadata_url = "{provider.discovery_address}"\n'
        )
        variables = {
            "STREAMLIT_SECRETS_FILES": str(secrets),
            "TARE_LOGIN": "true",
            "TARE_EDITORS": "anna@example.org",
            "TARE_VIEWERS": "@example.org",
            "TARE_INSTALLATION_NAME": "Tare of the lab",
        }
        with running_app(home, variables) as started:
            yield started


def log_in(page: Page, name: str) -> None:
    """From the page with the login to the provider and back."""
    page.get_by_role("button", name="Log in", exact=True).click()
    expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_test_id("stApp")).to_be_visible()
    settled(page)


def log_out(page: Page, name: str) -> None:
    """By the bar at the top."""
    page.get_by_text(name, exact=True).click()
    page.get_by_text("Log out", exact=True).click()
    expect_only_login(page)


def expect_only_login(page: Page) -> None:
    """Nothing but the name of the installation and the way in."""
    expect(page.get_by_role("button", name="Log in", exact=True)).to_be_visible()
    expect(page.get_by_role("heading")).to_have_text(["Tare of the lab"])
    main = page.get_by_test_id("stMain")
    expect(main.get_by_role("button", name=re.compile(r"\w"))).to_have_text(["Log in"])
    expect(main.get_by_text(re.compile("New project|All projects|Try the example"))).to_have_count(0)
    expect(page.get_by_role("link", name="New project")).to_have_count(0)


def picture(page: Page, name: str) -> None:
    """Keep what a desk and a phone show."""
    SCREENSHOTS.mkdir(exist_ok=True)
    for width, height in ((390, 844), (1280, 900)):
        page.set_viewport_size({"width": width, "height": height})
        settled(page)
        page.wait_for_timeout(500)
        page.screenshot(path=SCREENSHOTS / f"login_{name}_{width}.png")


def test_editor_viewer_and_stranger(page: Page, app: App) -> None:
    page.goto(f"{app.url}/techniques")
    expect_only_login(page)
    picture(page, "nobody")
    log_in(page, "Anna Berg")
    expect(page).to_have_url(re.compile("/techniques$"))  # where she wanted
    expect(page.get_by_role("heading", name="Techniques", exact=True)).to_be_visible()

    open_example(page, app)
    queue(page, app, "Hers")
    run = runs_of(app)[-1]
    assert run.owner == "Anna@Example.org"
    picture(page, "editor")
    project_address = page.url.split("&")[0]
    until(lambda: not runs_of(app)[-1].is_active, RUN_TIMEOUT_MS / 1000)
    page.goto(f"{app.url}/run?run={run.run_id}")
    expect(page.get_by_text("queued by Anna@Example.org")).to_be_visible()
    expect(page.get_by_role("button", name="Run again")).to_be_visible()
    log_out(page, "Anna Berg")

    page.goto(project_address)
    expect_only_login(page)
    log_in(page, "Vera Tal")
    expect(page).to_have_url(re.compile(re.escape(project_address.split("/")[-1])))
    expect(page.get_by_text("All runs")).to_be_visible()
    settled(page)
    expect(page.get_by_role("button", name="Run", exact=True)).to_have_count(0)
    expect(page.get_by_role("heading", name="New run")).to_have_count(0)
    expect(page.get_by_role("link", name="New project")).to_have_count(0)
    picture(page, "viewer")
    page.goto(f"{app.url}/run?run={run.run_id}")
    expect(page.get_by_text("queued by Anna@Example.org")).to_be_visible()
    settled(page)
    expect(page.get_by_role("button", name=re.compile("Run again|Change and run|Continue|Manage"))).to_have_count(0)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    page.get_by_role("button", name="Another one").click()  # viewers may try
    expect(page.locator(".st-key-run-try .js-plotly-plot")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    settled(page)
    picture(page, "viewer_run")
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_test_id("stExpandSidebarButton").click()
    expect(page.get_by_text("Vera Tal (viewer)")).to_be_in_viewport()
    expect(page.get_by_text("Log out")).to_be_in_viewport()
    page.wait_for_timeout(500)
    page.screenshot(path=SCREENSHOTS / "login_viewer_menu_390.png")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto(f"{app.url}/new_project")
    expect(page.get_by_text("You may look here, but not change anything")).to_be_visible()
    page.goto(f"{project_address}&change={run.run_id}")
    expect(page.get_by_text("You may look here, but not change anything")).to_be_visible()
    log_out(page, "Vera Tal (viewer)")
    page.goto(f"{app.url}/run?run={run.run_id}")
    expect_only_login(page)


def test_another_address_leads_to_that_of_the_login(page: Page, app: App) -> None:
    """The cookie of the login is for one address; at another one it would go round in circles."""
    page.goto(app.url.replace("127.0.0.1", "localhost") + "/techniques")
    expect(page.get_by_text("The login works at another address")).to_be_visible()
    expect(page.get_by_role("button", name="Log in", exact=True)).to_have_count(0)
    with page.context.expect_page() as opened:
        page.get_by_role("link", name="Go there").click()
    expect(opened.value).to_have_url(f"{app.url}/techniques")
    expect_only_login(opened.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Mallory", "You are logged in as mallory@example.com, who may not see this installation."),
        ("Not Anna", "Your provider says that this address is not verified"),
    ],
)
def test_who_is_not_let_in_is_told_so(page: Page, app: App, name: str, said: str) -> None:
    page.goto(app.url)
    log_in(page, name)
    expect(page.get_by_text(said)).to_be_visible()
    expect(page.get_by_role("link", name="Projects")).to_have_count(0)
    picture(page, name.replace(" ", "_").lower())
    page.get_by_role("button", name="Log out").click()
    expect_only_login(page)


def test_a_cookie_that_somebody_made_up_is_nobodys(page: Page, app: App) -> None:
    page.goto(app.url)
    expect_only_login(page)
    made_up = '{"is_logged_in": true, "email": "anna@example.org", "origin": "' + app.url + '"}'
    page.context.add_cookies([{"name": "_streamlit_user", "value": made_up, "url": app.url}])
    page.goto(app.url)
    expect_only_login(page)


def test_no_secret_is_in_a_log_or_in_reach_of_a_worker(app: App) -> None:
    import psutil

    workers = [one for one in psutil.Process(app.pid).children(recursive=True) if "runs.worker" in one.cmdline()]
    assert workers
    for worker in workers:
        assert not [name for name in worker.environ() if name.startswith("STREAMLIT")]
        assert COOKIE_SECRET not in str(worker.environ())
    logs = [path for path in Path(app.home).rglob("*.log")]
    assert logs
    for path in logs:
        text = path.read_text(errors="replace")
        assert COOKIE_SECRET not in text
        assert CLIENT_SECRET not in text
    assert Store(Settings(home=app.home)).projects()
