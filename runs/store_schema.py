"""Which MLflow made the database of runs: this one, an older one, or a newer one, whose databases it cannot read."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from functools import cache
from pathlib import Path

import mlflow

from intake.errors import UserError
from runs.settings import Settings


class OtherSchema(UserError):
    """The database of runs is of another version of MLflow."""


def check_schema(settings: Settings) -> None:
    """Raise OtherSchema where the database of the home folder is of another MLflow; the sentence says what to do.

    A server looks after its own database.
    """
    database = settings.home.resolve() / "mlflow.db"
    found = schema_of(database)
    if settings.tracking_uri or not found or found == newest_schema():
        return
    if is_known(found):
        raise OtherSchema(
            f"The database of runs ({database}) is of an older version of MLflow (schema {found}, and this one needs "
            f"{newest_schema()}). Run `python -m runs.upgrade` once (`make upgrade`): it keeps a copy of the database and "
            "brings it up to date."
        )
    raise OtherSchema(
        f"The database of runs ({database}) was written by a newer version of Tare: MLflow {mlflow.__version__} does not "
        f"know its schema {found}. Start that version again, or update this one; or restore a backup from before, in "
        "another folder (TARE_HOME). Nothing was changed."
    )


def schema_of(database: Path) -> str:
    """Return the revision that a database says it has; "" where there is no database, or nothing in it yet."""
    if not database.is_file():
        return ""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as connection:
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        except sqlite3.DatabaseError:  # no such table, or no database; MLflow then says what it thinks of it
            return ""
    return str(found[0]) if found else ""


@cache
def _schemas() -> dict[str, str]:
    """Revision -> the one before it, "" before the first, as MLflow's migrations say; read as text, which takes 10 ms.

    Alembic would import them all, which takes seconds.
    """
    known = {}
    for migration in (Path(mlflow.__file__).parent / "store" / "db_migrations" / "versions").glob("*.py"):
        said = dict(_REVISION.findall(migration.read_text()))
        if "revision" in said:
            known[said["revision"]] = said.get("down_revision", "")
    return known


_REVISION = re.compile(r"""^(revision|down_revision) = ["'](\w+)["']""", re.MULTILINE)


def is_known(schema: str) -> bool:
    """True where this MLflow knows a revision."""
    return schema in _schemas()


def newest_schema() -> str:
    """Return the revision that this MLflow needs."""
    (newest,) = set(_schemas()) - set(_schemas().values())
    return newest
