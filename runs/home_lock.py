"""One dashboard for one home folder: two would each take the other's queued runs for abandoned ones."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import IO

import psutil

from intake.errors import UserError

LOCK_NAME = "dashboard.lock"


class HomeLock:
    """Held by a dashboard from its start to its end, however that comes: the system lets go of it with the process."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Take the lock; raises UserError where another process holds it."""
        if self._file is not None:
            return
        file = (self._home / LOCK_NAME).open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read()
            file.close()
            raise UserError(_sentence(self._home, holder)) from None
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "machine": os.uname().nodename}))
        file.flush()
        os.set_inheritable(file.fileno(), False)  # a worker that outlives the dashboard must not hold it
        self._file = file

    def release(self) -> None:
        """Let another dashboard take the folder."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _sentence(home: Path, holder: str) -> str:
    return (
        f"Another dashboard is using the folder {home}{_who(holder)}. Two would spoil each other's runs, so this one does "
        "nothing. Use the other one, end it, or set TARE_HOME to another folder for this one; then load this page again."
    )


def _who(holder: str) -> str:
    try:
        known = json.loads(holder)
        pid, machine = int(known["pid"]), str(known["machine"])
    except (ValueError, KeyError, TypeError):
        return ""
    if machine != os.uname().nodename:
        return f" (process {pid} on {machine})"
    try:
        return f" (process {pid}: {' '.join(psutil.Process(pid).cmdline())[:120]})"
    except psutil.Error:
        return f" (process {pid})"
