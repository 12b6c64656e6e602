"""How much memory and time one run may take: watched from outside, so that a run in native code is stopped as well."""

from __future__ import annotations

import time

import psutil

from runs.child import Child
from runs.settings import Settings


def most_memory_mb(settings: Settings) -> int:
    """Return the memory that a run, or opening a file, may hold, in MB of 2^20 bytes."""
    return settings.run_memory_mb or int(psutil.virtual_memory().total * 0.75 / 2**20)


class RunLimits:
    """Of one run, counted from now on."""

    def __init__(self, settings: Settings) -> None:
        self._memory_mb = most_memory_mb(settings)
        self._seconds = settings.run_minutes * 60
        self._started = time.monotonic()

    def broken_by(self, child: Child) -> str:
        """Return which limit a child at work has passed, in a sentence for the user; "" where none."""
        held = child.memory_mb()
        if held > self._memory_mb:
            return (
                f"The run was stopped, because it held {held:,.0f} MB of memory, and {self._memory_mb:,} MB are the most "
                "that this installation gives a run. Use a smaller batch size or fewer samples, or raise "
                "TARE_RUN_MEMORY_MB."
            )
        if self._seconds and time.monotonic() - self._started > self._seconds:
            return (
                f"The run was stopped, because it took longer than {self._seconds // 60:,} min, the most that this "
                "installation gives a run. Use fewer epochs or samples, or raise TARE_RUN_MINUTES."
            )
        return ""
