"""How much memory and time opening, reading or matching files may take: watched from outside, as others wait behind it."""

from __future__ import annotations

import math
import time
from typing import Any

from runs.child import Child
from runs.jobs import Job
from runs.run_limits import most_memory_mb
from runs.settings import Settings

JOB_SECONDS = 900
"""Longest time of one job, since others wait behind it."""
JOB_POLL_SECONDS = 0.1
"""How often a job is looked at: a file of a few kB can ask for gigabytes within a second."""


class JobLimits:
    """Of one job, counted from now on: its memory, its time, and that of the part that it said it is at."""

    def __init__(self, settings: Settings) -> None:
        self._memory_mb = most_memory_mb(settings)
        self._end = time.monotonic() + JOB_SECONDS
        self._end_of_part, self._part = math.inf, ""

    def see(self, answer: dict[str, Any]) -> None:
        """Take note of where the job is."""
        limit_s = answer.get("limit_s")
        self._end_of_part = math.inf if limit_s is None else time.monotonic() + limit_s
        self._part = f"{answer.get('message', '')} took longer than {limit_s} s and was stopped."

    def broken_by(self, job: Job, child: Child) -> str:
        """Return what the job of a child took too much of, in a sentence; "" where nothing."""
        now, held = time.monotonic(), child.memory_mb()
        if held > self._memory_mb:
            return (
                f"{job.title} was stopped, because it held {held:,.0f} MB of memory, and {self._memory_mb:,} MB are the "
                "most that this installation gives one file. Upload a smaller one, or raise TARE_RUN_MEMORY_MB."
            )
        if now > self._end:
            return f"{job.title} took longer than {JOB_SECONDS // 60} minutes and was stopped."
        return f"{self._part} The file is most likely damaged: save it again." if now > self._end_of_part else ""
