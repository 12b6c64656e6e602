"""Projects and runs in MLflow: a project is an experiment, a run is a run.

`mlflow ui` on the same store shows everything. What MLflow has no word for stands in `tare.*` tags.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from mlflow.entities import Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException
from pydantic import ValidationError

from intake.errors import UserError
from optimizers.recipe import Recipe
from runs.patient_client import PatientClient
from runs.records import Artifact, Progress, Project, Result, RunRecord, RunState
from runs.settings import Settings
from runs.store_schema import check_schema
from runs.versions import NewerTare, why_not_understood
from runs.whole_files import copy_whole, write_whole

_STATUS: dict[RunState, str] = {
    "queued": "SCHEDULED",
    "running": "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "cancelled": "KILLED",
    "interrupted": "FAILED",
}
_RESULT_TEXT = ("metric_name",)
_CURVES = ("train/", "validation/")
_CHANGED = "tare.changed_at"
_LABELS = {
    "note": "mlflow.note.content",  # what MLflow's own pages show as description
    "tags": "tare.tags",
    "starred": "tare.starred",
    "archived": "tare.archived",
}
_OWNER = "mlflow.user"
"""What MLflow's own pages show as the user of a run."""
_PAGE = 1000
_FIGURE = "tflite_bytes"
"""A metric of every run that has a result."""


class Store:
    """Reads and writes projects and runs. Safe to use from several threads and processes.

    Raises OtherSchema where the database is of another version of MLflow, and NewerTare where a project or a run is of a
    version of Tare that this one does not understand.
    """

    def __init__(self, settings: Settings) -> None:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._settings = settings
        settings.folder("projects")
        check_schema(settings)
        self._client = PatientClient(settings.store_uri)

    # --- projects -------------------------------------------------------------------------------------------------

    def add_project(self, project: Project) -> Project:
        """Store a new project and return it with its id; the name gets a number where it is taken."""
        location = None
        if not self._settings.tracking_uri:
            location = (self._settings.folder("artifacts") / secrets.token_hex(8)).as_uri()
        project_id, name = self._create_experiment(project.name, location)
        stored = project.model_copy(update={"project_id": project_id, "name": name})
        self._client.set_experiment_tag(project_id, "tare.project", "yes")
        if project.owner:
            self._client.set_experiment_tag(project_id, _OWNER, project.owner)
        self._write_project(stored)
        return stored

    def _create_experiment(self, name: str, location: str | None) -> tuple[str, str]:
        for number in range(1, 10_000):
            candidate = name if number == 1 else f"{name} ({number})"
            if self._client.get_experiment_by_name(candidate) is None:
                return str(self._client.create_experiment(candidate, artifact_location=location)), candidate
        raise UserError(f"There are too many projects named {name}. Choose another name.")

    def _write_project(self, project: Project) -> None:
        write_whole(self._project_path(project.project_id), project.model_dump_json(indent=1).encode())

    def _project_path(self, project_id: str) -> Path:
        return self._settings.folder("projects") / f"{int(project_id)}.json"

    def project(self, project_id: str) -> Project:
        """Return a project; raises UserError where there is none of that id."""
        try:
            return _project(self._project_path(project_id))
        except (ValueError, OSError):
            raise UserError("There is no project of this address. It may have been deleted.") from None

    def projects(self) -> list[Project]:
        """Return all projects, newest first."""
        found = [_project(path) for path in self._settings.folder("projects").glob("*.json")]
        return sorted(found, key=lambda project: project.created_at, reverse=True)

    def rename_project(self, project_id: str, name: str) -> None:
        """Give a project another name; raises UserError where the name is taken."""
        try:
            self._client.rename_experiment(project_id, name)
        except MlflowException:
            raise UserError(f"A project named {name} exists already. Choose another name.") from None
        self._write_project(self.project(project_id).model_copy(update={"name": name}))

    def delete_project(self, project_id: str) -> None:
        """Remove a project and its runs from view; MLflow keeps them as deleted."""
        name = f"{self.project(project_id).name} (deleted {secrets.token_hex(4)})"
        self._client.rename_experiment(project_id, name)
        self._client.delete_experiment(project_id)
        self._project_path(project_id).unlink()

    # --- runs -----------------------------------------------------------------------------------------------------

    def add_run(self, record: RunRecord) -> RunRecord:
        """Store a new queued run and return it with its id."""
        tags = {
            "tare.state": record.state,
            "tare.recipe": record.recipe.model_dump_json(),
            "tare.baseline": json.dumps(record.is_baseline),
            "tare.owner": current_process(),
            "tare.tags": json.dumps(record.tags),
        }
        if record.owner:
            tags[_OWNER] = record.owner
        if record.parent is not None:
            tags |= {"tare.parent_run_id": record.parent.run_id, "tare.parent_relation": record.parent.relation}
        try:
            run = self._client.create_run(record.project_id, run_name=record.name, tags=tags)
        except MlflowException:
            raise UserError("There is no project of this address. It may have been deleted.") from None
        self._client.update_run(run.info.run_id, status=_STATUS["queued"])
        self._client.log_batch(run.info.run_id, params=_params(record.recipe))
        self._note_change(run.info.run_id)
        return self.run(str(run.info.run_id))

    def run(self, run_id: str) -> RunRecord:
        """Return a run; raises UserError where there is none of that id."""
        try:
            run = self._client.get_run(run_id)
        except MlflowException:
            raise UserError("There is no run of this address. It may have been deleted.") from None
        if run.info.lifecycle_stage != "active" or "tare.recipe" not in run.data.tags:
            raise UserError("There is no run of this address. It may have been deleted.")
        return _record(self._whole(run))

    def runs(self, project_ids: Iterable[str], state: RunState | None = None) -> list[RunRecord]:
        """Return the runs of some projects, oldest first."""
        query = f"tags.`tare.state` = '{state}'" if state else ""
        return [_record(run) for run in self._search(list(project_ids), query, ViewType.ACTIVE_ONLY)]

    def understood_runs(self, project_ids: Iterable[str], state: RunState) -> list[RunRecord]:
        """Return the runs of some projects in a state, oldest first, without those that raise NewerTare."""
        return _understood(self._search(list(project_ids), f"tags.`tare.state` = '{state}'", ViewType.ACTIVE_ONLY))

    def newest_finished(self, project_id: str) -> list[RunRecord]:
        """Return the finished runs of a project, newest first; of many thousands only the newest.

        Those that raise NewerTare are left out.
        """
        query, order = "tags.`tare.state` = 'finished'", ["attributes.start_time DESC"]
        found = self._client.search_runs([project_id], query, ViewType.ACTIVE_ONLY, _PAGE, order)
        return _understood([self._whole(run) for run in found if "tare.recipe" in run.data.tags])

    def changed_runs(self, project_id: str, since: float) -> tuple[list[RunRecord], list[str]]:
        """Return the runs of a project that were changed after a time (seconds since 1970), and the ids of deleted ones.

        Progress counts as no change: it comes twice a second.
        """
        found = self._search([project_id], f"metrics.`{_CHANGED}` > {since:.3f}", ViewType.ALL)
        gone = [str(run.info.run_id) for run in found if run.info.lifecycle_stage != "active"]
        return [_record(run) for run in found if str(run.info.run_id) not in gone], gone

    def _search(self, project_ids: list[str], query: str, view: int) -> list[Run]:
        found: list[Run] = []
        token: str | None = None
        while project_ids:
            page = self._client.search_runs(
                project_ids, query, view, _PAGE, ["attributes.start_time ASC"], page_token=token
            )
            found += map(self._whole, page)
            token = page.token
            if not token:
                break
        return [run for run in found if "tare.recipe" in run.data.tags]

    def _whole(self, run: Run) -> Run:
        """The run, read once more where it finished just while it was read.

        MLflow reads figures and tags one after the other: the state can be newer than the figures, which came before it.
        """
        is_torn = run.data.tags.get("tare.state") == "finished" and _FIGURE not in run.data.metrics
        return self._client.get_run(str(run.info.run_id)) if is_torn else run

    def _note_change(self, run_id: str) -> None:
        """Let readers that know the run already find it with `changed_runs`; MLflow can only compare numbers."""
        self._client.log_metric(run_id, _CHANGED, time.time())

    def label_run(self, run_id: str, labels: dict[str, Any]) -> None:
        """Set some of name, note, tags, starred and archived of a run."""
        name = labels.get("name")
        if name is not None:
            self._client.update_run(run_id, name=name)
        texts = {key: value if key == "note" else json.dumps(value) for key, value in labels.items() if key != "name"}
        self._client.log_batch(run_id, tags=[RunTag(_LABELS[key], text) for key, text in texts.items()])
        self._note_change(run_id)

    def delete_run(self, run_id: str) -> None:
        """Remove a run from view; MLflow keeps it as deleted."""
        self._note_change(run_id)
        self._client.delete_run(run_id)

    def set_state(self, run_id: str, state: RunState, error: str = "") -> None:
        """Move a run to a state, with what went wrong, if anything; raises UserError where the run was deleted."""
        try:
            self._set_state(run_id, state, error)
        except MlflowException:
            raise UserError("This run was deleted.") from None

    def _set_state(self, run_id: str, state: RunState, error: str) -> None:
        now = _now_text()
        tags = [RunTag("tare.state", state), RunTag("tare.error", error)]
        if state == "queued":  # once more
            tags += [RunTag("tare.owner", current_process()), RunTag("tare.ended_at", ""), RunTag("tare.cancel", "")]
        if state == "running":
            tags += [RunTag("tare.started_at", now), RunTag("tare.owner", current_process())]
        ended = state not in ("queued", "running")
        if ended:
            tags += [RunTag("tare.ended_at", now), RunTag("tare.progress", "")]
        self._client.log_batch(run_id, tags=tags)
        if ended:
            self._client.set_terminated(run_id, _STATUS[state])
        else:
            self._client.update_run(run_id, status=_STATUS[state])
        self._note_change(run_id)

    def set_progress(self, run_id: str, progress: Progress) -> None:
        """Note where a running run is."""
        self._client.set_tag(run_id, "tare.progress", progress.model_dump_json())

    def add_note(self, run_id: str, note: str) -> None:
        """Add a sentence about what happened on the way."""
        notes = [*self.run(run_id).notes, note]
        self._client.set_tag(run_id, "tare.notes", json.dumps(notes))
        self._note_change(run_id)

    def request_cancel(self, run_id: str) -> None:
        """Ask whoever executes the run to stop it."""
        self._client.set_tag(run_id, "tare.cancel", "yes")

    def is_cancel_requested(self, run_id: str) -> bool:
        """True where somebody asked to stop the run."""
        return self._client.get_run(run_id).data.tags.get("tare.cancel") == "yes"

    def has_owner(self, run_id: str) -> bool:
        """True where the process that queued or executes the run is still there.

        Processes of another machine count as there only in a shared store: a container that was made anew over the
        same volume has another machine name, and its predecessor is gone.
        """
        owner = str(self._client.get_run(run_id).data.tags.get("tare.owner", ""))
        elsewhere = owner.partition(":")[0] not in ("", os.uname().nodename)
        return bool(self._settings.tracking_uri) if elsewhere else _is_alive(owner)

    def log_curves(self, run_id: str, step: int, values: dict[str, float]) -> None:
        """Add points to live curves ("train/loss", "validation/accuracy", "train/sparsity") at an optimizer step."""
        now = int(time.time() * 1000)
        self._client.log_batch(
            run_id, metrics=[Metric(name, float(value), now, step) for name, value in values.items()]
        )

    def curves(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        """Return the points (optimizer step, value) of every curve of a run."""
        names = [name for name in self._client.get_run(run_id).data.metrics if name.startswith(_CURVES)]
        return {name: _newest_attempt(self._client.get_metric_history(run_id, name)) for name in sorted(names)}

    def log_result(self, run_id: str, result: Result, facts_met: int, facts: int) -> None:
        """Store the measured outcome."""
        now = int(time.time() * 1000)
        values = result.model_dump(exclude=set(_RESULT_TEXT))
        metrics = [Metric(name, float(value), now, 0) for name, value in values.items() if value is not None]
        tags = [RunTag(f"tare.{name}", str(getattr(result, name))) for name in _RESULT_TEXT]
        tags += [RunTag("tare.verified", json.dumps([facts_met, facts]))]
        self._client.log_batch(run_id, metrics=metrics, tags=tags)

    def log_artifacts(self, run_id: str, folder: Path) -> None:
        """Keep every file of a folder as artefacts of a run."""
        here = _local_path(self._client.get_run(run_id).info.artifact_uri)
        if here is None:
            self._client.log_artifacts(run_id, str(folder))
            return
        here.mkdir(parents=True, exist_ok=True)
        for file in folder.iterdir():
            copy_whole(file, here / file.name)

    def artifacts(self, run_id: str) -> list[Artifact]:
        """Return the files that a run left, fetched to this machine where the store is elsewhere."""
        folder = self._artifact_folder(run_id)
        files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
        return [Artifact(name=path.name, path=path, size_bytes=path.stat().st_size) for path in files]

    def _artifact_folder(self, run_id: str) -> Path:
        here = _local_path(self._client.get_run(run_id).info.artifact_uri)
        if here is not None:
            return here
        folder = self._settings.folder("fetched") / run_id
        for item in self._client.list_artifacts(run_id):
            if not item.is_dir and not (folder / item.path).is_file():
                folder.mkdir(exist_ok=True)
                self._client.download_artifacts(run_id, item.path, str(folder))
        return folder


def _project(path: Path) -> Project:
    text = path.read_text()
    try:
        return Project.model_validate_json(text)
    except ValidationError as error:
        raise NewerTare(f"The project in {path}", error) from None


def _local_path(artifact_uri: str) -> Path | None:
    """Return the folder of a URI on this machine; None where it is elsewhere."""
    uri = urlparse(artifact_uri)
    return Path(unquote(uri.path)) if uri.scheme in ("", "file") else None


def _params(recipe: Recipe) -> list[Param]:
    """Every setting; a technique that comes twice has its number in the recipe in front: "2.pruning.frequency"."""
    names = [step.technique for step in recipe.steps]
    return [
        Param(f"{f'{number}.' if step.technique in names[: number - 1] else ''}{step.technique}.{name}", str(value))
        for number, step in enumerate(recipe.steps, start=1)
        for name, value in {**step.params, **(step.fine_tuning or {})}.items()
    ]


def _record(run: Run) -> RunRecord:
    """Return a run as this version understands it; raises NewerTare where it does not."""
    try:
        record = _read_record(run)
    except ValidationError as error:
        raise NewerTare(f"The run {run.info.run_name} ({run.info.run_id})", error) from None
    if problem := why_not_understood(record.recipe):
        raise NewerTare(f"The run {record.name} ({record.run_id})", problem)
    return record


def _understood(runs: Iterable[Run]) -> list[RunRecord]:
    found = []
    for run in runs:
        with contextlib.suppress(NewerTare):  # who opens its project is told
            found.append(_record(run))
    return found


def _read_record(run: Run) -> RunRecord:
    tags = run.data.tags
    progress = tags.get("tare.progress")
    met, facts = json.loads(tags.get("tare.verified", "[0, 0]"))
    return RunRecord.model_validate(
        {
            "run_id": run.info.run_id,
            "project_id": run.info.experiment_id,
            "name": run.info.run_name,
            "recipe": json.loads(tags["tare.recipe"]),
            "is_baseline": json.loads(tags.get("tare.baseline", "false")),
            "state": tags["tare.state"],
            "created_at": datetime.fromtimestamp(run.info.start_time / 1000, UTC),
            "started_at": tags.get("tare.started_at") or None,
            "ended_at": tags.get("tare.ended_at") or None,
            "progress": json.loads(progress) if progress else None,
            "error": tags.get("tare.error", ""),
            "notes": json.loads(tags.get("tare.notes", "[]")),
            "result": _result(run.data.metrics, tags) if tags["tare.state"] == "finished" else None,
            "verified_count": facts,
            "verified_met": met,
            "tags": json.loads(tags.get("tare.tags", "[]")),
            "note": tags.get("mlflow.note.content", ""),
            "starred": json.loads(tags.get("tare.starred", "false")),
            "archived": json.loads(tags.get("tare.archived", "false")),
            "parent": _parent(tags),
            "owner": tags.get(_OWNER, ""),
        }
    )


def _parent(tags: dict[str, str]) -> dict[str, str] | None:
    if "tare.parent_run_id" not in tags:
        return None
    return {"run_id": tags["tare.parent_run_id"], "relation": tags["tare.parent_relation"]}


def _newest_attempt(points: list[Metric]) -> list[tuple[int, float]]:
    """Return (step, value) in order; a run that was repeated counts its steps anew, and only the repeat is shown."""
    kept: list[tuple[int, float]] = []
    for point in sorted(points, key=lambda point: point.timestamp):
        while kept and kept[-1][0] >= point.step:
            kept.pop()
        kept.append((point.step, point.value))
    return kept


def _result(metrics: dict[str, float], tags: dict[str, str]) -> Result | None:
    if any(f"tare.{name}" not in tags for name in _RESULT_TEXT):
        return None
    values: dict[str, Any] = {name: metrics[name] for name in Result.model_fields if name in metrics}
    return Result.model_validate({**values, **{name: tags[f"tare.{name}"] for name in _RESULT_TEXT}})


def current_process() -> str:
    """Return a name of this process that no later process of this machine can have."""
    import psutil

    return f"{os.uname().nodename}:{os.getpid()}:{psutil.Process().create_time()}"


def _is_alive(owner: str) -> bool:
    """True where the process of this machine that `current_process` named still runs."""
    import psutil

    _, _, rest = owner.partition(":")
    pid, _, created = rest.partition(":")
    try:
        return str(psutil.Process(int(pid)).create_time()) == created
    except (psutil.NoSuchProcess, ValueError):
        return False


def _now_text() -> str:
    return datetime.now(UTC).isoformat()
