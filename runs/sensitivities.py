"""What each layer costs by itself: the part of the service that asks for it, keeps it, and queues the run without one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intake.errors import UserError
from optimizers.recipe import Recipe
from optimizers.sensitivity import Sensitivity, spared
from runs.jobs import Job
from runs.labels import NAME_LENGTH, one_line
from runs.paths import prepared_folder
from runs.plan import stored_plan
from runs.records import Parent, RunRecord
from runs.sensitivity_job import sensitivity_request

if TYPE_CHECKING:
    from runs.service import Service


class Sensitivities:
    """Sensitivities of finished runs of a service.

    Args:
        service: whose runs.
        start: starts a job by its key, or returns the one that is there.
        newest: returns the job of a key; None where there is none.
    """

    def __init__(self, service: Service, start: Callable[..., Job], newest: Callable[[str], Job | None]) -> None:
        self._service, self._start, self._newest = service, start, newest

    def known(self, run: RunRecord) -> Sensitivity | None:
        """Return what was measured before for the recipe of a run; None where nothing was, or an older version did."""
        try:
            return Sensitivity.model_validate_json(self._path(run).read_text())
        except (OSError, ValueError):
            return None

    def job(self, run: RunRecord) -> Job | None:
        """Return the newest job of `measure`; None where there is none."""
        return self._newest(self._key(run))

    def measure(self, run: RunRecord) -> Job:
        """Measure in the worker what each layer costs by itself. The job's result is a Sensitivity.

        Raises UserError where the run's project is gone.
        """
        request = sensitivity_request(self._service.project(run.project_id), run.recipe, self._path(run))
        if (last := self.job(run)) is not None and last.is_done:
            self._service.forget(last)
        return self._start(self._key(run), "Measuring the layers", request, Sensitivity.model_validate)

    def without(self, run: RunRecord, layer: str) -> Recipe:
        """Return the recipe of a run with one layer left as it is.

        Raises:
            UserError: a step cannot leave it, or the model is no longer known.
        """
        plan = stored_plan(self._service.settings, self._service.project(run.project_id).model.upload_id)
        if plan is None:
            raise UserError("What the layers of this model are is no longer stored. Run it again.")
        return spared(run.recipe, layer, plan.layers)

    def leave(self, run: RunRecord, layer: str) -> RunRecord:
        """Queue the recipe of a run with one layer left as it is; raises UserError as `without` and `Service.submit`."""
        name = one_line(f"{run.name[: NAME_LENGTH // 2]} · {layer} as it is", NAME_LENGTH)
        return self._service.submit(
            run.project_id, self.without(run, layer), name, Parent(run_id=run.run_id, relation="changed")
        )

    def _key(self, run: RunRecord) -> str:
        return f"sensitivity:{self._path(run).stem}"

    def _path(self, run: RunRecord) -> Path:
        """Beside the prepared model; the same for runs of the same recipe, since no training is in it."""
        project = self._service.project(run.project_id)
        depends_on: list[Any] = [
            project.dataset_id,
            project.options.model_dump(mode="json"),
            project.fit.model_dump(mode="json"),
            [(step.technique, step.params) for step in run.recipe.steps],
        ]
        digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]
        return prepared_folder(self._service.settings, project.model.upload_id) / "sensitivity" / f"{digest}.json"
