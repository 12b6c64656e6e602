"""A home folder that was moved or restored elsewhere: MLflow notes where artefacts lie as whole addresses."""

from __future__ import annotations

import contextlib
import re
import sqlite3

from runs.settings import Settings

_OURS = re.compile(r"^(file:.*?/artifacts)/[0-9a-f]{16}(/|$)")
"""As `runs.store.Store.add_project` makes them."""
_PLACES = (("experiments", "artifact_location"), ("runs", "artifact_uri"))


def point_to_home(settings: Settings) -> int:
    """Have the database of a home folder point to the artefacts in this very folder.

    Returns how many addresses were changed: 0 where the folder is where it was, or the store is elsewhere.
    """
    database = settings.home.resolve() / "mlflow.db"
    if settings.tracking_uri or not database.is_file():
        return 0
    here = settings.folder("artifacts").as_uri()
    changed = 0
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        for table, column in _PLACES:
            if not _has_table(connection, table):
                return 0
            for (address,) in connection.execute(f"SELECT DISTINCT {column} FROM {table}").fetchall():
                found = _OURS.match(address or "")
                if found is None or found[1] == here:
                    continue
                connection.execute(
                    f"UPDATE {table} SET {column} = ? WHERE {column} = ?",
                    (here + address[found.end(1) :], address),
                )
                changed += 1
    return changed


def _has_table(connection: sqlite3.Connection, name: str) -> bool:
    found = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?", (name,))
    return bool(found.fetchone()[0])
