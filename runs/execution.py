"""One run in the worker: load, optimize, export, measure, store."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intake.agreement import Tolerances, agreement_scores
from intake.augmentation import Augmentation
from intake.dataset_info import RANDOM_INPUTS_NOTE
from intake.datasets import Dataset
from intake.errors import DoesNotFit
from intake.fit import Fit
from intake.models import PREPARED_MODEL, load_prepared, save_as_uploaded
from intake.preprocessing import apply_labels, model_inputs
from intake.representative import representative_samples
from intake.stored_answers import StoredAnswers
from intake.tasks import interval_of, sample_scores
from intake.teacher import Teacher
from intake.training_batches import TrainingPart, training_batches
from measure.behaviour_recorder import BehaviourRecorder
from measure.export import Conversion, convert
from measure.facts import Fact
from measure.layer_errors import SAMPLES, layer_errors
from measure.layers import tensor_rows
from measure.litert import latency_ms, predict
from measure.packed_files import packed_files
from measure.sizes import measure_sizes
from measure.weights import WeightTensor, read_weights
from optimizers.apply import Done, Optimized, apply_recipe
from optimizers.estimate import EstimatedSizes
from optimizers.fine_tuning import ENOUGH_STEPS, FineTuning
from optimizers.promises import broken
from runs.checkpoints import RunCheckpoints, forget_checkpoint
from runs.continuing import steps_done
from runs.layer_outcomes import LayerOutcome, layer_outcomes
from runs.paths import answers_path, log_path, prepared_folder, scratch_folder, upload_path
from runs.plan import ensure_plan, estimator_of, float_file
from runs.progress import MEASURING_ENDS, MEASURING_STARTS, TRAINING_ENDS, ProgressReporter
from runs.records import Project, Result, RunRecord
from runs.report import RunReport
from runs.settings import Settings
from runs.store import Store
from runs.whole_files import write_whole
from runs.worker import ensure_parsed, ensure_prepared

log = logging.getLogger("tare")
EVALUATION_BYTES = 256 * 2**20
"""Preprocessed test samples that are evaluated at a time, to bound memory."""
MEASURING = "Measuring the .tflite on the test part"
LIBRARIES = ("tensorflow", "tf-keras", "keras", "tensorflow-model-optimization", "ai-edge-litert", "numpy")


class ProjectData:
    """A project's dataset, fitted to its model: what `optimizers.apply.TrainingData` asks for.

    Args:
        dataset: its samples.
        fit: how they go to the model.
        teacher: the uploaded model, for agreement.
    """

    def __init__(self, dataset: Dataset, fit: Fit, teacher: Teacher) -> None:
        self.dataset, self.fit, self._teacher = dataset, fit, teacher
        self.train_samples = dataset.info.train_samples
        self.validation_samples = dataset.info.validation_samples
        self._tolerated: Tolerances | None = None

    def batches(self, settings: FineTuning) -> Any:
        """Preprocessed, shuffled training batches; of the validation part too where the settings say so."""
        return self._batches(
            settings,
            "train_and_validation" if settings.train_on_validation and self.validation_samples else "train",
            balanced=settings.class_weight == "balanced",
            augmentation=Augmentation(settings.flips, settings.shifts_by),
        )

    def validation(self, settings: FineTuning) -> Any:
        """Preprocessed validation batches; None where there is no such part, or it is trained on."""
        if not self.validation_samples or settings.train_on_validation:
            return None
        return self._batches(settings, "validation")

    def _batches(self, settings: FineTuning, part: TrainingPart, **changes: Any) -> Any:
        fit, teacher = self._fit_for(settings), settings.distillation_alpha > 0 and self.fit.task != "agreement"
        return training_batches(
            self.dataset, fit, settings.batch_size, settings.seed, part, self._teacher, with_teacher=teacher, **changes
        )

    def representative(self, count: int, seed: int) -> tuple[np.ndarray, ...]:
        """For each input float32 (count or fewer, *input_shape), from the training part."""
        return representative_samples(self.dataset, self.fit, count, seed)

    def some_test_inputs(self, count: int) -> tuple[np.ndarray, ...]:
        """For each input float32 (count or fewer, *input_shape), evenly spread over the test part."""
        last = self.dataset.info.test_samples - 1
        rows = np.unique(np.linspace(0, last, min(count, last + 1)).astype(int))
        return model_inputs(self.fit, [array[rows] for array in self.dataset.part("test").arrays])

    def test_inputs(self, chunk_bytes: int) -> Iterator[tuple[slice, tuple[np.ndarray, ...]]]:
        """Yield (rows, preprocessed inputs) of the test part, about `chunk_bytes` of inputs at a time."""
        sample_bytes = sum(array.nbytes for array in self.representative(1, 0))
        chunk, count = max(1, chunk_bytes // sample_bytes), self.dataset.info.test_samples
        for start in range(0, count, chunk):
            rows = slice(start, min(start + chunk, count))
            yield rows, model_inputs(self.fit, [array[rows] for array in self.dataset.part("test").arrays])

    def test_judge(
        self, rows: slice, inputs: Sequence[np.ndarray]
    ) -> Callable[[Sequence[np.ndarray]], NDArray[np.float64]]:
        """Return what turns the answers to some test samples into the metric of each, float64 (n,)."""
        fit = self.fit
        if fit.task == "agreement":
            originals = self.test_originals(rows, inputs)
            if self._tolerated is None:
                self._tolerated = self._teacher.tolerances("test")
            tolerated = self._tolerated
            return lambda answers: agreement_scores(fit, answers, originals, tolerated)
        truth = self.test_truth(rows, inputs)
        assert truth is not None  # only agreement goes without
        return lambda answers: sample_scores(fit, answers[0], truth)

    def test_truth(self, rows: slice, inputs: Sequence[np.ndarray]) -> np.ndarray | None:
        """What is right for some test samples, as `apply_labels` returns it; None where only the original tells."""
        if self.fit.task == "agreement":
            return None
        labels = self.dataset.y_test
        return apply_labels(self.fit, self.dataset.info, None if labels is None else labels[rows], inputs[0])

    def test_originals(self, rows: slice, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the uploaded model answers to some test samples, for each output float32 (n, *output_shape)."""
        return self._teacher.answers("test", rows, inputs)

    def _fit_for(self, settings: FineTuning) -> Fit:
        """Labels are encoded for the loss in force."""
        return self.fit if settings.loss == "auto" else self.fit.model_copy(update={"loss": settings.loss})


class Execution:
    """Carries one stored run out. Raises UserError for what the user can mend."""

    def __init__(self, run_id: str, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._record: RunRecord = store.run(run_id)
        self._project: Project = store.project(self._record.project_id)
        self._progress = ProgressReporter(store, run_id)
        self._started = time.monotonic()
        self._one_dnn = os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0"

    def _trains(self) -> bool:
        return any(step.settings is not None for step in self._record.recipe.steps)

    def run(self) -> str:
        """Load, optimize, export, measure, store.

        Returns:
            What the exported file does not keep of what was asked, in sentences; "" where it keeps everything.
        """
        log.info("Run %s: %s", self._record.run_id, self._record.recipe.title)
        self._progress.phase("Loading model and data", 0.0)
        folder = scratch_folder(self._settings, self._record.run_id)
        shutil.rmtree(folder, ignore_errors=True)  # a first attempt that crashed leaves its files
        ensure_prepared(self._settings, self._project.model)
        model = load_prepared(prepared_folder(self._settings, self._project.model.upload_id))
        self._plan = ensure_plan(self._settings, self._project.model.upload_id, model)
        data = self._load_data(model, folder / "teacher")
        self._note_random_inputs()
        done = self._steps_done(model, folder / "continued")
        optimized, training_s = self._optimize(model, data, done)
        self._note_few_steps()
        for note in optimized.notes:
            self._store.add_note(self._record.run_id, note)
        self._progress.phase("Converting to .tflite", TRAINING_ENDS)
        tflite = self._convert(optimized.to_convert, optimized.conversion, data)
        self._progress.phase(MEASURING, MEASURING_STARTS)
        (folder / "files").mkdir(parents=True)
        lost = self._measure(optimized, tflite, data, folder / "files", training_s)
        shutil.rmtree(folder)
        forget_checkpoint(self._settings, self._record.run_id)
        return "\n".join(lost)

    def _note_random_inputs(self) -> None:
        if self._project.dataset is None and RANDOM_INPUTS_NOTE not in self._record.notes:
            self._store.add_note(self._record.run_id, RANDOM_INPUTS_NOTE)

    def _note_few_steps(self) -> None:
        steps = self._progress.total_steps
        if 0 < steps < ENOUGH_STEPS // 2:
            self._store.add_note(
                self._record.run_id,
                f"Fine-tuning had only {steps} optimizer steps, which rarely recovers the accuracy that a technique "
                "takes. More epochs or a smaller batch size give it more.",
            )

    def _load_data(self, model: Any, teacher_folder: Path) -> ProjectData:
        project = self._project
        dataset = ensure_parsed(self._settings, project.model, project.dataset, project.options)
        model_file = prepared_folder(self._settings, project.model.upload_id) / PREPARED_MODEL
        stored = StoredAnswers(answers_path(self._settings, project, dataset.info), model_file)
        self._output_names = list(model.output_names)
        self._changes = BehaviourRecorder(project.fit, dataset.info.class_names, self._output_names)
        return ProjectData(dataset, project.fit, Teacher(model, dataset, project.fit, teacher_folder, stored))

    def _steps_done(self, model: Any, folder: Path) -> Done | None:
        """What another run has done already; this one is told, once where it is repeated."""
        versions = _versions() if self._settings.reuse_steps and self._one_dnn else {}
        done, said = steps_done(self._record, self._project, self._store, model, folder, versions)
        if said and said not in self._record.notes:
            log.info(said)
            self._store.add_note(self._record.run_id, said)
        return done

    def _optimize(self, model: Any, data: ProjectData, done: Done | None) -> tuple[Optimized, float]:
        recipe, progress, before = self._record.recipe, self._progress, time.monotonic()
        checkpoints = RunCheckpoints(self._settings, self._record, self._project)
        optimized = apply_recipe(model, recipe, data, progress.on_step, progress.on_epoch, done, checkpoints)
        trained = any(step.settings is not None for step in recipe.steps[done.steps if done else 0 :])
        return optimized, time.monotonic() - before if trained else 0.0

    def _convert(self, model: Any, conversion: Conversion, data: ProjectData) -> bytes:
        log.info("Converting to %s", conversion.number_format)
        floats = self._float_file()
        count = conversion.representative_samples
        if conversion == Conversion() and floats is not None:
            return floats
        return convert(model, conversion, data.representative(count, self._seed()) if count else None, floats)

    def _float_file(self) -> bytes | None:
        """The float32 file that the plan was made from; None where training has changed the weights since."""
        if self._trains():
            return None
        if self._plan.problem:
            raise DoesNotFit(self._plan.problem)
        return float_file(self._settings, self._project.model.upload_id).read_bytes()

    def _seed(self) -> int:
        """The seed of the last step that has one."""
        seeds = [{**step.params, **(step.fine_tuning or {})}.get("seed") for step in self._record.recipe.steps]
        return next((seed for seed in reversed(seeds) if seed is not None), 0)

    def _measure(
        self, optimized: Optimized, tflite: bytes, data: ProjectData, folder: Path, training_s: float
    ) -> list[str]:
        """Measure and store; return what the file does not keep."""
        packed = packed_files(tflite)
        for name, content in {"model.tflite": tflite, **packed}.items():
            write_whole(folder / name, content)
        info = ensure_prepared(self._settings, self._project.model)
        upload = upload_path(self._settings, self._project.model)
        saved = save_as_uploaded(optimized.plain, upload, info, folder)
        tensors = read_weights(tflite)
        verified = [(claim, claim.verify(tensors)) for claim in optimized.claims]
        result = Result(
            **measure_sizes(tflite, packed, tensors, saved).model_dump(),
            **self._quality(optimized.to_convert, tflite, data),
            latency_ms=latency_ms(tflite, data.representative(1, 0)),
            test_samples=data.dataset.info.test_samples,
            training_s=training_s,
            duration_s=time.monotonic() - self._started,
        )
        self._store_outcome(result, [fact for _, facts in verified for fact in facts], tensors, data, folder)
        return broken(verified)

    def _quality(self, model: Any, tflite: bytes, data: ProjectData) -> dict[str, Any]:
        of_keras, of_tflite = [], []
        for rows, inputs in data.test_inputs(EVALUATION_BYTES):
            judge = data.test_judge(rows, inputs)
            of_keras.append(judge(_answers(model, inputs)))
            answers = predict(tflite, inputs)
            of_tflite.append(judge(answers))
            self._changes.add(data.test_originals(rows, inputs), answers, data.test_truth(rows, inputs))
            done = rows.stop / data.dataset.info.test_samples
            self._progress.phase(MEASURING, MEASURING_STARTS + (MEASURING_ENDS - MEASURING_STARTS) * done)
        each = np.concatenate(of_tflite)
        low, high = interval_of(data.fit, each)
        return {
            "metric_name": data.fit.metric_name,
            "metric": float(each.mean()),
            "metric_low": low,
            "metric_high": high,
            "keras_metric": float(np.concatenate(of_keras).mean()),
        }

    def _store_outcome(
        self, result: Result, facts: list[Fact], tensors: list[WeightTensor], data: ProjectData, folder: Path
    ) -> None:
        log.info(
            "%s %.4f (Keras %.4f), %d bytes, %d in gzip",
            result.metric_name, result.metric, result.keras_metric, result.tflite_bytes, result.gzip_bytes,
        )  # fmt: skip
        for fact in facts:
            log.info(
                "%s: %s of %s: asked %s, found %s",
                fact.verdict,
                fact.claim,
                fact.layer,
                fact.asked,
                fact.measured,
            )
        if self._record.recipe.steps:
            (folder / "recipe.yaml").write_text(self._record.recipe.to_yaml())
        (folder / "report.json").write_text(self._report(facts, tensors, data, folder).model_dump_json(indent=1))
        (folder / "project.json").write_text(self._project.model_dump_json(indent=1))
        shutil.copyfile(log_path(self._settings, self._record.run_id), folder / "log.txt")
        self._store.log_artifacts(self._record.run_id, folder)
        checked = [fact.met for fact in facts if fact.met is not None]
        self._store.log_result(self._record.run_id, result, sum(checked), len(checked))

    def _report(self, facts: list[Fact], tensors: list[WeightTensor], data: ProjectData, folder: Path) -> RunReport:
        return RunReport(
            facts=tuple(facts),
            tensors=tuple(tensor_rows(tensors)),
            estimate=self._estimate(),
            layers=self._layers(tensors, data, folder),
            behaviour=self._changes.behaviour(),
            versions=_versions(),
            model_sha256=self._project.model.sha256,
            dataset_sha256=data.dataset.info.sha256,
            random_inputs=self._project.dataset is None,
            one_dnn=self._one_dnn,
        )

    def _layers(self, tensors: list[WeightTensor], data: ProjectData, folder: Path) -> tuple[LayerOutcome, ...]:
        recipe, facts = self._record.recipe, self._plan.layers
        if self._plan.problem or not recipe.steps:
            return layer_outcomes(recipe, facts, tensors)
        floats = float_file(self._settings, self._project.model.upload_id).read_bytes()
        tflite, samples = (folder / "model.tflite").read_bytes(), data.some_test_inputs(SAMPLES)
        errors = layer_errors(floats, tflite, samples, self._output_names)
        return layer_outcomes(recipe, facts, tensors, read_weights(floats), errors)

    def _estimate(self) -> EstimatedSizes | None:
        """What the page said before the run."""
        if not self._record.recipe.steps or self._plan.problem:
            return None
        upload_id = self._project.model.upload_id
        return estimator_of(self._settings, upload_id, self._plan).estimate(self._record.recipe)


def _versions() -> dict[str, str]:
    """Of the libraries that decide what a run comes to."""
    return {name: version(name) for name in LIBRARIES}


def _answers(model: Any, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What a tf_keras model answers, for each output float32 (n, *output_shape)."""
    answers = model.predict(inputs[0] if len(inputs) == 1 else list(inputs), batch_size=256, verbose=0)
    several = answers if isinstance(answers, list | tuple) else [answers]
    return [np.asarray(answer, np.float32) for answer in several]
