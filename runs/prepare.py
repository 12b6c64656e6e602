"""Makes the run store once, at set-up, so that the first start is quick: `python -m runs.prepare`."""

from __future__ import annotations

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
    print(prepare(Settings()))
