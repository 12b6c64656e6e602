"""Work that a page waits for: opening a model, reading a dataset, matching the two."""

from __future__ import annotations

import threading
from typing import Any, Literal

from intake.errors import UserError

JobState = Literal["waiting", "running", "finished", "failed"]


class Job:
    """One piece of work and what came of it. Written by one thread, read by any."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.state: JobState = "waiting"
        self.fraction = 0.0
        """0 to 1."""
        self.message = ""
        self.result: Any = None
        self.problems: tuple[str, ...] = ()
        """Sentences for the user where it failed."""
        self._done = threading.Event()

    @property
    def is_done(self) -> bool:
        """True once finished or failed."""
        return self._done.is_set()

    def report(self, fraction: float, message: str) -> None:
        """Note how far it is."""
        self.state, self.fraction, self.message = "running", fraction, message

    def finish(self, result: Any) -> None:
        """End with a result."""
        self.result, self.state, self.fraction = result, "finished", 1.0
        self._done.set()

    def fail(self, problems: tuple[str, ...]) -> None:
        """End with sentences for the user."""
        self.problems, self.state = problems, "failed"
        self._done.set()

    def wait(self) -> Any:
        """Block until done and return the result; raises UserError with the problems where it failed."""
        self._done.wait()
        if self.state == "failed":
            raise UserError(self.problems)
        return self.result
