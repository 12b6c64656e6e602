"""One warm child process that does the TensorFlow work, and the wire to it."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import psutil

from runs.settings import Settings
from runs.worker_environment import worker_environment
from runs.worker_folder import WorkerFolder

ROOT = Path(__file__).parent.parent
TERMINATE_SECONDS = 2.0
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)


class ChildDied(Exception):
    """The child process ended without an answer."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"worker ended with exit code {exit_code}")
        self.exit_code = exit_code

    @property
    def by_signal(self) -> bool:
        """True where a signal (a native crash, the out-of-memory killer) ended it."""
        return self.exit_code < 0

    @property
    def is_crash(self) -> bool:
        """True where native code broke; worth one more try without oneDNN, unlike a kill for want of memory."""
        return -self.exit_code in _CRASHES

    @property
    def sentence(self) -> str:
        """For the user."""
        if self.exit_code == -signal.SIGKILL:
            return (
                "The worker was killed from outside, most likely by the operating system because memory ran out. "
                "Use a smaller batch size, or give the machine more memory."
            )
        if self.by_signal:
            name = signal.Signals(-self.exit_code).name
            return f"The worker crashed ({name}) inside TensorFlow. The log has what it printed last."
        return f"The worker ended by itself (exit status {self.exit_code}). The worker log has what it printed last."


class Child:
    """`python -m runs.worker` in a process group of its own. Used by one thread at a time."""

    def __init__(self, settings: Settings, log: Path, one_dnn: bool = True) -> None:
        self.one_dnn = one_dnn
        self._folder = WorkerFolder(settings)
        try:
            self._process = self._started(settings, worker_environment(settings, self._folder, one_dnn), log)
        except OSError:
            self._folder.remove()
            raise
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _started(self, settings: Settings, environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        module = "runs.worker" if settings.worker_network or settings.tracking_uri else "runs.apart"
        with log.open("ab") as stderr:
            return subprocess.Popen(
                [sys.executable, "-m", module],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    @property
    def pid(self) -> int:
        """Process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """True until the process has ended."""
        return self._process.poll() is None

    def send(self, request: dict[str, Any]) -> None:
        """Hand over one piece of work; raises ChildDied."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise ChildDied(self._process.wait()) from None

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the next line of the answer, None after `timeout_s` seconds without one; raises ChildDied."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if line is None:
            raise ChildDied(self._process.wait())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def memory_mb(self) -> float:
        """Resident memory of the process without the files that it maps, which the system can drop; 0 where it has ended."""
        try:
            held = psutil.Process(self.pid).memory_info()
        except psutil.NoSuchProcess:
            return 0.0
        return float((held.rss - getattr(held, "shared", 0)) / 2**20)

    def end(self) -> None:
        """Terminate the process group, then kill it; what it had on the disk for itself goes, too."""
        self._kill()
        self._folder.remove(self.pid)

    def _kill(self) -> None:
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, sign)
                self._process.wait(TERMINATE_SECONDS)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue
