"""What a worker inherits (no secret of anything else), and how much it may take."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from runs.child import ROOT, Child
from runs.full_memory import memory_sentence
from runs.run_limits import RunLimits
from runs.settings import Settings
from runs.worker import OOM_SCORE
from runs.worker_environment import worker_environment
from runs.worker_folder import WorkerFolder, remove_leftovers
from tests.conftest import until

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "a",
    "GITHUB_TOKEN": "b",
    "DATABASE_URL": "c",
    "SSH_AUTH_SOCK": "d",
    "HOME": "/root",
}


def test_secrets_stay_behind(settings: Settings) -> None:
    folder = WorkerFolder(settings)
    given = worker_environment(settings, folder, True, {**SECRETS, "PATH": "/bin", "TF_CPP_MIN_LOG_LEVEL": "3"})
    assert not set(given) & (set(SECRETS) - {"HOME"})
    assert given["PATH"] == "/bin"
    assert given["TF_CPP_MIN_LOG_LEVEL"] == "3"
    assert Path(given["HOME"]).is_relative_to(settings.home)
    assert not list(Path(given["HOME"]).iterdir())
    assert Path(given["TMPDIR"]).is_dir()


def test_a_remote_store_takes_its_credentials_along(tmp_path: Path) -> None:
    remote = Settings(home=tmp_path, tracking_uri="http://127.0.0.1:1")
    given = worker_environment(remote, WorkerFolder(remote), True, {**SECRETS, "MLFLOW_TRACKING_TOKEN": "t"})
    assert given["AWS_SECRET_ACCESS_KEY"] == "a"
    assert given["MLFLOW_TRACKING_TOKEN"] == "t"
    assert "GITHUB_TOKEN" not in given


def test_an_administrator_can_name_more(tmp_path: Path) -> None:
    asked = Settings(home=tmp_path, worker_variables="DATABASE_URL, SSH_*")
    assert {"DATABASE_URL", "SSH_AUTH_SOCK"} <= set(worker_environment(asked, WorkerFolder(asked), True, SECRETS))


def test_secrets_of_the_login_stay_behind_whatever_is_asked_for(tmp_path: Path) -> None:
    inherited = {"STREAMLIT_SERVER_COOKIE_SECRET": "s", "STREAMLIT_SECRETS_FILES": "f", "OTHER": "o"}
    for asked in ("", "*", "STREAMLIT_*"):
        settings = Settings(home=tmp_path, worker_variables=asked)
        given = worker_environment(settings, WorkerFolder(settings), True, inherited)
        assert ("OTHER" in given) == (asked == "*")
        assert not any(name.startswith("STREAMLIT") for name in given)


def test_the_process_itself_has_them_not(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARE_TEST_MARK", "1")
    monkeypatch.setenv("GITHUB_TOKEN", "secret")
    child = Child(settings, settings.folder("logs") / "log")
    try:
        seen = Path(f"/proc/{child.pid}/environ").read_bytes().split(b"\0")
    finally:
        child.end()
    assert b"TARE_TEST_MARK=1" in seen
    assert not any(entry.startswith(b"GITHUB_TOKEN") for entry in seen)


@pytest.mark.slow
def test_a_worker_looks_for_gpus_before_the_log_of_a_run_begins(settings: Settings) -> None:
    code = (
        "import sys; from runs.worker import _warm_up; _warm_up(); print('the run begins', file=sys.stderr, flush=True); "
        "import tensorflow; tensorflow.constant(1)"
    )
    asked = [sys.executable, "-c", code]
    given = worker_environment(settings, WorkerFolder(settings), True)
    said = subprocess.run(asked, cwd=ROOT, env=given, capture_output=True, text=True, check=True).stderr
    _, of_run = said.split("the run begins")
    assert "cuInit" not in of_run


def test_a_worker_takes_its_folder_along(settings: Settings) -> None:
    child = Child(settings, settings.folder("logs") / "log")
    (own,) = settings.folder("workers").iterdir()
    environment = Path(f"/proc/{child.pid}/environ")
    until(lambda: bool(environment.read_bytes()))
    seen = dict(entry.split(b"=", 1) for entry in environment.read_bytes().split(b"\0") if entry)
    kept, unfinished = settings.folder("parsed/.parsing_1_x"), settings.folder(f"parsed/.parsing_{child.pid}_x")
    try:
        assert {seen[b"HOME"], seen[b"TMPDIR"]} == {f"{own}/home".encode(), f"{own}/temporary".encode()}
        (own / "temporary" / "left").write_bytes(b"x")
    finally:
        child.end()
    assert not own.exists()
    assert not unfinished.exists()
    assert kept.exists()


def test_what_a_killed_dashboard_left_goes_at_the_next_start(settings: Settings) -> None:
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    gone, alive, used = int(ended.stdout), os.getppid(), WorkerFolder(settings)
    names = "workers/{}_a", "parsed/.parsing_{}_b", "prepared/c/.writing_{}_d"
    for name in names:
        settings.folder(name.format(gone))
        settings.folder(name.format(alive))
    remove_leftovers(settings)
    assert not any((settings.home / name.format(gone)).exists() for name in names)
    assert all((settings.home / name.format(alive)).exists() for name in names)
    assert used.temporary.exists()


def test_the_system_takes_a_worker_first(settings: Settings) -> None:
    child = Child(settings, settings.folder("logs") / "log")
    try:
        process = Path(f"/proc/{child.pid}")
        until(lambda: (process / "oom_score_adj").read_text().strip() == str(OOM_SCORE))
        limits = (process / "limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits)
    finally:
        child.end()


@pytest.mark.parametrize("error", [MemoryError("8 TiB"), ValueError("inner")])
def test_memory_that_ran_out_is_a_sentence(error: Exception) -> None:
    outer = RuntimeError("outer")
    outer.__cause__ = error
    assert ("not enough memory for this (8 TiB)" in memory_sentence(outer)) == isinstance(error, MemoryError)


def test_limits_are_sentences(settings: Settings) -> None:
    child = Child(settings, settings.folder("logs") / "log")
    try:
        assert RunLimits(settings).broken_by(child) == ""
        assert RunLimits(settings.model_copy(update={"run_minutes": 0})).broken_by(child) == ""
        until(lambda: child.memory_mb() > 2)
        little = RunLimits(settings.model_copy(update={"run_memory_mb": 1}))
        assert "TARE_RUN_MEMORY_MB" in little.broken_by(child)
        slow = RunLimits(settings.model_copy(update={"run_minutes": 1}))
        slow._started -= 61
        assert "TARE_RUN_MINUTES" in slow.broken_by(child)
    finally:
        child.end()
