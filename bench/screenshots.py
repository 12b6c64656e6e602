"""Pictures of every page, in both themes: `make screenshots`.

The real app is started on a home of its own with the built-in example: a measured baseline, a run of each technique, a
chain, a sweep, a run that failed, and one that is at work. What docs show is kept beside them, the rest is for looking.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from bench.live_app import ROOT, App, running_app, running_browser
from bench.screenshot_runs import Shown, endless_run, make_runs
from runs.service import EXAMPLE_DATASET, EXAMPLE_MODEL

DOCS = ROOT / "docs" / "screenshots"
KEPT = (
    "project-light", "project-dark", "comparison-light", "run-light", "run-speed-light", "run-graph-light",
    "new-project-both-light", "home-light",
)  # fmt: skip
"""Shown by README and docs. All others go into docs/screenshots/all, which git leaves alone."""
WIDE, NARROW = 1280, 390
PATIENCE_MS = 90_000
MOST_HEIGHT = 6000
"""Pixels of a picture; what is below is cut off."""


@dataclass(frozen=True)
class Shot:
    """One picture, in each theme."""

    name: str
    address: Callable[[Shown], str]
    """Path and query."""
    act: Callable[[Page], None] = lambda page: None
    """What is done before the picture is taken."""
    only: str = ""
    """Selector of the part to show; "" for the whole page."""
    is_main: bool = False
    """Taken at the width of a phone, too."""
    waits_for: str = ""
    """Selector of what has to be there."""


def _open(*keys: str) -> Callable[[Page], None]:
    """Open expanders by their keys."""

    def act(page: Page) -> None:
        for key in keys:
            page.locator(f".st-key-{key} summary").first.click()
            settle(page)

    return act


def _named(*names: str) -> Callable[[Page], None]:
    """Open expanders by their names; the keys of some hold hashes."""

    def act(page: Page) -> None:
        for name in names:
            page.locator("summary").get_by_text(name, exact=True).first.click()
            settle(page)

    return act


def _after(*acts: Callable[[Page], None]) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        for each in acts:
            each(page)

    return act


def _try(page: Page) -> None:
    page.locator(".st-key-run-try-changed button:visible").click()
    page.locator(".st-key-run-try .js-plotly-plot .main-svg").first.wait_for()


def _measure_layers(page: Page) -> None:
    _open("run-sensitivity")(page)
    table = page.locator(".st-key-run-sensitivity-table")
    if not table.count():  # what was measured once is kept for the next theme
        page.locator(".st-key-run-sensitivity-measure button:visible").click()
    table.wait_for()


def _measure(page: Page) -> None:
    _open("run-speed")(page)
    for key in ("run-speed-measure", "run-operations-measure"):
        page.locator(f".st-key-{key} button:visible").first.click()
        settle(page)
        page.locator(".st-key-run-speed [data-testid=stProgress]").wait_for(state="detached", timeout=PATIENCE_MS)
        settle(page)


def _coloured(label: str) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        _open("run-graph")(page)
        page.get_by_role("combobox", name="Colour by").click()
        page.get_by_role("option", name=label).click()
        settle(page)
        page.locator(".st-key-run-graph svg .node").first.wait_for(timeout=PATIENCE_MS)

    return act


def _upload(*files: Path) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        for index, file in enumerate(files):
            page.locator("input[type=file]").nth(-1 if index else 0).set_input_files(file)
            done = "Create project" if index else "What to expect of each technique"
            page.get_by_text(done).first.wait_for(timeout=PATIENCE_MS)
            settle(page)

    return act


EMPTY = (
    Shot("home-empty", lambda shown: "/", is_main=True),
    Shot("new-project-empty", lambda shown: "/new_project", is_main=True),
    Shot("new-project-model", lambda shown: "/new_project", _upload(EXAMPLE_MODEL)),
    Shot("new-project-both", lambda shown: "/new_project", _upload(EXAMPLE_MODEL, EXAMPLE_DATASET), is_main=True),
    Shot(
        "new-project-options", lambda shown: "/new_project",
        _after(_upload(EXAMPLE_MODEL, EXAMPLE_DATASET), _named("Options", "Decide by hand")),
        is_main=True,
    ),
    Shot("techniques", lambda shown: "/techniques", is_main=True),
    Shot("not-found", lambda shown: "/run?run=nothing"),
)  # fmt: skip
"""Taken of an app without projects."""
PLOT = ".st-key-project-chart .js-plotly-plot .main-svg"
FULL = (
    Shot("home", lambda shown: "/", is_main=True),
    Shot("project", lambda shown: f"/project?project={shown.project_id}", is_main=True, waits_for=PLOT),
    Shot(
        "comparison",
        lambda shown: f"/project?project={shown.project_id}&selected={','.join(shown.compared)}",
        waits_for=PLOT,
    ),
    Shot("project-alone", lambda shown: f"/project?project={shown.alone_id}", waits_for=PLOT),
    Shot("run", lambda shown: f"/run?run={shown.chain_id}", is_main=True),
    Shot("run-speed", lambda shown: f"/run?run={shown.int8_id}", _measure, ".st-key-run-speed", is_main=True),
    Shot(
        "run-flips", lambda shown: f"/run?run={shown.chain_id}", _open("run-changes-0-flips"),
        ".st-key-run-changes-0-flips", is_main=True,
    ),
    Shot("run-try", lambda shown: f"/run?run={shown.chain_id}", _try, ".st-key-run-try", is_main=True),
    Shot(
        "run-sensitivity", lambda shown: f"/run?run={shown.chain_id}", _measure_layers, ".st-key-run-sensitivity",
        is_main=True,
    ),
    Shot("run-handovers", lambda shown: f"/run?run={shown.chain_id}", _open("run-handovers"), ".st-key-run-handovers"),
    Shot("run-layers", lambda shown: f"/run?run={shown.chain_id}", _open("run-layers"), ".st-key-run-layers"),
    Shot("run-weights", lambda shown: f"/run?run={shown.chain_id}", _open("run-weights"), ".st-key-run-weights"),
    Shot(
        "run-graph", lambda shown: f"/run?run={shown.chain_id}", _coloured("Bytes now"), ".st-key-run-graph",
        is_main=True,
    ),
    Shot("run-graph-zeros", lambda shown: f"/run?run={shown.chain_id}", _coloured("Zeros"), ".st-key-run-graph"),
    Shot("run-graph-sqnr", lambda shown: f"/run?run={shown.int8_id}", _coloured("SQNR"), ".st-key-run-graph"),
    Shot("run-graph-time", lambda shown: f"/run?run={shown.int8_id}", _coloured("Share of time"), ".st-key-run-graph"),
    Shot("run-tensors", lambda shown: f"/run?run={shown.chain_id}", _open("run-tensors"), ".st-key-run-tensors"),
    Shot("run-origin", lambda shown: f"/run?run={shown.chain_id}", _open("run-origin"), ".st-key-run-origin"),
    Shot("run-log", lambda shown: f"/run?run={shown.pruned_id}", _open("run-log"), ".st-key-run-log"),
    Shot("run-trained", lambda shown: f"/run?run={shown.pruned_id}"),
    Shot("run-baseline", lambda shown: f"/run?run={shown.baseline_id}", _open("run-layers", "run-graph")),
    Shot("run-failed", lambda shown: f"/run?run={shown.failed_id}", is_main=True),
    Shot("presentation", lambda shown: f"/presentation?project={shown.project_id}", is_main=True),
)  # fmt: skip
"""Taken of an app with the example and its runs."""
AT_WORK = (
    Shot("project-at-work", lambda shown: f"/project?project={shown.project_id}", waits_for="text=/Fine-tuning, step/"),
    Shot("run-at-work", lambda shown: f"/run?run={shown.endless_id}", waits_for="text=/Fine-tuning, step/"),
)
"""Taken while a run is at work."""


def main() -> None:
    """Take all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="names of pictures, separated by commas: run,run-graph")
    parser.add_argument("--home", type=Path, help="keep the runs here, and use those that are there")
    given = parser.parse_args()
    wanted = tuple(filter(None, given.only.split(",")))
    empty, full, at_work = (
        [shot for shot in shots if not wanted or shot.name in wanted] for shots in (EMPTY, FULL, AT_WORK)
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, running_browser() as browser:
        nothing, home = Path(folder, "empty"), given.home or Path(folder, "home")
        nothing.mkdir()
        if empty:
            with running_app(nothing) as app:
                take(browser, app, empty, Shown())
        if full or at_work:
            shown = make_runs(home)
            if full:
                with running_app(home) as app:
                    take(browser, app, full, shown)
            if at_work:
                with endless_run(home, shown) as with_one, running_app(home) as app:
                    take(browser, app, at_work, with_one)


def take(browser: Browser, app: App, shots: Sequence[Shot], shown: Shown) -> None:
    """Take the pictures of a running app."""
    for shot in shots:
        for theme in ("light", "dark"):
            _take(browser, app, shot, shown, theme, WIDE)
        if shot.is_main:
            _take(browser, app, shot, shown, "light", NARROW)


def _take(browser: Browser, app: App, shot: Shot, shown: Shown, theme: str, width: int) -> None:
    name = f"{shot.name}-{theme}" if width == WIDE else f"{shot.name}-narrow-{theme}"
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"{app.url}{shot.address(shown)}")
    settle(page)
    if shot.waits_for:
        page.locator(shot.waits_for).first.wait_for()
    shot.act(page)
    settle(page)
    page.wait_for_timeout(800)  # plots and tables are drawn after the script has ended
    _grow(page)
    path = (DOCS if name in KEPT else DOCS / "all") / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    if shot.only:
        page.locator(shot.only).first.screenshot(path=path)
    else:
        page.screenshot(path=path)
    context.close()
    shrink(path)
    print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1000:,.0f} kB", flush=True)


def settle(page: Page) -> None:
    """Wait until the script of the page has run and nothing is greyed out."""
    page.wait_for_timeout(300)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.wait_for_function("() => !document.querySelector('[data-stale=true], [data-testid=stSkeleton]')")


def _grow(page: Page) -> None:
    """Make the window as high as the page: Streamlit scrolls inside of it."""
    height = page.evaluate("() => document.querySelector('[data-testid=stMain]').scrollHeight")
    width = page.viewport_size["width"] if page.viewport_size else WIDE
    page.set_viewport_size({"width": width, "height": max(500, min(int(height), MOST_HEIGHT))})
    page.wait_for_timeout(500)


def shrink(path: Path) -> None:
    """Store a picture with 256 colours, a third of the bytes."""
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


if __name__ == "__main__":
    main()
