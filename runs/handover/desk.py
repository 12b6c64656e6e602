"""Where finished runs are handed over: the part of the service that writes a run down for others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from intake.errors import UserError
from runs.handover.files import EVERYTHING, HANDOVERS, Asked, Files, Handover, handover, written, zipped
from runs.handover.source import FinishedRun, Inputs, ReportWriter
from runs.paths import prepared_folder, samples_folder, upload_path
from runs.plan import stored_plan
from runs.records import Project

if TYPE_CHECKING:
    from runs.service import Service


class HandoverDesk:
    """Hands finished runs of a service over.

    Args:
        service: whose runs.
        reports: writes reports; None where nobody can.
    """

    def __init__(self, service: Service, reports: ReportWriter | None) -> None:
        self._service, self._reports = service, reports

    def ways(self, project: Project) -> list[tuple[Handover, str]]:
        """Return the ways to hand over a finished run of a project, each with why it cannot be now, or ""."""
        try:
            self.inputs(project)
            problem = ""
        except OSError as error:
            problem = " ".join(_no_longer_stored(error).problems)
        return [(entry, problem if entry.repeats else "") for entry in HANDOVERS]

    def one_file(self, run_id: str, kind: str) -> tuple[str, bytes]:
        """Return a finished run as one file to download: its name, and its content.

        Raises:
            UserError: there is no such run or kind, the run has no result, or a file that it needs is gone.
        """
        finished, entry = self.finished(run_id), handover(kind)
        files, name = self._files(finished, entry), entry.file_name(finished.stem)
        if entry.suffix == ".zip":
            return name, zipped(files, Path(name).stem)
        content = next(iter(files.values()))
        return name, content if isinstance(content, bytes) else content.read_bytes()

    def export(self, run_id: str, kind: str, folder: Path) -> list[Path]:
        """Write a finished run in a folder and return the files; raises UserError as `one_file`."""
        if kind == EVERYTHING:
            name, content = self.one_file(run_id, kind)
            return written({name: content}, folder)
        return written(self._files(self.finished(run_id), handover(kind)), folder)

    def comparison(self, run_ids: Sequence[str]) -> tuple[str, bytes]:
        """Return a report of several runs of one project, in their order: name and content of an HTML file.

        Raises:
            UserError: fewer than two runs, runs of several projects, or a run without result.
        """
        runs = [self.finished(run_id) for run_id in dict.fromkeys(run_ids)]
        if len(runs) < 2:
            raise UserError("A comparison needs at least two runs. Choose more.")
        if len({finished.project.project_id for finished in runs}) > 1:
            raise UserError("Only runs of one project can be compared: others have another model, data or metric.")
        try:
            html = self._writer().of_comparison(runs[0].project, runs)
        except OSError as error:
            raise _no_longer_stored(error) from None
        return f"{Path(runs[0].project.model.file_name).stem}-{len(runs)}-runs.html", html.encode()

    def finished(self, run_id: str) -> FinishedRun:
        """Return a run with its files; raises UserError where it has no result."""
        run = self._service.run(run_id)
        if run.result is None or run.state != "finished":
            raise UserError("This run has no result to hand over. Wait for it, or run it again.")
        measured = [other for other in self._service.runs(run.project_id) if other.is_baseline and other.result]
        baseline = measured[-1] if measured and not run.is_baseline else None
        project, artifacts = self._service.project(run.project_id), tuple(self._service.artifacts(run_id))
        return FinishedRun(run, run.result, project, baseline, self._service.report(run_id), artifacts)

    def inputs(self, project: Project) -> Inputs:
        """Return what the runs of a project begin with; raises OSError where something is no longer stored."""
        settings, model_id = self._service.settings, project.model.upload_id
        plan = stored_plan(settings, model_id)
        if plan is None:
            raise FileNotFoundError(2, "not stored", "plan.json")
        return Inputs(
            model_info=self._service.model_info(project),
            dataset_info=self._service.dataset_info(project),
            layers=plan.layers,
            uploaded_model=_there(upload_path(settings, project.model)),
            clean_model=_there(prepared_folder(settings, model_id) / "model.h5"),
            uploaded_dataset=_there(upload_path(settings, project.dataset)) if project.dataset else None,
            parsed=samples_folder(settings, model_id, project.dataset_id, project.options),
        )

    def _files(self, finished: FinishedRun, entry: Handover) -> Files:
        try:
            return entry.files(Asked(finished, lambda: self.inputs(finished.project), lambda: self._report(finished)))
        except OSError as error:
            raise _no_longer_stored(error) from None

    def _report(self, finished: FinishedRun) -> str:
        samples = partial(self._service.test_samples, finished.project)
        return self._writer().of_run(finished, self._service.curves(finished.run.run_id), samples)

    def _writer(self) -> ReportWriter:
        if self._reports is None:
            raise UserError("This process has nothing to write reports with. Use the page of the run, or cli.py.")
        return self._reports


def _there(path: Path) -> Path:
    """Return the path of a file; raises OSError where there is none."""
    path.stat()
    return path


def _no_longer_stored(error: OSError) -> UserError:
    name = Path(str(error.filename or error)).name
    return UserError(f"A file that this needs is no longer stored ({name}). Run it again.")
