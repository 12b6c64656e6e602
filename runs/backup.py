"""Backup and restoration of everything that cannot be made again: `python -m runs.backup save FILE`, or `restore FILE`.

Prepared models and parsed datasets are left out: they are made from the uploads when they are needed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sqlite3
import sys
import tarfile
import tempfile
from pathlib import Path

from intake.errors import UserError
from runs.home_lock import HomeLock
from runs.moved_home import point_to_home
from runs.settings import Settings

DATABASE = "mlflow.db"
FOLDERS = ("projects", "uploads", "artifacts", "logs")


def main() -> None:
    """Save or restore, and say what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("save", "restore"))
    parser.add_argument("file", type=Path, help="the backup, a .tar.gz")
    given = parser.parse_args()
    try:
        print((save if given.action == "save" else restore)(Settings(), given.file))
    except (UserError, OSError, tarfile.TarError) as error:
        sys.exit(f"{error}")


def save(settings: Settings, file: Path) -> str:
    """Write a backup, also while the dashboard works, and return a sentence about it.

    The database is copied first and the files after it, so that the files of every run that the copy calls finished are
    in the backup.

    Raises:
        UserError: there is nothing to save, or the store is a server, which has backups of its own.
        OSError: the file cannot be written; then an older one of that name is untouched.
    """
    _require_local(settings)
    database = settings.home.resolve() / DATABASE
    if not database.is_file():
        raise UserError(f"{settings.home} holds no runs yet, so there is nothing to save.")
    aside = file.with_name(f".{file.name}.part")
    try:
        with tempfile.TemporaryDirectory(dir=settings.folder("temporary")) as folder:
            copy = Path(folder) / DATABASE
            copy_database(database, copy)
            with tarfile.open(aside, "w:gz", compresslevel=3) as archive:
                archive.add(copy, DATABASE)
                for name in FOLDERS:
                    archive.add(settings.folder(name), name, filter=_without_parts)
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(aside, file)
    finally:
        aside.unlink(missing_ok=True)
    projects = len(list(settings.folder("projects").glob("*.json")))
    return f"{file}: {file.stat().st_size / 1e6:,.1f} MB, {projects:,} project{'' if projects == 1 else 's'}."


def restore(settings: Settings, file: Path) -> str:
    """Unpack a backup into a home folder that holds no runs, and return a sentence about it.

    Raises:
        UserError: the folder holds runs already, a dashboard uses it, or the file is no backup. Then nothing changes.
        OSError: the file cannot be read, or the folder not written.
    """
    _require_local(settings)
    home = settings.folder("")
    lock = HomeLock(home)
    lock.take()
    try:
        if any(settings.folder("projects").iterdir()):
            raise UserError(
                f"{settings.home} holds projects already. Set TARE_HOME to a new folder, or move this one away first."
            )
        with tempfile.TemporaryDirectory(dir=home) as folder:
            _unpack(file, Path(folder))
            for name in (DATABASE, *FOLDERS):
                _move(Path(folder) / name, home / name)
        point_to_home(settings)
    finally:
        lock.release()
    projects = len(list(settings.folder("projects").glob("*.json")))
    return f"{settings.home} holds {projects:,} project{'' if projects == 1 else 's'} again."


def _require_local(settings: Settings) -> None:
    if settings.tracking_uri:
        raise UserError(
            "The runs are on an MLflow server (MLFLOW_TRACKING_URI), which has backups of its own. Save its database "
            f"and artefacts, and the folder {settings.home} beside them."
        )


def copy_database(source: Path, target: Path) -> None:
    """Copy a database as it is at one moment, also while others write to it."""
    with (
        contextlib.closing(sqlite3.connect(source, timeout=60)) as read,
        contextlib.closing(sqlite3.connect(target)) as write,
    ):
        read.backup(write)


def _without_parts(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if member.name.endswith(".part") else member


def _unpack(file: Path, folder: Path) -> None:
    try:
        with tarfile.open(file) as archive:
            names = {Path(name).parts[0] for name in archive.getnames()}
            if DATABASE not in names or names - {DATABASE, *FOLDERS}:
                raise UserError(f"{file} is no backup of Tare: it must hold {DATABASE}, {', '.join(FOLDERS)}.")
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise UserError(
            f"{file} cannot be read as a backup ({error}). It is damaged, or another kind of file."
        ) from None


def _move(source: Path, target: Path) -> None:
    if target.is_dir():
        target.rmdir() if not any(target.iterdir()) else shutil.rmtree(target)
    if source.exists():
        os.replace(source, target)


if __name__ == "__main__":
    main()
