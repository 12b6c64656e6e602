"""The only names that pages and the command line may call, together with those of runs/files_in.py."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from contextvars import copy_context
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from intake.dataset_info import DatasetInfo, DatasetOptions
from intake.errors import InvalidParams, UserError
from intake.fit import Fit, FitOverrides
from intake.model_info import ModelInfo
from intake.tasks import check_fit
from optimizers.fine_tuning import FineTuning, suggested
from optimizers.recipe import Recipe, RecipeStep, with_suggested_epochs
from optimizers.suitability import Shape, unsuited_choices, unsuited_settings
from optimizers.sweep import Point
from optimizers.technique import Technique
from runs.checkpoints import forget_checkpoint, resumable_epochs
from runs.checks import check_layers, check_points
from runs.continuing import check_parent
from runs.durations import expected_seconds
from runs.executor import LocalExecutor, mark
from runs.files_in import FilesIn, Prepared
from runs.handover.source import TFLITE
from runs.home_lock import HomeLock
from runs.jobs import Job
from runs.known_runs import KnownRuns
from runs.labels import cleaned_labels
from runs.moved_home import point_to_home
from runs.paths import prepared_folder, samples_folder
from runs.people import owner_now
from runs.plan import stored_plan
from runs.records import ACTIVE_STATES, RESUMABLE_STATES, Artifact, Parent, Project, RunRecord
from runs.report import RunReport, read_report
from runs.sensitivities import Sensitivities
from runs.settings import Settings
from runs.shown_samples import ShownSamples, shown_samples
from runs.speed_job import read_speeds, timing_request
from runs.store import Store
from runs.try_desk import TryDesk
from runs.worker_folder import remove_leftovers

if TYPE_CHECKING:
    from runs.handover.desk import HandoverDesk
    from runs.handover.source import ReportWriter
    from runs.operation_desk import OperationDesk

EXAMPLE_MODEL = Path(__file__).parent.parent / "samples" / "digits_cnn.keras"
EXAMPLE_DATASET = Path(__file__).parent.parent / "samples" / "digits.npz"
WAIT_SECONDS = 0.5
INTERRUPTED = "The program ended while this run was at work. Resume it, or run it again."
EXAMPLE_NAME = "Example: handwritten digits"


class Service(FilesIn):
    """One per process. Thread-safe."""

    def __init__(self, settings: Settings | None = None, reports: ReportWriter | None = None) -> None:
        """`reports` writes reports: the one of `ui.run_report`, which this room must not know."""
        settings = settings or Settings()
        self._store = Store(settings)
        super().__init__(settings, LocalExecutor(settings, self._store))
        self._reports = reports
        self._known = KnownRuns(self._store)
        self.home_lock = HomeLock(settings.folder(""))
        self.tries = TryDesk(self, self._executor)

    def start(self) -> None:
        """Warm the workers up, and take over what an ended process left: queued runs run, running ones are over.

        Raises UserError where another dashboard is using the home folder.
        """
        self.home_lock.take()
        remove_leftovers(self.settings)
        point_to_home(self.settings)
        self._executor.start()
        project_ids = [project.project_id for project in self.projects()]
        for run in self._store.understood_runs(project_ids, "running"):
            if not self._store.has_owner(run.run_id):
                self._store.set_state(run.run_id, "interrupted", INTERRUPTED)
        for run in self._store.understood_runs(project_ids, "queued"):
            if not self._store.has_owner(run.run_id):
                self._executor.submit(run.run_id)

    def stop(self) -> None:
        """End the workers that this process started; what they had not finished is interrupted."""
        for run_id in self._executor.stop():
            mark(self._store, run_id, "interrupted", INTERRUPTED)
        self.home_lock.release()

    # --- projects -------------------------------------------------------------------------------------------------

    def create_project(
        self, name: str, model_upload_id: str, dataset_upload_id: str | None, options: DatasetOptions, fit: Fit
    ) -> Project:
        """Store a project and queue its baseline.

        Without a dataset the inputs are random. `options` are those that the dataset was inspected with. Raises UserError (DoesNotFit) where
        model, dataset and fit do not go together; then nothing is stored.
        """
        model_info = self.inspect_model(model_upload_id).wait()
        dataset_info = self._inspect_samples(model_upload_id, dataset_upload_id, options).wait()
        check_fit(model_info, dataset_info, fit)
        project = self._store.add_project(
            Project(
                project_id="",
                name=" ".join(name.split())[:120] or "Untitled",
                model=self.upload(model_upload_id),
                dataset=self.upload(dataset_upload_id) if dataset_upload_id else None,
                options=options,
                fit=fit,
                created_at=datetime.now(UTC),
                owner=owner_now(),
            )
        )
        self._submit(project.project_id, Recipe(), "Baseline", is_baseline=True)
        return project

    def project_of(self, name: str, prepared: Prepared) -> Project:
        """Return the project of exactly these files, options and fit; creates it where there is none."""
        for project in self.projects():
            same_files = (project.model.upload_id, project.dataset_id) == (prepared.model_id, prepared.dataset_id)
            if same_files and project.options == prepared.options and project.fit == prepared.report.fit:
                return project
        return self.create_project(name, prepared.model_id, prepared.dataset_id, prepared.options, prepared.report.fit)

    def create_example(self) -> Job:
        """Create the built-in project in the background. The job's result is the Project."""
        with self._lock:
            job = self._jobs.get("example")
            if job is None or job.is_done:
                job = self._jobs["example"] = Job("Preparing the example")
                as_now = copy_context()  # whoever asks for it owns it, in another thread too
                threading.Thread(target=as_now.run, args=(self._create_example, job), daemon=True).start()
            return job

    def example_job(self) -> Job | None:
        """Return the newest job of `create_example`, to look at it again; None where nobody called it."""
        with self._lock:
            return self._jobs.get("example")

    def _create_example(self, job: Job) -> None:
        try:
            prepared = self.prepare(EXAMPLE_MODEL, EXAMPLE_DATASET, DatasetOptions(), FitOverrides(), job)
            job.report(0.9, "Creating the project")
            job.finish(self.project_of(EXAMPLE_NAME, prepared))
        except UserError as error:
            job.fail(error.problems)
        except Exception as error:  # nobody else would end the job, and a page waits for it
            job.fail((f"This is a fault in Tare, not in your files: {error!r}",))

    def projects(self) -> list[Project]:
        """Return all projects, newest first."""
        return self._store.projects()

    def project(self, project_id: str) -> Project:
        """Return a project; raises UserError where there is none of that id."""
        return self._store.project(project_id)

    def rename_project(self, project_id: str, name: str) -> None:
        """Give a project another name; raises UserError where it is taken."""
        self._store.rename_project(project_id, " ".join(name.split())[:120] or "Untitled")

    def delete_project(self, project_id: str) -> None:
        """Remove a project and its runs; runs at work are cancelled first."""
        for run in self.runs(project_id):
            if run.is_active:
                self.cancel(run.run_id)
        self._store.delete_project(project_id)

    # --- runs -----------------------------------------------------------------------------------------------------

    @property
    def handovers(self) -> HandoverDesk:
        """What hands finished runs over: as script, notebook, C array, report or zip, and several as a comparison."""
        from runs.handover.desk import HandoverDesk

        return HandoverDesk(self, self._reports)

    @property
    def sensitivities(self) -> Sensitivities:
        """What each layer costs by itself under the recipe of a run."""
        return Sensitivities(self, self._job, self._jobs.get)

    @property
    def operations(self) -> OperationDesk:
        """What measures the time of each operation of finished runs."""
        from runs.operation_desk import OperationDesk

        return OperationDesk(self)

    def suggested_fine_tuning(self, project: Project, entry: Technique) -> FineTuning | None:
        """Return a technique's default settings, with enough epochs for a small dataset; None where it trains not."""
        if entry.fine_tuning is None:
            return None
        try:
            return suggested(entry.fine_tuning, self.dataset_info(project).train_samples)
        except OSError:  # the parsed copy is a cache; whoever cleared it gets it back with the next run
            return entry.fine_tuning

    def unsuited_choices(self, project: Project) -> dict[str, dict[Any, str]]:
        """Return fine-tuning setting -> choice -> why this project has no use for it, in a sentence."""
        return unsuited_choices(project.fit, self._input_shapes(project))

    def check_settings(self, recipe: Recipe, project: Project) -> None:
        """Raise InvalidParams where a step's fine-tuning settings do not go with the project; all problems at once."""
        shapes, validation = self._input_shapes(project), self._validation_samples(project)
        problems = [
            problem
            for step in recipe.steps
            if step.settings is not None
            for problem in unsuited_settings(step.settings, project.fit, shapes, validation)
        ]
        if problems:
            raise InvalidParams(list(dict.fromkeys(problems)))

    def _input_shapes(self, project: Project) -> tuple[Shape, ...] | None:
        try:
            return self.model_info(project).input_shapes
        except OSError:  # the prepared copy is a cache, as is the parsed one
            return None

    def _validation_samples(self, project: Project) -> int | None:
        try:
            return self.dataset_info(project).validation_samples
        except OSError:
            return None

    def with_suggested_epochs(self, project: Project, steps: Sequence[RecipeStep]) -> list[RecipeStep]:
        """Return steps of a recipe file, with the epochs that a dataset of this size needs where they say none."""
        try:
            return with_suggested_epochs(steps, self.dataset_info(project).train_samples)
        except OSError:
            return list(steps)

    def submit(self, project_id: str, recipe: Recipe, name: str = "", parent: Parent | None = None) -> RunRecord:
        """Queue a recipe.

        Args:
            project_id: where it belongs.
            recipe: all steps, also those of a run that it continues.
            name: of the run; its number and its recipe where it is empty.
            parent: the run that it came of.

        Raises:
            UserError: the project is gone, cannot be trained with the recipe's settings, or has no layer for it to act
                on; or it continues a run that it cannot continue.
        """
        project = self.project(project_id)
        self.check_settings(recipe, project)
        plan = stored_plan(self.settings, project.model.upload_id)
        if plan is not None:
            check_layers(recipe, plan.layers)
        if parent is not None:
            check_parent(parent, project_id, recipe, self._store)
        name = _short(name) or f"{self._next_number(project_id)} · {recipe.title}"
        return self._submit(project_id, recipe, name, parent=parent)

    def _next_number(self, project_id: str) -> int:
        return sum(not run.is_baseline for run in self.runs(project_id)) + 1

    def submit_sweep(
        self,
        project_id: str,
        points: Sequence[Point],
        name: str = "",
        *,
        confirmed: bool = False,
        parent: Parent | None = None,
    ) -> list[RunRecord]:
        """Queue each point of a grid (`optimizers.sweep.expand`) as a run of its own, all with one tag.

        Args:
            project_id: where they belong.
            points: the grid.
            name: the tag, and the beginning of each name; a tag like "sweep:3fa9c1" where it is empty.
            confirmed: whether somebody said yes to a grid of more than `optimizers.sweep.MANY_POINTS`.
            parent: the run that they came of.

        Raises:
            UserError: as `submit`, with the problems of all points; then nothing is queued.
        """
        project = self.project(project_id)
        plan = stored_plan(self.settings, project.model.upload_id)
        checks = [lambda recipe: self.check_settings(recipe, project)]
        if plan is not None:
            checks.append(lambda recipe: check_layers(recipe, plan.layers))
        if parent is not None:
            checks.append(lambda recipe: check_parent(parent, project_id, recipe, self._store))
        check_points(points, checks, confirmed)
        tag = _short(name) or f"sweep:{secrets.token_hex(3)}"
        first = self._next_number(project_id)
        return [
            self._submit(
                project_id,
                point.recipe,
                _short(f"{_short(name) or first + index} · {point.label}"),
                tags=(tag,),
                parent=parent,
            )
            for index, point in enumerate(points)
        ]

    def expected_seconds(self, project: Project, recipes: Sequence[Recipe]) -> float | None:
        """Return how long these runs will take one after another, by the runs before; None where none tells."""
        try:
            train_samples = self.dataset_info(project).train_samples
        except OSError:
            return None
        return expected_seconds(recipes, self.runs(project.project_id), train_samples)

    def _submit(
        self,
        project_id: str,
        recipe: Recipe,
        name: str,
        is_baseline: bool = False,
        tags: tuple[str, ...] = (),
        parent: Parent | None = None,
    ) -> RunRecord:
        record = RunRecord(
            run_id="",
            project_id=project_id,
            name=name,
            recipe=recipe,
            is_baseline=is_baseline,
            state="queued",
            created_at=datetime.now(UTC),
            tags=tags,
            parent=parent,
            owner=owner_now(),
        )
        stored = self._store.add_run(record)
        self._executor.submit(stored.run_id)
        return stored

    def cancel(self, run_id: str) -> None:
        """Stop a run wherever it is; a run that has ended stays as it is."""
        if not self.run(run_id).is_active:
            return
        self._store.request_cancel(run_id)
        self._executor.cancel(run_id)
        if self.run(run_id).is_active and not self._store.has_owner(run_id):
            self._store.set_state(run_id, "cancelled")
            forget_checkpoint(self.settings, run_id)

    def resumable_epochs(self, run: RunRecord) -> int:
        """Return after how many epochs `resume` would go on; 0 where the run cannot be resumed."""
        return resumable_epochs(self.settings, run.run_id) if run.state in RESUMABLE_STATES else 0

    def resume(self, run_id: str) -> None:
        """Queue a run that was interrupted or failed once more: it goes on from its checkpoint.

        Raises UserError where it has ended otherwise, or is at work.
        """
        run = self.run(run_id)
        if run.state not in RESUMABLE_STATES:
            raise UserError(f"Only a run that was interrupted or failed can be resumed, and {run.name} is {run.state}.")
        self._store.set_state(run_id, "queued")
        self._executor.submit(run_id)

    def run_again(self, run_id: str) -> RunRecord:
        """Queue the recipe of a run once more in the same project."""
        run = self.run(run_id)
        return self._submit(run.project_id, run.recipe, run.name, run.is_baseline, run.tags, run.parent)

    def label_run(
        self,
        run_id: str,
        *,
        name: str | None = None,
        note: str | None = None,
        tags: Sequence[str] | None = None,
        starred: bool | None = None,
        archived: bool | None = None,
    ) -> None:
        """Change what people say of a run; None leaves as it is. Raises UserError where there is no such run."""
        self.run(run_id)
        given = {"name": name, "note": note, "tags": tags, "starred": starred, "archived": archived}
        self._store.label_run(run_id, cleaned_labels(given))

    def delete_run(self, run_id: str) -> None:
        """Remove an ended run; raises UserError while it is queued or running."""
        if self.run(run_id).is_active:
            raise UserError("This run is still at work. Cancel it first.")
        self._store.delete_run(run_id)
        forget_checkpoint(self.settings, run_id)

    def run(self, run_id: str) -> RunRecord:
        """Return a run; raises UserError where there is none of that id."""
        return self._store.run(run_id)

    def runs(self, project_id: str) -> list[RunRecord]:
        """Return the runs of a project, oldest first."""
        return self._known.of(project_id)

    def active_runs(self) -> list[RunRecord]:
        """Return all queued and running runs of all projects, oldest first."""
        ids = [project.project_id for project in self.projects()]
        return [run for state in reversed(ACTIVE_STATES) for run in self._store.runs(ids, state)]

    def queue_position(self, run_id: str) -> int:
        """Return how many runs are ahead of a queued one in this process, 0 where it is next or not queued."""
        return self._executor.position(run_id)

    def wait(self, run_id: str) -> RunRecord:
        """Block until a run has ended, in this process or in another that is alive, and return it."""
        self._executor.wait(run_id)
        while (run := self.run(run_id)).is_active and self._store.has_owner(run_id):
            time.sleep(WAIT_SECONDS)
        return run

    def baseline(self, project_id: str) -> RunRecord:
        """Return the latest baseline of a project; queues a new one where none is finished or at work."""
        baselines = [run for run in self.runs(project_id) if run.is_baseline]
        found = [run for run in baselines if run.result or (run.is_active and self._store.has_owner(run.run_id))]
        return found[-1] if found else self._submit(project_id, Recipe(), "Baseline", is_baseline=True)

    def curves(self, run_id: str) -> dict[str, list[tuple[int, float]]]:
        """Return curve -> points (optimizer step, value): "train/loss", "validation/accuracy", "train/sparsity"."""
        return self._store.curves(run_id)

    def log(self, run_id: str, last_lines: int = 400) -> str:
        """Return the end of a run's log."""
        path = self.settings.folder("logs") / f"{self.run(run_id).run_id}.log"
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 200 * last_lines))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-last_lines:])

    def artifacts(self, run_id: str) -> list[Artifact]:
        """Return the files that a run left."""
        return self._store.artifacts(run_id)

    def report(self, run_id: str) -> RunReport | None:
        """Return verified facts, layer table and environment of a finished run; None where there are none.

        Raises UserError (NewerTare) where a newer version wrote them.
        """
        return read_report(self.artifacts(run_id))

    def speed(self, run_id: str, threads: int) -> Job | None:
        """Return the newest job of `measure_speed` with these arguments; None where there is none."""
        with self._lock:
            return self._jobs.get(f"speed:{run_id}:{threads}")

    def measure_speed(self, run_id: str, threads: int) -> Job:
        """Measure calls of a run's file and of the baseline's in turns, in the worker, when it has time.

        The job's result is a tuple of `measure.speed.Speed`: that of the run, and of the baseline where there is
        another. Raises UserError where the run left no file.
        """
        project = self.project(self.run(run_id).project_id)
        request = timing_request("speed", project, self.files_beside_baseline(run_id), threads)
        return self.job_anew(f"speed:{run_id}:{threads}", "Measuring the speed", request, read_speeds)

    def files_beside_baseline(self, run_id: str) -> list[Path]:
        """Return the `.tflite` of a run, and that of the newest baseline where the run is none and there is one.

        Raises UserError where the run left no file.
        """
        run = self.run(run_id)
        baselines = [one for one in self.runs(run.project_id) if one.is_baseline and one.result]
        own, *others = [self._tflite(one.run_id) for one in ([run] if run.is_baseline else [run, *baselines[-1:]])]
        if own is None:
            raise UserError("This run left no .tflite file. Run it again.")
        return [own, *(other for other in others if other)]

    def _tflite(self, run_id: str) -> Path | None:
        return next((file.path for file in self.artifacts(run_id) if file.name == TFLITE), None)

    def test_samples(self, project: Project, rows: Sequence[int]) -> ShownSamples:
        """Return some samples of the test part to look at; none where they are no longer stored."""
        folder = samples_folder(self.settings, project.model.upload_id, project.dataset_id, project.options)
        try:
            return shown_samples(folder, rows)
        except (OSError, ValueError):  # the parsed copy is a cache; the next run makes it again
            return ShownSamples()

    def model_info(self, project: Project) -> ModelInfo:
        """Return what is known of a project's model; raises OSError where that is no longer stored."""
        path = prepared_folder(self.settings, project.model.upload_id) / "info.json"
        try:
            return ModelInfo.model_validate_json(path.read_text())
        except ValidationError:  # an older version wrote it; the next run writes it again
            raise FileNotFoundError(path) from None

    def dataset_info(self, project: Project) -> DatasetInfo:
        """Return what is known of a project's samples; raises OSError where that is no longer stored."""
        folder = samples_folder(self.settings, project.model.upload_id, project.dataset_id, project.options)
        return DatasetInfo.model_validate_json((folder / "info.json").read_text())


def _short(name: str) -> str:
    return " ".join(name.split())[:120]
