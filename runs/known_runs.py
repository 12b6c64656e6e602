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
"""After this long all is read anew, in the background: other programs can change the store too, and tell nobody."""


@dataclass
class _Known:
    runs: dict[str, RunRecord] = field(default_factory=dict)
    read_at: float = 0.0
    """Seconds since 1970; what changed before, less the overlap, is known."""
    read_whole_at: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, found: list[RunRecord]) -> None:
        """Put records in, the old object where nothing changed."""
        for run in found:
            if self.runs.get(run.run_id) != run:
                self.runs[run.run_id] = run


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
            if not known.read_whole_at:
                known.take(self._store.runs([project_id]))
                known.read_whole_at = now
            else:
                self._take_changes(project_id, known)
                if abs(now - known.read_whole_at) > EVERYTHING_AGAIN_S:
                    known.read_whole_at = now
                    # Nobody waits for it: MLflow takes seconds for a thousand runs.
                    threading.Thread(target=self._read_whole, args=(project_id, known, now), daemon=True).start()
            known.read_at = now
            return sorted(known.runs.values(), key=lambda run: run.created_at)

    def _take_changes(self, project_id: str, known: _Known) -> None:
        changed, gone = self._store.changed_runs(project_id, known.read_at - OVERLAP_S)
        for run_id in gone:
            known.runs.pop(run_id, None)
        known.take(changed)
        if any(run.state == "running" for run in known.runs.values()):  # these move without a change
            known.take(self._store.runs([project_id], "running"))

    def _read_whole(self, project_id: str, known: _Known, began_at: float) -> None:
        found = self._store.runs([project_id])
        with known.lock:
            ids = {run.run_id for run in found}
            known.runs = {run_id: run for run_id, run in known.runs.items() if run_id in ids}
            known.take(found)
            known.read_at = min(known.read_at, began_at)  # what changed while this read went on is looked at again
