"""Kills, full disks and vanished stores on the real app, and what became of the runs: `make chaos`.

The app is started with a home of its own and used in Chromium. After each fault every run must be finished, failed with
a reason, cancelled, or interrupted and then resumed to its end, with files that are whole. Takes about ten minutes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
from playwright.sync_api import Browser, Page

from bench.live_app import running_browser, start_app
from optimizers import technique
from runs.checkpoints import checkpoint_folder, resumable_epochs
from runs.paths import log_path
from runs.records import RunRecord
from runs.settings import Settings
from runs.store import Store

PATIENCE_S = 240
AWAY_S = 10
CANCEL_S = 5
"""Within this the processor and the memory of a cancelled run must be free."""
EPOCHS = 150
PHASES = ("Loading", "Fine-tuning", "Converting", "Measuring")


class Lost(AssertionError):
    """A run came to no end, or to one that says nothing."""


class Rig:
    """The app, a tab of the browser, and a view of the store from outside."""

    def __init__(self, home: Path, browser: Browser) -> None:
        self.home, self.settings = home, Settings(home=home)
        self._browser = browser
        self.server, self.app = start_app(home)
        self.page = self.new_page()
        self.store = Store(self.settings)

    def new_page(self) -> Page:
        """A tab of its own."""
        page = self._browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(PATIENCE_S * 1000)
        return page

    def open_example(self) -> None:
        """The built-in project with its baseline measured."""
        self.page.goto(self.app.url)
        self.page.get_by_role("button", name="Try the example").click()
        self.page.wait_for_url(re.compile(r"project=\d+"))
        self.until(lambda: bool(self.runs()) and self.runs()[0].state == "finished", "the baseline is measured")

    def queue(self, technique_name: str, epochs: int = 0, page: Page | None = None) -> str:
        """Press Run on the page of the project and return the id of the run."""
        page, before = page or self.page, len(self.runs())
        entry = technique(technique_name)
        page.goto(f"{self.app.url}/project?project={self.store.projects()[0].project_id}")
        page.locator(".st-key-step1-technique").get_by_text(entry.title, exact=True).click()
        page.locator(f".st-key-step1-{entry.name}-explain").wait_for()
        _settle(page)
        if epochs:
            page.get_by_text("Fine-tuning", exact=True).first.click()
            field = page.locator(f".st-key-step1-{entry.name}-fine_tuning-epochs input")
            field.fill(str(epochs))
            field.press("Tab")
            _settle(page)
        page.get_by_role("button", name="Run", exact=True).click()
        self.until(lambda: len(self.runs()) > before, "the run is stored")
        return self.runs()[-1].run_id

    def resume(self, run_id: str) -> None:
        """Press Resume on the page of a run."""
        self.page.goto(f"{self.app.url}/run?run={run_id}")
        self.page.get_by_role("button", name="Resume", exact=True).click()
        self.until(lambda: self.store.run(run_id).is_active, "the run is queued again")

    def runs(self) -> list[RunRecord]:
        """All runs of the project, oldest first."""
        projects = self.store.projects()
        return self.store.runs([projects[0].project_id]) if projects else []

    def ended(self, run_id: str) -> RunRecord:
        """Wait for the end of a run."""
        self.until(lambda: not self.store.run(run_id).is_active, f"run {run_id} ends")
        return self.store.run(run_id)

    def must_finish(self, run_id: str) -> None:
        """Wait for a run; raises Lost where it did not finish with whole files."""
        run = self.ended(run_id)
        if run.state != "finished":
            raise Lost(f"{run.name} is {run.state}: {run.error}")
        files = {file.name: file.path for file in self.store.artifacts(run_id)}
        if "model.tflite" not in files or files["model.tflite"].read_bytes()[4:8] != b"TFL3":
            raise Lost(f"{run.name} finished without its file")
        if any(name.endswith(".part") for name in files):
            raise Lost(f"{run.name} left a half-written file")

    def worker_of(self, run_id: str) -> psutil.Process:
        """The process that carries a run out: what it prints goes into the log of that run."""
        name = log_path(self.settings, run_id).name
        for child in psutil.Process(self.server.pid).children():
            if any(Path(file.path).name == name for file in child.open_files()):
                return child
        raise Lost(f"no worker carries {run_id} out")

    def training(self, run_id: str) -> psutil.Process:
        """Wait until a run trains and has a checkpoint; returns the process."""
        self.until(lambda: resumable_epochs(self.settings, run_id) > 0, "there is a checkpoint")
        return self.worker_of(run_id)

    def kill_server(self) -> None:
        """SIGKILL, as the system does where memory runs out."""
        self.server.kill()
        self.server.wait()

    def restart(self) -> None:
        """Start the app again, and open it as somebody would."""
        self.server, self.app = start_app(self.home)
        self.page.goto(self.app.url)
        self.page.get_by_role("heading", name="Projects").wait_for()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition; raises Lost where it does not come true."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise Lost(f"waited {PATIENCE_S} s until {what}")
            time.sleep(0.2)

    def close(self) -> None:
        """End the app."""
        self.server.terminate()
        self.server.wait(20)


def _settle(page: Page) -> None:
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()


def worker_killed(rig: Rig) -> None:
    """The worker is killed while it trains; the run is resumed."""
    run_id = rig.queue("pruning", EPOCHS)
    rig.training(run_id).kill()
    _resumed(rig, run_id, "failed")


def server_killed(rig: Rig) -> None:
    """The server is killed while one run trains and another waits."""
    run_id = rig.queue("clustering", EPOCHS)
    rig.training(run_id)
    waiting = rig.queue("post_training_quantization")
    rig.kill_server()
    rig.restart()
    rig.must_finish(waiting)
    _resumed(rig, run_id, "interrupted")


def both_killed(rig: Rig) -> None:
    """Server and worker are killed at once."""
    run_id = rig.queue("quantization_aware_training", EPOCHS)
    worker = rig.training(run_id)
    os.kill(rig.server.pid, signal.SIGSTOP)  # so that it sees nothing of the worker's end
    worker.kill()
    rig.kill_server()
    rig.restart()
    _resumed(rig, run_id, "interrupted")


def _resumed(rig: Rig, run_id: str, state: str) -> None:
    run = rig.ended(run_id)
    if run.state != state or not run.error:
        raise Lost(f"{run.name} is {run.state} ({run.error}), not {state} with a reason")
    rig.resume(run_id)
    rig.must_finish(run_id)
    if not any("Resumed" in note for note in rig.store.run(run_id).notes):
        raise Lost(f"{run.name} was carried out from the start")


def checkpoint_damaged(rig: Rig) -> None:
    """What the killed worker left is overwritten with garbage."""
    run_id = rig.queue("pruning", EPOCHS)
    rig.training(run_id).kill()
    rig.ended(run_id)
    for file in checkpoint_folder(rig.settings, run_id).glob("*.npz"):
        file.write_bytes(os.urandom(4096))
    rig.resume(run_id)
    rig.must_finish(run_id)


def store_locked(rig: Rig) -> None:
    """Somebody holds the database for ten seconds."""
    run_id = rig.queue("pruning", EPOCHS)
    rig.training(run_id)
    connection = sqlite3.connect(rig.home / "mlflow.db", timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    time.sleep(AWAY_S)
    connection.rollback()
    connection.close()
    rig.must_finish(run_id)


def store_away(rig: Rig) -> None:
    """The database is moved away for ten seconds."""
    run_id = rig.queue("pruning", EPOCHS)
    rig.training(run_id)
    database, away = rig.home / "mlflow.db", rig.home / "mlflow.away"
    database.rename(away)
    time.sleep(AWAY_S)
    away.replace(database)
    rig.must_finish(run_id)


def tab_pulled(rig: Rig) -> None:
    """The tab is closed right after Run."""
    page = rig.new_page()
    run_id = rig.queue("pruning", EPOCHS // 5, page)
    page.context.close()
    rig.must_finish(run_id)


def second_server(rig: Rig) -> None:
    """Another dashboard is started on the same home; a run is at work meanwhile."""
    run_id = rig.queue("pruning", EPOCHS // 5)
    server, app = start_app(rig.home)
    try:
        page = rig.new_page()
        page.goto(app.url)
        page.get_by_text("Another dashboard is using the folder").wait_for()
        page.context.close()
    finally:
        server.kill()
        server.wait()
    rig.must_finish(run_id)


def cancelled_in_each_phase(rig: Rig) -> None:
    """A run is cancelled while it loads, trains, converts and measures; what it held must be free within seconds."""
    for phase in PHASES:
        run_id = rig.queue("pruning", EPOCHS if phase == "Fine-tuning" else 1)
        while not _is_in(rig.store.run(run_id), phase):
            if not rig.store.run(run_id).is_active:
                break  # too short to be hit, so it finished
            time.sleep(0.01)
        else:
            worker = rig.worker_of(run_id)
            before = time.monotonic()
            rig.store.request_cancel(run_id)
            ended = rig.ended(run_id).state
            while ended == "cancelled" and worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() - before > CANCEL_S:
                    raise Lost(f"cancelled while {phase}: the worker was still there after {CANCEL_S} s")
                time.sleep(0.05)
            print(f"  cancelled while {phase.lower()}: {ended} after {time.monotonic() - before:.1f} s", flush=True)


def _is_in(run: RunRecord, phase: str) -> bool:
    return run.progress is not None and run.progress.phase.startswith(phase)


FAULTS: tuple[Callable[[Rig], None], ...] = (
    worker_killed, server_killed, both_killed, checkpoint_damaged, store_locked, store_away, tab_pulled, second_server,
    cancelled_in_each_phase,
)  # fmt: skip
SMALL_DISK = "200M"


def disk_filled(browser: Browser, folder: Path) -> bool:
    """The disk of the home folder fills up while a run trains; False where this machine lets nobody mount one."""
    home = folder / "small"
    home.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "tmpfs", str(home)], capture_output=True, check=False
    )
    if mounted.returncode:
        return False
    rig = Rig(home, browser)
    try:
        rig.open_example()
        run_id = rig.queue("pruning", EPOCHS)
        rig.training(run_id)
        filling = home / "filling"
        _fill(filling)
        threading.Timer(2 * AWAY_S, filling.unlink).start()
        run = rig.ended(run_id)
        if run.state == "failed" and not run.error:
            raise Lost("the run failed without a reason")
        rig.until(lambda: not filling.exists(), "there is room again")
        if run.state != "finished":
            rig.resume(run_id)
        rig.must_finish(run_id)
        rig.must_finish(rig.queue("post_training_quantization"))
    finally:
        rig.close()
        subprocess.run(["umount", "--lazy", str(home)], check=False)
    return True


def _fill(file: Path) -> None:
    with file.open("wb") as out:
        block = b"\0" * 2**16
        try:
            while True:
                out.write(block)
                out.flush()
        except OSError:
            return


def main() -> None:
    """Try each fault, print what came of it, and end with 1 where a run was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of faults, separated by commas")
    only = {name for name in parser.parse_args().only.split(",") if name}
    started, tried, lost = time.monotonic(), 0, 0
    folder = Path(tempfile.mkdtemp(prefix="tare-chaos-"))
    with running_browser() as browser:
        (folder / "home").mkdir()
        rig = Rig(folder / "home", browser)
        try:
            rig.open_example()
            for fault in FAULTS:
                if not only or fault.__name__ in only:
                    tried, lost = tried + 1, lost + _tried(fault.__name__, partial(fault, rig))
            left = [run for run in rig.runs() if run.is_active or (run.state != "finished" and not _says_why(run))]
            for run in left:
                print(f"lost: {run.name} is {run.state}")
            runs, lost = len(rig.runs()), lost + len(left)
        finally:
            rig.close()
        if not only or "disk_filled" in only:
            done: list[bool] = []
            lost += _tried("disk_filled", lambda: done.append(disk_filled(browser, folder)))
            tried += done != [False]
            print("" if done != [False] else "  left out: nobody may mount a small disk here", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    print(f"\nfaults tried: {tried}, runs: {runs}, lost: {lost} ({time.monotonic() - started:.0f} s)")
    sys.exit(1 if lost else 0)


def _says_why(run: RunRecord) -> bool:
    return run.state == "cancelled" or bool(run.error)


def _tried(name: str, fault: Callable[[], object]) -> int:
    before = time.monotonic()
    try:
        fault()
    except (Lost, RuntimeError, OSError, AssertionError) as error:
        print(f"{name}: LOST. {error}", flush=True)
        return 1
    print(f"{name}: nothing lost ({time.monotonic() - before:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    main()
