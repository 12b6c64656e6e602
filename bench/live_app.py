"""The real app and a real browser, as the journeys of the tests and `make screenshots` start them."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
START_SECONDS = 60


@dataclass(frozen=True)
class App:
    """A running server."""

    url: str
    pid: int
    home: Path


@contextlib.contextmanager
def running_app(home: Path, variables: Mapping[str, str] | None = None) -> Iterator[App]:
    """`streamlit run app.py` on a free loopback port with a home of its own; ended at the end.

    Args:
        home: its TARE_HOME, where its log is, too.
        variables: of its environment, besides those of this process.

    Raises:
        RuntimeError: it did not start; with what it printed.
    """
    server, app = start_app(home, variables)
    try:
        yield app
    finally:
        server.terminate()
        server.wait(20)


def start_app(home: Path, variables: Mapping[str, str] | None = None) -> tuple[subprocess.Popen[bytes], App]:
    """Start the app as `running_app` does, for somebody who ends it; raises RuntimeError where it did not start."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "streamlit", "run", "app.py", "--server.address=127.0.0.1", f"--server.port={port}",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with (home / "server.log").open("ab") as log:
        environment = {**os.environ, **(variables or {}), "TARE_HOME": str(home)}
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    _wait_until_healthy(url, server, home / "server.log")
    return server, App(url, server.pid, home)


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{url}/_stcore/health", timeout=2)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    server.kill()
    raise RuntimeError(f"The server did not start. It printed:\n{log.read_text(errors='replace')}")


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """Chromium, headless.

    Raises:
        RuntimeError: there is none.
    """
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        raise RuntimeError("No Chromium found. Install it (Debian: apt-get install chromium) and run again.")
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        started = playwright.chromium.launch(executable_path=path, args=flags)
        yield started
        started.close()
