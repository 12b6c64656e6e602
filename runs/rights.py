"""What each name of the service does, and the service as a person may use it: the one place where roles are enforced.

Pages hide what a viewer may not do; that they forget something changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, cast

from intake.errors import UserError
from runs.people import Person, acting

if TYPE_CHECKING:
    from runs.service import Service

DESKS = frozenset({"handovers", "sensitivities", "operations", "tries"})
"""Parts of the service that have names of their own."""

LOOKS: dict[str, frozenset[str]] = {
    "service": frozenset(
        {
            "active_runs", "artifacts", "check_settings", "curves", "dataset_info", "estimate",
            "example_job", "expected_seconds", "files_beside_baseline", "known_job", "log", "model_info",
            "preview_image", "project", "projects", "queue_position", "report", "resumable_epochs", "run", "runs",
            "settings", "speed", "suggested_fine_tuning", "test_samples", "unsuited_choices", "upload", "wait",
            "with_suggested_epochs",
        }
    ),
    # A report is written from what is stored, in the blink of an eye, and only for whoever downloads it.
    "handovers": frozenset({"ways", "one_file", "comparison", "finished", "inputs"}),
    "sensitivities": frozenset({"known", "job", "without"}),
    "operations": frozenset({"times", "measured"}),
    # To try a sample takes the worker less than a second and leaves nothing behind, and who presents needs it.
    "tries": frozenset({"ask", "forget", "cells"}),
}  # fmt: skip
"""Part of the service -> its names that only look."""

CHANGES: dict[str, frozenset[str]] = {
    "service": frozenset(
        {
            "add_upload", "baseline", "cancel", "create_example", "create_project", "delete_project", "delete_run",
            "forget", "home_lock", "inspect_dataset", "inspect_model", "inspect_random", "job_anew", "label_run",
            "match", "measure_speed", "model_plan", "prepare", "project_of", "rename_project", "resume", "run_again",
            "start", "stop", "submit", "submit_sweep",
        }
    ),
    "handovers": frozenset({"export"}),
    "sensitivities": frozenset({"measure", "leave"}),
    "operations": frozenset({"measure"}),
    "tries": frozenset(),
}  # fmt: skip
"""Part of the service -> its names that store, queue or remove something, or keep the worker from others for long."""


class NotAllowed(UserError):
    """Somebody who may only look asked for a change."""


def service_of(whole: Service, person: Person) -> Service:
    """Return the service as a person may use it; what they queue belongs to them.

    A name that is declared neither in LOOKS nor in CHANGES is nobody's.
    """
    return cast("Service", _Part(whole, "service", person))


class _Part:
    """The service, or one of its desks, for one person."""

    def __init__(self, whole: object, part: str, person: Person) -> None:
        self._whole, self._part, self._person = whole, part, person

    def __getattr__(self, name: str) -> Any:
        if self._part == "service" and name in DESKS:
            return _Part(getattr(self._whole, name), name, self._person)
        if name in LOOKS[self._part]:
            return self._as_person(getattr(self._whole, name))
        if name not in CHANGES[self._part]:
            raise AttributeError(f"{name} of {self._part} is not declared in runs/rights.py")
        if self._person.may_change:
            return self._as_person(getattr(self._whole, name))
        return self._refused

    def _as_person(self, value: Any) -> Any:
        if not callable(value):
            return value
        method: Callable[..., Any] = value

        @wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            with acting(self._person):
                return method(*arguments, **named)

        return call

    def _refused(self, *_: Any, **__: Any) -> None:
        raise NotAllowed(
            f"{self._person.owner} may look here, but not change anything. Ask whoever runs this installation to be "
            "made an editor (TARE_EDITORS)."
        )
