"""A worker does all its work without a network: it is given none, and would be noticed if it looked for one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from intake.dataset_info import DatasetOptions
from intake.fit import FitOverrides
from optimizers.recipe import Recipe, RecipeStep
from runs.apart import leave_network
from runs.child import Child
from runs.service import Service
from runs.settings import Settings
from tests.conftest import until

ROOT = Path(__file__).parents[1]
WATCHMAN = """
import os, sys

def watch(event, args):
    if event == "socket.getaddrinfo" and args[0] not in (None, "", "localhost", "127.0.0.1", "::1", b"localhost"):
        noticed(event, args)
    if event in ("socket.connect", "socket.sendto", "socket.bind"):
        address = args[1]
        if isinstance(address, tuple) and str(address[0]) not in ("127.0.0.1", "::1", "localhost", "", "0.0.0.0"):
            noticed(event, args)

def noticed(event, args):
    sys.stderr.write(f"looked for a network: {event} {args[1:] or args}\\n")
    sys.stderr.flush()
    os._exit(97)

sys.addaudithook(watch)
"""
CONNECTS = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every Python that is started from here end at once where it looks for another machine."""
    (tmp_path / "watch").mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCHMAN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "watch"))


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("code", [CONNECTS, "import urllib.request; urllib.request.urlopen('http://example.invalid')"])
def test_who_looks_for_a_network_is_noticed(code: str) -> None:
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 97
    assert "looked for a network" in ran.stderr


@pytest.mark.usefixtures("watched")
def test_a_run_of_three_steps_needs_none(empty_home: Path, tmp_path: Path, easy_files: tuple[Path, Path]) -> None:
    shutil.copytree(empty_home, tmp_path / "home")
    service = Service(Settings(home=tmp_path / "home"))
    service.start()
    try:
        prepared = service.prepare(*easy_files, DatasetOptions(), FitOverrides())
        project = service.project_of("Apart", prepared)
        training = {"epochs": 1, "batch_size": 32}
        steps = [
            RecipeStep(technique="pruning", fine_tuning=training),
            RecipeStep(technique="clustering", fine_tuning=training),
            RecipeStep(technique="post_training_quantization", params={"mode": "int8"}),
        ]
        run = service.wait(service.submit(project.project_id, Recipe.checked(steps)).run_id)
        assert run.state == "finished", run.error
    finally:
        service.stop()
    assert "looked for a network" not in "".join(log.read_text() for log in (tmp_path / "home/logs").glob("*"))


def _network_of(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def _may_leave() -> str:
    """Return why a process may not leave the network here, or ""."""
    code = "from runs.apart import leave_network; print(leave_network(), end='')"
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_a_process_that_left_reaches_nobody() -> None:
    if problem := _may_leave():
        pytest.skip(f"a process may not leave the network here: {problem}")
    code = f"from runs.apart import leave_network; assert not leave_network(); {CONNECTS}"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "Network is unreachable" in ran.stderr


def test_it_stays_who_it_was() -> None:
    if problem := _may_leave():
        pytest.skip(f"a process may not leave the network here: {problem}")
    code = "import os; from runs.apart import leave_network; leave_network(); print(os.getuid(), os.getgid())"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == [str(os.getuid()), str(os.getgid())]


@pytest.mark.parametrize(
    ("changed", "apart"),
    [({}, True), ({"worker_network": True}, False), ({"tracking_uri": "http://127.0.0.1:1"}, False)],
)
def test_only_a_worker_that_needs_it_has_a_network(settings: Settings, changed: dict[str, object], apart: bool) -> None:
    if problem := _may_leave():
        pytest.skip(f"a process may not leave the network here: {problem}")
    child = Child(settings.model_copy(update=changed), settings.folder("logs") / "log")
    try:
        until(lambda: b"runs.worker" in Path(f"/proc/{child.pid}/cmdline").read_bytes())
        assert (_network_of(child.pid) != _network_of(os.getpid())) == apart
    finally:
        child.end()


def test_where_it_is_not_allowed_a_worker_works_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidding:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        @staticmethod
        def unshare(_: int) -> int:
            import ctypes
            import errno

            ctypes.set_errno(errno.EPERM)
            return -1

    monkeypatch.setattr("ctypes.CDLL", Forbidding)
    assert leave_network() == "Operation not permitted"
