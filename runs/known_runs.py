"""The runs of projects as this process knows them; only what changed is read again."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field

from runs.records import RunRecord
from runs.store import Store

OVERLAP_S = 20.0
"""Changes this old are read once more: clocks differ, and a change is stored a moment after its time was taken."""
EVERYTHING_AGAIN_S = 300.0
"""After this long all is read anew: other programs can change the store too, and tell nobody."""


@dataclass
class _Known:
    runs: dict[str, RunRecord] = field(default_factory=dict)
    read_at: float = 0.0
    """Seconds since 1970, when the newest look began."""
    read_whole_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)


class KnownRuns:
    """Reads runs like `Store.runs`, in a time that does not grow with the number of runs. Thread-safe.

    A run that did not change is the very same object as before, so that what was worked out of it can be kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._projects: defaultdict[str, _Known] = defaultdict(_Known)
        self._lock = threading.Lock()

    def of(self, project_id: str) -> list[RunRecord]:
        """Return the runs of a project, oldest first."""
        with self._lock:
            known = self._projects[project_id]
        with known.lock:
            now = time.time()
            if abs(now - known.read_whole_at) > EVERYTHING_AGAIN_S:
                found = self._store.runs([project_id])
                known.runs = {run.run_id: known.runs.get(run.run_id, run) for run in found}
                known.read_whole_at = now
            else:
                found = self._changed(project_id, known)
            known.read_at = now
            for run in found:
                if known.runs.get(run.run_id) != run:
                    known.runs[run.run_id] = run
            return sorted(known.runs.values(), key=lambda run: run.created_at)

    def _changed(self, project_id: str, known: _Known) -> list[RunRecord]:
        changed, gone = self._store.changed_runs(project_id, known.read_at - OVERLAP_S)
        for run_id in gone:
            known.runs.pop(run_id, None)
        states = {run.run_id: run.state for run in [*known.runs.values(), *changed]}
        if "running" in states.values():  # these move without a change
            changed += self._store.runs([project_id], "running")
        return changed
