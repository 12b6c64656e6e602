"""Brings the database of runs up to this version of MLflow, and keeps a copy of the old one: `python -m runs.upgrade`."""

from __future__ import annotations

import sys
from pathlib import Path

from intake.errors import UserError
from runs.backup import DATABASE, copy_database
from runs.home_lock import HomeLock
from runs.settings import Settings
from runs.store_schema import check_schema, is_known, newest_schema, schema_of


def main() -> None:
    """Upgrade, and say what was done."""
    try:
        print(upgrade(Settings()))
    except (UserError, OSError) as error:
        sys.exit(f"{error}")


def upgrade(settings: Settings) -> str:
    """Upgrade the database of a home folder and return a sentence about it.

    The copy is beside it, named after the new schema ("mlflow.db.before-0584bdc529eb").

    Raises:
        UserError: a dashboard uses the folder, the runs are on a server, or the database is of a newer version.
        OSError: the copy cannot be written; then nothing was changed.
    """
    if settings.tracking_uri:
        raise UserError(
            "The runs are on an MLflow server (MLFLOW_TRACKING_URI). Upgrade its database there, with `mlflow db upgrade`."
        )
    database = settings.home.resolve() / DATABASE
    found = schema_of(database)
    if not found:
        return f"{settings.home} holds no runs yet, so there is nothing to upgrade."
    if found == newest_schema():
        return f"{database} is up to date already (schema {found})."
    if not is_known(found):
        check_schema(settings)
    lock = HomeLock(settings.folder(""))
    lock.take()
    try:
        copy = database.with_name(f"{DATABASE}.before-{newest_schema()}")
        copy_database(database, copy)
        _migrate(database)
    finally:
        lock.release()
    return f"{database} is up to date now (schema {found} became {newest_schema()}). What it was is in {copy.name}."


def _migrate(database: Path) -> None:
    from mlflow.store.db.utils import _upgrade_db
    from sqlalchemy import create_engine

    engine = create_engine(f"sqlite:///{database}")
    try:
        _upgrade_db(engine)
    finally:
        engine.dispose()


if __name__ == "__main__":
    main()
