"""Makes the run store once, at set-up, so that the first start is quick: `python -m runs.prepare`."""

from __future__ import annotations

import sys

from intake.errors import UserError
from runs.settings import Settings
from runs.store import Store


def prepare(settings: Settings) -> str:
    """Make the database of runs where there is none yet, and return a sentence about it."""
    store = Store(settings)
    count = len(store.projects())
    store.runs(["0"])  # the first question is what makes MLflow create its tables
    where = settings.tracking_uri or str(settings.home)
    return f"The run store is ready: {where}, {count} project{'' if count == 1 else 's'}."


if __name__ == "__main__":
    try:
        print(prepare(Settings()))
    except UserError as error:  # the store is of another version
        sys.exit(f"{error}")
