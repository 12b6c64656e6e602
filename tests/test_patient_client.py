"""A store that is away for a while costs time and nothing else; one that stays away is a sentence."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException

from intake.errors import UserError
from runs import patient_client
from runs.patient_client import PatientClient, StoreAway
from runs.settings import Settings


@pytest.fixture
def made(empty_home: Path, tmp_path: Path) -> Path:
    """A home with one experiment."""
    home = tmp_path / "home"
    shutil.copytree(empty_home, home)
    PatientClient(Settings(home=home).store_uri).create_experiment("first")
    return home


@pytest.fixture(autouse=True)
def quiet() -> None:
    """MLflow logs the whole trace of every failed call."""
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)


def test_a_database_that_is_moved_away_and_back_is_the_same(made: Path) -> None:
    client = PatientClient(Settings(home=made).store_uri)
    assert client.get_experiment_by_name("first") is not None
    database, away = made / "mlflow.db", made / "away.db"
    client._forget_connections()
    database.rename(away)
    threading.Timer(2.0, lambda: away.replace(database)).start()
    before = time.monotonic()
    assert client.create_experiment("second")  # an empty file is made in its place meanwhile
    assert time.monotonic() - before > 1.5
    assert client.get_experiment_by_name("first") is not None
    with sqlite3.connect(database) as read:
        assert read.execute("select count(*) from experiments where name = 'second'").fetchone() == (1,)


def test_patience_ends_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    client = PatientClient("http://127.0.0.1:9", patience_s=0.5)
    with pytest.raises(StoreAway, match="did not answer"):
        client.get_run("0" * 32)


def test_what_does_not_exist_is_said_at_once(made: Path) -> None:
    client = PatientClient(Settings(home=made).store_uri)
    before = time.monotonic()
    with pytest.raises(MlflowException):
        client.get_run("0" * 32)
    assert time.monotonic() - before < patient_client.PATIENCE_SECONDS / 4


def test_a_password_in_the_address_is_not_shown() -> None:
    assert "secret" not in patient_client._sentence("postgresql://me:secret@127.0.0.1/runs", OSError("gone"))
    assert issubclass(StoreAway, UserError)
