"""Who executes what is queued: threads of this process, each owning one warm child process.

Another executor (a cluster) has the same `submit`, `cancel` and `wait`, and calls `runs.worker.execute(run_id)`.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from intake.errors import UserError
from runs.checkpoints import forget_checkpoint
from runs.child import Child, ChildDied
from runs.full_disk import disk_sentence
from runs.jobs import Job
from runs.paths import log_path, scratch_folder
from runs.patient_client import StoreAway
from runs.records import RunState
from runs.run_limits import RunLimits
from runs.settings import Settings
from runs.store import Store

JOB_SECONDS = 900
"""Longest time that opening, reading or matching files may take, since others wait behind it."""
POLL_SECONDS = 0.5
"""How often a slot at work looks whether somebody asked to cancel."""


@dataclass(frozen=True)
class _Run:
    run_id: str


@dataclass(frozen=True)
class _JobTask:
    job: Job
    request: dict[str, Any]
    read: Callable[[Any], Any]


class _Line:
    """Tasks in the order they came."""

    def __init__(self) -> None:
        self._tasks: deque[_Run | _JobTask] = deque()
        self._active: list[_Run | _JobTask] = []
        self._changed = threading.Condition()

    def put(self, task: _Run | _JobTask) -> None:
        with self._changed:
            self._tasks.append(task)
            self._changed.notify_all()

    def take(self) -> _Run | _JobTask:
        with self._changed:
            self._changed.wait_for(lambda: self._tasks)
            task = self._tasks.popleft()
            self._active.append(task)
            return task

    def done(self, task: _Run | _JobTask) -> None:
        with self._changed:
            self._active.remove(task)
            self._changed.notify_all()

    def remove(self, task: _Run) -> bool:
        with self._changed:
            if task not in self._tasks:
                return False
            self._tasks.remove(task)
            self._changed.notify_all()
            return True

    def position(self, task: _Run) -> int:
        with self._changed:
            return self._tasks.index(task) if task in self._tasks else 0

    def run_ids(self) -> list[str]:
        with self._changed:
            return [task.run_id for task in (*self._active, *self._tasks) if isinstance(task, _Run)]

    def wait_for(self, task: _Run) -> None:
        with self._changed:
            self._changed.wait_for(lambda: task not in self._tasks and task not in self._active)


class LocalExecutor:
    """Slots for runs, and one slot of its own for opening files, so that uploads never wait for a training."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._runs, self._jobs = _Line(), _Line()
        self._slots: list[_Slot] = []
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the slots, each with a child that warms up. Safe to call again."""
        with self._lock:
            if not self._slots:
                lines = [self._jobs, *[self._runs] * self._settings.slots]
                self._slots = [_Slot(number, line, self._settings, self._store) for number, line in enumerate(lines)]
                for slot in self._slots:
                    slot.start()

    def stop(self) -> list[str]:
        """End the children and return the ids of the runs that were queued or at work."""
        left = self._runs.run_ids()
        for slot in self._slots:
            slot.end()
        return left

    def submit(self, run_id: str) -> None:
        """Queue a run that is stored as queued."""
        self.start()
        self._runs.put(_Run(run_id))

    def submit_job(self, job: Job, request: dict[str, Any], read: Callable[[Any], Any]) -> None:
        """Queue work that a page waits for; `read` turns the answer into the job's result."""
        self.start()
        self._jobs.put(_JobTask(job, request, read))

    def cancel(self, run_id: str) -> None:
        """End a queued run at once. One at work is ended by its slot, which looks every POLL_SECONDS."""
        if self._runs.remove(_Run(run_id)):
            self._store.set_state(run_id, "cancelled")

    def position(self, run_id: str) -> int:
        """Runs ahead of a queued one."""
        return self._runs.position(_Run(run_id))

    def wait(self, run_id: str) -> None:
        """Block until a run that was submitted here has ended."""
        self._runs.wait_for(_Run(run_id))


class _Slot(threading.Thread):
    """Takes one task at a time and has its child do it."""

    def __init__(self, number: int, line: _Line, settings: Settings, store: Store) -> None:
        super().__init__(name=f"slot-{number}", daemon=True)
        self._number, self._line, self._settings, self._store = number, line, settings, store
        self._child: Child | None = None
        self._ending = False

    def run(self) -> None:
        self._warm_child()
        while not self._ending:
            task = self._line.take()
            try:
                self._do(task)
            except Exception as error:  # a slot must outlive whatever one task does
                self._give_up(task, disk_sentence(error) or f"This is a fault in Tare, not in your files: {error!r}")
            finally:
                if isinstance(task, _Run):
                    shutil.rmtree(scratch_folder(self._settings, task.run_id), ignore_errors=True)
                self._line.done(task)
                self._recycle()

    def end(self) -> None:
        """End the child; the thread ends with the process."""
        self._ending = True
        if self._child:
            self._child.end()

    def _do(self, task: _Run | _JobTask) -> None:
        if isinstance(task, _Run):
            self._do_run(task.run_id)
        else:
            self._do_job(task)

    def _warm_child(self, one_dnn: bool = True) -> Child:
        if self._child is None or not self._child.is_alive or self._child.one_dnn != one_dnn:
            if self._child is not None:
                self._child.end()
            log = self._settings.folder("logs") / f"worker-{self._number}.log"
            self._child = Child(self._settings, log, one_dnn)
        return self._child

    def _recycle(self) -> None:
        """Keep a warm child, but not one that crashed, runs without oneDNN, or holds too much memory."""
        if self._ending:
            return
        if self._child is not None and self._child.memory_mb() > self._settings.worker_memory_mb:
            self._child.end()
        with contextlib.suppress(OSError):  # no room for a process or its log: the next task tries again, and says so
            self._warm_child()

    def _do_run(self, run_id: str) -> None:
        if self._store.run(run_id).state != "queued":
            return
        if self._store.is_cancel_requested(run_id):
            self._store.set_state(run_id, "cancelled")
            return
        self._store.set_state(run_id, "running")
        try:
            self._execute(run_id)
        except ChildDied as death:
            if self._ending:
                return
            if not death.is_crash:
                mark(self._store, run_id, "failed", death.sentence)
                return
            self._store.add_note(run_id, f"{death.sentence} Repeated once with oneDNN off, which is slower.")
            self._retry(run_id)

    def _retry(self, run_id: str) -> None:
        """oneDNN crashes on some convolutions (1x1, stride 2, some shapes); without it they train."""
        try:
            self._execute(run_id, one_dnn=False)
        except ChildDied as death:
            if not self._ending:
                mark(self._store, run_id, "failed", death.sentence)

    def _execute(self, run_id: str, one_dnn: bool = True) -> None:
        child = self._warm_child(one_dnn)
        child.send({"kind": "execute", "run_id": run_id, "log": str(log_path(self._settings, run_id))})
        limits = RunLimits(self._settings)
        while child.receive(POLL_SECONDS) is None:
            if self._store.is_cancel_requested(run_id):
                self._stop(child, run_id, "cancelled")
                return
            if broken := limits.broken_by(child):
                self._stop(child, run_id, "failed", broken)
                return

    def _stop(self, child: Child, run_id: str, state: RunState, sentence: str = "") -> None:
        child.end()
        if state == "cancelled":
            forget_checkpoint(self._settings, run_id)
        if self._store.run(run_id).is_active:  # it may have finished just before
            self._store.set_state(run_id, state, sentence)

    def _do_job(self, task: _JobTask) -> None:
        try:
            child = self._warm_child()
            child.send(task.request)
            limits = _JobLimits()
            while not task.job.is_done:
                answer = child.receive(POLL_SECONDS)
                if answer is not None:
                    limits.see(answer)
                    _take(task, answer)
                elif broken := limits.broken_by(task.job):
                    child.end()
                    task.job.fail((broken,))
        except ChildDied as death:
            task.job.fail((death.sentence,))

    def _give_up(self, task: _Run | _JobTask, sentence: str) -> None:
        if isinstance(task, _Run):
            mark(self._store, task.run_id, "failed", sentence)
        elif not task.job.is_done:
            task.job.fail((sentence,))


class _JobLimits:
    """Time of a job, and of the part that it said it is at."""

    def __init__(self) -> None:
        self._end = time.monotonic() + JOB_SECONDS
        self._end_of_part, self._part = math.inf, ""

    def see(self, answer: dict[str, Any]) -> None:
        """Take note of where the job is."""
        limit_s = answer.get("limit_s")
        self._end_of_part = math.inf if limit_s is None else time.monotonic() + limit_s
        self._part = f"{answer.get('message', '')} took longer than {limit_s} s and was stopped."

    def broken_by(self, job: Job) -> str:
        """Return what took too long, in a sentence; "" where nothing did."""
        now = time.monotonic()
        if now > self._end:
            return f"{job.title} took longer than {JOB_SECONDS // 60} minutes and was stopped."
        return f"{self._part} The file is most likely damaged: save it again." if now > self._end_of_part else ""


def mark(store: Store, run_id: str, state: RunState, sentence: str) -> None:
    """Move a run to its last state, unless it was deleted meanwhile; waits for a store that is away as long as it takes.

    A run whose end nobody could write down would be at work for ever.
    """
    while True:
        try:
            store.set_state(run_id, state, sentence)
        except StoreAway:
            time.sleep(POLL_SECONDS)
        except UserError:
            return
        else:
            return


def _take(task: _JobTask, answer: dict[str, Any]) -> None:
    if "fraction" in answer:
        task.job.report(answer["fraction"], answer["message"])
    elif "problems" in answer:
        task.job.fail(tuple(answer["problems"]))
    else:
        try:
            task.job.finish(task.read(answer["result"]))
        except ValidationError as error:
            task.job.fail((f"This is a fault in Tare, not in your files: {error}",))
